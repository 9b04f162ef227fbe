"""The tables of this stage: what their columns mean, their units and ranges."""

import polars as pl

from resources.tables import Column, Ordered, Table

_LEVEL = Column("category_level", pl.String, "label level: subject, area, domain …", "name")
_CATEGORY = Column("category", pl.String, "what a label names", "name")
_SEED = Column("sae_seed", pl.Int16, "seed of the SAE", "seed", 0)


def auroc(name: str, description: str, nullable: bool = True) -> Column:
    """A column of areas under the ROC curve; 0.5 is chance."""
    return Column(name, pl.Float32, description, "AUROC", 0, 1, nullable=nullable)


LATENT_STATS = Table(
    "latent_stats",
    "One row per SAE seed, label level, latent and category with at least three active texts of the category.",
    (
        _LEVEL,
        Column("latent", pl.Int32, "index of the latent", "index", 0),
        _CATEGORY,
        Column("n_category", pl.Int32, "texts of the category", "texts", 1),
        Column("n_texts", pl.Int32, "texts with a label at this level", "texts", 1),
        Column("n_category_select", pl.Int32, "of these on split select", "texts", 0),
        Column("n_texts_select", pl.Int32, "texts with a label on split select", "texts", 1),
        Column("k_c", pl.Int32, "active texts of the category on split select", "texts", 3),
        Column("k", pl.Int32, "active texts on split select", "texts", 3),
        Column("tpr", pl.Float32, "share of the category's texts on which the latent is active", "probability", 0, 1),
        Column("fpr", pl.Float32, "share of other texts on which it is active", "probability", 0, 1),
        Column("purity", pl.Float32, "k_c / k", "probability", 0, 1),
        Column("lift", pl.Float32, "tpr / max(fpr, 1 / n)", "ratio", 0),
        Column("p_hyper", pl.Float64, "hypergeometric upper tail", "probability", 0, 1),
        Column("q_cell", pl.Float64, "Benjamini-Hochberg within the cell and level", "probability", 0, 1),
        Column("mi_bits", pl.Float32, "mutual information of active and category", "bit", -1e-6),
        Column("mean_act_category", pl.Float32, "mean activation on the category, zeros included", "activation", 0),
        Column("mean_act_other", pl.Float32, "mean activation on other texts", "activation", 0),
        auroc("auroc_select", "on split select"),
        Column("k_c_score", pl.Int32, "active texts of the category on split score", "texts", 0),
        Column("lift_score", pl.Float32, "lift on split score", "ratio", 0),
        auroc("auroc_score", "on split score"),
        auroc("auroc_score_lo", "lower end of DeLong's 95 % interval"),
        auroc("auroc_score_hi", "upper end of DeLong's 95 % interval"),
        Column("rule_id", pl.String, "policy by which a latent counts as categorical", "name"),
        Column("passes", pl.Boolean, "whether the policy accepts the pair", "truth"),
        _SEED,
    ),
    ("sae_seed", "category_level", "latent", "category"),
    (Ordered(("auroc_score_lo", "auroc_score", "auroc_score_hi")), Ordered(("k_c", "k"))),
)

PRESENCE_CELLS = Table(
    "presence_cells",
    "One row per SAE seed, control, label level and category: how well the best latent of the cell tells it apart.",
    (
        Column("control_id", pl.String, "none is the measurement itself", "name", one_of=("none", "label_shuffle")),
        _LEVEL,
        _CATEGORY,
        Column("n_category", pl.Int32, "texts of the category", "texts", 1),
        Column("n_texts", pl.Int32, "texts with a label at this level", "texts", 1),
        Column("n_category_score", pl.Int32, "texts of the category on split score", "texts", 1),
        Column("latent", pl.Int32, "the best latent, chosen on split select", "index", 0, nullable=True),
        auroc("p_select", "of the best latent on split select", nullable=False),
        auroc("p_best", "of the same latent on split score", nullable=False),
        auroc("p_best_lo", "lower end of the 95 % interval", nullable=False),
        auroc("p_best_hi", "upper end of the 95 % interval", nullable=False),
        auroc("p_dense", "ridge probe on the raw read-out", nullable=False),
        auroc("p_dense_lo", "lower end of the 95 % interval"),
        auroc("p_dense_hi", "upper end of the 95 % interval"),
        Column("replicates", pl.List(pl.Float32), "bootstrap replicates of p_best, joint over cells", "AUROC"),
        _SEED,
    ),
    ("sae_seed", "control_id", "category_level", "category"),
    (Ordered(("p_best_lo", "p_best_hi")),),
)
