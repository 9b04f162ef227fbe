"""Tables of the page: columns, cells and accessible HTML."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from emergence_assets.report.charts.readings import category_histories, size_points
from emergence_assets.report.page.sentences import UNKNOWN, known_rows, number, signed, span

MAX_CATEGORIES = 50
Row = Mapping[str, Any]
Cell = tuple[str, float | str]
"""Shown text, and the value by which the column is sorted."""
MakeCell = Callable[[Row], Cell]
Columns = Mapping[str, MakeCell]
"""Header of every column, and the function that makes its cell from a row."""


def html_table(caption: str, columns: Columns, rows: Sequence[Row], name: str = "") -> str:
    """Make a table with a caption and column headers; the first cell of a row is its header. All text is escaped.

    Args:
        caption: content of the table.
        columns: header and cell of every column.
        rows: one row per line of the table.
        name: id of the table; the script of the page makes tables with an id sortable.
    """
    cells = [[make(row) for make in columns.values()] for row in rows]
    is_number = [bool(cells) and not isinstance(cells[0][i][1], str) for i in range(len(columns))]
    head = "".join(
        f'<th scope="col"{_NUMBER if numeric else ""}>{html.escape(column)}</th>'
        for column, numeric in zip(columns, is_number, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(_cell(cell, "th" if i == 0 else "td") for i, cell in enumerate(line)) + "</tr>\n"
        for line in cells
    )
    attributes = f' id="{html.escape(name)}" class="sortable"' if name else ""
    heading = html.escape(caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{heading}"><table{attributes}>'
        f"<caption>{heading}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
    )


def text_cell(value: str) -> Cell:
    """Make a cell that is sorted by its text."""
    return value, value


def text(name: str) -> MakeCell:
    """Show a field as it is."""
    return lambda row: text_cell(row[name])


def integer(name: str) -> MakeCell:
    """Show a whole number; a dash if unknown."""
    return lambda row: (UNKNOWN if row[name] is None else f"{row[name]:,}", order(row[name]))


def decimal(name: str) -> MakeCell:
    """Show a number with three decimals; a dash if unknown."""
    return lambda row: (number(row[name]), order(row[name]))


def probability(name: str) -> MakeCell:
    """Show a p-value or q-value with three decimals, or that it is smaller; a dash if unknown."""
    return lambda row: ("<0.001" if order(row[name]) < 0.001 else number(row[name]), order(row[name]))


def order(value: float | None) -> float:
    """Return the value by which a number is sorted; unknown values come last."""
    return float("inf") if value is None else float(value)


def headline_table(headline: pl.DataFrame, level: str) -> str:
    """One row per model: presence at the first and last step, rise, controls; mean over categories and layers."""
    rows = headline.filter(category_level=level, control_id="none")
    columns: Columns = {
        "model": text("model"),
        "parameters": integer("n_params_nonemb"),
        "steps": lambda row: text_cell(f"{row['step_first']:,} to {row['step_last']:,}"),
        "AUROC first step": _estimate("p_first"),
        "AUROC last step": _estimate("p_last"),
        "rise": _estimate("rise", signed),
        "categories with AUROC ≥ 0.75": lambda row: (
            f"{row['n_strong_first']:.1f} to {row['n_strong_last']:.1f}",
            order(row["n_strong_last"]),
        ),
        "categories with a latent of their own, random encoders in brackets": lambda row: (
            UNKNOWN
            if row["n_own_last"] is None or row["n_own_random_last"] is None
            else f"{row['n_own_last']:.1f} [{row['n_own_random_last']:.1f}]",
            order(row["n_own_last"]),
        ),
        "shuffled labels, range": _span("p_shuffle_min", "p_shuffle_max"),
        "dense probe": _span("p_dense_first", "p_dense_last"),
        "bag of words": decimal("p_bow"),
    }
    return html_table(
        "Mean AUROC over categories and layers, with 95 % intervals; numbers of categories are means over layers; the "
        "dense probe is given at the first and last step; parameters without embeddings",
        columns,
        known_rows(rows.sort("n_params_nonemb", "model")),
    )


def size_table(scale: pl.DataFrame, level: str) -> str:
    """One row per model, at its checkpoint nearest to the same number of tokens and at its best layer there."""
    columns: Columns = {
        "model": text("model"),
        "parameters": integer("n_params_nonemb"),
        "best layer": integer("layer"),
        "AUROC": _estimate("p_best", ends=("lo", "hi")),
        "same layer at step 0": decimal("p_step0"),
        "dense probe": decimal("p_dense"),
    }
    return html_table(
        "Mean AUROC of the sizes at the checkpoints nearest to the same number of training tokens, at the best layer "
        "of each size, with 95 % intervals; parameters without embeddings",
        columns,
        known_rows(size_points(scale, level).sort("n_params_nonemb", "model")),
    )


def seeds_table(seeds: pl.DataFrame, level: str) -> str:
    """One row per model with replicates: differences between its training runs; empty without replicates."""
    rows = seeds.filter(category_level=level, control_id="none")
    if rows.is_empty():
        return ""
    single = (
        rows.filter(aggregate="none")
        .group_by("model", maintain_order=True)
        .agg(
            sd=(pl.col("gain_sd") ** 2).mean().sqrt(),
            text_sd=(pl.col("gain_text_sd") ** 2).mean().sqrt(),
            agree=pl.col("signs_agree").sum(),
            n=pl.len(),
        )
    )
    joined = rows.filter(aggregate="mean").join(single, on="model").sort("n_params_nonemb", "model")
    columns: Columns = {
        "model": text("model"),
        "runs": integer("n_runs"),
        "gain of each run": lambda row: (
            ", ".join(signed(run["gain"]) for run in row["runs"]),
            order(row["gain_mean"]),
        ),
        "sd between runs, mean gain": decimal("gain_sd"),
        f"sd between runs, single {level}": decimal("sd"),
        f"sd over texts, single {level}": decimal("text_sd"),
        "categories whose gains have one sign in all runs": lambda row: (
            f"{row['agree']} of {row['n']}",
            float(row["agree"]),
        ),
    }
    return html_table(
        "Differences between training runs of one model, at their last common step and the best layer of each run; "
        "sd: standard deviation, AUROC units",
        columns,
        known_rows(joined),
    )


def category_table(time: pl.DataFrame, level: str, model: str, domains: Mapping[str, str]) -> str:
    """List the categories with the largest gain at the model's best layer, largest first."""
    rows = category_histories(time, level, model)
    listed = known_rows(rows.head(MAX_CATEGORIES))
    group: Columns = {"group": lambda row: text_cell(domains.get(row["category"], UNKNOWN))}
    columns: Columns = {
        level: text("category"),
        **(group if domains else {}),
        "AUROC step 0": decimal("base"),
        "AUROC last step": _estimate("p_end"),
        "gain": _estimate("amp", signed),
        "emerged": lambda row: text_cell(_called_emerged(row)),
        "onset step": _step("onset_step"),
        "half-rise step": _step("half_step"),
        "best curve": lambda row: text_cell(_CURVES.get(row["best_model"], UNKNOWN)),
        "rise": lambda row: text_cell(_RISES.get(row["censor"], UNKNOWN) if row["emerged"] else UNKNOWN),
        "q": probability("q_emerged"),
        "shuffled labels": decimal("p_shuffle"),
        "dense probe": decimal("p_dense"),
        "bag of words": decimal("p_bow"),
    }
    shown = "All categories"
    if rows.height > len(listed):
        shown = f"{len(listed)} of {rows.height} categories, largest gain first"
    layer = f", layer {rows['layer'][0]}" if rows.height else ""
    return html_table(f"{shown}: {model}{layer}, with 95 % intervals", columns, listed, "categories")


