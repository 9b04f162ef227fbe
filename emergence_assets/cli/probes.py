"""`emergence probes`: what the texts of a study can show, before anything runs."""

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from emergence_assets.features.probe_quality.report import ProbeReport


@click.command()
@click.option("--level", "levels", multiple=True, metavar="LEVEL", help="Only this label level; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def probes(levels: tuple[str, ...], as_json: bool) -> None:
    """Judge the probe texts: copies, templates, length, and what so many texts can show. Fetches those on a hub."""
    import polars as pl

    from emergence_assets.features.probe_quality.report import probe_report
    from emergence_assets.study.load import load_study
    from resources.errors import EmergenceError

    report = probe_report(load_study())
    known = report.categories["category_level"].unique(maintain_order=True).to_list()
    if strangers := [level for level in levels if level not in known]:
        raise EmergenceError(f"There is no level {strangers[0]!r}.", remedy=f"choose from {', '.join(known)}")
    if levels:
        report = report._replace(categories=report.categories.filter(pl.col("category_level").is_in(levels)))
    if as_json:
        click.echo(json.dumps(report.plain(), indent=2))
    else:
        _print(report)


def _print(report: "ProbeReport") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{report.name}: {report.n_texts} texts, {report.n_units} without copies", highlight=False)
    read_out = "" if report.read_out_token is None else f", read out at {report.read_out_token!r}"
    console.print(f"prompt {report.template!r}{read_out}", highlight=False, markup=False)
    columns = ("level", "category", "texts", "units", "select", "score", "words", "tokens", "SE", "rise", ".15/.01")
    table = Table(*columns, "remarks", box=None, padding=(0, 2, 0, 0))
    for row in report.categories.iter_rows(named=True):
        remarks = [word for flag, word in (("is_template", "template"), ("is_long", "long")) if row[flag]]
        remarks += [f"{row['share_duplicates']:.0%} copies"] if (row["share_duplicates"] or 0) >= 0.05 else []
        remarks += [f"shares texts with {row['confusable_with']}"] if row["confusable_with"] else []
        remarks += [f"{row['n_not_read']} not read"] if row["n_not_read"] else []
        remarks += ["low power"] if row["is_low_power"] else []
        remarks += [f"left out: {row['reason']}"] if row["reason"] else []
        counts = [_shown(row[name], ".0f") for name in ("n_texts", "n_units", "n_select", "n_score", "median_words")]
        rest = [_shown(row["median_tokens"], ".0f"), _shown(row["se_auroc"], ".3f"), _shown(row["min_rise"], ".2f")]
        chance = _shown(row["chance_15_01"], ".2f")
        table.add_row(row["category_level"], row["category"], *counts, *rest, chance, "; ".join(remarks))
    console.print(table)
    for sentence in report.sentences():
        console.print(sentence, highlight=False, markup=False)
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)


def _shown(value: float | None, form: str) -> str:
    return "·" if value is None else format(value, form)
