"""Sentences at the charts of the report follow from the tables, and date or count only what the claims support."""

import polars as pl
import pytest

from emergence_assets.emergence.claims.table import CLAIMS
from emergence_assets.emergence.presence.table import HEADLINE
from emergence_assets.report.page.sentences import fading_sentence, time_sentence


def headline(**changes: object) -> pl.DataFrame:
    row = dict.fromkeys(HEADLINE.schema) | {"control_id": "none", "category_level": "subject", "n_params_nonemb": 9}
    row |= {"model": "large", "step_first": 0, "step_last": 2000, "p_first": 0.51, "p_last": 0.74}
    row |= {"p_random_first": 0.5, "p_random_last": 0.67, "net_rise": 0.06, "net_rise_lo": 0.05, "net_rise_hi": 0.07}
    small = row | {"model": "small", "n_params_nonemb": 1, "p_last": 0.99}
    return pl.DataFrame([row | changes, small], schema=HEADLINE.schema)


def claims(kind: str, *grades: str, category: str | None = None) -> pl.DataFrame:
    shared = dict.fromkeys(CLAIMS.schema) | {"kind": kind, "model": "large", "category_level": "subject"}
    shared |= {"category": category, "estimate": 810.2, "lo": 462.0, "hi": 1825.0}
    return pl.DataFrame([shared | {"grade": grade} for grade in grades], schema=CLAIMS.schema)


def test_the_largest_model_is_compared_with_random_directions() -> None:
    words = time_sentence(headline(), claims("timing"), "subject")
    assert "latent of large for the subject" in words
    assert "0.510 before training and 0.740 at step 2,000" in words
    assert "from 0.500 to 0.670" in words
    assert "+0.060 (+0.050 to +0.070)" in words
    assert "0.990" not in words
    assert "0.510 at step 8 and" in time_sentence(headline(step_first=8), claims("timing"), "subject")
    assert "Random" not in time_sentence(headline(p_random_last=None), claims("timing"), "subject")
    assert time_sentence(headline().clear(), claims("timing"), "subject") == ""


@pytest.mark.parametrize(("grade", "is_dated"), [("A", True), ("B", True), ("C", False), ("reject", False)])
def test_only_a_claim_that_may_be_repeated_dates_the_rise(grade: str, is_dated: bool) -> None:
    words = time_sentence(headline(), claims("timing", grade), "subject")
    assert ("by step 810 (95 % interval 462 to 1,825)" in words) == is_dated
    assert ("not established" in words) != is_dated


def test_only_claims_that_may_be_repeated_count_as_fading_and_returning() -> None:
    assert "1 of 3 tested" in fading_sentence(claims("reactivation", "B", "C", "reject", category="tree"))
    assert "No category was tested" in fading_sentence(claims("reactivation", "B"))
