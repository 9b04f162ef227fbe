"""Columns that the tables of this stage share with each other and with the emergence tables."""

import polars as pl

from emergence_assets.features.rules import RULES
from resources.tables.columns import auroc, choice, count, list_of, p_value, probability, ratio, string
from resources.tables.table import Column

TOP_EXAMPLE = pl.Struct({"text_id": pl.String, "activation": pl.Float32})
TPR = probability("tpr", "share of the category's texts on which the latent is active, split select")
LIFT = ratio("lift", "tpr / max(fpr, 1 / n), split select", 0)
P_HYPER = p_value("p_hyper", "hypergeometric upper tail of the number of active texts of the category")
Q_CELL = p_value("q_cell", "p_hyper corrected by Benjamini-Hochberg within the cell and level")
ENRICHMENT = (TPR, LIFT, P_HYPER, Q_CELL)
"""Frequency of a latent on the texts of its category against its frequency on others."""
N_CATEGORIES_PASSING = count(
    "n_categories_passing", "categories for which the latent passes the rule", "categories", 1, dtype=pl.Int16
)
STRENGTH = ratio("strength", "mean activation on the category over the norm of centred read-outs", 0)
LENGTH_CORR = Column(
    "length_corr", pl.Float32, "Spearman's correlation of activation and length of text", "correlation", -1, 1
)
WORD = string("word", "most over-represented word in the 50 texts with the largest activation")
WORD_EXCESS = Column(
    "word_excess", pl.Float32, "share of these texts with the word minus its share in all texts", "probability", -1, 1
)
ACTIVE_TEXTS = (STRENGTH, LENGTH_CORR.or_null, WORD, WORD_EXCESS)
"""Properties of the texts on which a latent is active, besides the category."""
AUROC_SCORE = auroc("auroc_score", "AUROC on split score, its interval by DeLong's variance")
TOP_EXAMPLES = list_of("top_examples", "texts with the largest activation, largest first", "activation", TOP_EXAMPLE)
N_PASSING = Column(
    "n_passing", pl.Float32, "latents that pass the rule for the category, those given to others included", "latents", 0
)
RULE_ID = choice("rule_id", "policy by which a latent counts as categorical", tuple(RULES))
DETECTION = (
    probability("precision", "share of the category among the texts on which the best latent is active, split score"),
    probability("recall", "share of the category's texts on which the best latent is active, split score"),
    probability("f1", "harmonic mean of precision and recall"),
    Column("mcc", pl.Float32, "Matthews' correlation of activity and category, split score", "correlation", -1, 1),
)
"""Properties of the best latent as a detector that says yes where it is active; means over SAE seeds."""
P_SELECT = auroc("p_select", "AUROC of the best latent on split select")
P_BEST = auroc("p_best", "AUROC on split score of the latent chosen on split select, mean over SAE seeds")
P_DENSE = auroc("p_dense", "AUROC of a ridge probe on the raw read-out, same split")
REPLICATES = list_of(
    "replicates", "bootstrap replicates of p_best over texts and SAE seeds, texts joint over cells", "AUROC"
)
REPLICATES_DENSE = list_of("replicates_dense", "bootstrap replicates of p_dense; null under shuffled labels", "AUROC")
CELL_CONTROL_ID = choice("control_id", "none is the measurement itself", ("none", "label_shuffle", "random_encoder"))
