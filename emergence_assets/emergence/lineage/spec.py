"""Assets of lineages: edges, lineages, stability and persistence over depth per model; edges between model sizes.

A model of two layers has no matches from the first third to the last. Tables may therefore be empty, and the checks
read summaries.
"""

from emergence_assets.emergence.lineage import stability_table, table
from emergence_assets.features.spec import sections
from emergence_assets.plan.table_spec import all_zero, table_spec

_BROKEN_EDGES = ("accepted_below_a_null", "accepted_not_mutual", "edges_of_unknown_latents")

FEATURE_LINEAGE = table_spec(
    table.FEATURE_LINEAGE,
    ("activations", "sae", "latent_stats"),
    "emergence_assets.emergence.lineage.worker:make_feature_lineage",
    recipe=sections("probe_set", "sae"),
    checks=(
        all_zero(
            "matches_are_mutual_and_above_both_nulls",
            "Every accepted pair is mutually best, exceeds both nulls, and consists of compared latents.",
            *_BROKEN_EDGES,
        ),
    ),
    beside=(table.MATCHED_LATENTS,),
)
LINEAGE_NODES = table_spec(
    table.LINEAGE_NODES,
    ("sae", "feature_lineage"),
    "emergence_assets.emergence.lineage.worker:make_lineage_nodes",
    checks=(
        all_zero(
            "lineages_are_chains",
            "No latent belongs to two lineages, and every lineage begins before it ends.",
            "latents_of_two_lineages",
            "ends_before_it_begins",
        ),
    ),
)
LINEAGE_STABILITY = table_spec(
    stability_table.LINEAGE_STABILITY,
    ("feature_lineage",),
    "emergence_assets.emergence.lineage.worker:make_lineage_stability",
    checks=(
        all_zero("ratios_have_a_ceiling", "No share is divided by a ceiling below 0.1.", "ratios_over_a_low_ceiling"),
    ),
)
LATENT_CARRY = table_spec(
    stability_table.LATENT_CARRY,
    ("activations", "sae", "latent_stats", "feature_lineage", "lineage_stability"),
    "emergence_assets.emergence.lineage.worker:make_latent_persistence",
    recipe=sections("probe_set", "sae", "statistics"),
    checks=(
        all_zero(
            "joint_texts_are_part_of_both",
            "No more texts have both latents active than either alone.",
            "joint_above_either",
        ),
    ),
)
SIZE_LINEAGE = table_spec(
    table.SIZE_LINEAGE,
    ("activations", "sae", "latent_stats", "feature_lineage"),
    "emergence_assets.emergence.lineage.size_worker:make_size_lineage",
    grid="study",
    recipe=sections("probe_set", "sae"),
    checks=(
        all_zero(
            "matches_are_mutual_and_ratios_have_a_ceiling",
            "Every accepted pair is mutually best and exceeds both nulls; no share is divided by a ceiling below 0.1.",
            *_BROKEN_EDGES,
            "ratios_over_a_low_ceiling",
        ),
    ),
    beside=(stability_table.SIZE_STABILITY,),
    wanted=lambda study: len(study.models) > 1,
)
