"""Columns that identify rows in tables of several stages. A column name has the same meaning in every table."""

import polars as pl

from emergence_assets.study.controls import CONTROL_IDS
from resources.tables.columns import choice, count, layer, share, step, string
from resources.tables.table import Column

MODEL = string("model", "name of the model")
N_PARAMS_NONEMB = count(
    "n_params_nonemb", "parameters without embedding and unembedding", "parameters", 1, dtype=pl.Int64
)
STEP = step("step", "optimiser steps taken")
TOKENS_SEEN = count("tokens_seen", "training tokens seen", "tokens", dtype=pl.Int64)
CHECKPOINT = (MODEL, N_PARAMS_NONEMB, STEP, TOKENS_SEEN)
"""Checkpoint of a row."""
LAYER = layer("layer", "block whose output is read, from 0; -1 is the embedding", -1)
N_LAYERS = count("n_layers", "blocks of the model", "blocks", 1, dtype=pl.Int16)
REL_DEPTH = share("rel_depth", "relative depth of the layer: (layer + 1) / n_layers")
CELL = (*CHECKPOINT, LAYER, N_LAYERS, REL_DEPTH)
"""Checkpoint and layer of a row."""
CONTROL_ID = choice("control_id", "none is the measurement, every other value a control", CONTROL_IDS)
AGGREGATE = choice("aggregate", "none, or mean or sum over the categories of the level", ("none", "mean", "sum"))
CATEGORY_LEVEL = string("category_level", "level of the label: subject, area, domain …")
CATEGORY = string("category", "category; null in rows without a category, such as a mean over categories")
SERIES = (CONTROL_ID, AGGREGATE, CATEGORY_LEVEL, CATEGORY.or_null)
"""Control of a row, and its category or aggregate over the categories of a level."""
N_CATEGORY = count("n_category", "texts of the category", "texts", 1)
N_TEXTS = count("n_texts", "texts with a label at this level", "texts", 1)
N_CATEGORY_SCORE = count("n_category_score", "texts of the category on split score", "texts", 1)
SAE_SEED = Column("sae_seed", pl.Int32, "seed of the SAE", "seed", 0)
LATENT = Column("latent", pl.Int32, "index of the latent", "index", 0)