def origin_table(provenance: Sequence[Row]) -> str:
    """One row per cell that the page was made from; columns are the keys of the rows, in order of appearance."""
    names = dict.fromkeys(key for row in provenance for key in row)
    rows = [{name: "" if row.get(name) is None else str(row[name]) for name in names} for row in provenance]
    return html_table("Cells that the page was made from", {name.replace("_", " "): text(name) for name in names}, rows)


_NUMBER = ' class="number"'
_CURVES = {"constant": "constant", "linear": "line", "sigmoid": "sigmoid", "two_step": "two steps"}
_RISES = {"none": "complete", "left": "before training", "right": "still rising"}


def _cell(cell: Cell, tag: str) -> str:
    shown, order = cell
    is_number = not isinstance(order, str)
    attributes = (' scope="row"' if tag == "th" else "") + (f'{_NUMBER} data-sort="{order:.6g}"' if is_number else "")
    text = html.escape(shown)
    if is_number and " (" in text:  # the interval goes below its estimate, so that the table stays narrow
        text = text.replace(" (", ' <span class="interval">(', 1) + "</span>"
    return f"<{tag}{attributes}>{text}</{tag}>"


def _estimate(
    name: str, shown: Callable[[float | None], str] = number, ends: tuple[str, str] | None = None
) -> MakeCell:
    low, high = ends or (f"{name}_lo", f"{name}_hi")

    def make(row: Row) -> Cell:
        interval = span(row[low], row[high], shown)
        return (shown(row[name]) if interval == UNKNOWN else f"{shown(row[name])} ({interval})"), order(row[name])

    return make


def _span(low: str, high: str) -> MakeCell:
    return lambda row: (span(row[low], row[high]), order(row[high]))


def _called_emerged(row: Row) -> str:
    """Format `yes` or `no`; with the grade of the claim if the criteria of the time table are met."""
    if row["emerged"] is None:
        return UNKNOWN
    answer = "yes" if row["emerged"] else "no"
    return f"{answer} ({row['grade']})" if row["passes_gate"] else answer


def _step(name: str) -> MakeCell:
    def make(row: Row) -> Cell:
        if not (row["emerged"] and row["is_dated"]):
            return UNKNOWN, order(None)
        return f"{row[name]:,.0f} ({row[f'{name}_lo']:,.0f} to {row[f'{name}_hi']:,.0f})", float(row[name])

    return make
