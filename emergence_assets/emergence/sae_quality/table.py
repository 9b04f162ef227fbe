"""Quality of SAEs."""

import polars as pl

from emergence_assets.checkpoints.columns import CELL, SAE_SEED
from emergence_assets.emergence.columns import DATA_VERSION, FVU, L0, N_LATENTS
from resources.tables.table import Column, Table

SAE_METRICS = Table(
    "sae_metrics",
    "One row per SAE, measured on held-out training texts.",
    (
        *CELL,
        SAE_SEED,
        Column("d_model", pl.Int32, "width of the residual stream", "dimensions", 1),
        N_LATENTS,
        Column("expansion", pl.Float32, "n_latents / d_model", "ratio", 0),
        Column("arch", pl.String, "activation function of the SAE", "name", one_of=("topk", "batchtopk", "jumprelu")),
        Column("k", pl.Int32, "active latents per token by design", "latents", 1),
        Column("train_tokens", pl.Int64, "tokens the SAE was trained on, repeats counted", "tokens", 1, nullable=True),
        Column("n_eval_tokens", pl.Int64, "held-out tokens behind the metrics", "tokens", 1),
        Column("final_loss", pl.Float32, "FVU of the last training batches", "ratio", 0, nullable=True),
        FVU,
        Column("explained_variance", pl.Float32, "1 - fvu", "ratio", 0, 1),
        L0,
        Column("dead_frac", pl.Float32, "share of latents active on no token of the training window", "ratio", 0, 1),
        Column("eval_dead_frac", pl.Float32, "share of latents active on no held-out token", "ratio", 0, 1),
        Column(
            "dense_frac",
            pl.Float32,
            "share of latents active on more than a tenth of the held-out tokens",
            "ratio",
            0,
            1,
        ),
        Column("cosine", pl.Float32, "mean cosine of input and reconstruction", "cosine", -1, 1),
        Column("norm_scale", pl.Float32, "root mean square of the centred input", "activation", 0, nullable=True),
        Column(
            "start",
            pl.String,
            "what training began with: cold is random directions, warm the SAE of the step before",
            "name",
            one_of=("cold", "warm", "imported"),
        ),
        Column(
            "shared_frac",
            pl.Float32,
            "share of firing latents with a mutual nearest neighbour at cosine .7 in another seed",
            "ratio",
            0,
            1,
            nullable=True,
        ),
        Column(
            "kl_recovered",
            pl.Float32,
            "1 - KL(model, with reconstruction) / KL(model, with mean activation)",
            "ratio",
            maximum=1,
            nullable=True,
        ),
        Column(
            "loss_recovered",
            pl.Float32,
            "(L_mean - L_sae) / (L_mean - L); null where no token follows",
            "ratio",
            nullable=True,
        ),
        Column("fidelity_tokens", pl.Int32, "replaced positions behind the two", "tokens", 0, nullable=True),
        Column("cold_fvu", pl.Float32, "fvu of a cold control of a warm start", "ratio", 0, 1, nullable=True),
        Column(
            "tokens_to_cold_fvu",
            pl.Int64,
            "tokens after which the warm start was as good as its control at the end",
            "tokens",
            0,
            nullable=True,
        ),
        Column(
            "kept_warm_frac",
            pl.Float32,
            "share of the latents before that the warm start still has",
            "ratio",
            0,
            1,
            nullable=True,
        ),
        Column(
            "kept_cold_frac", pl.Float32, "the same of its control: what is not inertia", "ratio", 0, 1, nullable=True
        ),
        DATA_VERSION,
    ),
    ("model", "step", "layer", "sae_seed"),
)
