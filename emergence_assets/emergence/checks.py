"""Claims about the emergence tables: what their declarations demand, and what holds between their columns."""

from emergence_assets.emergence.relations import RELATIONS
from emergence_assets.emergence.tables.catalogue import CATALOGUE
from emergence_assets.emergence.tables.lineage import FEATURE_LINEAGE, LINEAGE_NODES, SIZE_LINEAGE
from emergence_assets.emergence.tables.stability import LATENT_CARRY, LINEAGE_STABILITY
from emergence_assets.table import Table
from resources.expectations import Check, between, table_checks

# A study in which no latent is categorical has an empty table, which is a result: its summary is checked.
FEATURES_CHECKS = (
    Check("keys_are_unique", "No two rows share their key.", (between("repeated_keys", 0, 0),)),
    Check(
        "latents_are_compared_with_step_0",
        "Where a model has step 0, every latent has its excess over the untrained network.",
        (between("not_compared", 0, 0),),
    ),
    Check(
        "the_study_corrects_at_least_as_much_as_a_test",
        "q over the study is at least p, and at most 1.",
        (between("q_below_p", 0, 0),),
    ),
)

CHECKS: dict[str, tuple[Table, tuple[Check, ...]]] = {
    name: (
        CATALOGUE[name],
        (*table_checks(CATALOGUE[name]), *(relation.check for relation in RELATIONS.get(name, ()))),
    )
    for name in (
        *("sae_metrics", "category_presence", "feature_counts", "category_controls", "emergence_over_time"),
        *("emergence_hazard", "emergence_over_space", "expansion_presence", "model_seeds", "reactivation"),
        *("emergence_over_scale", "reactivation_mechanism", "cost_utility", "claims", "compression_retention"),
    )
}


def _never(name: str, description: str, *columns: str) -> Check:
    return Check(name, description, tuple(between(column, 0, 0) for column in columns))


# Counted where the tables are made: a model of two layers carries nothing to a last third, and that is no fault.
_DECLARED = (
    _never("keys_are_unique", "No two rows share their key.", "repeated_keys"),
    _never(
        "values_are_as_declared",
        "No value is missing or outside the range that the table declares.",
        "missing_values",
        "values_out_of_range",
    ),
)
LINEAGE_CHECKS: dict[str, tuple[Table, tuple[Check, ...]]] = {
    table.name: (table, (*_DECLARED, check))
    for table, check in (
        (
            FEATURE_LINEAGE,
            _never(
                "matches_are_mutual_and_above_both_nulls",
                "Whatever is accepted is each other's best, exceeds both nulls, and is among the latents compared.",
                "accepted_below_a_null",
                "accepted_not_mutual",
                "edges_of_unknown_latents",
            ),
        ),
        (
            LINEAGE_NODES,
            _never(
                "lineages_are_chains",
                "No latent belongs to two lineages, and each begins before it ends.",
                "latents_of_two_lineages",
                "ends_before_it_begins",
            ),
        ),
        (
            LINEAGE_STABILITY,
            _never(
                "ratios_have_a_ceiling",
                "Nothing is divided by a ceiling below .1.",
                "ratios_over_a_low_ceiling",
            ),
        ),
        (
            SIZE_LINEAGE,
            _never(
                "matches_are_mutual_and_ratios_have_a_ceiling",
                "Whatever is accepted is each other's best and exceeds both nulls; nothing is divided by a ceiling "
                "below .1.",
                "accepted_below_a_null",
                "accepted_not_mutual",
                "edges_of_unknown_latents",
                "ratios_over_a_low_ceiling",
            ),
        ),
        (
            LATENT_CARRY,
            _never(
                "joint_texts_are_part_of_both", "Both are active on no more texts than either.", "joint_above_either"
            ),
        ),
    )
}
