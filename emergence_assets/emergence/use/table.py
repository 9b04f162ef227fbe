"""Table of the use of latents by the model."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from resources.tables.columns import choice, count, p_value, share
from resources.tables.table import Column, Table, with_interval


def _nats(name: str, description: str) -> Column:
    return Column(name, pl.Float32, description, "nats per token")


FEATURE_USE = Table(
    "feature_use",
    "One row per category that rises (and their mean per level) at the last step: the loss without its best latent.",
    (
        keys.MODEL,
        keys.N_PARAMS_NONEMB,
        keys.STEP,
        keys.TOKENS_SEEN,
        keys.LAYER,
        keys.N_LAYERS,
        choice("aggregate", "none: a category; mean: mean over the categories of the level", ("none", "mean")),
        keys.CATEGORY_LEVEL,
        keys.CATEGORY.or_null,
        count("n_categories", "categories behind the row", "categories", 1),
        count("n_texts", "texts of the category, split score", "texts", 1),
        count("n_other_texts", "texts of other categories, split score", "texts", 1),
        Column("loss", pl.Float32, "loss of the unchanged model on the texts of the category", "nats per token", 0),
        share("active", "share of the positions in texts of the category on which the latent is active"),
        share("active_other", "share of the positions in texts of other categories on which the latent is active"),
        share("active_control", "active, for the control latents"),
        *with_interval(_nats("rise_own", "rise of the loss on texts of the category without the best latent")),
        *with_interval(_nats("rise_other", "rise of the loss on texts of other categories without the best latent")),
        *with_interval(_nats("use", "rise_own - rise_other")),
        *with_interval(
            _nats("use_control", "use of other latents that remove as much from the category's texts").or_null
        ),
        *with_interval(_nats("use_random", "use of the best latents of random encoders").or_null),
        *with_interval(_nats("above_control", "use - use_control").or_null),
        *with_interval(_nats("above_random", "use - use_random").or_null),
        p_value(
            "p_value", "one-sided, largest of three: use, above_control and above_random are not above zero"
        ).or_null,
        columns.Q.or_null,
        columns.N_SEEDS,
        count("n_seeds_agree", "SAE seeds with above_control above 0", "seeds", dtype=pl.Int16),
        columns.N_BOOT,
        columns.DATA_VERSION,
    ),
    ("model", "aggregate", "category_level", "category"),
)
