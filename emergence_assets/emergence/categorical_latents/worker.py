"""Worker of `categorical_features`: collect the categorical latents of a study."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.categorical_latents.categorical_features import categorical_features, study_p_values
from emergence_assets.features.table import LATENT_STATS, PRESENCE_CELLS
from emergence_assets.plan.table_worker import Made, read_cells
from resources.tables.parquet import parquet_provenance, read_table


def collect_features(categorical_latents: pl.DataFrame, cells: Sequence[Mapping[str, Any]], report: Any) -> Made:
    """Make the rows of `categorical_features`, with p-values corrected over all tests of the study.

    Args:
        categorical_latents: `categorical_latents` of all models, with key columns.
        cells: layers of all models, see `input_cells`; their statistics are read one after another.
        report: called with layers read, all layers, and a note.
    """

    def statistics() -> Iterator[tuple[pl.DataFrame, int]]:
        for position, cell in enumerate(cells):
            path = Path(cell["files"][LATENT_STATS.name])
            stored = parquet_provenance(path)
            yield read_table(path, LATENT_STATS), int(stored.summary["tests"]) if stored else 0
            report(position + 1, len(cells), "")

    p_values = study_p_values(statistics())
    untrained = [cell for cell in cells if cell["step"] == 0]
    nothing = PRESENCE_CELLS.schema.to_frame().with_columns(model=pl.lit(""), layer=pl.lit(0, pl.Int16))
    step0 = read_cells(untrained, PRESENCE_CELLS) if untrained else nothing
    frame = categorical_features(categorical_latents, step0.filter(pl.col("control_id") == "none"), p_values)
    with_step0 = {cell["model"] for cell in untrained}
    summary = {
        "tests": p_values.n_tests,
        "lexical_share": frame["lexical_flag"].mean() or 0.0,
        "not_compared": frame.filter(pl.col("model").is_in(with_step0))["excess_vs_step0"].null_count(),
        "q_below_p": int(((frame["q_global"] < frame["p_hyper"]) | (frame["q_global"] > 1)).sum()),
    }
    return Made(frame, summary)
