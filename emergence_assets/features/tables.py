"""The tables of this stage: what their columns mean, their units and ranges."""

from typing import Any

from emergence_assets.features.rules import RULES
from emergence_assets.features.schema import (
    CATEGORICAL_LATENTS_SCHEMA,
    LATENT_STATS_SCHEMA,
    PRESENCE_CELL_SCHEMA,
    RULE_COUNTS_SCHEMA,
    SAE_SEED,
)
from resources.tables import Column, Ordered, Table

_TYPES: dict[str, Any] = (
    LATENT_STATS_SCHEMA | PRESENCE_CELL_SCHEMA | CATEGORICAL_LATENTS_SCHEMA | RULE_COUNTS_SCHEMA | SAE_SEED
)


def _column(name: str, *described: Any, **more: Any) -> Column:
    """A column whose type stands in the schema; a column of one name has one type in all tables."""
    return Column(name, _TYPES[name], *described, **more)


_LEVEL = _column("category_level", "label level: subject, area, domain …", "name")
_CATEGORY = _column("category", "what a label names", "name")
_SEED = _column("sae_seed", "seed of the SAE", "seed", 0)


def auroc(name: str, description: str, nullable: bool = True) -> Column:
    """A column of areas under the ROC curve; 0.5 is chance."""
    return _column(name, description, "AUROC", 0, 1, nullable=nullable)


LATENT_STATS = Table(
    "latent_stats",
    "One row per SAE seed, label level, latent and category with at least three active texts of the category.",
    (
        _LEVEL,
        _column("latent", "index of the latent", "index", 0),
        _CATEGORY,
        _column("n_category", "texts of the category", "texts", 1),
        _column("n_texts", "texts with a label at this level", "texts", 1),
        _column("n_category_select", "of these on split select", "texts", 0),
        _column("n_texts_select", "texts with a label on split select", "texts", 1),
        _column("k_c", "active texts of the category on split select", "texts", 3),
        _column("k", "active texts on split select", "texts", 3),
        _column("tpr", "share of the category's texts on which the latent is active", "probability", 0, 1),
        _column("fpr", "share of other texts on which it is active", "probability", 0, 1),
        _column("purity", "k_c / k", "probability", 0, 1),
        _column("lift", "tpr / max(fpr, 1 / n)", "ratio", 0),
        _column("p_hyper", "hypergeometric upper tail", "probability", 0, 1),
        _column("q_cell", "Benjamini-Hochberg within the cell and level", "probability", 0, 1),
        _column("mi_bits", "mutual information of active and category", "bit", -1e-6),
        _column("mean_act_category", "mean activation on the category, zeros included", "activation", 0),
        _column("mean_act_other", "mean activation on other texts", "activation", 0),
        auroc("auroc_select", "on split select"),
        _column("k_c_score", "active texts of the category on split score", "texts", 0),
        _column("lift_score", "lift on split score", "ratio", 0),
        auroc("auroc_score", "on split score"),
        auroc("auroc_score_lo", "lower end of DeLong's 95 % interval"),
        auroc("auroc_score_hi", "upper end of DeLong's 95 % interval"),
        *(
            _column(rule_id, f"whether this rule accepts the pair: {rule.description}", "truth")
            for rule_id, rule in RULES.items()
        ),
        _column("rule_id", "rule of the study", "name"),
        _column("passes", "whether that rule accepts the pair", "truth"),
        _SEED,
    ),
    ("sae_seed", "category_level", "latent", "category"),
    (Ordered(("auroc_score_lo", "auroc_score", "auroc_score_hi")), Ordered(("k_c", "k"))),
)

PRESENCE_CELLS = Table(
    "presence_cells",
    "One row per SAE seed, control, label level and category: how well the best latent of the cell tells it apart.",
    (
        _column("control_id", "none is the measurement itself", "name", one_of=("none", "label_shuffle")),
        _LEVEL,
        _CATEGORY,
        _column("n_category", "texts of the category", "texts", 1),
        _column("n_texts", "texts with a label at this level", "texts", 1),
        _column("n_category_score", "texts of the category on split score", "texts", 1),
        _column("latent", "the best latent, chosen on split select", "index", 0, nullable=True),
        auroc("p_select", "of the best latent on split select", nullable=False),
        auroc("p_best", "of the same latent on split score", nullable=False),
        auroc("p_best_lo", "lower end of the 95 % interval", nullable=False),
        auroc("p_best_hi", "upper end of the 95 % interval", nullable=False),
        auroc("p_dense", "ridge probe on the raw read-out", nullable=False),
        auroc("p_dense_lo", "lower end of the 95 % interval"),
        auroc("p_dense_hi", "upper end of the 95 % interval"),
        _column("replicates", "bootstrap replicates of p_best, joint over cells", "AUROC"),
        _column("replicates_dense", "the same of p_dense; null under shuffled labels", "AUROC", nullable=True),
        _SEED,
    ),
    ("sae_seed", "control_id", "category_level", "category"),
    (Ordered(("p_best_lo", "p_best_hi")),),
)

RULE_COUNTS = Table(
    "rule_counts",
    "One row per SAE seed, rule, control, label level and category: how many latents count as categorical.",
    (
        _column("rule_id", "policy by which a latent counts as categorical", "name", one_of=tuple(RULES)),
        _column("control_id", "none is the measurement itself", "name", one_of=("none", "label_shuffle")),
        _LEVEL,
        _CATEGORY,
        _column("n_features", "latents whose category this is; a mean under permuted labels", "latents", 0),
        _column("n_passing", "latents that pass for it, also for others", "latents", 0),
        _column("n_live", "latents active on any text with a label at the level", "latents", 0),
        _SEED,
    ),
    ("sae_seed", "rule_id", "control_id", "category_level", "category"),
    (Ordered(("n_features", "n_passing")),),
)

CATEGORICAL_LATENTS = Table(
    "categorical_latents",
    "One row per SAE seed, label level and latent that the study's rule accepts, with the category it is given.",
    (
        _LEVEL,
        _column("latent", "index of the latent", "index", 0),
        _CATEGORY,
        _column("n_categories_passing", "categories for which it passes", "categories", 1),
        _column("tpr", "share of the category's texts on which it is active, split select", "probability", 0, 1),
        _column("lift", "tpr / max(fpr, 1 / n), split select", "ratio", 0),
        _column("p_hyper", "hypergeometric upper tail", "probability", 0, 1),
        _column("q_cell", "Benjamini-Hochberg within the cell and level", "probability", 0, 1),
        auroc("auroc_score", "on split score"),
        auroc("auroc_score_lo", "lower end of DeLong's 95 % interval"),
        auroc("auroc_score_hi", "upper end of DeLong's 95 % interval"),
        _column("strength", "mean activation on the category by the norm of centred read-outs", "ratio", 0),
        _column(
            "length_corr",
            "Spearman's correlation of activation and length of text",
            "correlation",
            -1,
            1,
            nullable=True,
        ),
        _column("word", "most over-represented word in its 50 strongest texts", "name"),
        _column("word_excess", "share of these with the word, less its share in all texts", "probability", -1, 1),
        _column("top_examples", "its strongest texts, strongest first", "activation"),
        _SEED,
    ),
    ("sae_seed", "category_level", "latent"),
    (Ordered(("auroc_score_lo", "auroc_score", "auroc_score_hi")),),
)
