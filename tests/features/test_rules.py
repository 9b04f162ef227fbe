"""Every rule accepts pairs that meet its description, and rejects a pair that lacks one part."""

import polars as pl
import pytest

from emergence_assets.features.rules import RULES
from emergence_assets.features.statistics.cell_tables import CellRecipe
from resources.errors import EmergenceError

GOOD = {
    "lift_fdr_v1": {
        "q_cell": 0.01,
        "lift": 5.0,
        "k_c": 9,
        "tpr": 0.3,
        "lift_score": 4.0,
        "k_c_score": 6,
        "auroc_score_lo": 0.6,
    },
    "purity_v1": {"purity": 0.5, "k_c": 5},
    "auroc_v1": {"auroc_select": 0.6, "k_c": 5, "auroc_score": 0.6, "auroc_score_lo": 0.51},
}
BAD = {
    "lift_fdr_v1": {
        "q_cell": 0.06,
        "lift": 2.9,
        "k_c": 4,
        "tpr": 0.09,
        "lift_score": 1.9,
        "k_c_score": 2,
        "auroc_score_lo": 0.5,
    },
    "purity_v1": {"purity": 0.49, "k_c": 4},
    "auroc_v1": {"auroc_select": 0.59, "k_c": 4, "auroc_score": 0.59, "auroc_score_lo": 0.5},
}


@pytest.mark.parametrize("rule_id", RULES)
def test_a_rule_accepts_a_clear_latent(rule_id: str) -> None:
    assert pl.DataFrame([GOOD[rule_id]]).select(ok=RULES[rule_id].condition).item()


@pytest.mark.parametrize(("rule_id", "broken"), [(rule_id, name) for rule_id in RULES for name in GOOD[rule_id]])
def test_every_condition_of_a_rule_counts(rule_id: str, broken: str) -> None:
    row = GOOD[rule_id] | {broken: BAD[rule_id][broken]}
    assert not pl.DataFrame([row]).select(ok=RULES[rule_id].condition).item()


def test_an_unknown_rule_names_the_known_ones() -> None:
    with pytest.raises(EmergenceError, match="lift_fdr_v1"):
        CellRecipe(rule_id="purity_v9")
