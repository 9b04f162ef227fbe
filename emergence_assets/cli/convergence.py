"""`emergence convergence`: whether the models of a study have stopped gaining features, also during training."""

from dataclasses import asdict

import click

from emergence_assets.cli.options import as_json_option, open_study, show, table
from resources.errors import require_known

_COLUMNS = ("model", "level", "checkpoints", "last step", "utility", "slope per decade", "verdict", "it would take")


@click.command()
@click.option("--level", metavar="LEVEL", help="Label level; default: the probe set's first. `all` shows every level.")
@as_json_option
def convergence(level: str | None, as_json: bool) -> None:
    """Show for every model whether its features still gain, and what further checkpoints would show.

    Reads the existing presence tables, with any number of checkpoints; computes no cell.
    """
    from emergence_assets.emergence.cost.convergence import convergence as convergence_of
    from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
    from emergence_assets.texts.study_texts import study_probe_set
    from resources.tables.parquet import read_table

    plan = open_study()
    levels = study_probe_set(plan.study).levels
    require_known("level", [level] if level else [], (*levels, "all"))
    chosen = levels if level == "all" else [level or levels[0]]
    paths = {model: plan.storage.model_table(CATEGORY_PRESENCE.name, model) for model in plan.study.models}
    absent = [model for model, path in paths.items() if not path.exists()]
    rows = [
        asdict(one)
        for model, path in paths.items()
        if model not in absent
        for one in convergence_of(read_table(path, CATEGORY_PRESENCE))
        if one.category_level in chosen
    ]
    listed = [
        (
            row["model"],
            row["category_level"],
            row["n_checkpoints"],
            f"{row['step_last']:,}",
            _estimate(row["utility"], row["utility_lo"], row["utility_hi"]),
            _estimate(row["slope_per_decade"], row["slope_lo"], row["slope_hi"]),
            row["verdict"],
            row["needed"],
        )
        for row in rows
    ]
    note = [f"no presence table yet: {', '.join(absent)}; type `emergence run`"] if absent else []
    show({"models": rows, "without_presence": absent}, as_json, table(_COLUMNS, listed), *note)


def _estimate(value: float | None, lo: float | None, hi: float | None) -> str | None:
    return None if value is None or lo is None or hi is None else f"{value:+.3f} ({lo:+.3f} to {hi:+.3f})"
