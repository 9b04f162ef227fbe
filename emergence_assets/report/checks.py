"""Checks of the report."""

from emergence_assets.features.chance import REPORTED_RANGE
from resources.tables.check import Check, Condition, between

REPORT_CHECKS = (
    Check(
        "headline_is_measured",
        "The headline compares two AUROC of the largest model and has an interval in the right order.",
        (between("p_first", 0, 1), between("p_last", 0, 1), Condition("ordered", ("rise_lo", "rise_hi"))),
    ),
    Check(
        "shuffled_labels_are_at_chance",
        "The mean AUROC for permuted labels is between {} and {}; otherwise no number of the page is evidence.".format(
            *REPORTED_RANGE
        ),
        (between("p_shuffle", *REPORTED_RANGE),),
        blocking=False,
    ),
)
