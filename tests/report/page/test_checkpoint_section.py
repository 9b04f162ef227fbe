"""The report names a step 0 that was made here, and what may not be concluded from it."""

import polars as pl

from emergence_assets.report.charts.readings import ReportTables
from emergence_assets.report.page.checkpoint_section import checkpoint_sentence
from emergence_assets.report.page.finding import finding


def test_a_step_0_that_was_made_here_is_named(rising: ReportTables) -> None:
    registry = rising.checkpoint_registry
    assert "made here" not in checkpoint_sentence(registry)
    is_first = (pl.col("step") == 0) & (pl.col("model") == "large")
    made = registry.with_columns(made_here=is_first)
    sentence = checkpoint_sentence(made)
    assert "Step 0 of large was made here" in sentence
    assert "step0_made_here" in sentence
    assert "Step 0 of small" not in sentence


def test_the_finding_says_what_may_not_be_concluded_over_a_step_0_made_here(rising: ReportTables) -> None:
    failed = pl.col("controls_failed").list.concat(pl.lit(["step0_made_here"]))
    of_large = pl.when(pl.col("model") == "large").then(failed).otherwise("controls_failed")
    found = finding(rising.headline, rising.claims.with_columns(controls_failed=of_large), "subject", 1)
    assert any("nobody kept them" in limit for limit in found.limits)
    assert not any("nobody kept them" in limit for limit in finding(rising.headline, rising.claims, "subject").limits)
