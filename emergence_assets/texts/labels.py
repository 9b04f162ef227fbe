"""Labels of a user's file: those that look the same become one category."""

import unicodedata
from collections.abc import Sequence

import polars as pl

_JOINERS = "\u200c\u200d"
"""Invisible characters that change the letters beside them, as in Persian and in emoji."""


def cleaned_label(label: str) -> str:
    """Return a label as it looks: composed characters, no invisible ones, single spaces, none at the ends."""
    kept = []
    for character in unicodedata.normalize("NFC", label):
        kind = unicodedata.category(character)
        if kind == "Cc":
            kept.append(" ")
        elif kind != "Cf" or character in _JOINERS:
            kept.append(character)
    return " ".join("".join(kept).split())


def with_cleaned_labels(table: pl.DataFrame, levels: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Clean the labels of all levels; a label without visible characters is none.

    Returns:
        The table, and a line per category that more than one label of the file became.
    """
    notes = []
    for level in levels:
        labels = table[level].drop_nulls().unique(maintain_order=True).to_list()
        cleaned = {label: cleaned_label(label) for label in labels}
        variants: dict[str, list[str]] = {}
        for label, name in cleaned.items():
            variants.setdefault(name, []).append(label)
        table = table.with_columns(
            pl.col(level).replace_strict(
                list(cleaned), [name or None for name in cleaned.values()], default=None, return_dtype=pl.String
            )
            if cleaned
            else pl.col(level)
        )
        notes += [
            f"{level}: {' and '.join(map(ascii, found))} look the same and are one category"
            for name, found in variants.items()
            if name and len(found) > 1
        ]
    return table, tuple(notes)
