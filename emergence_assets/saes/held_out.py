"""Held-out training texts: no SAE is trained on them, and they measure its quality."""

import numpy as np

from emergence_assets.texts.tokens import Tokens

EVALUATION_SHARE = 10
"""Every tenth training text is held out."""
EVALUATION_ROWS = 65_536
"""Most rows of held-out texts: more rows would change no figure and need memory in every layer. Later texts are trained
on."""


def held_out_texts(tokens: Tokens) -> np.ndarray:
    """Return the indexes of the held-out texts, ascending; at least one."""
    texts = np.arange(0, len(tokens.training_ids), EVALUATION_SHARE)
    n_rows = np.diff(tokens.training_rows.text_offsets)[texts]
    return texts[: max(1, int(np.searchsorted(np.cumsum(n_rows), EVALUATION_ROWS, side="right")))]


def training_texts(tokens: Tokens) -> np.ndarray:
    """Return the indexes of the texts that SAEs are trained on, ascending."""
    return np.setdiff1d(np.arange(len(tokens.training_ids)), held_out_texts(tokens), assume_unique=True)


def is_held_out(tokens: Tokens) -> np.ndarray:
    """Return whether each training row belongs to a held-out text, bool [rows]."""
    is_held_out_text = np.zeros(len(tokens.training_ids), bool)
    is_held_out_text[held_out_texts(tokens)] = True
    return is_held_out_text[tokens.training_rows.text_index_t]
