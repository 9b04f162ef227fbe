"""Train one small GPT-NeoX on the embedded corpus and write its checkpoints as they come. T: imports torch.

Belongs here: the recipe, the optimiser loop, the files of a run, and going on after a kill. Does not belong here: which
sizes and steps a study wants (`study.py`), reading checkpoints (`folder.py`, `loading.py`).

A run's folder holds `step{N}/` per checkpoint, in the layout of a published model plus `training.json`, and while it
runs `resume.safetensors`. All sizes see the same tokens in the same order, as in Pythia (Biderman et al. 2023). A run
is a function of its recipe within one environment: killed at any moment and called again, it writes the bytes it would
have written.
"""

import contextlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import safetensors
import safetensors.torch
import torch
from tokenizers import Tokenizer
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from emergence_assets.checkpoints.environment import environment
from emergence_assets.checkpoints.folder import read_facts, step_folder_name
from emergence_assets.errors import EmergenceError
from emergence_assets.wordnet import corpus

N_VALIDATION_WINDOWS = 256
_FINAL_LEARNING_RATE = 0.1  # of the peak, at n_steps; as in Pythia
_RESUME_NAME = "resume.safetensors"

Report = Callable[[int, int, str], None]


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
    """Everything that decides the weights, apart from the corpus and the environment."""

    shape: ModelShape
    """Size of the model."""
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
    """Decoupled, on all parameters."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of AdamW's first and second moment."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    seed: int = 0
    """Of the initial weights."""
    data_seed: int = 1234
    """Of the order of windows; equal for all sizes of a family."""

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one optimiser step sees."""
        return self.batch_size * self.context


@dataclass(frozen=True)
class TrainingOutcome:
    """What one call of `train` did."""

    written_steps: tuple[int, ...]
    """Checkpoints that this call wrote."""
    resumed_from: int | None
    """Step of the state that this call went on from; None when it began at step 0 or computed nothing."""
    validation_losses: dict[int, float]
    """Nats per token on held-out windows, for every requested step."""
    tokens_per_second: float
    """Of this call, checkpoints included; 0 when it computed nothing."""


