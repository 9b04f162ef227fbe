"""How well the best latent of a cell tells a category apart."""

import polars as pl

from emergence_assets.columns import CATEGORY, CATEGORY_LEVEL, N_CATEGORY, N_CATEGORY_SCORE, N_TEXTS, SAE_SEED
from emergence_assets.features.tables.columns import CELL_CONTROL_ID, REPLICATES_DENSE
from emergence_assets.table import Column, Table, with_interval

PRESENCE_CELLS = Table(
    "presence_cells",
    "One row per SAE seed, control, label level and category: how well the best latent of the cell tells it apart.",
    (
        CELL_CONTROL_ID,
        CATEGORY_LEVEL,
        CATEGORY,
        N_CATEGORY,
        N_TEXTS,
        N_CATEGORY_SCORE,
        Column("latent", pl.Int32, "the best latent, chosen on split select", "index", 0, nullable=True),
        Column("p_select", pl.Float32, "of the best latent on split select", "AUROC", 0, 1),
        *with_interval(Column("p_best", pl.Float32, "of the same latent on split score", "AUROC", 0, 1)),
        *with_interval(Column("p_dense", pl.Float32, "ridge probe on the raw read-out", "AUROC", 0, 1), nullable=True),
        Column("replicates", pl.List(pl.Float32), "bootstrap replicates of p_best, joint over cells", "AUROC"),
        REPLICATES_DENSE.or_null,
        SAE_SEED,
    ),
    ("sae_seed", "control_id", "category_level", "category"),
)
