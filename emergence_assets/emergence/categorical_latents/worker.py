"""Workers that collect categorical latents over the cells of a model or a study."""

from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.categorical_latents.categorical_features import categorical_features, study_p_values
from emergence_assets.emergence.categorical_latents.counts import feature_counts
from emergence_assets.emergence.categorical_latents.table import CATEGORICAL_FEATURES as TABLE
from emergence_assets.emergence.table_worker import Made, key_literals
from emergence_assets.features.table import CATEGORICAL_LATENTS, LATENT_STATS, PRESENCE_CELLS, RULE_COUNTS
from resources.tables.parquet import read_table


def collect_counts(sources: list[dict[str, Any]], report: Any) -> pl.DataFrame:
    """Rows of `feature_counts` of one model."""
    parts = []
    for position, source in enumerate(sources):
        parts.append(read_table(Path(source["file"]), RULE_COUNTS).with_columns(key_literals(source)))
        report(position + 1, len(sources), "")
    return feature_counts(pl.concat(parts))


def collect_features(sources: list[dict[str, Any]], report: Any) -> Made:
    """Rows of `categorical_features`, corrected over all tests of the study; cells are read one after the other."""

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
    summary = {
        "tests": p_values.n_tests,
        "lexical_share": frame["lexical_flag"].mean() or 0.0,
        "repeated_keys": int(frame.select(TABLE.key).is_duplicated().sum()),
        "not_compared": frame.filter(pl.col("model").is_in(with_step0))["excess_vs_step0"].null_count(),
        "q_below_p": int(((frame["q_global"] < frame["p_hyper"]) | (frame["q_global"] > 1)).sum()),
    }
    return Made(frame, summary)
