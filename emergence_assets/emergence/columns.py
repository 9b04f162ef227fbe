"""Columns shared by tables of this stage."""

import polars as pl

from emergence_assets.checkpoints import keys
from resources.tables.columns import auroc, choice, count, difference, flag, layer, p_value, share, step, string
from resources.tables.table import Column

AXIS = choice(
    "axis", "what differs between the two SAEs: step, layer, model size, or SAE seed", ("step", "layer", "size", "seed")
)
PAIRING = choice(
    "pairing",
    "other_seed is the measurement; with same_seed both SAEs have the same random initialisation",
    ("other_seed", "same_seed"),
)
SOURCE = (
    layer("src_layer", "layer of the source"),
    Column("src_sae_seed", keys.SAE_SEED.dtype, "SAE seed of the source", "seed", 0),
    Column("src_latent", pl.Int32, "latent of the source", "index", 0),
)
"""Source latent of a match, in addition to model and step."""
TARGET = (
    layer("dst_layer", "layer of the target"),
    Column("dst_sae_seed", keys.SAE_SEED.dtype, "SAE seed of the target", "seed", 0),
    Column("dst_latent", pl.Int32, "latent of the target", "index", 0),
)
"""Target latent of a match, in addition to model and step."""
CORR_SCORE = Column("corr_score", pl.Float32, "correlation of activations on split score", "correlation", -1, 1)
N_JOINT = count("n_joint", "texts on which both latents are active", "texts")
SAME_CATEGORY = flag("same_category", "whether both latents have one category; null where one of them has none")
P_BOW = auroc("p_bow", "AUROC of a ridge probe on TF-IDF of the words, same split")
P_STEP0 = auroc("p_step0", "p_best of the same model, layer and control at step 0")
N_SEEDS = count("n_seeds", "SAE seeds, or random encoders, behind the row", "seeds", 1, dtype=pl.Int16)
N_BOOT = count("n_boot", "bootstrap replicates over texts", "replicates")
DATA_VERSION = string("data_version", "hash of the cells behind the row", "hash")
STEP_LAST = step("step_last", "last checkpoint")
PASSES_GATE = flag("passes_gate", "whether the row meets all criteria of its own table; not yet a claim")
P_VALUE = p_value("p_value", "one-sided, under the null hypothesis of no effect")
P_SHUFFLE = auroc("p_shuffle", "p_best under permuted labels")
N_SEEDS_AGREE = count(
    "n_seeds_agree", "SAE seeds whose late gain, or in `reactivation` whose drop, is above 0", "seeds", dtype=pl.Int16
)
N_CATEGORIES = count("n_categories", "categories of the level", "categories", 1)
N_LAYERS_READ = count("n_layers_read", "layers behind the row", "layers", dtype=pl.Int16)
RISE = difference("rise", "last minus first, paired over texts")
Q = p_value("q", "p-value corrected by Benjamini-Hochberg over the categories of the level")
N_LATENTS = count("n_latents", "dictionary size", "latents", 1)
FVU = share("fvu", "fraction of variance unexplained, sum |x - xhat|^2 / sum |x - mean|^2")
L0 = Column("l0", pl.Float32, "mean active latents per held-out token", "latents", 0)
