"""Section on data quality: of the probe texts, and every check of every asset with its counts."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from emergence_assets.report.page.html_tables import Cell, Columns, html_table, text, text_cell


def text_findings(found: Sequence[str]) -> str:
    """List what is wrong with the probe texts themselves, such as texts that are not read; empty without a finding.

    Args:
        found: `ProbeReport.warnings`.
    """
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in found)
    return f"<p>What the probe texts lack, whatever the models have learnt:</p><ul>{lines}</ul>" if found else ""


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
    named: Columns = {
        "cells that do not pass": lambda check: text_cell(_named(check)),
        "broken conditions": lambda check: text_cell("; ".join(check["found"])),
    }
    title = "Checks that some cell does not pass"
    shown = html_table(title, {**_COUNTS, **named}, failing, "failing-checks") if failing else ""
    columns = {**_COUNTS, "requirement": text("description")}
    every = html_table("Number of cells by result, for every check", columns, checks, "checks")
    return f"{shown}<details><summary>All {len(checks)} checks</summary>{every}</details>"


def _named(check: Mapping[str, Any]) -> str:
    more = check["n_failing"] - len(check["failing"])
    return ", ".join(check["failing"]) + (f" and {more:,} more" if more else "")


def _count(n_cells: int) -> Cell:
    return f"{n_cells:,}", float(n_cells)


_COUNTS: Columns = {
    "asset": text("asset"),
    "check": text("check"),
    "passed": lambda check: _count(check["n_cells"] - check["n_failing"]),
    "warned": lambda check: _count(0 if check["blocking"] else check["n_failing"]),
    "failed": lambda check: _count(check["n_failing"] if check["blocking"] else 0),
}
