"""`emergence checkpoints`: the checkpoints of a study, their validation and their pins."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from emergence_assets.cli.options import as_json_option, coloured, display, models_option, open_study, show, table

if TYPE_CHECKING:
    from emergence_assets.plan.plan import Plan

_COLUMNS = ("model", "step", "revision", "MB", "cached", "status", "why")
_COLOURS = {"ok": "green", "admitted": "yellow", "expected": "dim", "unjudged": "dim", "missing": "yellow"}


@click.group(invoke_without_command=True)
@models_option
@click.option(
    "--verify", is_flag=True, help="Measure new checkpoints, hash local files again, compare with the source."
)
@as_json_option
@click.pass_context
def checkpoints(context: click.Context, models: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """List the checkpoints of the study: step, revision, size, cached or not, status.

    The exit code is 1 when a model has no checkpoint; with --verify also when one is left out or has changed.
    """
    if context.invoked_subcommand:
        return
    from emergence_assets.checkpoints.overview import checkpoint_rows, verify_checkpoints, without_checkpoints

    plan = open_study()
    chosen = _chosen(plan, models)
    problems: list[str] = []
    if verify:
        with display() as progress:
            problems = verify_checkpoints(plan.study, plan.storage, chosen, progress)
    rows = checkpoint_rows(plan.study, plan.storage, chosen)
    problems += without_checkpoints(plan.study, plan.storage, chosen)
    counts = Counter(row["status"] for row in rows)
    lines = [", ".join(f"{n} {status}" for status, n in counts.items()) or "no checkpoints"]
    lines += [coloured(f"problem: {problem}", "red") for problem in problems]
    if counts["unjudged"] and not verify:
        lines.append("`emergence run` or `emergence checkpoints --verify` measures unjudged checkpoints")
    listed = table(_COLUMNS, map(_listed, rows), f"study {plan.study.name}")
    show({"checkpoints": rows, "problems": problems}, as_json, listed, *lines)
    if problems:
        raise SystemExit(1)


@checkpoints.command()
@models_option
@click.option("--update", is_flag=True, help="Also pin the new commit of branches that moved upstream.")
@as_json_option
def lock(models: tuple[str, ...], update: bool, as_json: bool) -> None:
    """Pin every revision of a hub family to a commit and the hashes of its weights, without a download.

    New revisions are added. A branch that moved upstream is reported and keeps its pin unless --update is given.
    """
    from emergence_assets.checkpoints.overview import pin_revisions

    plan = open_study()
    path, changes = pin_revisions(plan.study, plan.storage, _chosen(plan, models), update)
    lines = [f"{kind}: {line}" for kind, changed in changes.items() for line in changed]
    if not lines:
        lines.append("nothing changed upstream")
    if changes["moved"] and not update:
        lines.append("moved branches keep their pins; `emergence checkpoints lock --update` pins the new commits")
    show({"lock": str(path), **changes}, as_json, *lines, f"pins: {path}")


@checkpoints.command()
@models_option
@click.option("--step", "steps", type=int, multiple=True, help="Only this step; may be repeated.")
@as_json_option
def forget(models: tuple[str, ...], steps: tuple[int, ...], as_json: bool) -> None:
    """Leave out the steps whose files are gone: the next run makes all tables without them.

    Without this command the results of such steps go on counting. Steps whose files come back are listed again.
    """
    from emergence_assets.checkpoints.listing import forget_lost

    plan = open_study()
    lines = forget_lost(plan.study, plan.storage, _chosen(plan, models), steps)
    show({"forgotten": lines}, as_json, *(lines or ["no checkpoint is gone"]))


def _listed(row: Mapping[str, Any]) -> tuple[Any, ...]:
    from rich.text import Text

    size = Text(f"{row['weights_bytes'] / 1e6:,.1f}" if row["weights_bytes"] else "·", justify="right")
    cached = {True: "yes", False: "no", None: None}[row["cached"]]
    status = Text(row["status"], _COLOURS.get(row["status"], "red"))
    why = "; ".join(part for part in (row["reason"], row["upstream"]) if part)
    return row["model"], row["step"], row["revision"], size, cached, status, why


def _chosen(plan: "Plan", models: tuple[str, ...]) -> list[str]:
    from emergence_assets.plan.selection import parse_selection

    return list(parse_selection(plan.study, models).models) or plan.study.models