def train(
    recipe: TrainingRecipe,
    folder: Path,
    steps: Sequence[int],
    report: Report = lambda done, total, note: None,
    *,
    resume_every: int = 100,
) -> TrainingOutcome:
    """Bring `folder` to hold a checkpoint for each of `steps`, computing only what is missing.

    Args:
        recipe: what to train.
        folder: of this run alone; made when missing.
        steps: the checkpoints wanted, up to `recipe.n_steps`. Training stops at the last of them.
        report: told (step, last step, note) as the run goes on.
        resume_every: steps between two states to go on from.

    Returns:
        What was done. When every checkpoint was there already, nothing is computed.

    Raises:
        EmergenceError: the folder holds another run, a damaged checkpoint, or weights that this environment does not
            reproduce; another process trains here; the recipe is impossible; training diverged.
    """
    steps = sorted(set(steps))
    _check_recipe(recipe, steps)
    identity = _identity(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    with _only_writer(folder), _deterministic():
        _remove_leftovers(folder)
        present = {step for step in steps if (folder / step_folder_name(step)).exists()}
        losses = {step: _read_validation_loss(folder / step_folder_name(step), identity) for step in sorted(present)}
        if len(present) == len(steps):
            (folder / _RESUME_NAME).unlink(missing_ok=True)
            return TrainingOutcome((), None, losses, 0.0)

        run = _Run(recipe)
        resumed_from = _resume(run, folder / _RESUME_NAME, identity, missing=min(set(steps) - present))
        began_at, began = run.step, time.perf_counter()
        written = []
        while True:
            if run.step in steps and not (resumed_from == run.step and run.step in present):
                step_folder = folder / step_folder_name(run.step)
                if run.step in present:
                    _check_same_weights(run, step_folder)
                else:
                    losses[run.step] = run.validation_loss()
                    _write_checkpoint(run, step_folder, losses[run.step], identity)
                    written.append(run.step)
                report(run.step, steps[-1], f"validation loss {losses[run.step]:.3f}")
            if run.step == steps[-1]:
                break
            if run.step % resume_every == 0 and run.step not in (0, resumed_from):
                _write_resume_state(run, folder / _RESUME_NAME, identity)
                report(run.step, steps[-1], "")
            run.advance()
        (folder / _RESUME_NAME).unlink(missing_ok=True)
        seconds = time.perf_counter() - began
        n_tokens = (run.step - began_at) * recipe.tokens_per_step
        return TrainingOutcome(tuple(written), resumed_from, dict(sorted(losses.items())), n_tokens / seconds)


class _Run:
    """Model, optimiser and data of a run at one step; streams, hence a class."""

    def __init__(self, recipe: TrainingRecipe):
        self.recipe = recipe
        self.step = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = GPTNeoXForCausalLM(_model_config(recipe)).train()
        self.weights = dict(self.model.named_parameters())
        self.unembedding = self.model.get_output_embeddings().weight
        self.optimiser = torch.optim.AdamW(
            self.weights.values(),
            lr=recipe.learning_rate,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.windows = _windows("training", recipe.context)
        self.validation_windows = _windows("heldout", recipe.context)[:N_VALIDATION_WINDOWS]
        self.order = _window_order(len(self.windows), recipe.n_steps * recipe.batch_size, recipe.data_seed)
        # The largest tensor of a step. Kept, because allocating it anew costs 2000 page faults a step.
        self._logits_tv = torch.empty(recipe.batch_size * (recipe.context - 1), recipe.vocab_size)

    def advance(self) -> None:
        """One optimiser step."""
        first = self.step * self.recipe.batch_size
        batch = torch.from_numpy(self.windows[self.order[first : first + self.recipe.batch_size]].astype(np.int64))
        self.add_gradients(batch)
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.recipe.clip_norm)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1

    def add_gradients(self, batch_pt: torch.Tensor) -> None:
        """Set the gradients of the mean next-token cross-entropy of a batch [windows, tokens].

        The gradient through softmax and unembedding is written out: p - onehot, in one reused buffer. The loss itself
        is not needed to train, and is not computed.
        """
        resid_td = self.model.gpt_neox(input_ids=batch_pt, use_cache=False).last_hidden_state[:, :-1]
        resid_td = resid_td.reshape(-1, self.recipe.shape.d_model)
        targets_t = batch_pt[:, 1:].reshape(-1)
        with torch.no_grad():
            torch.mm(resid_td, self.unembedding.T, out=self._logits_tv)
            error_tv = torch.softmax(self._logits_tv, dim=1, out=self._logits_tv)
            error_tv[torch.arange(len(targets_t)), targets_t] -= 1
            error_tv /= len(targets_t)
            self.unembedding.grad = torch.mm(resid_td.T, error_tv).T.contiguous()
            gradient_td = torch.mm(error_tv, self.unembedding)
        resid_td.backward(gradient_td)

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean next-token cross-entropy on the held-out windows, in nats per token."""
        self.model.eval()
        total, n_tokens = 0.0, 0
        for window in np.array_split(self.validation_windows, max(1, len(self.validation_windows) // 32)):
            batch_pt = torch.from_numpy(window.astype(np.int64))
            logits_ptv = self.model(input_ids=batch_pt, use_cache=False).logits[:, :-1]
            targets_t = batch_pt[:, 1:].reshape(-1)
            losses_t = torch.nn.functional.cross_entropy(logits_ptv.flatten(0, 1), targets_t, reduction="none")
            total += losses_t.double().sum().item()
            n_tokens += len(targets_t)
        self.model.train()
        return total / n_tokens


def learning_rate(recipe: TrainingRecipe, step: int) -> float:
    """Learning rate of the step that leads from `step` to `step + 1`."""
    warm_up = min(1.0, (step + 1) / max(1, recipe.warm_up_steps))
    cosine = (1 + math.cos(math.pi * step / recipe.n_steps)) / 2
    return recipe.learning_rate * warm_up * (_FINAL_LEARNING_RATE + (1 - _FINAL_LEARNING_RATE) * cosine)


def _check_recipe(recipe: TrainingRecipe, steps: list[int]) -> None:
    remedy = "correct the study's sizes and steps"
    if not steps or steps[0] < 0 or steps[-1] > recipe.n_steps:
        what = f"checkpoints must lie between step 0 and n_steps = {recipe.n_steps}, got {steps or 'none'}"
        raise EmergenceError(what, remedy=remedy)
    shape = recipe.shape
    if min(shape.d_model, shape.n_layers, shape.n_heads) < 1 or shape.d_model % shape.n_heads:
        raise EmergenceError(f"{shape}: d_model must be a multiple of n_heads", remedy=remedy)
    if recipe.context < 2 or recipe.batch_size < 1 or recipe.n_steps < 1:
        raise EmergenceError(f"{recipe}: needs a context of 2, a batch of 1 and a step at least", remedy=remedy)
    n_tokens = Tokenizer.from_file(str(corpus.TOKENIZER_PATH)).get_vocab_size()
    if recipe.vocab_size < n_tokens:
        what = f"vocab_size is {recipe.vocab_size}, the tokenizer has {n_tokens} tokens"
        raise EmergenceError(what, where=corpus.TOKENIZER_PATH, remedy=remedy)


def _model_config(recipe: TrainingRecipe) -> GPTNeoXConfig:
    config = GPTNeoXConfig(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.shape.d_model,
        num_hidden_layers=recipe.shape.n_layers,
        num_attention_heads=recipe.shape.n_heads,
        intermediate_size=4 * recipe.shape.d_model,
        max_position_embeddings=recipe.context,
        use_parallel_residual=True,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        attention_dropout=0.0,
        hidden_dropout=0.0,
    )
    config._attn_implementation = "sdpa"
    return config


def _windows(split: corpus.Split, context: int) -> np.ndarray:
    token_ids = corpus.corpus_token_ids(split)
    return token_ids[: len(token_ids) // context * context].reshape(-1, context)


def _window_order(n_windows: int, n_wanted: int, data_seed: int) -> np.ndarray:
    """Indices of windows in training order: every epoch a permutation of its own."""
    epochs = range(math.ceil(n_wanted / n_windows))
    return np.concatenate([np.random.default_rng([data_seed, epoch]).permutation(n_windows) for epoch in epochs])


def _identity(recipe: TrainingRecipe) -> dict[str, object]:
    """What a checkpoint must share with this run to belong to it; in the form it has after a turn through JSON."""
    identity = {
        "recipe": asdict(recipe),
        "corpus_sha256": corpus.corpus_sha256(),
        "tokenizer_sha256": corpus.tokenizer_sha256(),
    }
    return json.loads(json.dumps(identity))


def _bits_decided_by() -> str:
    """The part of the environment that two halves of a run must share; a kernel update may come between them."""
    here = environment()
    keys = ("torch", "transformers", "cpu_capability", "cpu_model", "mkl_cbwr", "num_threads")
    return json.dumps({key: here[key] for key in keys}, sort_keys=True)


@contextlib.contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    try:
        with filelock.FileLock(folder / ".training.lock", timeout=0):
            yield
    except filelock.Timeout:
        raise EmergenceError(
            "another process is training into this folder", where=folder, remedy="wait for it, or end it, and run again"
        ) from None


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """One thread and deterministic kernels, as long as it lasts. Measured: two threads give other bits."""
    n_threads, was_deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic  # its one attribute is not declared
    was_filled = memory.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # would write every tensor twice
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        torch.use_deterministic_algorithms(was_deterministic)
        memory.fill_uninitialized_memory = was_filled


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed runs were writing; the lock says that nobody is writing now."""
    for path in folder.glob(".*.tmp"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _read_validation_loss(step_folder: Path, identity: dict[str, object]) -> float:
    """Loss of a present checkpoint, after checking that it is whole and of this run."""
    read_facts(step_folder)
    path = step_folder / "training.json"
    try:
        notes = json.loads(path.read_bytes())
        loss, found = float(notes["validation_loss"]), {key: notes[key] for key in identity}
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = f"delete {step_folder} and run again"
        raise EmergenceError("cannot read the notes of this checkpoint", where=path, remedy=remedy) from error
    if found != identity:
        differing = ", ".join(key for key in identity if found[key] != identity[key])
        raise EmergenceError(
            f"this checkpoint was trained by another recipe or on another corpus ({differing} differs)",
            where=path,
            remedy="train into another folder, or delete this one",
        )
    return loss


def _resume(run: _Run, path: Path, identity: dict[str, object], missing: int) -> int | None:
    """Put `run` where an earlier call left off, if that leads to every missing checkpoint; say at which step."""
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            notes = {key: file.metadata()[key] for key in ("identity", "bits_decided_by", "step")}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        step = int(notes["step"])
        moments: dict[torch.Tensor, dict[str, torch.Tensor]] = {
            weight: {
                "step": torch.tensor(float(step)),
                "exp_avg": state[f"exp_avg/{name}"],
                "exp_avg_sq": state[f"exp_avg_sq/{name}"],
            }
            for name, weight in run.weights.items()
        }
        if json.loads(notes["identity"]) != identity or notes["bits_decided_by"] != _bits_decided_by():
            return None  # begin again; checkpoints that are present say whether this environment agrees
        if step > missing:
            return None
        with torch.no_grad():
            for name, weight in run.weights.items():
                weight.copy_(state[f"weights/{name}"])
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        remedy = f"delete {path.name}; training begins again at step 0"
        raise EmergenceError("cannot read the state to go on from", where=path, remedy=remedy) from error
    run.optimiser.state.update(moments)
    run.step = step
    return step


def _write_resume_state(run: _Run, path: Path, identity: dict[str, object]) -> None:
    state = {}
    for name, weight in run.weights.items():
        state[f"weights/{name}"] = weight.detach()
        state[f"exp_avg/{name}"] = run.optimiser.state[weight]["exp_avg"]
        state[f"exp_avg_sq/{name}"] = run.optimiser.state[weight]["exp_avg_sq"]
    notes = {"identity": json.dumps(identity), "bits_decided_by": _bits_decided_by(), "step": str(run.step)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(safetensors.torch.save(state, notes))
    _flush(temporary)
    temporary.replace(path)
    _flush(path.parent)


def _stored_weights(run: _Run) -> dict[str, torch.Tensor]:
    """Weights as a published Pythia checkpoint has them: half precision, and the unembedding called embed_out."""
    stored = {
        # transformers 5 has another name for it in memory than in files.
        "embed_out.weight" if weight is run.unembedding else name: weight.detach().to(torch.float16)
        for name, weight in run.weights.items()
    }
    for name, weight in stored.items():
        if not bool(weight.isfinite().all()):
            raise EmergenceError(
                f"training diverged: {name} is not finite in half precision at step {run.step}",
                remedy=f"lower the learning rate, now {run.recipe.learning_rate}",
            )
    return stored


def _check_same_weights(run: _Run, step_folder: Path) -> None:
    present = safetensors.torch.load_file(step_folder / "model.safetensors")
    trained = _stored_weights(run)
    if present.keys() != trained.keys() or any(not torch.equal(present[name], trained[name]) for name in trained):
        raise EmergenceError(
            "training again does not reproduce this checkpoint bit for bit: the environment is not the one it was "
            "trained in (processor, torch version or settings), so further checkpoints would not belong to its run",
            where=step_folder,
            remedy=f"delete {step_folder.parent} to train the whole run here",
        )


def _write_checkpoint(run: _Run, step_folder: Path, validation_loss: float, identity: dict[str, object]) -> None:
    """Write a checkpoint under a temporary name and rename it, so that a folder is whole or not there."""
    config = run.model.config
    config.architectures = [type(run.model).__name__]
    config.dtype = torch.float16
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": corpus.END_OF_TEXT,
        "eos_token": corpus.END_OF_TEXT,
        "pad_token": corpus.PADDING,
        "model_max_length": run.recipe.context,
    }
    notes = {
        "step": run.step,
        "tokens_seen": run.step * run.recipe.tokens_per_step,
        "validation_loss": validation_loss,
        "seed": run.recipe.seed,
        **identity,
        "environment": environment(),
    }
    temporary = step_folder.with_name(f".{step_folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    weights = safetensors.torch.save(_stored_weights(run), {"format": "pt"})
    (temporary / "model.safetensors").write_bytes(weights)  # save_file would hide it from other users (mode 600)
    (temporary / "config.json").write_text(config.to_json_string(), encoding="utf-8")
    (temporary / "tokenizer.json").write_bytes(corpus.TOKENIZER_PATH.read_bytes())
    (temporary / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n", encoding="utf-8")
    (temporary / "training.json").write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
    for path in [*temporary.iterdir(), temporary]:
        _flush(path)
    temporary.rename(step_folder)
    _flush(step_folder.parent)


def _flush(path: Path) -> None:
    """Force a file's or folder's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
