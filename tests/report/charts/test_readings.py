"""Selections of tables for the report."""

import polars as pl

from emergence_assets.report.charts.readings import of_sizes


def test_statements_about_all_sizes_are_shown_and_replicates_are_not() -> None:
    claims = pl.DataFrame({"model": ["m", None, "m-seed2"], "claim_id": [1, 2, 3]})
    assert of_sizes(claims, ["m"])["claim_id"].to_list() == [1, 2]
    assert of_sizes(claims.drop("model"), ["m"]).height == 3
