"""Tables of the page: columns, cells and accessible HTML."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from emergence_assets.report.charts.readings import category_histories, size_points
from emergence_assets.report.page.sentences import UNKNOWN, known, number, signed, span

MAX_CATEGORIES = 50
Cell = tuple[str, float | str]
"""Shown text, and the value by which the column is sorted."""


def html_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], name: str = "") -> str:
    """Make a table with a caption and column headers; the first cell of a row is its header. All text is escaped.

    Args:
        caption: content of the table.
        columns: one header per column.
        rows: cells per row, as many as columns.
        name: id of the table; the script of the page makes tables with an id sortable.
    """
    is_number = [bool(rows) and not isinstance(rows[0][i][1], str) for i in range(len(columns))]
    head = "".join(
        f'<th scope="col"{_NUMBER if numeric else ""}>{html.escape(column)}</th>'
        for column, numeric in zip(columns, is_number, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(_cell(cell, "th" if i == 0 else "td") for i, cell in enumerate(row)) + "</tr>\n"
        for row in rows
    )
    attributes = f' id="{html.escape(name)}" class="sortable"' if name else ""
    heading = html.escape(caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{heading}"><table{attributes}>'
        f"<caption>{heading}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
    )


def headline_table(headline: pl.DataFrame, level: str) -> str:
    """One row per model: presence at the first and last step, rise, controls; mean over categories and layers."""
    rows = headline.filter((pl.col("category_level") == level) & (pl.col("control_id") == "none"))
    cells = [
        [
            _text(row["model"]),
            _integer(row["n_params_nonemb"]),
            _text(f"{row['step_first']:,} to {row['step_last']:,}"),
            _estimate(row["p_first"], row["p_first_lo"], row["p_first_hi"]),
            _estimate(row["p_last"], row["p_last_lo"], row["p_last_hi"]),
            _estimate(row["rise"], row["rise_lo"], row["rise_hi"], signed),
            (f"{row['n_strong_first']:.1f} to {row['n_strong_last']:.1f}", _order(row["n_strong_last"])),
            (span(row["p_shuffle_min"], row["p_shuffle_max"]), _order(row["p_shuffle_max"])),
            (span(row["p_dense_first"], row["p_dense_last"]), _order(row["p_dense_last"])),
            (number(row["p_bow"]), _order(row["p_bow"])),
        ]
        for row in _rows(rows.sort("n_params_nonemb", "model"))
    ]
    columns = (
        "model",
        "parameters",
        "steps",
        "AUROC first step",
        "AUROC last step",
        "rise",
        "categories with AUROC ≥ 0.75",
        "shuffled labels, range",
        "dense probe",
        "bag of words",
    )
    return html_table(
        "Mean AUROC over categories and layers, with 95 % intervals; numbers of categories are means over layers; the "
        "dense probe is given at the first and last step; parameters without embeddings",
        columns,
        cells,
    )


def size_table(scale: pl.DataFrame, level: str) -> str:
    """One row per model, at its checkpoint nearest to the same number of tokens and at its best layer there."""
    cells = [
        [
            _text(row["model"]),
            _integer(row["n_params_nonemb"]),
            _integer(row["layer"]),
            _estimate(row["p_best"], row["lo"], row["hi"]),
            (number(row["p_step0"]), _order(row["p_step0"])),
            (number(row["p_dense"]), _order(row["p_dense"])),
        ]
        for row in _rows(size_points(scale, level).sort("n_params_nonemb", "model"))
    ]
    columns = ("model", "parameters", "best layer", "AUROC", "same layer at step 0", "dense probe")
    return html_table(
        "Mean AUROC of the sizes at the checkpoints nearest to the same number of training tokens, at the best layer "
        "of each size, with 95 % intervals; parameters without embeddings",
        columns,
        cells,
    )


def seeds_table(seeds: pl.DataFrame, level: str) -> str:
    """One row per model with replicates: differences between its training runs; empty without replicates."""
    rows = seeds.filter(pl.col("category_level") == level, pl.col("control_id") == "none")
    if rows.is_empty():
        return ""
    single = (
        rows.filter(pl.col("aggregate") == "none")
        .group_by("model")
        .agg(
            sd=(pl.col("gain_sd") ** 2).mean().sqrt(),
            text_sd=(pl.col("gain_text_sd") ** 2).mean().sqrt(),
            agree=pl.col("signs_agree").sum(),
            n=pl.len(),
        )
    )
    joined = rows.filter(pl.col("aggregate") == "mean").join(single, on="model").sort("n_params_nonemb", "model")
    cells = [
        [
            _text(row["model"]),
            _integer(row["n_runs"]),
            (", ".join(signed(run["gain"]) for run in row["runs"]), _order(row["gain_mean"])),
            (number(row["gain_sd"]), _order(row["gain_sd"])),
            (number(row["sd"]), _order(row["sd"])),
            (number(row["text_sd"]), _order(row["text_sd"])),
            (f"{row['agree']} of {row['n']}", float(row["agree"])),
        ]
        for row in _rows(joined)
    ]
    columns = (
        "model",
        "runs",
        "gain of each run",
        "sd between runs, mean gain",
        f"sd between runs, single {level}",
        f"sd over texts, single {level}",
        "categories whose gains have one sign in all runs",
    )
    return html_table(
        "Differences between training runs of one model, at their last common step and the best layer of each run; "
        "sd: standard deviation, AUROC units",
        columns,
        cells,
    )


def category_table(time: pl.DataFrame, level: str, model: str, domains: Mapping[str, str]) -> str:
    """List the categories with the largest gain at the model's best layer, largest first."""
    rows = category_histories(time, level, model)
    cells = [
        [
            _text(row["category"]),
            *([_text(domains.get(row["category"], UNKNOWN))] if domains else []),
            (number(row["base"]), _order(row["base"])),
            _estimate(row["p_end"], row["p_end_lo"], row["p_end_hi"]),
            _estimate(row["amp"], row["amp_lo"], row["amp_hi"], signed),
            _text(_called_emerged(row)),
            _step(row, "onset_step"),
            _step(row, "half_step"),
            _text(_CURVES.get(row["best_model"], UNKNOWN)),
            _text({"none": "complete", "left": "before training", "right": "still rising"}.get(row["censor"], UNKNOWN))
            if row["emerged"]
            else _text(UNKNOWN),
            ("<0.001" if (row["q_emerged"] or 1) < 0.001 else number(row["q_emerged"]), _order(row["q_emerged"])),
            (number(row["p_shuffle"]), _order(row["p_shuffle"])),
            (number(row["p_dense"]), _order(row["p_dense"])),
            (number(row["p_bow"]), _order(row["p_bow"])),
        ]
        for row in _rows(rows.head(MAX_CATEGORIES))
    ]
    columns = (
        level,
        *(["group"] if domains else []),
        "AUROC step 0",
        "AUROC last step",
        "gain",
        "emerged",
        "onset step",
        "half-rise step",
        "best curve",
        "rise",
        "q",
        "shuffled labels",
        "dense probe",
        "bag of words",
    )
    shown = (
        f"{len(cells)} of {rows.height} categories, largest gain first"
        if rows.height > len(cells)
        else "All categories"
    )
    layer = f", layer {rows['layer'][0]}" if rows.height else ""
    return html_table(f"{shown}: {model}{layer}, with 95 % intervals", columns, cells, "categories")


