"""Assets of lineages: per model edges, lineages, stability, what early layers carry on; and edges between sizes.

A model of two layers carries nothing to a last third: tables without rows are no fault, and summaries are checked.
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
            "Whatever is accepted is each other's best, exceeds both nulls, and is among the latents compared.",
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
            "No latent belongs to two lineages, and each begins before it ends.",
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
        all_zero("ratios_have_a_ceiling", "Nothing is divided by a ceiling below .1.", "ratios_over_a_low_ceiling"),
    ),
)
LATENT_CARRY = table_spec(
    stability_table.LATENT_CARRY,
    ("activations", "sae", "latent_stats", "feature_lineage", "lineage_stability"),
    "emergence_assets.emergence.lineage.worker:make_latent_carry",
    recipe=sections("probe_set", "sae", "statistics"),
    checks=(
        all_zero("joint_texts_are_part_of_both", "Both are active on no more texts than either.", "joint_above_either"),
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
            "Whatever is accepted is each other's best and exceeds both nulls; no ratio is over a ceiling below .1.",
            *_BROKEN_EDGES,
            "ratios_over_a_low_ceiling",
        ),
    ),
    beside=(stability_table.SIZE_STABILITY,),
    wanted=lambda study: len(study.models) > 1,
)
