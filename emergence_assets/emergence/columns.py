"""Columns that tables of this stage share."""

import polars as pl

from resources.tables.table import Column

AXIS = Column(
    "axis",
    pl.String,
    "what lies between the two SAEs: a step, a layer, a model size, or an SAE seed",
    "name",
    one_of=("step", "layer", "size", "seed"),
)
PAIRING = Column(
    "pairing",
    pl.String,
    "other_seed is the measurement; same_seed shares its random start",
    "name",
    one_of=("other_seed", "same_seed"),
)
SRC_LAYER = Column("src_layer", pl.Int16, "layer of the source", "index", 0)
SRC_SAE_SEED = Column("src_sae_seed", pl.Int16, "SAE seed of the source", "seed", 0)
SRC_LATENT = Column("src_latent", pl.Int32, "latent of the source", "index", 0)
DST_LAYER = Column("dst_layer", pl.Int16, "layer of the target", "index", 0)
DST_SAE_SEED = Column("dst_sae_seed", pl.Int16, "SAE seed of the target", "seed", 0)
DST_LATENT = Column("dst_latent", pl.Int32, "latent of the target", "index", 0)
CORR_SCORE = Column("corr_score", pl.Float32, "the same on split score", "correlation", -1, 1)
N_JOINT = Column("n_joint", pl.Int32, "texts on which both are active", "texts", 0)
SAME_CATEGORY = Column(
    "same_category", pl.Boolean, "both stand for one category; null where one stands for none", "truth"
)
P_BOW = Column("p_bow", pl.Float32, "AUROC of a ridge probe on TF-IDF of the words, same split", "AUROC", 0, 1)
P_STEP0 = Column("p_step0", pl.Float32, "p_best of the same model, layer and control at step 0", "AUROC", 0, 1)
N_SEEDS = Column("n_seeds", pl.Int16, "SAE seeds behind the row", "seeds", 1)
N_BOOT = Column("n_boot", pl.Int32, "bootstrap replicates over texts", "replicates", 0)
DATA_VERSION = Column("data_version", pl.String, "hash of the cells behind the row", "hash")
STEP_LAST = Column("step_last", pl.Int32, "last checkpoint", "steps", 0)
PASSES_GATE = Column("passes_gate", pl.Boolean, "what the gates of the row's own table allow; no claim yet", "truth")
P_VALUE = Column("p_value", pl.Float64, "one-sided, of no effect", "probability", 0, 1)
P_SHUFFLE = Column("p_shuffle", pl.Float32, "p_best under permuted labels", "AUROC", 0, 1)
N_SEEDS_AGREE = Column(
    "n_seeds_agree", pl.Int16, "SAE seeds that show the sign: of the gain, or of a drop above 0", "seeds", 0
)
N_CATEGORIES = Column("n_categories", pl.Int32, "categories of the level", "categories", 1)
N_LAYERS_READ = Column("n_layers_read", pl.Int16, "layers behind the row", "layers", 0)
RISE = Column("rise", pl.Float32, "last minus first, paired over texts", "AUROC", -1, 1)
Q = Column("q", pl.Float64, "Benjamini-Hochberg over the categories of the level", "probability", 0, 1)
N_LATENTS = Column("n_latents", pl.Int32, "dictionary size", "latents", 1)
FVU = Column("fvu", pl.Float32, "fraction of variance unexplained, sum |x - xhat|^2 / sum |x - mean|^2", "ratio", 0, 1)
L0 = Column("l0", pl.Float32, "mean active latents per held-out token", "latents", 0)
