"""The tables of this stage: columns, units and ranges. A column of one name means the same in every table."""

from collections.abc import Mapping
from typing import Any

from emergence_assets.emergence.schema import (
    CATEGORICAL_FEATURES_SCHEMA,
    COUNTS_SCHEMA,
    HEADLINE_SCHEMA,
    PRESENCE_SCHEMA,
    REACTIVATION_SCHEMA,
    SAE_METRICS_SCHEMA,
    SCALE_SCHEMA,
    SPACE_SCHEMA,
    TIME_SCHEMA,
)
from emergence_assets.features.rules import RULES
from resources.tables import Column, Ordered, Table

# name: (what it is, unit, least, greatest)
_DESCRIBED: dict[str, tuple[str, str, float | None, float | None]] = {
    "model": ("name of the model", "name", None, None),
    "n_params_nonemb": ("parameters without embedding and unembedding", "parameters", 1, None),
    "step": ("optimiser steps taken", "steps", 0, None),
    "tokens_seen": ("training tokens seen", "tokens", 0, None),
    "layer": ("block whose output is read, from 0; -1 is the embedding", "index", -1, None),
    "n_layers": ("blocks of the model", "blocks", 1, None),
    "rel_depth": ("(layer + 1) / n_layers", "ratio", 0, 1),
    "control_id": ("none is the measurement, anything else a control", "name", None, None),
    "aggregate": ("none, or mean or sum over the categories of the level", "name", None, None),
    "category_level": ("label level", "name", None, None),
    "category": ("what a label names; null in means over categories", "name", None, None),
    "sae_seed": ("seed of the SAE", "seed", 0, None),
    "n_category": ("texts of the category", "texts", 1, None),
    "n_texts": ("texts with a label at this level", "texts", 1, None),
    "n_category_score": ("texts of the category on split score", "texts", 1, None),
    "p_select": ("AUROC of the best latent on split select", "AUROC", 0, 1),
    "p_best": ("AUROC on split score of the latent chosen on split select, mean over SAE seeds", "AUROC", 0, 1),
    "p_dense": ("AUROC of a ridge probe on the raw read-out, same split", "AUROC", 0, 1),
    "p_bow": ("AUROC of a ridge probe on TF-IDF of the words, same split", "AUROC", 0, 1),
    "p_step0": ("p_best of the same model, layer and control at step 0", "AUROC", 0, 1),
    "p_shuffle": ("p_best under permuted labels", "AUROC", 0, 1),
    "gain": ("p_best - p_step0, paired over texts", "AUROC", -1, 1),
    "excess": ("gain / (1 - p_step0): share of the possible gain", "ratio", None, 1),
    "alloc_gap": ("p_dense - p_best: what the SAE does not show", "AUROC", -1, 1),
    "trivially_lexical": ("p_step0 >= 0.98", "truth", None, None),
    "n_seeds": ("SAE seeds behind the row", "seeds", 1, None),
    "n_boot": ("bootstrap replicates over texts", "replicates", 0, None),
    "data_version": ("hash of the cells behind the row", "hash", None, None),
    "p_best_seeds": ("p_best of every SAE seed", "AUROC", None, None),
    "replicates": ("bootstrap replicates of p_best, joint over cells", "AUROC", None, None),
    "replicates_dense": ("the same of p_dense; null under shuffled labels", "AUROC", None, None),
    "layer_choice": ("each layer, or again the best one chosen on split select", "name", None, None),
    "metric": ("what is followed", "name", None, None),
    "n_steps": ("checkpoints", "checkpoints", 1, None),
    "step_last": ("last checkpoint", "steps", 0, None),
    "step_first": ("first checkpoint", "steps", 0, None),
    "base": ("value at step 0", "AUROC", 0, 1),
    "p_end": ("value at the last checkpoint", "AUROC", 0, 1),
    "amp": ("p_end - base", "AUROC", -1, 1),
    "onset_step": ("first checkpoint from which on the gain holds", "steps", 0, None),
    "onset_tokens": ("training tokens at the onset", "tokens", 0, None),
    "n_confirming": ("later checkpoints at which it holds", "checkpoints", 0, None),
    "grid_lo_step": ("checkpoint before the onset", "steps", 0, None),
    "grid_hi_step": ("checkpoint of the onset", "steps", 0, None),
    "half_step": ("step of half the rise, between checkpoints", "steps", 0, None),
    "rise_rate": ("slope at the half step", "AUROC per decade of steps", None, None),
    "censor": ("left: there before training; right: not seen to its end", "name", None, None),
    "stabil_step": ("first checkpoint from which on p_best stays near its end", "steps", 0, None),
    "emerged": ("an onset that survives the false discovery rate", "truth", None, None),
    "p_value": ("one-sided, of no effect", "probability", 0, 1),
    "q_emerged": ("Benjamini-Hochberg over layers and categories", "probability", 0, 1),
    "peak_layer": ("layer with the largest gain", "index", -1, None),
    "peak_depth": ("its relative depth", "ratio", 0, 1),
    "onset_depth": (
        "relative depth of the first layer with half of the largest gain, its lower bound above 0",
        "ratio",
        0,
        1,
    ),
    "com_depth": ("centre of mass of the positive gains", "ratio", 0, 1),
    "width": ("share of layers above half the largest gain", "ratio", 0, 1),
    "n_modes": ("humps of the gain that are apart by more than 0.05 and the noise", "humps", 0, None),
    "dip_p": ("of no more than one hump", "probability", 0, 1),
    "embed_presence": ("p_best of the embedding", "AUROC", 0, 1),
    "max_gain": ("largest gain over layers", "AUROC", -1, 1),
    "best_layer": ("layer chosen on split select", "index", -1, None),
    "best_gain": ("gain of that layer", "AUROC", -1, 1),
    "layers": ("layers of the profiles", "index", None, None),
    "profile": ("p_best by layer", "AUROC", None, None),
    "profile_step0": ("p_step0 by layer", "AUROC", None, None),
    "profile_dense": ("p_dense by layer", "AUROC", None, None),
    "level": ("what a row is about: a category, all its latents together", "name", None, None),
    "early": ("mean gain over the first third of the depth", "AUROC", -1, 1),
    "mid": ("mean gain over the second third", "AUROC", -1, 1),
    "late": ("mean gain over the last third", "AUROC", -1, 1),
    "drop": ("min(early, late) - mid", "AUROC", -2, 2),
    "ri": ("reactivation index: drop / min(early, late); null where that is below 0.05", "ratio", None, None),
    "drop_quarters": ("drop with the middle from a quarter to a half of the depth", "AUROC", -2, 2),
    "drop_presence": ("drop of p_best, without step 0", "AUROC", -1, 1),
    "dense_drop": ("drop of p_dense, without step 0", "AUROC", -1, 1),
    "valley_depth": ("relative depth of the deepest valley of the smoothed gain", "ratio", 0, 1),
    "perm_p": ("of so deep a valley among layers in any order", "probability", 0, 1),
    "q": ("Benjamini-Hochberg over the categories of the level", "probability", 0, 1),
    "n_seeds_agree": ("SAE seeds whose own drop is above 0", "seeds", 0, None),
    "gate_layers": ("at least 6 layers were read", "truth", None, None),
    "gate_drop": ("drop >= 0.05", "truth", None, None),
    "gate_interval": ("drop_lo > 0", "truth", None, None),
    "gate_fdr": ("q < 0.05", "truth", None, None),
    "gate_seeds": ("two or more SAE seeds, two thirds of which agree", "truth", None, None),
    "gate_presence": ("drop_presence >= 0.05 and drop_presence_lo > 0", "truth", None, None),
    "passes_gate": ("all gates, and ri is defined", "truth", None, None),
    "n_sizes": ("models compared", "models", 1, None),
    "rise": ("last minus first, paired over texts", "AUROC", -1, 1),
    "slope_dec": ("slope against log10 of n_params_nonemb", "AUROC per decade of parameters", None, None),
    "n_lo": ("largest size clearly below the middle of the rise", "parameters", 1, None),
    "n_hi": ("smallest size clearly above it", "parameters", 1, None),
    "jump_share": ("largest single step as a share of the rise", "ratio", None, None),
    "verdict": ("what may be said of a threshold in size", "name", None, None),
    "size_points": ("the points behind the row, a size each", "AUROC", None, None),
    "n_categories": ("categories of the level", "categories", 1, None),
    "n_layers_read": ("layers behind the row", "layers", 0, None),
    "p_first": ("mean p_best at the first checkpoint", "AUROC", 0, 1),
    "p_last": ("mean p_best at the last checkpoint", "AUROC", 0, 1),
    "n_strong_first": (
        "categories with p_best >= 0.75 at the first checkpoint, mean over layers",
        "categories",
        0,
        None,
    ),
    "n_strong_last": ("the same at the last checkpoint", "categories", 0, None),
    "p_dense_first": ("mean p_dense at the first checkpoint", "AUROC", 0, 1),
    "p_dense_last": ("mean p_dense at the last checkpoint", "AUROC", 0, 1),
    "p_shuffle_min": ("smallest cell mean under permuted labels", "AUROC", 0, 1),
    "p_shuffle_max": ("largest cell mean under permuted labels", "AUROC", 0, 1),
    "d_model": ("width of the residual stream", "dimensions", 1, None),
    "n_latents": ("dictionary size", "latents", 1, None),
    "expansion": ("n_latents / d_model", "ratio", 0, None),
    "arch": ("activation function of the SAE", "name", None, None),
    "k": ("active latents per token by design", "latents", 1, None),
    "train_tokens": ("tokens the SAE was trained on, repeats counted", "tokens", 1, None),
    "n_eval_tokens": ("held-out tokens behind the metrics", "tokens", 1, None),
    "final_loss": ("FVU of the last training batches", "ratio", 0, None),
    "fvu": ("fraction of variance unexplained, sum |x - xhat|^2 / sum |x - mean|^2", "ratio", 0, 1),
    "explained_variance": ("1 - fvu", "ratio", 0, 1),
    "l0": ("mean active latents per held-out token", "latents", 0, None),
    "dead_frac": ("share of latents active on no token of the training window", "ratio", 0, 1),
    "eval_dead_frac": ("share of latents active on no held-out token", "ratio", 0, 1),
    "dense_frac": ("share of latents active on more than a tenth of the held-out tokens", "ratio", 0, 1),
    "cosine": ("mean cosine of input and reconstruction", "cosine", -1, 1),
    "norm_scale": ("root mean square of the centred input", "activation", 0, None),
    "start": (
        "what training began with: cold is random directions, warm the SAE of the step before",
        "name",
        None,
        None,
    ),
    "shared_frac": (
        "share of firing latents with a mutual nearest neighbour at cosine .7 in another seed",
        "ratio",
        0,
        1,
    ),
    "kl_recovered": ("1 - KL(model, with reconstruction) / KL(model, with mean activation)", "ratio", None, 1),
    "loss_recovered": ("(L_mean - L_sae) / (L_mean - L); null where no token follows", "ratio", None, None),
    "fidelity_tokens": ("replaced positions behind the two", "tokens", 0, None),
    "cold_fvu": ("fvu of a cold control of a warm start", "ratio", 0, 1),
    "tokens_to_cold_fvu": (
        "tokens after which the warm start was as good as its control at the end",
        "tokens",
        0,
        None,
    ),
    "kept_warm_frac": ("share of the latents before that the warm start still has", "ratio", 0, 1),
    "kept_cold_frac": ("the same of its control: what is not inertia", "ratio", 0, 1),
}
_DESCRIBED |= {
    "rule_id": ("policy by which a latent counts as categorical", "name", None, None),
    "n_features": ("latents that are given the category, mean over SAE seeds", "latents", 0, None),
    "n_passing": ("latents that pass for it, also for others", "latents", 0, None),
    "n_shuffle": ("n_features under permuted labels", "latents", 0, None),
    "n_excess": ("n_features less that of step 0", "latents", None, None),
    "per_1k_live": ("n_features per thousand live latents", "latents per 1000", 0, None),
    "n_live": ("latents active on any probe text", "latents", 0, None),
    "latent": ("index of the latent", "index", 0, None),
    "n_categories_passing": ("categories for which it passes", "categories", 1, None),
    "auroc_score": ("on split score", "AUROC", 0, 1),
    "excess_vs_step0": (
        "auroc_score less that of the best latent of step 0 for the category, same layer and SAE seed",
        "AUROC",
        -1,
        1,
    ),
    "tpr": ("share of the category's texts on which it is active, split select", "probability", 0, 1),
    "lift": ("tpr / max(fpr, 1 / n), split select", "ratio", 0, None),
    "p_hyper": ("hypergeometric upper tail", "probability", 0, 1),
    "q_cell": ("Benjamini-Hochberg within the cell and level", "probability", 0, 1),
    "q_global": ("Benjamini-Hochberg over all tests of the study", "probability", 0, 1),
    "strength": ("mean activation on the category by the norm of centred read-outs", "ratio", 0, None),
    "length_corr": ("Spearman's correlation of activation and length of text", "correlation", -1, 1),
    "word": ("most over-represented word in its 50 strongest texts", "name", None, None),
    "word_excess": ("share of these with the word, less its share in all texts", "probability", -1, 1),
    "lexical_flag": ("word_excess >= 0.5", "truth", None, None),
    "top_examples": ("its strongest texts, strongest first", "activation", None, None),
}
_MAY_BE_NULL_ANYWHERE = {"category", "layer"}
_NOT_OF_EVERY_SAE = {
    # of trained ones
    *("train_tokens", "final_loss", "norm_scale"),
    # with a second seed, and a model that predicts
    *("shared_frac", "kl_recovered", "loss_recovered", "fidelity_tokens"),
    # of warm starts with a control
    *("cold_fvu", "tokens_to_cold_fvu", "kept_warm_frac", "kept_cold_frac"),
}
_ONE_OF = {
    "rule_id": tuple(RULES),
    "control_id": ("none", "label_shuffle"),
    "aggregate": ("none", "mean", "sum"),
    "layer_choice": ("each", "best"),
    "censor": ("none", "left", "right"),
    "start": ("cold", "warm", "imported"),
    "arch": ("topk", "batchtopk", "jumprelu"),
    "verdict": ("insufficient", "smooth", "threshold", "absent", "saturated"),
}
_DESCRIBED_IN: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("reactivation", "verdict"): (
        "what may be said of a fall and return over depth",
        ("representational", "allocation", "none", "undefined", "insufficient"),
    ),
}
"""Columns whose meaning hangs on the table: what they are, and all values they take."""


