"""What a run prints when it has ended: warnings, the headline, and where the report is."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table


def print_result(console: Console, result: Mapping[str, Any]) -> None:
    """Print what `Session.run` returns."""
    for warning in [*result["left_out"], *result["warnings"]]:
        console.print(f"warning: {warning}", style="yellow", highlight=False)
    for warning in result["text_warnings"]:
        console.print(f"warning: probe texts: {warning}", style="yellow", highlight=False, markup=False)
    if "report" in result:
        console.print(headline_table(pl.DataFrame(result["headline"]), result["level"]))
        console.print(f"report: {result['report']}", highlight=False, soft_wrap=True)


def headline_table(headline: pl.DataFrame, level: str) -> Table:
    """What is read first: the report's level, smallest model first, the measurement beside its controls."""
    measured = headline.filter(pl.col("control_id") == "none", pl.col("category_level") == level)
    title = f"best latent's AUROC, mean over {measured['n_categories'][0]} categories and all layers"
    names = ("model", "step 0 to last", "rise [95 %]", "shuffled", "dense", "words")
    table = Table(*names, title=title, box=None, padding=(0, 2, 0, 0), title_justify="left")
    for row in measured.sort("n_params_nonemb").iter_rows(named=True):
        table.add_row(
            row["model"],
            f"{row['p_first']:.3f} to {row['p_last']:.3f}",
            f"{row['rise']:+.3f} [{row['rise_lo']:+.3f}, {row['rise_hi']:+.3f}]",
            f"{row['p_shuffle']:.3f}",
            f"{row['p_dense_last']:.3f}",
            f"{row['p_bow']:.3f}",
        )
    return table
