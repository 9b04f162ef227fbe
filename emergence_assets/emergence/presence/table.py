"""Tables of the presence of categories: the primary curve, and its summary for the headline."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from emergence_assets.features.columns import DETECTION, P_BEST, P_DENSE, P_SELECT, REPLICATES, REPLICATES_DENSE
from resources.tables.columns import auroc, difference, flag, list_of, ratio, share, step
from resources.tables.table import Column, Ordered, Table, with_interval

CATEGORY_PRESENCE = Table(
    "category_presence",
    "One row per model, step, layer, control, level and category: the primary curve and its controls.",
    (
        *keys.CELL,
        keys.CONTROL_ID,
        keys.CATEGORY_LEVEL,
        keys.CATEGORY,
        keys.N_CATEGORY.or_null,
        keys.N_TEXTS.or_null,
        keys.N_CATEGORY_SCORE.or_null,
        P_SELECT.or_null,
        *with_interval(P_BEST),
        *with_interval(P_DENSE, nullable=True),
        *(column.or_null for column in DETECTION),
        share(
            "own_share", "share of SAE seeds whose best latent passes the rule and is best for this category"
        ).or_null,
        columns.P_BOW,
        columns.P_STEP0.or_null,
        *with_interval(difference("gain", "p_best - p_step0, paired over texts").or_null),
        *with_interval(ratio("excess", "gain / (1 - p_step0): share of the possible gain", maximum=1).or_null),
        difference("alloc_gap", "p_dense - p_best: what the SAE does not show").or_null,
        auroc("p_random", "p_best of the random encoders of the same cell").or_null,
        *with_interval(difference("net", "p_best - p_random, paired over texts").or_null),
        *with_interval(difference("net_gain", "net minus net at step 0, paired over texts").or_null),
        flag("trivially_lexical", "p_step0 >= 0.98").or_null,
        columns.N_SEEDS,
        columns.N_BOOT,
        columns.DATA_VERSION,
        list_of("p_seeds", "p_best of each SAE seed", "AUROC").or_null,
        REPLICATES.or_null,
        REPLICATES_DENSE.or_null,
    ),
    ("model", "step", "layer", "control_id", "category_level", "category"),
    (Ordered(("n_category_score", "n_category", "n_texts")),),
)
HEADLINE = Table(
    "headline",
    "One row per model, level and control: means over categories and layers, first against last checkpoint.",
    (
        keys.MODEL,
        keys.N_PARAMS_NONEMB,
        keys.CATEGORY_LEVEL,
        keys.CONTROL_ID,
        columns.N_CATEGORIES.or_null,
        columns.N_LAYERS_READ.or_null,
        step("step_first", "first checkpoint").or_null,
        columns.STEP_LAST.or_null,
        *with_interval(auroc("p_first", "mean p_best at the first checkpoint"), nullable=True),
        *with_interval(auroc("p_last", "mean p_best at the last checkpoint"), nullable=True),
        *with_interval(columns.RISE),
        auroc("p_random_first", "mean p_random at the first checkpoint").or_null,
        auroc("p_random_last", "mean p_random at the last checkpoint").or_null,
        *with_interval(difference("net_rise", "rise minus that of the random encoders, paired over texts").or_null),
        *(
            Column(
                f"n_own_{random}{end}",
                pl.Float32,
                f"categories per layer with a latent of their own at the {end} checkpoint{where}",
                "categories",
                0,
            ).or_null
            for random, where in (("", ""), ("random_", ", random encoders"))
            for end in ("first", "last")
        ),
        Column(
            "n_strong_first",
            pl.Float32,
            "categories per layer with p_best >= 0.75 at the first checkpoint",
            "categories",
            0,
        ).or_null,
        Column(
            "n_strong_last",
            pl.Float32,
            "categories per layer with p_best >= 0.75 at the last checkpoint",
            "categories",
            0,
        ).or_null,
        auroc("p_dense_first", "mean p_dense at the first checkpoint").or_null,
        auroc("p_dense_last", "mean p_dense at the last checkpoint").or_null,
        columns.P_BOW.or_null,
        columns.P_SHUFFLE,
        auroc("p_shuffle_min", "smallest cell mean under permuted labels").or_null,
        auroc("p_shuffle_max", "largest cell mean under permuted labels").or_null,
    ),
    ("model", "category_level", "control_id"),
    (Ordered(("p_shuffle_min", "p_shuffle", "p_shuffle_max")),),
)
