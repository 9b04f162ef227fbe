"""`emergence convergence`: whether the models of a study have stopped gaining features, also while they are trained."""

import json
from dataclasses import asdict
from typing import Any

import click


@click.command()
@click.option("--level", metavar="LEVEL", help="Label level; default: the probe set's first. `all` shows every level.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def convergence(level: str | None, as_json: bool) -> None:
    """Say per model whether its features still gain, and what further checkpoints would tell.

    Reads the presence tables that there are, however many checkpoints they have; nothing is computed anew.
    """
    from emergence_assets.study.load import load_study
    from emergence_assets.texts.study_texts import study_probe_set
    from resources.files.storage import Storage, data_folder

    study = load_study()
    levels = study_probe_set(study).levels
    chosen = levels if level == "all" else [level or levels[0]]
    if strangers := [name for name in chosen if name not in levels]:
        from resources.errors import EmergenceError

        raise EmergenceError(f"There is no level {strangers[0]!r}.", remedy=f"choose from {', '.join(levels)}, all")
    rows, absent = _rows(study.models, Storage(data_folder(), study.name), chosen)
    if as_json:
        click.echo(json.dumps({"models": rows, "without_presence": absent}, indent=2))
        return
    _print(rows, absent)


def _rows(models: list[str], storage: Any, levels: Any) -> tuple[list[dict[str, Any]], list[str]]:
    from emergence_assets.emergence.cost.convergence import convergence as judged
    from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
    from resources.tables.parquet import read_table

    rows, absent = [], []
    for model in models:
        path = storage.model_table(CATEGORY_PRESENCE.name, model)
        if not path.exists():
            absent.append(model)
            continue
        rows += [asdict(one) for one in judged(read_table(path, CATEGORY_PRESENCE)) if one.category_level in levels]
    return rows, absent


def _print(rows: list[dict[str, Any]], absent: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in (
        "model",
        "level",
        "checkpoints",
        "last step",
        "utility",
        "slope per decade",
        "verdict",
        "it would take",
    ):
        table.add_column(column, no_wrap=column == "model")
    for row in rows:
        table.add_row(
            row["model"],
            row["category_level"],
            str(row["n_checkpoints"]),
            f"{row['step_last']:,}",
            _estimate(row["utility"], row["utility_lo"], row["utility_hi"]),
            _estimate(row["slope_per_decade"], row["slope_lo"], row["slope_hi"]),
            row["verdict"],
            row["needed"],
        )
    console = Console()
    console.print(table)
    if absent:
        console.print(f"no presence table yet: {', '.join(absent)}; type `emergence run`", highlight=False)


def _estimate(value: float | None, lo: float | None, hi: float | None) -> str:
    return "·" if value is None or lo is None or hi is None else f"{value:+.3f} ({lo:+.3f} to {hi:+.3f})"
