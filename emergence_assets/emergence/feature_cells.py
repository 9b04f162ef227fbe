"""Tables of categorical latents as cells: per model how many there are, over the study which ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emergence_assets.emergence.table_cells import key_columns, key_literals, table_rule, write_cell
from emergence_assets.features.cells import (
    LATENT_STATISTICS,
    categorical_latents_path,
    presence_cells_path,
    rule_counts_path,
)
from emergence_assets.features.table_sizes import ACCEPTED_BYTES, ACCEPTED_SHARE, COUNT_BYTES, N_CONTROLS, N_RULES
from emergence_assets.plan import Cell, Plan, stored_provenance
from emergence_assets.provenance import Required
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import required_to_json
from resources.tables import read_table

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
    "feature_counts", ("checkpoint", "latent_stats"), ("feature_cells:collect_counts",), _counts_bytes
)
CATEGORICAL_FEATURES = table_rule(
    "categorical_features",
    ("checkpoint", "latent_stats"),
    ("feature_cells:collect_features",),
    _features_bytes,
    grid="study",
)
RULES = (FEATURE_COUNTS, CATEGORICAL_FEATURES)


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
        function = "emergence_assets.emergence.feature_cells:collect_counts"
        work.append((Task(function, arguments, f"feature_counts {cell}", on_accelerator=False), [cell]))
    return work


def collect_counts(sources: list[dict[str, Any]], path: str, required: str, report: Any) -> None:
    """Worker: counts of categorical latents of one model."""
    import polars as pl

    from emergence_assets.emergence.counts import feature_counts
    from emergence_assets.emergence.tables.categorical import FEATURE_COUNTS as TABLE
    from emergence_assets.features.tables.categorical import RULE_COUNTS

    parts = []
    for position, source in enumerate(sources):
        parts.append(read_table(Path(source["file"]), RULE_COUNTS).with_columns(key_literals(source)))
        report(position + 1, len(sources), "")
    frame = feature_counts(pl.concat(parts))
    write_cell(Path(path), frame, TABLE, required, {"rows": len(frame)})


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
        function = "emergence_assets.emergence.feature_cells:collect_features"
        work.append((Task(function, arguments, "categorical_features", on_accelerator=False), [cell]))
    return work


def collect_features(sources: list[dict[str, Any]], path: str, required: str, report: Any) -> None:
    """Worker: the categorical latents of a study, corrected over all its tests; cells are read one after the other."""
    import polars as pl

    from emergence_assets.emergence.categorical_features import categorical_features, study_p_values
    from emergence_assets.emergence.tables.categorical import CATEGORICAL_FEATURES as TABLE
    from emergence_assets.features.tables.categorical import CATEGORICAL_LATENTS
    from emergence_assets.features.tables.presence import PRESENCE_CELLS
    from emergence_assets.features.tables.statistics import LATENT_STATS

    def cells() -> Any:
        for position, source in enumerate(sources):
            yield read_table(Path(source["file"]), LATENT_STATS), source["n_tests"]
            report(position + 1, len(sources), "")

    p_values = study_p_values(cells())
    latents = [
        read_table(Path(source["latents"]), CATEGORICAL_LATENTS).with_columns(key_literals(source))
        for source in sources
    ]
    before = [
        read_table(Path(source["presence"]), PRESENCE_CELLS).drop("replicates").with_columns(key_literals(source))
        for source in sources
        if source["presence"]
    ]
    nothing = PRESENCE_CELLS.schema.to_frame().with_columns(model=pl.lit(""), layer=pl.lit(0, pl.Int16))
    step0 = (pl.concat(before) if before else nothing).filter(pl.col("control_id") == "none")
    frame = categorical_features(pl.concat(latents), step0, p_values)
    with_step0 = {source["model"] for source in sources if source["presence"]}
    found = {
        "rows": len(frame),
        "tests": p_values.n_tests,
        "lexical_share": frame["lexical_flag"].mean() or 0.0,
        "repeated_keys": int(frame.select(TABLE.key).is_duplicated().sum()),
        "not_compared": frame.filter(pl.col("model").is_in(with_step0))["excess_vs_step0"].null_count(),
        "q_below_p": int(((frame["q_global"] < frame["p_hyper"]) | (frame["q_global"] > 1)).sum()),
    }
    write_cell(Path(path), frame, TABLE, required, found)
