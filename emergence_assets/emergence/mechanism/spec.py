"""Asset `reactivation_mechanism`: one forward pass of a model's last checkpoint over its probe texts."""

import polars as pl

from emergence_assets.emergence.mechanism.table import REACTIVATION_MECHANISM as TABLE
from emergence_assets.emergence.origins import origins
from emergence_assets.features.spec import sections
from emergence_assets.plan.table_spec import table_spec
from resources.tables.relation import Relation

REACTIVATION_MECHANISM = table_spec(
    TABLE,
    ("checkpoint", "activations", "sae", "latent_stats"),
    "emergence_assets.emergence.mechanism.worker:measure_model",
    recipe=sections("mechanism", "probe_set", "sae", "statistics"),
    arguments=origins,
    relations=(
        Relation(
            "shares_add_up",
            "The shares of the trough layer (carried), attention and MLPs sum to 1.",
            pl.sum_horizontal("share_carried", "share_attn", "share_mlp", ignore_nulls=False)
            .is_between(0.999, 1.001)
            .fill_null(True),
        ),
    ),
    on_accelerator=True,
)
