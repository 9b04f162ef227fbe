"""Table of what compressed models keep."""

import polars as pl

from emergence_assets.checkpoints.columns import (
    CATEGORY_LEVEL,
    CELL,
    CONTROL_ID,
    N_TEXTS,
)
from emergence_assets.emergence.columns import DATA_VERSION, N_BOOT, N_CATEGORIES, N_SEEDS
from resources.tables.table import Column, Table, with_interval

COMPRESSION_RETENTION = Table(
    "compression_retention",
    "One row per layer and changed version of a model's last checkpoint: what is left of its categories.",
    (
        *CELL,
        CATEGORY_LEVEL,
        Column(
            "variant",
            pl.String,
            "none is the model itself; int8, int4, prune50, or skip_l: block l is bypassed",
            "name",
        ),
        CONTROL_ID,
        Column(
            "changed_layer",
            pl.Int16,
            "the block that is bypassed; null where all are changed",
            "index",
            0,
            nullable=True,
        ),
        Column("bits", pl.Int16, "bits of a weight, where that was changed", "bits", 1, nullable=True),
        Column("density", pl.Float32, "share of the blocks' weights that are not zero", "ratio", 0, 1, nullable=True),
        Column(
            "relative_norm",
            pl.Float32,
            "norm of the change of the blocks' matrices over their norm",
            "ratio",
            0,
            nullable=True,
        ),
        N_CATEGORIES,
        N_TEXTS.or_null,
        Column(
            "p_model",
            pl.Float32,
            "mean over categories of the AUROC of the latents chosen on split select",
            "AUROC",
            0,
            1,
        ),
        Column("p_variant", pl.Float32, "the same of the same latents in the changed model", "AUROC", 0, 1),
        *with_interval(
            Column("mean_drop", pl.Float32, "p_model - p_variant, paired over texts", "AUROC", -1, 1), nullable=True
        ),
        Column(
            "retention", pl.Float32, "share of categories whose AUROC is not lower by .02 beyond doubt", "ratio", 0, 1
        ),
        Column("fvu_model", pl.Float32, "fvu of the read-outs, mean over SAE seeds", "ratio", 0, nullable=True),
        Column(
            "fvu_variant", pl.Float32, "the same of the changed model with the same SAEs", "ratio", 0, nullable=True
        ),
        Column("fvu_ratio", pl.Float32, "fvu_variant / fvu_model", "ratio", 0, nullable=True),
        Column("loss_model", pl.Float32, "next-token loss on the fixed text", "nats per token", 0, nullable=True),
        Column("loss_delta", pl.Float32, "loss of the changed model minus loss_model", "nats per token", nullable=True),
        N_SEEDS,
        N_BOOT,
        DATA_VERSION,
    ),
    ("model", "step", "layer", "category_level", "variant", "control_id"),
)