def _table(
    name: str, description: str, schema: Mapping[str, Any], key: tuple[str, ...], filled: tuple[str, ...] = ()
) -> Table:
    """A table whose intervals are described and ordered by the column they belong to."""
    columns = []
    for column, dtype in schema.items():
        stem = column.removesuffix("_lo").removesuffix("_hi")
        bound = column in (f"{stem}_lo", f"{stem}_hi") and stem in schema
        text, unit, least, greatest = _DESCRIBED[stem if bound else column]
        if bound:
            text = f"{'lower' if column.endswith('_lo') else 'upper'} end of the 95 % interval of {stem}"
        text, values = _DESCRIBED_IN.get((name, column), (text, _ONE_OF.get(column, ())))
        must = (column in key or column in filled) and column not in _MAY_BE_NULL_ANYWHERE
        columns.append(Column(column, dtype, text, unit, least, greatest, values, nullable=not must))
    intervals = tuple(
        Ordered((f"{stem}_lo", f"{stem}_hi")) for stem in schema if {f"{stem}_lo", f"{stem}_hi"} <= set(schema)
    )
    return Table(name, description, tuple(columns), key, intervals)


SAE_METRICS = _table(
    "sae_metrics",
    "One row per SAE, measured on held-out training texts.",
    SAE_METRICS_SCHEMA,
    ("model", "step", "layer", "sae_seed"),
    tuple(name for name in SAE_METRICS_SCHEMA if name not in _NOT_OF_EVERY_SAE),
)
CATEGORY_PRESENCE = _table(
    "category_presence",
    "One row per model, step, layer, control, level and category: the primary curve and its controls.",
    PRESENCE_SCHEMA,
    ("model", "step", "layer", "control_id", "category_level", "category"),
    ("p_best", "p_best_lo", "p_best_hi", "p_dense", "p_bow", "n_seeds", "n_boot", "data_version"),
)
FEATURE_COUNTS = _table(
    "feature_counts",
    "One row per model, step, layer, rule, control and category (or their sum): how many latents are categorical.",
    COUNTS_SCHEMA,
    ("model", "step", "layer", "rule_id", "control_id", "aggregate", "category_level", "category"),
    ("n_features", "n_passing", "n_shuffle", "per_1k_live", "n_live", "n_seeds", "data_version"),
)
CATEGORICAL_FEATURES = _table(
    "categorical_features",
    "One row per latent that the study's rule accepts, of all cells and SAE seeds.",
    CATEGORICAL_FEATURES_SCHEMA,
    ("model", "step", "layer", "sae_seed", "category_level", "latent"),
    (
        *("category", "n_categories_passing", "auroc_score", "tpr", "lift", "p_hyper", "q_cell", "q_global"),
        *("strength", "word", "word_excess", "lexical_flag", "data_version"),
    ),
)
EMERGENCE_OVER_TIME = _table(
    "emergence_over_time",
    "One row per model, layer, control and category (or their mean): when presence rises.",
    TIME_SCHEMA,
    ("model", "layer_choice", "layer", "control_id", "aggregate", "category_level", "category", "metric"),
    ("p_end", "p_dense", "p_bow"),
)
EMERGENCE_OVER_SPACE = _table(
    "emergence_over_space",
    "One row per model, step, control and category (or their mean): in which layers presence stands.",
    SPACE_SCHEMA,
    ("model", "step", "control_id", "aggregate", "category_level", "category"),
    ("best_layer", "n_boot"),
)
REACTIVATION = _table(
    "reactivation",
    "One row per model, step, control and category (or their mean): whether it falls in the middle layers and returns.",
    REACTIVATION_SCHEMA,
    ("model", "step", "level", "control_id", "aggregate", "category_level", "category"),
    (
        "n_layers_read",
        "n_seeds",
        "n_seeds_agree",
        *(name for name in REACTIVATION_SCHEMA if name.startswith("gate_")),
        "passes_gate",
        "verdict",
        "n_boot",
    ),
)
EMERGENCE_OVER_SCALE = _table(
    "emergence_over_scale",
    "One row per control and category (or their mean): how presence grows with model size.",
    SCALE_SCHEMA,
    ("step", "control_id", "aggregate", "category_level", "category"),
    ("n_sizes", "verdict"),
)
HEADLINE = _table(
    "headline",
    "One row per model, level and control: means over categories and layers, first against last checkpoint.",
    HEADLINE_SCHEMA,
    ("model", "category_level", "control_id"),
    ("p_first", "p_last", "rise", "rise_lo", "rise_hi", "p_shuffle"),
)
