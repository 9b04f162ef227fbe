"""Dagster assets: the emergence tables, per model and over all models."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl

from emergence_assets.emergence.catalogue import CATALOGUE
from emergence_assets.emergence.categorical_latents.spec import (
    FEATURE_COUNTS,
    FEATURES,
    counts_tasks,
)
from emergence_assets.emergence.claims.spec import CLAIMS, EMERGENCE_HAZARD, claim_tasks
from emergence_assets.emergence.compression.spec import COMPRESSION_RETENTION, compression_tasks
from emergence_assets.emergence.controls.spec import CATEGORY_CONTROLS, join_tasks, part_tasks
from emergence_assets.emergence.cost.spec import COST_UTILITY, cost_tasks
from emergence_assets.emergence.derived import table_tasks
from emergence_assets.emergence.lineage.checks import LINEAGE_CHECKS
from emergence_assets.emergence.lineage.spec import RULES as LINEAGE_RULES
from emergence_assets.emergence.lineage.spec import lineage_tasks
from emergence_assets.emergence.mechanism.spec import REACTIVATION_MECHANISM, mechanism_tasks
from emergence_assets.emergence.presence.spec import CATEGORY_PRESENCE, presence_tasks
from emergence_assets.emergence.relations import RELATIONS, with_relations
from emergence_assets.emergence.sae_quality.spec import SAE_METRICS, metrics_tasks
from emergence_assets.emergence.scale.spec import (
    EMERGENCE_OVER_SCALE,
    EXPANSION_PRESENCE,
    MODEL_SEEDS,
    expansion_tasks,
    scale_tasks,
    seeds_tasks,
)
from emergence_assets.emergence.space.spec import EMERGENCE_OVER_SPACE, REACTIVATION
from emergence_assets.emergence.time.spec import EMERGENCE_OVER_TIME
from emergence_assets.plan.asset_spec import CellAsset, Rule, Tasks
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from resources.tables.expectations import Check, table_checks
from resources.tables.parquet import read_tables
from resources.tables.table import Table


def _declared(rule: Rule, tasks: Tasks) -> CellAsset:
    table, checks = CHECKS[rule.name]
    return CellAsset(
        rule=rule,
        tasks=tasks,
        checks=checks,
        description=table.description,
        kinds=frozenset({"polars", "parquet"}),
        frame=_reader(rule),
    )


def _reader(rule: Rule) -> Callable[[Plan, Sequence[Cell]], pl.DataFrame]:
    table, _ = CHECKS[rule.name]
    may_be_null = [
        column.name
        for column in table.columns
        if column.name in table.key and column.nullable and column.dtype == pl.String
    ]
    nested = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.List)]

    def read(plan: Plan, cells: Sequence[Cell]) -> pl.DataFrame:
        frame = read_tables([rule.path(plan.storage, cell) for cell in cells], table)
        # Lists are compared by nothing that is checked, and cost most of the memory. Means have no category: a null
        # in a key would make its row count as unique whatever it repeats.
        filled = [pl.col(name).fill_null("") for name in may_be_null]
        return with_relations(frame.with_columns(filled), RELATIONS.get(rule.name, ())).drop(nested)

    return read


_LINEAGES = tuple(
    CellAsset(
        rule=rule,
        tasks=lineage_tasks(rule),
        checks=LINEAGE_CHECKS[rule.name][1],
        description=LINEAGE_CHECKS[rule.name][0].description,
        kinds=frozenset({"polars", "parquet"}),
    )
    for rule in LINEAGE_RULES
)


def _assets() -> tuple[CellAsset, ...]:
    return (
        _declared(SAE_METRICS, metrics_tasks),
        _declared(CATEGORY_PRESENCE, presence_tasks),
        _declared(EMERGENCE_OVER_TIME, table_tasks(EMERGENCE_OVER_TIME)),
        _declared(EMERGENCE_OVER_SPACE, table_tasks(EMERGENCE_OVER_SPACE)),
        _declared(REACTIVATION, table_tasks(REACTIVATION)),
        _declared(FEATURE_COUNTS, counts_tasks),
        FEATURES,
        _declared(REACTIVATION_MECHANISM, mechanism_tasks),
        *_LINEAGES,
        replace(_declared(CATEGORY_CONTROLS, part_tasks), then=join_tasks),
        _declared(EXPANSION_PRESENCE, expansion_tasks),
        _declared(MODEL_SEEDS, seeds_tasks),
        _declared(EMERGENCE_OVER_SCALE, scale_tasks),
        _declared(COST_UTILITY, cost_tasks),
        _declared(COMPRESSION_RETENTION, compression_tasks),
        _declared(CLAIMS, claim_tasks),
        _declared(EMERGENCE_HAZARD, table_tasks(EMERGENCE_HAZARD)),
    )


CHECKS: dict[str, tuple[Table, tuple[Check, ...]]] = {
    name: (
        CATALOGUE[name],
        (*table_checks(CATALOGUE[name]), *(relation.check for relation in RELATIONS.get(name, ()))),
    )
    for name in (
        *("sae_metrics", "category_presence", "feature_counts", "category_controls", "emergence_over_time"),
        *("emergence_hazard", "emergence_over_space", "expansion_presence", "model_seeds", "reactivation"),
        *("emergence_over_scale", "reactivation_mechanism", "cost_utility", "claims", "compression_retention"),
    )
}


ASSETS = _assets()
"""The tables of this stage, in flow order."""
