"""`emergence audit --verify`: comparison of all files of a study with their records and events."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from emergence_assets.cli.options import SHOWN, Coloured, coloured, open_study, show, table, warning
from resources.errors import EmergenceError

if TYPE_CHECKING:
    from emergence_assets.audit.findings import Audit

_COLOURS = {"altered": "red", "missing": "red", "failed": "red", "stale": "yellow", "forked": "yellow"}


def audit_verify(ui: str, as_json: bool) -> bool:
    """Print all findings; return whether there are none."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from emergence_assets.audit.events import open_event_log
    from emergence_assets.audit.verify import verify_study
    from resources.files.storage import instance_home

    plan = open_study()
    if not plan.storage.root.is_dir():
        raise EmergenceError("Nothing of this study is stored.", where=plan.storage.root, remedy="type `emergence run`")
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with (
        open_event_log(instance_home(plan.storage.data), plan.study.name) as events,
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("", total=None)
        audit = verify_study(plan, events, lambda done, total: bar.update(task, completed=done, total=total))
    parts = _tables(audit, plan.storage.root, ui.rstrip("/"))
    show(audit.as_dict(), as_json, *parts, *map(warning, audit.notes), _conclusion(audit))
    return not audit.findings


def _tables(audit: "Audit", root: Path, ui: str) -> list[Any]:
    """Make a table of causes per kind of finding; findings that follow from a cause are counted."""
    from rich.text import Text

    from emergence_assets.audit.findings import KINDS, MEANING

    parts: list[Any] = []
    for kind in KINDS:
        causes = [one for one in audit.causes if one.kind == kind]
        if not causes:
            continue
        rows = []
        for one in causes[:SHOWN]:
            name = f"{one.asset} {one.cell}".strip() or "the study"
            behind = sum(other.because == name for other in audit.findings)
            more = f" ({behind} cells made from it are stale too)" if behind else ""
            path = Path(one.path)
            place = str(path.relative_to(root)) if path.is_relative_to(root) else one.path
            rows.append((name, one.reason + more, place, Text(one.run[:8], f"link {ui}/runs/{one.run}")))
        title = f"[{_COLOURS.get(kind, 'magenta')}]{kind}[/]: {MEANING[kind]}"
        parts.append(table(("what", "why", "where", "run"), rows, title))
        if len(causes) > SHOWN:
            parts.append(f"and {len(causes) - SHOWN} more that are {kind}; --json has all")
    return parts


def _conclusion(audit: "Audit") -> str:
    read = f"{audit.n_cells} cells, {audit.n_bytes / 1e6:,.1f} MB read in {audit.seconds:.1f} s"
    if not audit.findings:
        return Coloured(f"{coloured('nothing found', 'green')}: {read}")
    return Coloured(f"{coloured(audit.counted, 'red')}: {read}")
