"""Table of the retention of categories in compressed models."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from resources.tables.columns import auroc, difference, layer, ratio, share, string
from resources.tables.table import Column, Table, with_interval

COMPRESSION_RETENTION = Table(
    "compression_retention",
    "One row per layer and changed version of a model's last checkpoint: what is left of its categories.",
    (
        *keys.CELL,
        keys.CATEGORY_LEVEL,
        string("variant", "none is the model itself; int8, int4, prune50, or skip_l: block l is bypassed"),
        keys.CONTROL_ID,
        layer("changed_layer", "the block that is bypassed; null where all are changed").or_null,
        Column("bits", pl.Int16, "bits of a weight, where they are reduced", "bits", 1).or_null,
        share("density", "share of the blocks' weights that are not zero").or_null,
        ratio("relative_norm", "norm of the change of the blocks' matrices over their norm", 0).or_null,
        columns.N_CATEGORIES,
        keys.N_TEXTS.or_null,
        auroc("p_model", "AUROC of the latents chosen on split select, mean over categories"),
        auroc("p_variant", "AUROC of the same latents in the changed model, mean over categories"),
        *with_interval(difference("mean_drop", "p_model - p_variant, paired over texts"), nullable=True),
        share("retention", "share of categories whose AUROC drops by less than 0.02 at the upper 95 % bound"),
        ratio("fvu_model", "fvu of the read-outs, mean over SAE seeds", 0).or_null,
        ratio("fvu_variant", "fvu of the changed model's read-outs with the same SAEs", 0).or_null,
        ratio("fvu_ratio", "fvu_variant / fvu_model", 0).or_null,
        Column("loss_model", pl.Float32, "next-token loss on the fixed text", "nats per token", 0).or_null,
        Column("loss_delta", pl.Float32, "loss of the changed model minus loss_model", "nats per token").or_null,
        columns.N_SEEDS,
        columns.N_BOOT,
        columns.DATA_VERSION,
    ),
    ("model", "step", "layer", "category_level", "variant", "control_id"),
)
