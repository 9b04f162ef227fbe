"""The life table counts the categories that emerge between two checkpoints, and equals Turnbull's estimate."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from emergence_assets.emergence.claims.hazard import emergence_hazard
from emergence_assets.emergence.claims.spec import EMERGENCE_HAZARD as SPEC
from emergence_assets.emergence.claims.table import EMERGENCE_HAZARD
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from emergence_assets.emergence.time.table import EMERGENCE_OVER_TIME
from resources.tables.expectations import validate
from resources.tables.relation import with_relations

STEPS = (0, 1, 9, 99, 999)
EVENTS = [(1, 9), (9, 99), (9, 99), None, None, "left"]
"""Gap in which a category emerges; None if it does not emerge."""


def tables(
    events: list[Any] | None = None, steps: tuple[int, ...] = STEPS
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    rows = []
    for position, event in enumerate(EVENTS if events is None else events):
        gap = event if isinstance(event, tuple) else (None, None)
        for layer_choice in ("each", "best"):
            rows.append(
                {
                    "model": "gloss",
                    "n_params_nonemb": 1000,
                    "layer_choice": layer_choice,
                    "layer": 1,
                    "control_id": "none",
                    "aggregate": "none",
                    "category_level": "subject",
                    "category": f"c{position}",
                    "base": 0.55 if steps[0] == 0 else None,
                    "passes_gate": event not in (None, "left") if steps[0] == 0 else None,
                    "censor": ("left" if event == "left" else "right") if steps[0] == 0 else None,
                    "half_step_interp": None if gap[1] is None else float(gap[1]),
                }
            )
    time = pl.DataFrame(rows, infer_schema_length=None).with_columns(metric=pl.lit("p_best"))
    time = time.with_columns(
        (pl.col(name) if name in time.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in EMERGENCE_OVER_TIME.schema.items()
    )
    presence = pl.DataFrame({"model": ["gloss"] * len(steps), "layer": [1] * len(steps), "step": steps})
    presence = presence.cast({name: CATEGORY_PRESENCE.schema[name] for name in presence.columns})
    stated = time.select("model", "category_level", "category").unique().with_columns(kind=pl.lit("emergence"))
    return time, presence, stated.with_columns(grade=pl.lit("B"))


def test_a_category_that_the_claims_do_not_support_has_not_emerged() -> None:
    time, presence, stated = tables()
    doubtful = stated.with_columns(grade=pl.when(pl.col("category") == "c1").then(pl.lit("C")).otherwise("grade"))
    assert emergence_hazard(time, presence, doubtful)["n_events"].to_list() == [0, 1, 1, 0, None]
    assert emergence_hazard(time, presence, stated.clear())["n_events"].to_list() == [0, 0, 0, 0, None]


def test_events_and_those_at_risk_are_counted() -> None:
    table = emergence_hazard(*tables())
    assert table.schema == EMERGENCE_HAZARD.schema
    assert table.select("step_lo", "step_hi", "n_at_risk", "n_events").rows() == [
        (0, 1, 5, 0),
        (1, 9, 5, 1),
        (9, 99, 4, 2),
        (99, 999, 2, 0),
        (999, None, 2, None),
    ]
    assert table["n_left"].unique().to_list() == [1]
    assert table["hazard"].to_list()[:4] == pytest.approx([0, 1 / 5 / np.log10(5), 2 / 4, 0], rel=1e-5)
    assert table["emerged_frac"].to_list()[:4] == pytest.approx([0, 0.2, 0.6, 0.6])
    exact = binomtest(3, 5).proportion_ci()
    assert table["emerged_frac_lo"][3] == pytest.approx(exact.low)
    assert table["emerged_frac_hi"][3] == pytest.approx(exact.high)


def test_the_life_table_is_turnbulls_estimate() -> None:
    """Expectation and maximisation over the gaps in which each category may have emerged."""
    table = emergence_hazard(*tables())
    gaps = [(0, 1), (1, 9), (9, 99), (99, 999), (999, None)]
    may = np.array([[(event is None and gap[1] is None) or event == gap for gap in gaps] for event in EVENTS[:5]])
    mass = np.full(len(gaps), 1 / len(gaps))
    for _ in range(200):
        share = may * mass
        mass = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(np.cumsum(mass)[:4], table["emerged_frac"].to_numpy()[:4], atol=1e-6)


def test_everything_may_emerge_or_nothing() -> None:
    every = emergence_hazard(*tables([(0, 1)] * 3))
    assert every["n_at_risk"].to_list() == [3, 0, 0, 0, 0]
    assert every["hazard"].to_list()[1:] == [None] * 4
    assert every["emerged_frac"].to_list()[:4] == [1, 1, 1, 1]
    left = emergence_hazard(*tables(["left"] * 3))
    assert left["emerged_frac"].is_null().all()


def test_without_step_0_all_is_open() -> None:
    table = emergence_hazard(*tables([None] * 3, steps=(9, 99)))
    assert table.select("step_lo", "step_hi", "n_at_risk", "n_events").rows() == [(99, None, 3, None)]


def test_checks_pass_and_a_miscount_is_found() -> None:
    table = emergence_hazard(*tables())

    def failed(frame: pl.DataFrame) -> set[str]:
        found = validate(with_relations(frame, SPEC.relations), SPEC.checks)
        return {finding.check.name for finding in found if not finding.passed}

    assert failed(table) == set()
    wrong = table.with_columns(n_at_risk=pl.when(pl.col("step_lo") == 99).then(3).otherwise("n_at_risk"))
    assert failed(wrong) == {"who_emerged_is_at_risk_no_more"}
    assert failed(table.with_columns(hazard=-pl.col("hazard") - 1)) == {"values_are_in_range"}
