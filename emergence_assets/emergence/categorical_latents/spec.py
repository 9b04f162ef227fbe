"""Assets about categorical latents: how many a model has, and which ones a study has."""

from typing import Any

from emergence_assets.emergence.categorical_latents.table import CATEGORICAL_FEATURES as FEATURES_TABLE
from emergence_assets.emergence.categorical_latents.table import FEATURE_COUNTS as COUNTS_TABLE
from emergence_assets.emergence.relations import measured_from_step_0
from emergence_assets.emergence.table_spec import key_columns, table_spec
from emergence_assets.features.spec import (
    LATENT_STATISTICS,
    categorical_latents_path,
    presence_cells_path,
    rule_counts_path,
)
from emergence_assets.plan.asset_spec import stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from resources.files.provenance import Required
from resources.tables.check import Check, between


def _counts_arguments(plan: Plan, cell: Cell, _required: Required) -> dict[str, Any]:
    sources = [
        {**key_columns(plan, LATENT_STATISTICS, source), "file": str(rule_counts_path(plan.storage, source))}
        for source in plan.cells(LATENT_STATISTICS, cell.model)
    ]
    return {"sources": sources}


def _features_arguments(plan: Plan, _cell: Cell, _required: Required) -> dict[str, Any]:
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
    return {"sources": sources}


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

FEATURE_COUNTS = table_spec(
    COUNTS_TABLE,
    ("checkpoint", "latent_stats"),
    "emergence_assets.emergence.categorical_latents.worker:collect_counts",
    arguments=_counts_arguments,
    relations=(measured_from_step_0("n_excess"),),
)
CATEGORICAL_FEATURES = table_spec(
    FEATURES_TABLE,
    ("checkpoint", "latent_stats"),
    "emergence_assets.emergence.categorical_latents.worker:collect_features",
    grid="study",
    arguments=_features_arguments,
    checks=FEATURES_CHECKS,
)
