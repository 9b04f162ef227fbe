"""Columns that tables of several stages share. A column of one name means the same in every table."""

import polars as pl

from emergence_assets.study.controls import CONTROL_IDS
from resources.tables.table import Column

MODEL = Column("model", pl.String, "name of the model", "name")
N_PARAMS_NONEMB = Column("n_params_nonemb", pl.Int64, "parameters without embedding and unembedding", "parameters", 1)
STEP = Column("step", pl.Int32, "optimiser steps taken", "steps", 0)
TOKENS_SEEN = Column("tokens_seen", pl.Int64, "training tokens seen", "tokens", 0)
LAYER = Column("layer", pl.Int16, "block whose output is read, from 0; -1 is the embedding", "index", -1)
N_LAYERS = Column("n_layers", pl.Int16, "blocks of the model", "blocks", 1)
REL_DEPTH = Column("rel_depth", pl.Float32, "(layer + 1) / n_layers", "ratio", 0, 1)
CONTROL_ID = Column(
    "control_id", pl.String, "none is the measurement, anything else a control", "name", one_of=CONTROL_IDS
)
CATEGORY_LEVEL = Column("category_level", pl.String, "label level: subject, area, domain …", "name")
CATEGORY = Column(
    "category", pl.String, "what a label names; null where a row has none, such as a mean over categories", "name"
)
N_CATEGORY = Column("n_category", pl.Int32, "texts of the category", "texts", 1)
N_TEXTS = Column("n_texts", pl.Int32, "texts with a label at this level", "texts", 1)
N_CATEGORY_SCORE = Column("n_category_score", pl.Int32, "texts of the category on split score", "texts", 1)
AGGREGATE = Column(
    "aggregate",
    pl.String,
    "none, or mean or sum over the categories of the level",
    "name",
    one_of=("none", "mean", "sum"),
)
SAE_SEED = Column("sae_seed", pl.Int16, "seed of the SAE", "seed", 0)
LATENT = Column("latent", pl.Int32, "index of the latent", "index", 0)
CELL = (MODEL, N_PARAMS_NONEMB, STEP, TOKENS_SEEN, LAYER, N_LAYERS, REL_DEPTH)
"""Which layer of which checkpoint a row is about."""
