"""Asset `compression_retention`, for studies with the section `compression` in the study file."""

import polars as pl

from emergence_assets.emergence.compression.table import COMPRESSION_RETENTION as TABLE
from emergence_assets.emergence.origins import origins
from emergence_assets.features.spec import sections
from emergence_assets.plan.table_spec import table_spec
from resources.tables.relation import Relation

_LOST = pl.col("mean_drop").abs() + (1 - pl.col("retention")) + (pl.col("fvu_ratio") - 1).abs()

COMPRESSION_RETENTION = table_spec(
    TABLE,
    ("checkpoint", "sae", "latent_stats"),
    "emergence_assets.emergence.compression.worker:compress_model",
    recipe=sections("compression", "probe_set", "sae", "statistics"),
    arguments=origins,
    relations=(
        Relation(
            "unchanged_models_lose_nothing",
            "The row of the unchanged model has no drop, retains every category and has an FVU ratio of 1.",
            (pl.col("variant") != "none") | (_LOST <= 1e-6).fill_null(True),
        ),
    ),
    on_accelerator=True,
    wanted=lambda study: study.compression is not None,
)
