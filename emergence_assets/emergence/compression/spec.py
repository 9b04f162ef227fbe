"""The asset `compression_retention`, of studies that ask for it (`compression` in the study file)."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from emergence_assets.emergence.compression.table import COMPRESSION_RETENTION as TABLE
from emergence_assets.emergence.last_checkpoint import last_checkpoint_arguments
from emergence_assets.emergence.table_spec import table_spec
from emergence_assets.plan.cell import Cell
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.files.storage import Storage
from resources.tables.relation import Relation

_LOST = pl.col("mean_drop").abs() + (1 - pl.col("retention")) + (pl.col("fvu_ratio") - 1).abs()


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any] | None:
    if study.compression is None:
        return None
    return {
        "compression": study.compression.model_dump(),
        "probe_set": probe_recipe(study),
        "seeds": list(study.sae.seeds),
        "n_bootstrap": study.statistics.n_bootstrap,
        "seed": study.statistics.seed,
    }


COMPRESSION_RETENTION = table_spec(
    TABLE,
    ("checkpoint", "sae", "latent_stats"),
    "emergence_assets.emergence.compression.worker:compress_model",
    recipe=_recipe,
    arguments=last_checkpoint_arguments,
    relations=(
        Relation(
            "unchanged_models_lose_nothing",
            "The row of the model itself has no drop, retains every category and explains as much.",
            (pl.col("variant") != "none") | (_LOST <= 1e-6).fill_null(True),
        ),
    ),
    on_accelerator=True,
    wanted=lambda study: study.compression is not None,
)
