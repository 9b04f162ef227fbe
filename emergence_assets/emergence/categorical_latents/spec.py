"""Assets `feature_counts` (per model) and `categorical_features` (per study) of categorical latents."""

from emergence_assets.emergence.categorical_latents.table import CATEGORICAL_FEATURES as FEATURES_TABLE
from emergence_assets.emergence.categorical_latents.table import FEATURE_COUNTS as COUNTS_TABLE
from emergence_assets.emergence.relations import measured_from_step_0
from emergence_assets.plan.table_spec import all_zero, table_spec

FEATURE_COUNTS = table_spec(
    COUNTS_TABLE,
    ("latent_stats",),
    "emergence_assets.emergence.categorical_latents.counts:feature_counts",
    relations=(measured_from_step_0("n_excess"),),
)
CATEGORICAL_FEATURES = table_spec(
    FEATURES_TABLE,
    ("latent_stats",),
    "emergence_assets.emergence.categorical_latents.worker:collect_features",
    grid="study",
    # A study without any categorical latent has an empty table, which is a valid result.
    checks=(
        all_zero(
            "latents_are_compared_with_step_0",
            "Where a model has step 0, every latent has its excess over the untrained network.",
            "not_compared",
        ),
        all_zero(
            "the_study_corrects_at_least_as_much_as_a_test",
            "The q-value over the study is at least the p-value and at most 1.",
            "q_below_p",
        ),
    ),
)
