"""The tables of this stage: columns, units and ranges. A column of one name means the same in every table."""

from collections.abc import Mapping
from typing import Any

from emergence_assets.emergence.schema import (
    CATEGORICAL_FEATURES_SCHEMA,
    COMPRESSION_SCHEMA,
    COUNTS_SCHEMA,
    HAZARD_SCHEMA,
    HEADLINE_SCHEMA,
    MECHANISM_SCHEMA,
    PRESENCE_SCHEMA,
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
    "p_seeds": ("p_best seed by seed", "AUROC", None, None),
    "replicates": (
        "bootstrap replicates of p_best over texts and SAE seeds; texts joint over cells",
        "AUROC",
        None,
        None,
    ),
    "layer_choice": ("each layer, or again the best one chosen on split select", "name", None, None),
    "metric": ("what is followed", "name", None, None),
    "n_steps": ("checkpoints", "checkpoints", 1, None),
    "step_last": ("last checkpoint", "steps", 0, None),
    "step_first": ("first checkpoint", "steps", 0, None),
    "base": ("value at step 0", "AUROC", 0, 1),
    "p_end": ("value at the last checkpoint", "AUROC", 0, 1),
    "amp": ("p_end - base", "AUROC", -1, 1),
    "late_gain": ("mean of the last three checkpoints minus step 0", "AUROC", -1, 1),
    "best_model": ("curve with the smallest AICc", "name", None, None),
    "d_aicc": ("AICc of the constant minus that of the sigmoid; null with too few checkpoints", "nats", None, None),
    "fit_base": ("value from which the fitted curve rises", "AUROC", None, None),
    "fit_amp": ("rise of the fitted curve", "AUROC", None, None),
    "onset_step": ("step of 10 % of the fitted rise", "steps", 0, None),
    "half_step": ("step of half the fitted rise", "steps", 0, None),
    "complete_step": ("step of 90 % of the fitted rise; null behind the last checkpoint", "steps", 0, None),
    "half_tokens": ("training tokens at the half step", "tokens", 0, None),
    "half_flops": ("6 N D: N parameters without embedding, D half_tokens", "FLOPs", 0, None),
    "rise_rate": ("steepest slope of the fitted curve", "AUROC per decade of steps", None, None),
    "width_dec": ("from 10 to 90 % of the fitted rise", "decades of steps", 0, None),
    "grid_lo_step": ("checkpoint before the half step", "steps", 0, None),
    "grid_hi_step": ("checkpoint after it", "steps", 0, None),
    "half_step_interp": ("step of half the rise from first to last checkpoint, by interpolation", "steps", 0, None),
    "changepoint_step": ("first checkpoint after the best split into two means", "steps", 0, None),
    "n_seeds_agree": ("SAE seeds with a late gain above 0", "seeds", 0, None),
    "seed_sd_dex": ("standard deviation over SAE seeds of log10(half step + 1)", "decades of steps", 0, None),
    "step_lo": ("checkpoint before the gap; the last one for what is open", "steps", 0, None),
    "step_hi": ("checkpoint after the gap; null for what is open", "steps", 0, None),
    "n_left": ("categories that were there before training", "categories", 0, None),
    "n_at_risk": ("categories that have not emerged by step_lo", "categories", 0, None),
    "n_events": ("categories that emerge in the gap", "categories", 0, None),
    "hazard": ("n_events / n_at_risk per decade", "1 / decade of steps", 0, None),
    "emerged_frac": ("share of the categories that have emerged by step_hi, n_left not counted", "ratio", 0, 1),
    "censor": ("left: there before training; right: not seen to its end", "name", None, None),
    "stabil_step": ("first checkpoint from which on p_best stays near its end", "steps", 0, None),
    "emerged": ("a rise that passes the gate of `rises.has_emerged`", "truth", None, None),
    "p_value": ("of no gain in the mean of the last three checkpoints", "probability", 0, 1),
    "q_emerged": ("Benjamini-Hochberg over layers and categories", "probability", 0, 1),
    "peak_layer": ("layer with the largest gain", "index", -1, None),
    "peak_depth": ("its relative depth", "ratio", 0, 1),
    "com_depth": ("centre of mass of the positive gains", "ratio", 0, 1),
    "width": ("share of layers above half the largest gain", "ratio", 0, 1),
    "max_gain": ("largest gain over layers", "AUROC", -1, 1),
    "best_layer": ("layer chosen on split select", "index", -1, None),
    "best_gain": ("gain of that layer", "AUROC", -1, 1),
    "layers": ("layers of the profiles", "index", None, None),
    "profile": ("p_best by layer", "AUROC", None, None),
    "profile_step0": ("p_step0 by layer", "AUROC", None, None),
    "profile_dense": ("p_dense by layer", "AUROC", None, None),
    "n_sizes": ("models compared", "models", 1, None),
    "rise": ("last minus first, paired over texts", "AUROC", -1, 1),
    "slope_dec": ("slope against log10 of n_params_nonemb", "AUROC per decade of parameters", None, None),
    "n_lo": ("largest size clearly below the middle of the rise", "parameters", 1, None),
    "n_hi": ("smallest size clearly above it", "parameters", 1, None),
    "jump_share": ("largest single step as a share of the rise", "ratio", None, None),
    "verdict": ("what may be said of a threshold in size", "name", None, None),
    "size_points": ("the points behind the row, a size each", "AUROC", None, None),
    "n_categories": ("categories of the level", "categories", 1, None),
    "n_layers_read": ("layers behind the mean", "layers", 1, None),
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
    "undefined_because": (
        "none; layers (no studied layer in every third), causal (no causal model), no_latent (early or late), blocks "
        "(their parts are not known: no shares), contrast (not above zero beyond doubt: no shares)",
        "name",
        None,
        None,
    ),
    "early_layer": ("layer of the first third of depth with the highest p_select", "index", 0, None),
    "trough_layer": ("layer of the middle third with the lowest p_select", "index", 0, None),
    "late_layer": ("layer of the last third with the highest p_select", "index", 0, None),
    "drop_select": ("min(early, late) - trough of p_select: chosen by it, no evidence", "AUROC", -1, 1),
    "contrast": (
        "pre-activation of the late layer's best latent, mean on the category minus mean on others, over SAE seeds",
        "activation",
        None,
        None,
    ),
    "share_carried": ("share of the contrast that the stream after the trough layer holds", "ratio", None, None),
    "share_attn": ("share that attention between trough and late layer adds", "ratio", None, None),
    "share_mlp": ("share that MLPs between trough and late layer add", "ratio", None, None),
    "top_heads": ("attention heads with a share of 5 % or more of either sign", "ratio", None, None),
    "n_seeds_agree_parts": ("SAE seeds in which the same part is largest as in the mean", "seeds", 0, None),
    "early_rate": ("share of the category's texts on which the early latent fires", "probability", 0, 1),
    "control_rate": ("the same of the control latents", "probability", 0, 1),
    "cdi": ("1 - E[late latent | early latent taken away] / E[late latent], on the category's texts", "ratio", None, 1),
    "cdi_resample": ("the same with the early latent's value on a text of another category", "ratio", None, 1),
    "cdi_control": ("the same with other early latents that fire as often on these texts", "ratio", None, 1),
    "cdi_excess": ("cdi - cdi_control, paired over texts", "ratio", None, None),
    "n_seeds_agree_cdi": ("SAE seeds in which cdi_excess has the sign of the mean", "seeds", 0, None),
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
    "variant": ("none is the model itself; int8, int4, prune50, or skip_l: block l is bypassed", "name", None, None),
    "changed_layer": ("the block that is bypassed; null where all are changed", "index", 0, None),
    "bits": ("bits of a weight, where that was changed", "bits", 1, None),
    "density": ("share of the blocks' weights that are not zero", "ratio", 0, 1),
    "relative_norm": ("norm of the change of the blocks' matrices over their norm", "ratio", 0, None),
    "p_model": ("mean over categories of the AUROC of the latents chosen on split select", "AUROC", 0, 1),
    "p_variant": ("the same of the same latents in the changed model", "AUROC", 0, 1),
    "mean_drop": ("p_model - p_variant, paired over texts", "AUROC", -1, 1),
    "retention": ("share of categories whose AUROC is not lower by .02 beyond doubt", "ratio", 0, 1),
    "fvu_model": ("fvu of the read-outs, mean over SAE seeds", "ratio", 0, None),
    "fvu_variant": ("the same of the changed model with the same SAEs", "ratio", 0, None),
    "fvu_ratio": ("fvu_variant / fvu_model", "ratio", 0, None),
    "loss_model": ("next-token loss on the fixed text", "nats per token", 0, None),
    "loss_delta": ("loss of the changed model minus loss_model", "nats per token", None, None),
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
    "control_id": ("none", "label_shuffle", "noise"),
    "aggregate": ("none", "mean", "sum"),
    "layer_choice": ("each", "best"),
    "censor": ("none", "left", "right"),
    "best_model": ("constant", "linear", "sigmoid", "two_step"),
    "start": ("cold", "warm", "imported"),
    "arch": ("topk", "batchtopk", "jumprelu"),
    "verdict": ("insufficient", "smooth", "threshold", "absent", "saturated"),
    "undefined_because": ("none", "layers", "causal", "no_latent", "blocks", "contrast"),
}


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
        must = (column in key or column in filled) and column not in _MAY_BE_NULL_ANYWHERE
        columns.append(Column(column, dtype, text, unit, least, greatest, _ONE_OF.get(column, ()), nullable=not must))
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
EMERGENCE_HAZARD = _table(
    "emergence_hazard",
    "One row per model, control, level and gap between checkpoints: how many categories emerge in it.",
    HAZARD_SCHEMA,
    ("model", "control_id", "category_level", "step_lo"),
    ("n_params_nonemb", "layer", "n_categories", "n_left", "n_at_risk"),
)
EMERGENCE_OVER_SPACE = _table(
    "emergence_over_space",
    "One row per model, step, control and category (or their mean): in which layers presence stands.",
    SPACE_SCHEMA,
    ("model", "step", "control_id", "aggregate", "category_level", "category"),
    ("best_layer", "n_boot"),
)
EMERGENCE_OVER_SCALE = _table(
    "emergence_over_scale",
    "One row per control and category (or their mean): how presence grows with model size.",
    SCALE_SCHEMA,
    ("step", "control_id", "aggregate", "category_level", "category"),
    ("n_sizes", "verdict"),
)
REACTIVATION_MECHANISM = _table(
    "reactivation_mechanism",
    "One row per category at the last step: where a late latent's pre-activation comes from, and whether it needs an "
    "early latent.",
    MECHANISM_SCHEMA,
    ("model", "step", "category_level", "category"),
    ("undefined_because", "n_boot", "data_version"),
)
COMPRESSION_RETENTION = _table(
    "compression_retention",
    "One row per layer and changed version of a model's last checkpoint: what is left of its categories.",
    COMPRESSION_SCHEMA,
    ("model", "step", "layer", "category_level", "variant", "control_id"),
    ("p_model", "p_variant", "mean_drop", "retention", "n_categories", "n_seeds", "n_boot", "data_version"),
)
HEADLINE = _table(
    "headline",
    "One row per model, level and control: means over categories and layers, first against last checkpoint.",
    HEADLINE_SCHEMA,
    ("model", "category_level", "control_id"),
    ("p_first", "p_last", "rise", "rise_lo", "rise_hi", "p_shuffle"),
)
