"""Section on data quality: every check of every asset with its counts, and the cells that do not pass."""

from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.report.page.html_tables import Cell, html_table

_COUNTS = ("asset", "check", "passed", "warned", "failed")


def data_quality_sentence(checks: Sequence[Mapping[str, Any]]) -> str:
    """Count the checks, and the checks that some cell does not pass.

    Args:
        checks: rows of `data_quality.check_counts`.
    """
    n_failing = sum(check["n_failing"] > 0 for check in checks)
    result = f"some cells do not pass {n_failing} of them" if n_failing else "every cell passes"
    n_assets = len({check["asset"] for check in checks})
    return (
        f"{len(checks)} checks of the {n_assets} assets that this page is made from, on the stored cells: "
        f"{result}. A failed check stops everything that is made from the cell; a warning does not. The Dagster UI "
        "shows the checks of every partition, and the checks of assets that this page is not made from."
    )


def data_quality_tables(checks: Sequence[Mapping[str, Any]]) -> str:
    """List the checks that some cell does not pass, with these cells; all checks follow in a folded table.

    Args:
        checks: rows of `data_quality.check_counts`.
    """
    failing = [check for check in checks if check["n_failing"]]
    cells = [[*_counts(check), _text(_named(check)), _text("; ".join(check["found"]))] for check in failing]
    columns = (*_COUNTS, "cells that do not pass", "broken conditions")
    shown = html_table("Checks that some cell does not pass", columns, cells, "failing-checks") if failing else ""
    every = html_table(
        "Number of cells by result, for every check",
        (*_COUNTS, "requirement"),
        [[*_counts(check), _text(check["description"])] for check in checks],
        "checks",
    )
    return f"{shown}<details><summary>All {len(checks)} checks</summary>{every}</details>"


def _counts(check: Mapping[str, Any]) -> list[Cell]:
    failing, blocking = check["n_failing"], check["blocking"]
    counts = (check["n_cells"] - failing, 0 if blocking else failing, failing if blocking else 0)
    return [_text(check["asset"]), _text(check["check"]), *((f"{count:,}", float(count)) for count in counts)]


def _named(check: Mapping[str, Any]) -> str:
    more = check["n_failing"] - len(check["failing"])
    return ", ".join(check["failing"]) + (f" and {more:,} more" if more else "")


def _text(value: str) -> Cell:
    return value, value
