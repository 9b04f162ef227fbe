"""The default rule accepts what it says and refuses each part that is missing."""

import polars as pl
import pytest

from emergence_assets.errors import EmergenceError
from emergence_assets.features.rules import RULES, named_rule

GOOD = {
    "q_cell": 0.01,
    "lift": 5.0,
    "k_c": 9,
    "tpr": 0.3,
    "lift_score": 4.0,
    "k_c_score": 6,
    "auroc_score_lo": 0.6,
}
BAD = {
    "q_cell": 0.06,
    "lift": 2.9,
    "k_c": 4,
    "tpr": 0.09,
    "lift_score": 1.9,
    "k_c_score": 2,
    "auroc_score_lo": 0.5,
}


def test_the_rule_accepts_a_clear_latent() -> None:
    assert pl.DataFrame([GOOD]).select(named_rule("lift_fdr_v1").condition).item()


@pytest.mark.parametrize("broken", BAD)
def test_every_condition_of_the_rule_counts(broken: str) -> None:
    row = GOOD | {broken: BAD[broken]}
    assert not pl.DataFrame([row]).select(RULES["lift_fdr_v1"].condition).item()


def test_an_unknown_rule_names_the_known_ones() -> None:
    with pytest.raises(EmergenceError, match="lift_fdr_v1"):
        named_rule("purity_v9")
