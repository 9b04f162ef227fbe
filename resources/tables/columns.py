"""Kinds of columns: each function declares a column with the type, unit and range of its kind.

The second argument is the description. It is documentation only, and code versions (`plan/code_definitions.py`) leave
it out. Other columns are declared as `Column`. A column that may have nulls is declared as `auroc(…).or_null`.
"""

from typing import Any

import polars as pl

from resources.tables.table import Column


def auroc(name: str, description: str) -> Column:
    """Area under a ROC curve, or a standard deviation of such areas: Float32 from 0 to 1."""
    return Column(name, pl.Float32, description, "AUROC", 0, 1)


def difference(name: str, description: str, limit: float = 1) -> Column:
    """Difference of AUROCs: Float32 from -limit to limit."""
    return Column(name, pl.Float32, description, "AUROC", -limit, limit)


def share(name: str, description: str) -> Column:
    """Part of a whole: Float32 from 0 to 1, unit ratio."""
    return Column(name, pl.Float32, description, "ratio", 0, 1)


def ratio(name: str, description: str, minimum: float | None = None, maximum: float | None = None) -> Column:
    """Quotient of two numbers of one unit: Float32, any value between the limits that are given."""
    return Column(name, pl.Float32, description, "ratio", minimum, maximum)


def probability(name: str, description: str) -> Column:
    """Probability or relative frequency: Float32 from 0 to 1."""
    return Column(name, pl.Float32, description, "probability", 0, 1)


def p_value(name: str, description: str) -> Column:
    """P-value, or p-value corrected for multiple tests: Float64 from 0 to 1, unit probability."""
    return Column(name, pl.Float64, description, "probability", 0, 1)


def count(name: str, description: str, unit: str, minimum: int = 0, dtype: Any = pl.Int32) -> Column:
    """Number of things, which are the unit: an integer of at least `minimum`."""
    return Column(name, dtype, description, unit, minimum)


def step(name: str, description: str, dtype: Any = pl.Int32) -> Column:
    """Optimiser steps: an integer of at least 0; Float64 for a step between two checkpoints."""
    return Column(name, dtype, description, "steps", 0)


def layer(name: str, description: str, minimum: int = 0) -> Column:
    """Index of a block: Int16 of at least 0, or -1 where it may be the embedding."""
    return Column(name, pl.Int16, description, "index", minimum)


def string(name: str, description: str, unit: str = "name") -> Column:
    """Any string: a name, unless the unit is text or hash."""
    return Column(name, pl.String, description, unit)


def choice(name: str, description: str, one_of: tuple[str, ...]) -> Column:
    """One of a fixed set of names: String."""
    return Column(name, pl.String, description, "name", one_of=one_of)


def flag(name: str, description: str) -> Column:
    """Whether something holds: Boolean, unit truth."""
    return Column(name, pl.Boolean, description, "truth")


def list_of(name: str, description: str, unit: str, dtype: Any = pl.Float32) -> Column:
    """List of values of `dtype` in each row, of any length and without limits."""
    return Column(name, pl.List(dtype), description, unit)
