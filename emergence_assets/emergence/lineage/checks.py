"""Checks of the tables about lineages, on numbers that are counted where the tables are made.

A model of two layers carries nothing to a last third: a table without rows is no fault, and a check of rows would fail.
"""

from resources.tables.check import Check, between


def _never(name: str, description: str, *columns: str) -> Check:
    return Check(name, description, tuple(between(column, 0, 0) for column in columns))


_DECLARED = (
    _never("keys_are_unique", "No two rows share their key.", "repeated_keys"),
    _never(
        "values_are_as_declared",
        "No value is missing or outside the range that the table declares.",
        "missing_values",
        "values_out_of_range",
    ),
)
EDGE_CHECKS = (
    *_DECLARED,
    _never(
        "matches_are_mutual_and_above_both_nulls",
        "Whatever is accepted is each other's best, exceeds both nulls, and is among the latents compared.",
        "accepted_below_a_null",
        "accepted_not_mutual",
        "edges_of_unknown_latents",
    ),
)
NODE_CHECKS = (
    *_DECLARED,
    _never(
        "lineages_are_chains",
        "No latent belongs to two lineages, and each begins before it ends.",
        "latents_of_two_lineages",
        "ends_before_it_begins",
    ),
)
STABILITY_CHECKS = (
    *_DECLARED,
    _never("ratios_have_a_ceiling", "Nothing is divided by a ceiling below .1.", "ratios_over_a_low_ceiling"),
)
SIZE_CHECKS = (
    *_DECLARED,
    _never(
        "matches_are_mutual_and_ratios_have_a_ceiling",
        "Whatever is accepted is each other's best and exceeds both nulls; nothing is divided by a ceiling below .1.",
        "accepted_below_a_null",
        "accepted_not_mutual",
        "edges_of_unknown_latents",
        "ratios_over_a_low_ceiling",
    ),
)
CARRY_CHECKS = (
    *_DECLARED,
    _never("joint_texts_are_part_of_both", "Both are active on no more texts than either.", "joint_above_either"),
)
