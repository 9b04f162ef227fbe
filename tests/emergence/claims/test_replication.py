"""Claims of two runs: a claim holds if both runs support it, at about the same place."""

import polars as pl

from emergence_assets.emergence.claims.replication import beside, replication
from emergence_assets.emergence.claims.table import CLAIMS


def run(*stated: tuple[str, str | None, str, float, float]) -> pl.DataFrame:
    """Make claims from kind, category, grade and interval."""
    rows = [
        {
            "claim_id": number,
            "kind": kind,
            "statement": f"{kind} of {category}",
            "model": "m",
            "category_level": "subject",
            "category": category,
            "grade": grade,
            "passes_gate": grade != "reject",
            "controls_passed": [],
            "controls_failed": [],
            "controls_missing": ["model_seed"],
            "findings": ["no effect of word order is shown"],
            "inputs": [],
            "policy": "claims_v1",
            "estimate": (lo + hi) / 2,
            "lo": lo,
            "hi": hi,
            "unit": "step" if kind == "timing" else "AUROC, net",
            "figure": "presence_over_time",
        }
        for number, (kind, category, grade, lo, hi) in enumerate(stated, 1)
    ]
    return pl.DataFrame([dict.fromkeys(CLAIMS.schema) | row for row in rows], schema=CLAIMS.schema)


HERE = run(
    ("emergence", "fish", "B", 0.1, 0.2),
    ("emergence", "fowl", "A", 0.1, 0.2),
    ("emergence", "tree", "B", 0.1, 0.2),
    ("emergence", "shrub", "reject", 0.1, 0.2),
    ("emergence", None, "B", 0.1, 0.2),
    ("timing", "fish", "B", 10, 20),
    ("timing", "tree", "B", 10, 20),
)
THERE = run(
    ("timing", "fish", "B", 21, 40),
    ("emergence", None, "B", 0.2, 0.3),
    ("emergence", "shrub", "B", 0.1, 0.2),
    ("emergence", "tree", "reject", 0.1, 0.2),
    ("emergence", "fowl", "B", 0.15, 0.3),
    ("emergence", "fish", "A", 0.05, 0.12),
)


def test_claims_supported_in_both_runs_hold() -> None:
    rows = beside(HERE, THERE)
    assert rows["claim_id"].to_list() == HERE["claim_id"].to_list()
    assert rows["grade_other"].to_list() == ["A", "B", "reject", "B", "B", "B", None]
    # Supported in the other run with a disjoint interval (timing of fish): does not hold. A rejected claim cannot hold.
    assert rows["holds"].to_list() == [True, True, False, None, True, False, False]
    # The estimate of the other run need not lie in the interval of an effect that has the same sign.
    assert rows["other_inside"].to_list() == [False, False, True, True, False, False, None]
    assert rows["agrees"].to_list() == [True] * 5 + [False, None]


def test_held_claims_are_counted_beside_those_expected_by_chance() -> None:
    counts = {(row["kind"], row["of"]): row for row in replication(HERE, THERE).iter_rows(named=True)}
    assert list(counts) == [("emergence", "category"), ("emergence", "mean"), ("timing", "category")]
    each = counts["emergence", "category"]
    assert (each["stated"], each["supported"], each["supported_there"], each["held"]) == (4, 3, 3, 2)
    assert each["by_chance"] == 3 * 3 / 4
    assert (each["inside"], each["agree"]) == (2, 4)
    timing = counts["timing", "category"]
    assert (timing["stated"], timing["supported"], timing["held"]) == (1, 1, 0)


def test_an_effect_agrees_by_its_sign_and_a_place_by_its_interval() -> None:
    here = run(("emergence", "fish", "B", 0.05, 0.1), ("emergence", "fowl", "B", 0.05, 0.1))
    there = run(("emergence", "fish", "B", 0.2, 0.3), ("emergence", "fowl", "B", -0.3, -0.2))
    assert beside(here, there)["holds"].to_list() == [True, False]


def test_a_shape_over_sizes_agrees_by_its_words() -> None:
    here = run(("size", "fish", "B", -0.1, 0.1))
    shapes = (
        ("Presence of fish has a threshold in model size, between 7,000 and 25,000 parameters.", True),
        ("Presence of fish grows smoothly with model size.", False),
    )
    own = here.with_columns(statement=pl.lit(shapes[0][0].replace("25,000", "85,000")))
    for statement, agrees in shapes:
        assert beside(own, here.with_columns(statement=pl.lit(statement)))["agrees"].to_list() == [agrees]


def test_a_run_beside_itself_holds_whatever_it_supports() -> None:
    counts = replication(HERE, HERE)
    assert (counts["held"] == counts["supported"]).all()
    assert replication(HERE.clear(), HERE.clear()).is_empty()


def test_two_claims_about_the_same_thing_are_distinguished_by_their_order() -> None:
    twice = run(("depth", None, "B", 0.1, 0.2), ("depth", None, "reject", 0.5, 0.6))
    other = run(("depth", None, "reject", 0.1, 0.2), ("depth", None, "B", 0.5, 0.6))
    assert beside(twice, other)["grade_other"].to_list() == ["reject", "B"]
