"""Table of k-sparse probes."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from emergence_assets.features.columns import P_DENSE
from resources.tables.columns import auroc, choice, difference
from resources.tables.table import Column, Table

N_LATENTS_READ = Column("n_latents_read", pl.Int16, "latents that the probe reads", "latents", 1)
SPARSE_PRESENCE = Table(
    "sparse_presence",
    "One row per checkpoint at the ends of training, dictionary, category and number of latents: k-sparse probes.",
    (
        *keys.CELL,
        choice("control_id", "none: SAEs; random_encoder: random directions", ("none", "random_encoder")),
        keys.CATEGORY_LEVEL,
        keys.CATEGORY,
        N_LATENTS_READ,
        auroc("p_sparse", "AUROC on split score of a ridge probe on the latents best on split select, mean over seeds"),
        difference("gap", "p_dense - p_sparse: what the other dimensions of the read-out add"),
        P_DENSE,
        columns.N_SEEDS,
    ),
    ("model", "step", "layer", "control_id", "category_level", "category", "n_latents_read"),
)
