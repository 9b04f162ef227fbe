"""`emergence probes`: quality and power of the probe texts of a study, before the first run."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from emergence_assets.cli.options import as_json_option, open_study, show, table, warning
from resources.errors import require_known

_COLUMNS = ("level", "category", "texts", "units", "select", "score", "words", "tokens", "SE", "rise", ".15/.01")
_NUMBERS = {
    **dict.fromkeys(("n_texts", "n_units", "n_select", "n_score", "median_words", "median_tokens"), ".0f"),
    **{"se_auroc": ".3f", "min_rise": ".2f", "chance_15_01": ".2f"},
}


@click.command()
@click.option("--level", "levels", multiple=True, metavar="LEVEL", help="Only this label level; may be repeated.")
@as_json_option
def probes(levels: tuple[str, ...], as_json: bool) -> None:
    """Check the probe texts: copies, templates, length, statistical power. Downloads a probe set, and pins a corpus."""
    import polars as pl

    from emergence_assets.features.probe_quality.report import probe_report
    from emergence_assets.texts.study_corpus import corpus_sentence, pin_corpus

    plan = open_study()
    pin_corpus(plan.study)
    corpus = corpus_sentence(plan.study, plan.storage)
    report = probe_report(plan.study, plan.storage)
    require_known("level", levels, report.categories["category_level"].unique(maintain_order=True))
    if levels:
        report = report._replace(categories=report.categories.filter(pl.col("category_level").is_in(levels)))
    read_out = "" if report.read_out_token is None else f", read out at {report.read_out_token!r}"
    rows = [
        (row["category_level"], row["category"], *_numbers(row), "; ".join(_remarks(row)))
        for row in report.categories.iter_rows(named=True)
    ]
    show(
        report.plain() | {"corpus": corpus},
        as_json,
        f"{report.name}: {report.n_texts} texts, {report.n_units} without copies",
        f"prompt {report.template!r}{read_out}",
        f"SAEs are trained on {corpus}",
        table((*_COLUMNS, "remarks"), rows),
        *report.sentences(),
        *map(warning, report.warnings),
    )


def _numbers(row: Mapping[str, Any]) -> list[str | None]:
    return [None if row[name] is None else format(row[name], form) for name, form in _NUMBERS.items()]


def _remarks(row: Mapping[str, Any]) -> Iterator[str]:
    if row["is_template"]:
        yield "template"
    if row["is_long"]:
        yield "long"
    if (row["share_duplicates"] or 0) >= 0.05:
        yield f"{row['share_duplicates']:.0%} copies"
    if row["confusable_with"]:
        yield f"shares texts with {row['confusable_with']}"
    if row["n_not_read"]:
        yield f"{row['n_not_read']} not read"
    if row["is_low_power"]:
        yield "low power"
    if row["reason"]:
        yield f"left out: {row['reason']}"
