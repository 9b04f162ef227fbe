"""`emergence checkpoints`: what a study would use, whether it is what it claims to be, and the pins behind it."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from emergence_assets.orchestration.session import Session


@click.group(invoke_without_command=True)
@click.option("--model", "models", multiple=True, metavar="MODEL", help="Only this model; may be repeated.")
@click.option("--verify", is_flag=True, help="Fetch and measure what was not, hash again what is here, ask the source.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def checkpoints(context: click.Context, models: tuple[str, ...], verify: bool, as_json: bool) -> None:
    """List the checkpoints that the study would use: step, revision, size, cached or not, status.

    With --verify the exit code is 1 when a checkpoint is left out or is no longer what it was.
    """
    if context.invoked_subcommand:
        return
    from rich.console import Console

    from emergence_assets.checkpoints.overview import checkpoint_rows, verify_checkpoints
    from emergence_assets.cli.views.progress import Display

    session = _session()
    chosen = _chosen(session, models)
    problems: list[str] = []
    if verify:
        with Display(Console(file=sys.stderr)) as display:
            problems = verify_checkpoints(session.study, session.storage, chosen, display)
    rows = checkpoint_rows(session.study, session.storage, chosen)
    if as_json:
        click.echo(json.dumps({"checkpoints": rows, "problems": problems}, indent=2))
    else:
        _print_rows(Console(), session, rows, problems, verify)
    if problems:
        raise SystemExit(1)


@checkpoints.command()
@click.option("--model", "models", multiple=True, metavar="MODEL", help="Only this model; may be repeated.")
@click.option("--update", is_flag=True, help="Also take the new commit of branches that moved upstream.")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def lock(models: tuple[str, ...], update: bool, as_json: bool) -> None:
    """Pin every revision of a hub family to a commit and the hashes of its weights, without a download.

    New revisions are added. A branch that moved upstream is reported and keeps its pin unless --update is given.
    """
    from emergence_assets.checkpoints.overview import pin_revisions

    session = _session()
    path, changes = pin_revisions(session.study, session.storage, _chosen(session, models), update)
    if as_json:
        click.echo(json.dumps({"lock": str(path), **changes}, indent=2))
        return
    for kind, lines in changes.items():
        for line in lines:
            click.echo(f"{kind}: {line}")
    if not any(changes.values()):
        click.echo("nothing changed upstream")
    if changes["moved"] and not update:
        click.echo("moved branches keep their pins; type `emergence checkpoints lock --update` to take the new commits")
    click.echo(f"pins: {path}")


def _print_rows(
    console: "Console", session: "Session", rows: list[dict[str, Any]], problems: list[str], verified: bool
) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("model", "step", "revision", "MB", "cached", "status", "why", title=f"study {session.study.name}")
    colours = {"ok": "green", "admitted": "yellow", "expected": "dim", "unjudged": "dim", "missing": "yellow"}
    for row in rows:
        size = f"{row['weights_bytes'] / 1e6:,.1f}" if row["weights_bytes"] else "·"
        why = "; ".join(part for part in (row["reason"], row["upstream"]) if part)
        status = f"[{colours.get(row['status'], 'red')}]{row['status']}[/]"
        cached = {True: "yes", False: "no", None: "·"}[row["cached"]]
        table.add_row(row["model"], str(row["step"]), escape(row["revision"]), size, cached, status, escape(why))
    console.print(table)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    console.print(", ".join(f"{n} {status}" for status, n in counts.items()) or "no checkpoints", highlight=False)
    for problem in problems:
        console.print(f"problem: {problem}", style="red", highlight=False, markup=False)
    if counts.get("unjudged") and not verified:
        console.print("unjudged ones are measured by `emergence run` or `emergence checkpoints --verify`")


def _session() -> "Session":
    from emergence_assets.orchestration.session import Session

    return Session.open()


def _chosen(session: "Session", models: tuple[str, ...]) -> list[str]:
    from resources.errors import EmergenceError

    if strangers := [model for model in models if model not in session.study.models]:
        raise EmergenceError(
            f"The study has no model {strangers[0]!r}.", remedy=f"choose from {', '.join(session.study.models)}"
        )
    return list(models) or session.study.models
