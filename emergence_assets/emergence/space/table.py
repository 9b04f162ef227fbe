"""Tables of presence over the layers of a checkpoint."""

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from resources.tables.columns import (
    auroc,
    choice,
    count,
    difference,
    flag,
    layer,
    list_of,
    probability,
    ratio,
    share,
    string,
)
from resources.tables.table import Column, Table, with_interval

EMERGENCE_OVER_SPACE = Table(
    "emergence_over_space",
    "One row per model, step, control and category (or their mean): how presence is distributed over the layers.",
    (
        *keys.CHECKPOINT,
        keys.N_LAYERS,
        *keys.SERIES,
        layer("peak_layer", "layer with the highest p_best", -1).or_null,
        *with_interval(share("peak_depth", "relative depth of peak_layer").or_null),
        *with_interval(
            share(
                "onset_depth",
                "relative depth of the first layer with half of the largest gain and a lower bound above 0",
            ).or_null
        ),
        *with_interval(share("com_depth", "centre of mass of the positive gains, in relative depth").or_null),
        *with_interval(share("width", "share of layers with at least half of the largest gain").or_null),
        Column(
            "n_modes", pl.Int16, "modes of the gain, separated by dips of more than 0.05 and the noise", "modes", 0
        ).or_null,
        probability("dip_p", "p-value of the null hypothesis that the gain has at most one mode").or_null,
        *with_interval(difference("max_gain", "largest gain over layers").or_null),
        layer("best_layer", "layer chosen on split select", -1),
        *with_interval(difference("best_gain", "gain of best_layer").or_null),
        auroc("embed_presence", "p_best of the embedding").or_null,
        list_of("layers", "layers of the profiles", "index", pl.Int16).or_null,
        list_of("profile", "p_best by layer", "AUROC").or_null,
        list_of("profile_step0", "p_step0 by layer", "AUROC").or_null,
        list_of("profile_dense", "p_dense by layer", "AUROC").or_null,
        columns.N_SEEDS.or_null,
        columns.N_BOOT,
    ),
    ("model", "step", "control_id", "aggregate", "category_level", "category"),
)
REACTIVATION = Table(
    "reactivation",
    "One row per model, step, control and category (or their mean): whether presence falls over layers and returns.",
    (
        *keys.CHECKPOINT,
        keys.N_LAYERS,
        columns.N_LAYERS_READ,
        string("level", "unit of the row; category: all latents of a category together"),
        *keys.SERIES,
        *with_interval(difference("early", "mean gain over the first third of the depth").or_null),
        *with_interval(difference("mid", "mean gain over the second third").or_null),
        *with_interval(difference("late", "mean gain over the last third").or_null),
        *(
            share(f"{name}_depth", f"relative depth of the {name}, chosen on split select").or_null
            for name in ("peak", "valley", "return")
        ),
        *with_interval(difference("drop", "min(peak, return) - valley of the gain", 2).or_null),
        *with_interval(
            ratio("ri", "reactivation index: drop / min(peak, return); null where that minimum is below 0.05").or_null
        ),
        *with_interval(difference("drop_presence", "drop of p_best, without step 0").or_null),
        *with_interval(difference("random_drop", "drop of the gain of random encoders in the same layers", 2).or_null),
        *with_interval(difference("net_drop", "drop of the gain beyond that of random encoders", 4).or_null),
        *with_interval(difference("dense_drop", "drop of p_dense, without step 0").or_null),
        probability("dip_p", "p-value of the null hypothesis that the profile has at most one mode").or_null,
        count("n_returns", "modes after the first, separated by more than 0.05 and the noise", "modes").or_null,
        columns.P_VALUE.or_null,
        columns.Q.or_null,
        columns.N_SEEDS,
        columns.N_SEEDS_AGREE,
        flag("gate_layers", "at least 6 layers were read"),
        flag("gate_drop", "drop >= 0.05"),
        flag("gate_interval", "drop_lo > 0"),
        flag("gate_fdr", "q < 0.05"),
        flag("gate_seeds", "two or more SAE seeds, two thirds of which agree"),
        flag("gate_presence", "drop_presence >= 0.05 and drop_presence_lo > 0"),
        columns.PASSES_GATE,
        choice(
            "verdict",
            "kind of the drop and return over depth",
            ("representational", "allocation", "geometric", "none", "undefined", "insufficient"),
        ),
        columns.N_BOOT,
    ),
    ("model", "step", "level", "control_id", "aggregate", "category_level", "category"),
)
