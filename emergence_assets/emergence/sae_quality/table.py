"""Table of the quality of SAEs."""

from typing import get_args

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence import columns
from emergence_assets.study.sae import VariantName
from resources.tables.columns import choice, count, ratio, share
from resources.tables.table import Column, Table

SAE_METRICS = Table(
    "sae_metrics",
    "One row per SAE, measured on held-out training texts.",
    (
        *keys.CELL,
        keys.SAE_SEED,
        count("d_model", "width of the residual stream", "dimensions", 1),
        columns.N_LATENTS,
        ratio("expansion", "n_latents / d_model", 0),
        choice("arch", "activation function of the SAE", get_args(VariantName)),
        count("k", "active latents per token by design", "latents", 1),
        count("train_tokens", "tokens on which the SAE was trained, repeats counted", "tokens", 1, pl.Int64).or_null,
        count("n_eval_tokens", "held-out tokens behind the metrics", "tokens", 1, pl.Int64),
        ratio("final_loss", "FVU of the last training batches", 0).or_null,
        columns.FVU,
        share("explained_variance", "1 - fvu"),
        columns.L0,
        share("dead_frac", "share of latents active on no token of the training window"),
        share("eval_dead_frac", "share of latents active on no held-out token"),
        share("dense_frac", "share of latents active on more than a tenth of the held-out tokens"),
        Column("cosine", pl.Float32, "mean cosine of input and reconstruction", "cosine", -1, 1),
        Column("norm_scale", pl.Float32, "root mean square of the centred input", "activation", 0).or_null,
        choice(
            "start",
            "initialisation of training: cold from random directions, warm from the SAE of the step before",
            ("cold", "warm", "imported"),
        ),
        share(
            "shared_frac", "share of active latents with a mutual nearest neighbour at cosine 0.7 in another seed"
        ).or_null,
        Column(
            "pw_mcc",
            pl.Float32,
            "mean cosine of active latents matched one to one with those of another seed (arXiv 2505.20254)",
            "cosine",
            -1,
            1,
        ).or_null,
        share("massive_frac", "share of rows left out for massive activations, rule norm_10x_median_v1"),
        ratio("participation_ratio", "(sum of variances)^2 / sum of squared variances of the rows' directions", 0),
        count("dims_90", "leading directions with 90 % of the rows' variance", "dimensions", 1),
        count("dims_99", "leading directions with 99 % of the rows' variance", "dimensions", 1),
        ratio(
            "kl_recovered", "1 - KL(model, with reconstruction) / KL(model, with mean activation)", maximum=1
        ).or_null,
        ratio("loss_recovered", "(L_mean - L_sae) / (L_mean - L); null where no token follows").or_null,
        count("fidelity_tokens", "replaced positions behind kl_recovered and loss_recovered", "tokens").or_null,
        share("cold_fvu", "fvu of a cold control of a warm start").or_null,
        count(
            "tokens_to_cold_fvu", "tokens after which the warm start reaches cold_fvu", "tokens", dtype=pl.Int64
        ).or_null,
        share("kept_warm_frac", "share of the latents of the step before that the warm start keeps").or_null,
        share("kept_cold_frac", "share of the latents of the step before that its cold control has too").or_null,
        columns.DATA_VERSION,
    ),
    ("model", "step", "layer", "sae_seed"),
)
