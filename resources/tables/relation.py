"""Conditions between the rows or columns of a table, as boolean columns that are checked."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from resources.tables.check import Check, Condition


@dataclass(frozen=True)
class Relation:
    """A condition on the rows of a table; its name reads as a sentence."""

    name: str
    description: str
    holds: pl.Expr
    """True where a row satisfies the condition; false and null break it."""

    @property
    def check(self) -> Check:
        """Check of the column that `with_relations` adds."""
        return Check(self.name, self.description, (Condition("one_of", (self.name,), values=(True,)),))


def with_relations(frame: pl.DataFrame, relations: Sequence[Relation]) -> pl.DataFrame:
    """Add a boolean column per relation to a table."""
    return frame.with_columns(relation.holds.alias(relation.name) for relation in relations)
