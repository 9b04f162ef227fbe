"""`emergence audit`: where a number comes from, and whether everything is still what was recorded."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from resources.errors import EmergenceError

if TYPE_CHECKING:
    from rich.console import Console

    from emergence_assets.plan.plan import Plan


FOUND = 1
"""Exit code when there are findings."""
UI = "http://127.0.0.1:3000"
"""Where `emergence ui` serves by default."""


@click.command()
@click.argument("address", nargs=-1)
@click.option("--where", "filters", metavar="NAME=VALUE,…", multiple=True, help="Which row or cell of the asset.")
@click.option("--all", "everything", is_flag=True, help="Tell every cell behind the result, not one of each kind.")
@click.option(
    "--verify", is_flag=True, help="Hash every file of the study and compare all records; exit code 1: found."
)
@click.option(
    "--reproduce", is_flag=True, help="Make the result again in a folder of its own and compare; exit code 1: differs."
)
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Keep what --reproduce makes, in this folder."
)
@click.option(
    "--from",
    "start",
    type=click.Choice(("checkpoints", "training")),
    default="checkpoints",
    show_default=True,
    help="Whether --reproduce takes the weights as they are or trains them again.",
)
@click.option(
    "--diff",
    "states",
    nargs=2,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER FOLDER",
    help="What changed between two data folders with the same study; exit code 1: something did.",
)
@click.option("--ui", "ui", default=UI, show_default=True, help="Address of the UI that links to runs lead to.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def audit(
    address: tuple[str, ...],
    filters: tuple[str, ...],
    everything: bool,
    verify: bool,
    reproduce: bool,
    into: Path | None,
    start: Literal["checkpoints", "training"],
    states: tuple[Path, Path] | None,
    ui: str,
    as_json: bool,
) -> None:
    """Trace a result back to the bytes it came from, make it again, or verify all that is stored. Changes nothing.

    ADDRESS is a claim (claims/3), a figure (report/presence_over_time), an asset with what names one of its rows or
    cells (category_presence --where "model=m,layer=4,step=512,category=fish"; sae model=m,step=512,layer=4), or the
    lineage id that the report and this command print.
    """
    asked = [name for name, on in (("--verify", verify), ("--diff", states), ("--reproduce", reproduce)) if on]
    _require_one_question(asked, bool(address), bool(into))
    if states:
        _diff(states, as_json)
    elif verify:
        _verify(ui, as_json)
    elif reproduce:
        _reproduce(address[0], (*address[1:], *filters), into, start, as_json)
    else:
        _trace(address[0], (*address[1:], *filters), everything, ui, as_json)


def _require_one_question(asked: list[str], has_address: bool, has_folder: bool) -> None:
    remedy = "type for example `emergence audit claims/1` or `emergence audit --verify`"
    if len(asked) > 1:
        raise EmergenceError(f"{' and '.join(asked)} are different questions.", remedy="ask one at a time")
    if has_address and asked in (["--verify"], ["--diff"]):
        raise EmergenceError(f"{asked[0]} is about everything.", remedy="leave the address out")
    if not has_address and asked in ([], ["--reproduce"]):
        raise EmergenceError("It is not said what to trace.", remedy=remedy)
    if has_folder and asked != ["--reproduce"]:
        raise EmergenceError(
            "--into is where --reproduce keeps what it makes.", remedy="add --reproduce, or leave it out"
        )


def _trace(address: str, filters: tuple[str, ...], everything: bool, ui: str, as_json: bool) -> None:
    from rich.console import Console

    from emergence_assets.audit.address import parse_filters, resolve
    from emergence_assets.audit.events import open_event_log
    from emergence_assets.audit.records import AuditPlan
    from emergence_assets.audit.trace import trace, trace_as_dict
    from emergence_assets.cli.views.trace import print_trace
    from resources.files.storage import instance_home

    plan = AuditPlan(_plan())
    with open_event_log(instance_home(plan.storage.data), plan.study.name) as events:
        target = resolve(address, parse_filters(filters), plan, events)
        found = trace(target, plan, events, everything=everything)
    if as_json:
        click.echo(json.dumps(trace_as_dict(found), indent=2))
    else:
        print_trace(Console(), found, ui)


def _reproduce(
    address: str, filters: tuple[str, ...], into: Path | None, start: Literal["checkpoints", "training"], as_json: bool
) -> None:
    import contextlib
    import tempfile

    from rich.console import Console

    from emergence_assets.audit.address import parse_filters, resolve
    from emergence_assets.audit.events import open_event_log
    from emergence_assets.audit.records import AuditPlan
    from emergence_assets.cli.views.progress import Display
    from emergence_assets.cli.views.reproduction import print_reproduction
    from emergence_assets.orchestration.instance.interruption import interruptions_kept
    from emergence_assets.orchestration.reproduce import reproduce
    from resources.files.storage import instance_home

    plan = _plan()
    with open_event_log(instance_home(plan.storage.data), plan.study.name) as events:
        target = resolve(address, parse_filters(filters), AuditPlan(plan), events)
    with (
        contextlib.nullcontext(into) if into else tempfile.TemporaryDirectory() as folder,
        interruptions_kept(),
        Display(Console(stderr=True)) as display,
    ):
        found = reproduce(target, " ".join((address, *filters)), plan, Path(folder).absolute(), start, display)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        print_reproduction(Console(), found)
    if not found.agrees:
        raise SystemExit(FOUND)


def _diff(states: tuple[Path, Path], as_json: bool) -> None:
    from rich.console import Console

    from emergence_assets.audit.states import compare_states
    from emergence_assets.cli.views.states import print_states
    from emergence_assets.pipeline import specs_for
    from emergence_assets.plan.plan import Plan
    from emergence_assets.study.load import load_study
    from resources.files.storage import Storage

    study = load_study()
    plans = [Plan(study, Storage(folder.absolute(), study.name), specs_for(study)) for folder in states]
    for plan in plans:
        if not plan.storage.root.is_dir():
            raise EmergenceError(f"There is no study {study.name!r} here.", where=plan.storage.data)
    found = compare_states(plans[0], plans[1])
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        print_states(Console(), found)
    if not found.is_same:
        raise SystemExit(FOUND)


def _verify(ui: str, as_json: bool) -> None:
    from rich.console import Console

    from emergence_assets.audit.events import open_event_log
    from emergence_assets.audit.verify import verify_study
    from emergence_assets.cli.views.findings import print_audit
    from resources.files.storage import instance_home

    plan = _plan()
    if not plan.storage.root.is_dir():
        raise EmergenceError("Nothing of this study is stored.", where=plan.storage.root, remedy="type `emergence run`")
    with (
        open_event_log(instance_home(plan.storage.data), plan.study.name) as events,
        _bar(Console(stderr=True)) as progress,
    ):
        found = verify_study(plan, events, progress)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        print_audit(Console(), found, plan.storage.root, ui)
    if found.findings:
        raise SystemExit(FOUND)


def _bar(console: "Console"):
    """A progress bar of bytes, as a context that gives the function to call."""
    import contextlib

    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    @contextlib.contextmanager
    def shown():
        columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    return shown()


def _plan() -> "Plan":
    from emergence_assets.pipeline import specs_for
    from emergence_assets.plan.plan import Plan
    from emergence_assets.study.load import load_study
    from resources.files.storage import Storage, data_folder

    study = load_study()
    return Plan(study, Storage(data_folder(), study.name), specs_for(study))
