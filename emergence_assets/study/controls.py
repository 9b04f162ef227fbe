"""Names of the controls that a study may compare its measurements with."""

from typing import Literal, get_args

MADE_CONTROLS = (
    *("label_shuffle_within_length", "reinit_keep_embed", "dict_gauss"),
    *("dict_frozen_decoder", "text_wordshuffle", "best_word"),
)
"""Controls of the last step that are measured by a job of their own."""
Control = Literal[
    "step0",
    "label_shuffle",
    "label_shuffle_within_length",
    "reinit_keep_embed",
    "random_encoder",
    "dict_gauss",
    "dict_frozen_decoder",
    "text_wordshuffle",
    "best_word",
    "bow",
    "dense",
]
CONTROL_IDS = ("none", "noise", *get_args(Control))
"""Values of the column `control_id`: the measurement, noise between equal rows, and the controls."""
