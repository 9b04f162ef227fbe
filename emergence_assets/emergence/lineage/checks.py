"""Checks of the tables about lineages."""

from emergence_assets.emergence.lineage.stability_table import LATENT_CARRY, LINEAGE_STABILITY
from emergence_assets.emergence.lineage.table import FEATURE_LINEAGE, LINEAGE_NODES, SIZE_LINEAGE
from resources.tables.expectations import Check, between
from resources.tables.table import Table


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