def origin_table(provenance: Sequence[Mapping[str, Any]]) -> str:
    """One row per cell that the page was made from; columns are the keys of the rows, in order of appearance."""
    columns = list(dict.fromkeys(key for row in provenance for key in row))
    cells = [[_text("" if row.get(key) is None else str(row[key])) for key in columns] for row in provenance]
    return html_table("Cells that the page was made from", [column.replace("_", " ") for column in columns], cells)


_NUMBER = ' class="number"'
_CURVES = {"constant": "constant", "linear": "line", "sigmoid": "sigmoid", "two_step": "two steps"}


def _cell(cell: Cell, tag: str) -> str:
    shown, order = cell
    is_number = not isinstance(order, str)
    attributes = (' scope="row"' if tag == "th" else "") + (f'{_NUMBER} data-sort="{order:.6g}"' if is_number else "")
    text = html.escape(shown)
    if is_number and " (" in text:  # the interval goes below its estimate, so that the table stays narrow
        text = text.replace(" (", ' <span class="interval">(', 1) + "</span>"
    return f"<{tag}{attributes}>{text}</{tag}>"


def _text(value: str) -> Cell:
    return value, value


def _integer(value: int | None) -> Cell:
    return (UNKNOWN, _order(None)) if value is None else (f"{value:,}", float(value))


def _estimate(value: float | None, low: float | None, high: float | None, shown: Any = number) -> Cell:
    interval = span(low, high, shown)
    return (shown(value) if interval == UNKNOWN else f"{shown(value)} ({interval})"), _order(value)


def _called_emerged(row: Mapping[str, Any]) -> str:
    """Format `yes` or `no`; with the grade of the claim if the criteria of the time table are met."""
    if row["emerged"] is None:
        return UNKNOWN
    answer = "yes" if row["emerged"] else "no"
    return f"{answer} ({row['grade']})" if row["passes_gate"] else answer


def _step(row: Mapping[str, Any], name: str) -> Cell:
    if not row["emerged"]:
        return UNKNOWN, _order(None)
    return f"{row[name]:,.0f} ({row[f'{name}_lo']:,.0f} to {row[f'{name}_hi']:,.0f})", float(row[name])


def _order(value: float | None) -> float:
    """Sort value of a number; unknown values come last."""
    return float("inf") if value is None else float(value)


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [{key: known(value) for key, value in row.items()} for row in frame.iter_rows(named=True)]
