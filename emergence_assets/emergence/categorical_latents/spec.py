"""Tables of categorical latents as cells: per model how many there are, over the study which ones."""

from collections.abc import Sequence

from emergence_assets.emergence.table_spec import key_columns, table_rule
from emergence_assets.features.spec import (
    ACCEPTED_BYTES,
    ACCEPTED_SHARE,
    COUNT_BYTES,
    LATENT_STATISTICS,
    N_CONTROLS,
    N_RULES,
    categorical_latents_path,
    presence_cells_path,
    rule_counts_path,
)
from emergence_assets.plan.asset_spec import CellAsset, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from resources.compute.task import Task
from resources.files.provenance import Required
from resources.files.records import required_to_json
from resources.tables.expectations import Check, between

TABLE_BYTES = 12_000
"""What a table without rows takes, about."""


def _n_cells(study: Study, model: str) -> int:
    return len(study.listed_steps or ()) * len(study.layers_of(model))


def _counts_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    n_categories = _n_cells(study, str(cell.model)) * len(counts.category_sizes)
    return TABLE_BYTES + N_RULES * N_CONTROLS * COUNT_BYTES * n_categories


def _features_bytes(study: Study, _cell: Cell, _counts: TextCounts) -> float:
    n_saes = len(study.sae.seeds) * sum(_n_cells(study, model) for model in study.models)
    return TABLE_BYTES + ACCEPTED_BYTES * ACCEPTED_SHARE * study.sae.n_latents * n_saes


FEATURE_COUNTS = table_rule(
    "feature_counts", ("checkpoint", "latent_stats"), ("categorical_latents.worker:collect_counts",), _counts_bytes
)
CATEGORICAL_FEATURES = table_rule(
    "categorical_features",
    ("checkpoint", "latent_stats"),
    ("categorical_latents.worker:collect_features",),
    _features_bytes,
    grid="study",
)


def counts_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    work = []
    for cell, required in due:
        arguments = {
            "sources": [
                {
                    **key_columns(plan, LATENT_STATISTICS, source),
                    "file": str(rule_counts_path(plan.storage, source)),
                }
                for source in plan.cells(LATENT_STATISTICS, cell.model)
            ],
            "path": str(FEATURE_COUNTS.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function = "emergence_assets.emergence.categorical_latents.worker:collect_counts"
        work.append((Task(function, arguments, f"feature_counts {cell}", on_accelerator=False), [cell]))
    return work


def features_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task."""
    work = []
    for cell, required in due:
        sources = []
        for source in plan.cells(LATENT_STATISTICS):
            stored = stored_provenance(LATENT_STATISTICS, LATENT_STATISTICS.path(plan.storage, source))
            sources.append(
                {
                    **key_columns(plan, LATENT_STATISTICS, source),
                    "file": str(LATENT_STATISTICS.path(plan.storage, source)),
                    "latents": str(categorical_latents_path(plan.storage, source)),
                    "presence": str(presence_cells_path(plan.storage, source)) if source.step == 0 else None,
                    "n_tests": int(stored.summary["tests"]) if stored else 0,
                }
            )
        arguments = {
            "sources": sources,
            "path": str(CATEGORICAL_FEATURES.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function = "emergence_assets.emergence.categorical_latents.worker:collect_features"
        work.append((Task(function, arguments, "categorical_features", on_accelerator=False), [cell]))
    return work


# A study in which no latent is categorical has an empty table, which is a result: its summary is checked.
FEATURES_CHECKS = (
    Check("keys_are_unique", "No two rows share their key.", (between("repeated_keys", 0, 0),)),
    Check(
        "latents_are_compared_with_step_0",
        "Where a model has step 0, every latent has its excess over the untrained network.",
        (between("not_compared", 0, 0),),
    ),
    Check(
        "the_study_corrects_at_least_as_much_as_a_test",
        "q over the study is at least p, and at most 1.",
        (between("q_below_p", 0, 0),),
    ),
)

FEATURES = CellAsset(
    rule=CATEGORICAL_FEATURES,
    tasks=features_tasks,
    checks=FEATURES_CHECKS,
    description="The latents that the study's rule accepts, with what drives them besides the category.",
    kinds=frozenset({"polars", "parquet"}),
)
