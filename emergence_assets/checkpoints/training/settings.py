"""Settings of a training run, and the schedule and data order that follow from them. No torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from emergence_assets.texts.wordnet import corpus
from resources.errors import EmergenceError

_FINAL_LEARNING_RATE = 0.1  # share of the peak, at n_steps; as in Pythia


@dataclass(frozen=True)
class ModelShape:
    """Size of a GPT-NeoX decoder; the feed-forward width is four times d_model."""

    d_model: int
    """Width of the residual stream; a multiple of n_heads."""
    n_layers: int
    """Number of blocks."""
    n_heads: int
    """Attention heads per block."""


@dataclass(frozen=True)
class TrainingRecipe:
    """Settings that decide the weights, together with the corpus and the environment."""

    shape: ModelShape
    """Shape of the model."""
    learning_rate: float
    """Peak of the schedule: linear warm-up, then cosine to a tenth at `n_steps`."""
    n_steps: int
    """Length of the schedule in optimiser steps."""
    batch_size: int = 8
    """Windows per step."""
    context: int = 64
    """Tokens per window."""
    vocab_size: int = 2048
    """Rows of the embedding; at least as many as the tokenizer has tokens."""
    warm_up_steps: int = 30
    """Steps of linear warm-up."""
    weight_decay: float = 0.01
    """Decoupled weight decay, on all parameters."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of AdamW's first and second moment."""
    clip_norm: float = 1.0
    """Largest norm of the gradients, which are scaled down to it."""
    seed: int = 0
    """Seed of the initial weights."""
    data_seed: int = 1234
    """Seed of the order of windows; equal for all sizes of a family."""

    @property
    def tokens_per_step(self) -> int:
        """Tokens per optimiser step."""
        return self.batch_size * self.context


def check_recipe(recipe: TrainingRecipe, steps: Sequence[int]) -> None:
    """Check the settings of a run before anything is written.

    Args:
        recipe: settings of the run.
        steps: steps of the requested checkpoints, ascending.

    Raises:
        EmergenceError: a number is impossible; names it.
    """
    remedy = "correct the study's sizes and steps"
    if not steps or steps[0] < 0 or steps[-1] > recipe.n_steps:
        what = f"checkpoints must lie between step 0 and n_steps = {recipe.n_steps}, got {list(steps) or 'none'}"
        raise EmergenceError(what, remedy=remedy)
    shape = recipe.shape
    if min(shape.d_model, shape.n_layers, shape.n_heads) < 1 or shape.d_model % shape.n_heads:
        raise EmergenceError(f"{shape}: d_model must be a multiple of n_heads", remedy=remedy)
    if recipe.context < 2 or recipe.batch_size < 1 or recipe.n_steps < 1:
        raise EmergenceError(f"{recipe}: context must be at least 2, batch_size and n_steps at least 1", remedy=remedy)
    n_tokens = Tokenizer.from_file(str(corpus.TOKENIZER_PATH)).get_vocab_size()
    if recipe.vocab_size < n_tokens:
        what = f"vocab_size is {recipe.vocab_size}, the tokenizer has {n_tokens} tokens"
        raise EmergenceError(what, where=corpus.TOKENIZER_PATH, remedy=remedy)


def learning_rate(recipe: TrainingRecipe, step: int) -> float:
    """Return the learning rate of the optimiser step from `step` to `step + 1`."""
    warm_up = min(1.0, (step + 1) / max(1, recipe.warm_up_steps))
    cosine = (1 + math.cos(math.pi * step / recipe.n_steps)) / 2
    return recipe.learning_rate * warm_up * (_FINAL_LEARNING_RATE + (1 - _FINAL_LEARNING_RATE) * cosine)


def corpus_windows(split: corpus.Split, context: int) -> np.ndarray:
    """Split the corpus into windows of `context` tokens, across documents: [windows, tokens], uint16."""
    token_ids = corpus.corpus_token_ids(split)
    return token_ids[: len(token_ids) // context * context].reshape(-1, context)


def window_order(recipe: TrainingRecipe, n_windows: int) -> np.ndarray:
    """Return indices of windows in training order, enough for the run; every epoch is a new permutation."""
    epochs = range(math.ceil(recipe.n_steps * recipe.batch_size / n_windows))
    return np.concatenate([np.random.default_rng([recipe.data_seed, epoch]).permutation(n_windows) for epoch in epochs])
