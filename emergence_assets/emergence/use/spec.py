"""Asset `feature_use`: loss of a model's last checkpoint without single latents."""

from emergence_assets.emergence.origins import origins
from emergence_assets.emergence.use.table import FEATURE_USE as TABLE
from emergence_assets.features.spec import sections
from emergence_assets.plan.table_spec import all_zero, table_spec

FEATURE_USE = table_spec(
    TABLE,
    ("checkpoint", "activations", "sae", "latent_stats", "emergence_over_time"),
    "emergence_assets.emergence.use.worker:measure_use",
    recipe=sections("feature_use", "probe_set", "sae", "statistics"),
    arguments=origins,
    # Conditions on the summary: a model in which nothing rises has no rows.
    checks=(
        all_zero(
            "differences_are_differences",
            "use is rise_own - rise_other; above_control and above_random are use minus those of the other latents.",
            "wrong_differences",
        ),
    ),
    on_accelerator=True,
)
