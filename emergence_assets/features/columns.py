"""Columns that tables of this stage share, with each other and with the emergence tables."""

import polars as pl

from emergence_assets.checkpoints.columns import CATEGORY, CATEGORY_LEVEL
from emergence_assets.features.rules import RULES
from resources.tables.table import Column

TOP_EXAMPLE = pl.Struct({"text_id": pl.String, "activation": pl.Float32})
TPR = Column(
    "tpr", pl.Float32, "share of the category's texts on which it is active, split select", "probability", 0, 1
)
LIFT = Column("lift", pl.Float32, "tpr / max(fpr, 1 / n), split select", "ratio", 0)
P_HYPER = Column("p_hyper", pl.Float64, "hypergeometric upper tail", "probability", 0, 1)
Q_CELL = Column("q_cell", pl.Float64, "Benjamini-Hochberg within the cell and level", "probability", 0, 1)
N_CATEGORIES_PASSING = Column("n_categories_passing", pl.Int16, "categories for which it passes", "categories", 1)
STRENGTH = Column(
    "strength", pl.Float32, "mean activation on the category by the norm of centred read-outs", "ratio", 0
)
LENGTH_CORR = Column(
    "length_corr", pl.Float32, "Spearman's correlation of activation and length of text", "correlation", -1, 1
)
WORD = Column("word", pl.String, "most over-represented word in its 50 strongest texts", "name")
WORD_EXCESS = Column(
    "word_excess", pl.Float32, "share of these with the word, less its share in all texts", "probability", -1, 1
)
AUROC_SCORE = Column(
    "auroc_score", pl.Float32, "AUROC on split score, its interval by DeLong's variance", "AUROC", 0, 1
)
TOP_EXAMPLES = Column("top_examples", pl.List(TOP_EXAMPLE), "its strongest texts, strongest first", "activation")
N_PASSING = Column("n_passing", pl.Float32, "latents that pass for it, also for others", "latents", 0)
RULE_ID = Column("rule_id", pl.String, "policy by which a latent counts as categorical", "name", one_of=tuple(RULES))
P_SELECT = Column("p_select", pl.Float32, "AUROC of the best latent on split select", "AUROC", 0, 1)
P_BEST = Column(
    "p_best",
    pl.Float32,
    "AUROC on split score of the latent chosen on split select, mean over SAE seeds",
    "AUROC",
    0,
    1,
)
P_DENSE = Column("p_dense", pl.Float32, "AUROC of a ridge probe on the raw read-out, same split", "AUROC", 0, 1)
REPLICATES = Column(
    "replicates",
    pl.List(pl.Float32),
    "bootstrap replicates of p_best over texts and SAE seeds; texts joint over cells",
    "AUROC",
)
REPLICATES_DENSE = Column(
    "replicates_dense", pl.List(pl.Float32), "the same of p_dense; null under shuffled labels", "AUROC"
)
CELL_CONTROL_ID = Column(
    "control_id", pl.String, "none is the measurement itself", "name", one_of=("none", "label_shuffle")
)
CONTROL_ROWS = (CATEGORY_LEVEL, CATEGORY, P_SELECT, P_BEST, P_DENSE, REPLICATES.or_null)
"""Presence of one category under a control of the last step."""
