"""Latents to look at: their names, words and tokens, and the texts on which they are active."""

import polars as pl

from emergence_assets.checkpoints import keys
from resources.tables.columns import choice, count, list_of, probability, string
from resources.tables.table import Column, Table

CONTROL_ID = choice("control_id", "none is an SAE, otherwise the first random encoder", ("none", "random_encoder"))
SEED = Column("sae_seed", keys.SAE_SEED.dtype, "seed of the SAE, or number of the random encoder", "seed", 0)
_ACTIVATION = "activation"

NAMED_LATENTS = Table(
    "named_latents",
    "One row per latent that a table names: the best of a category, or accepted by the study's rule.",
    (
        CONTROL_ID,
        SEED,
        keys.LATENT,
        string("name", "automatic: its most distinctive words, and the token that it raises most", "text"),
        list_of("best_of", "categories whose best latent it is, as level/category", "name", pl.String),
        list_of("accepted_for", "categories for which the rule accepts it, as level/category", "name", pl.String),
        probability("density", "share of the probe texts at whose read-out it is active"),
        count("n_active", "probe texts at whose read-out it is active", "texts"),
        Column("largest", pl.Float32, "largest activation at a read-out", _ACTIVATION, 0),
        list_of(
            "words", "words that set apart the texts on which it is active, most distinctive first", "text", pl.String
        ),
        list_of("words_z", "log-odds of each word over its standard deviation, with an informative prior", "ratio"),
        list_of(
            "raised",
            "tokens whose logit its decoder direction raises most; empty without a logit lens",
            "text",
            pl.String,
        ),
        list_of("raised_by", "logit of each of them, of a direction of unit length through the final norm", "logit"),
        list_of("lowered", "tokens whose logit its decoder direction lowers most", "text", pl.String),
        list_of("lowered_by", "logit of each of them", "logit"),
    ),
    ("control_id", "sae_seed", "latent"),
)
LATENT_EXAMPLES = Table(
    "latent_examples",
    "One row per named latent and example: a probe text with the activation of the latent at each token.",
    (
        CONTROL_ID,
        SEED,
        keys.LATENT,
        count("rank", "number of the example of the latent, from 0: the strongest first, then weaker ones", "index"),
        choice("kind", "the strongest texts, or a text at a quantile of the active ones", ("strongest", "quantile")),
        probability("quantile", "share of the active texts that are not stronger"),
        string("text_id", "name of the probe text"),
        Column("activation", pl.Float32, "activation at the read-out, the last token", _ACTIVATION, 0),
        list_of("tokens", "pieces of the text, the begin token first", "text", pl.String),
        list_of(
            "activations", "activation at each token; null at the begin token, which no SAE is trained on", _ACTIVATION
        ),
    ),
    ("control_id", "sae_seed", "latent", "rank"),
)
