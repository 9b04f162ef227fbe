"""Dagster assets: the emergence tables, per model and over all models."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import dagster as dg
import polars as pl

from emergence_assets.cell_asset import CellAsset, Tasks
from emergence_assets.emergence.cells import (
    CATEGORY_PRESENCE,
    EMERGENCE_HAZARD,
    EMERGENCE_OVER_SPACE,
    EMERGENCE_OVER_TIME,
    REACTIVATION,
    SAE_METRICS,
    metrics_tasks,
    presence_tasks,
    table_tasks,
)
from emergence_assets.emergence.checks import CHECKS, FEATURES_CHECKS, LINEAGE_CHECKS
from emergence_assets.emergence.claim_cells import CLAIMS, claim_tasks
from emergence_assets.emergence.compression_cells import COMPRESSION_RETENTION, compression_tasks
from emergence_assets.emergence.control_cells import CATEGORY_CONTROLS, join_tasks, part_tasks
from emergence_assets.emergence.cost_cells import COST_UTILITY, cost_tasks
from emergence_assets.emergence.feature_cells import (
    CATEGORICAL_FEATURES,
    FEATURE_COUNTS,
    counts_tasks,
    features_tasks,
)
from emergence_assets.emergence.lineage_cells import RULES as LINEAGE_RULES
from emergence_assets.emergence.lineage_cells import lineage_tasks
from emergence_assets.emergence.mechanism_cells import REACTIVATION_MECHANISM, mechanism_tasks
from emergence_assets.emergence.relations import RELATIONS, with_relations
from emergence_assets.emergence.size_cells import (
    EMERGENCE_OVER_SCALE,
    EXPANSION_PRESENCE,
    MODEL_SEEDS,
    expansion_tasks,
    scale_tasks,
    seeds_tasks,
)
from emergence_assets.materialise_tables import build_tables
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.study import Study
from resources.tables import read_tables


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


FEATURES = CellAsset(
    rule=CATEGORICAL_FEATURES,
    tasks=features_tasks,
    checks=FEATURES_CHECKS,
    description="The latents that the study's rule accepts, with what drives them besides the category.",
    kinds=frozenset({"polars", "parquet"}),
)
TABLES = (
    *(
        _declared(rule, tasks)
        for rule, tasks in (
            (SAE_METRICS, metrics_tasks),
            (CATEGORY_PRESENCE, presence_tasks),
            (FEATURE_COUNTS, counts_tasks),
            (EMERGENCE_OVER_TIME, table_tasks(EMERGENCE_OVER_TIME)),
            (EMERGENCE_HAZARD, table_tasks(EMERGENCE_HAZARD)),
            (EMERGENCE_OVER_SPACE, table_tasks(EMERGENCE_OVER_SPACE)),
            (REACTIVATION_MECHANISM, mechanism_tasks),
            (EXPANSION_PRESENCE, expansion_tasks),
            (MODEL_SEEDS, seeds_tasks),
            (EMERGENCE_OVER_SCALE, scale_tasks),
            (COST_UTILITY, cost_tasks),
            (CLAIMS, claim_tasks),
            (REACTIVATION, table_tasks(REACTIVATION)),
            (COMPRESSION_RETENTION, compression_tasks),
        )
    ),
    FEATURES,
    replace(_declared(CATEGORY_CONTROLS, part_tasks), then=join_tasks),
)

LINEAGES = tuple(
    CellAsset(
        rule=rule,
        tasks=lineage_tasks(rule),
        checks=LINEAGE_CHECKS[rule.name][1],
        description=LINEAGE_CHECKS[rule.name][0].description,
        kinds=frozenset({"polars", "parquet"}),
    )
    for rule in LINEAGE_RULES
)


def build_assets(study: Study, rules: Sequence[Rule]) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [build_tables(declared, study, rules) for declared in (*TABLES, *LINEAGES) if declared.rule in rules]
