"""Loss of a checkpoint on one fixed text, for comparison with the losses of other steps."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from emergence_assets.checkpoints.files.safetensors_file import refuse
from emergence_assets.checkpoints.models.blocks import context_limit, vocabulary_size
from emergence_assets.texts.wordnet import corpus
from resources.errors import BrokenCheckpoint

N_TOKENS = 4096
"""Largest number of predicted tokens: with a standard deviation of about 3 nats per token, the standard error of the
mean is 0.05 nats."""
WINDOW = 64
"""Tokens per window; the context of the model if that is shorter."""
BATCH = 16
_REMEDY = "replace this checkpoint by an intact copy, or leave it out"


def fixed_text_loss(model: PreTrainedModel, tokenizer: Path, n_tokens: int = N_TOKENS) -> float:
    """Compute the mean next-token cross-entropy in nats per token, on held-out WordNet glosses in corpus order.

    The text is split by the checkpoint's own tokenizer, so that losses are comparable between steps of a model and with
    the logarithm of its vocabulary size, but not between families.

    Args:
        model: a causal language model with its head, in evaluation mode.
        tokenizer: path of the model's tokenizer.json.
        n_tokens: largest number of predicted tokens.

    Raises:
        BrokenCheckpoint: the tokenizer does not fit the model, the model cannot be run, or the loss is not finite.
    """
    window = min(WINDOW, context_limit(model) or WINDOW)
    windows_pt = fixed_windows(tokenizer, n_tokens, vocabulary_size(model), window)
    try:
        loss = mean_loss(model, windows_pt.split(BATCH))
    except torch.OutOfMemoryError:
        raise  # not an error of the checkpoint
    except (RuntimeError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise BrokenCheckpoint(
            f"the model cannot be run: {type(error).__name__}: {error}", where=tokenizer.parent, remedy=_REMEDY
        ) from error
    if not math.isfinite(loss):
        refuse("the loss on the fixed text is not finite", tokenizer.parent, _REMEDY)
    return loss


def mean_loss(model: PreTrainedModel, batches: Sequence[torch.Tensor]) -> float:
    """Compute the mean next-token cross-entropy of windows of tokens, in nats per token; summed in double precision.

    Args:
        model: a causal language model with its head, in evaluation mode.
        batches: token ids [windows, tokens].
    """
    device, total, n_predicted = next(model.parameters()).device, 0.0, 0
    with torch.inference_mode():
        for batch_pt in batches:
            tokens_pt = batch_pt.to(device)
            logits_ptv = model(input_ids=tokens_pt, use_cache=False).logits[:, :-1].float()
            targets_t = tokens_pt[:, 1:].reshape(-1)
            losses_t = torch.nn.functional.cross_entropy(logits_ptv.flatten(0, 1), targets_t, reduction="none")
            total += losses_t.double().sum().item()
            n_predicted += len(targets_t)
    return total / n_predicted


def fixed_windows(tokenizer: Path, n_tokens: int, vocab_size: int, window: int) -> torch.Tensor:
    """Split the fixed text into windows.

    Args:
        tokenizer: path of a tokenizer.json.
        n_tokens: largest number of predicted tokens.
        vocab_size: number of token ids that the model reads.
        window: tokens per window, at least 2.

    Returns:
        Token ids [windows, window].

    Raises:
        BrokenCheckpoint: the tokenizer cannot be read, or does not fit the model.
    """
    try:
        loaded = Tokenizer.from_str(tokenizer.read_text("utf-8"))
    except Exception as error:  # the library raises a bare Exception for any unreadable file
        raise BrokenCheckpoint(f"cannot read the tokenizer: {error}", where=tokenizer, remedy=_REMEDY) from error
    loaded.no_truncation()
    loaded.no_padding()
    remedy = "provide the tokenizer of this model"
    n_windows = max(1, n_tokens // max(1, window - 1))
    ids = loaded.encode(_text(n_windows * window), add_special_tokens=False).ids[: n_windows * window]
    if len(ids) < window:
        refuse(f"the tokenizer makes {len(ids)} tokens of the fixed text", tokenizer, remedy)
    if max(ids) >= vocab_size:
        refuse(f"the tokenizer gives token {max(ids)}, the model has {vocab_size}", tokenizer, remedy)
    return torch.tensor(ids[: len(ids) // window * window]).reshape(-1, window)


@functools.cache
def _text(n_tokens: int) -> str:
    """Return text of at least `n_tokens` tokens for any tokenizer; tokens have at most 16 characters on average."""
    synsets = corpus.synsets_of("heldout").head(n_tokens // 4)
    texts = map(corpus.synset_text, synsets["lemmas"].to_list(), synsets["definition"])
    return "".join(texts)[: 16 * n_tokens]
