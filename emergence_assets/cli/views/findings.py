"""How the findings of an audit look in a terminal."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emergence_assets.audit.findings import KINDS, MEANING, Audit, Finding, Kind

SHOWN = 20
"""Findings of one kind that are listed; --json has all."""
_COLOURS: dict[Kind, str] = {"altered": "red", "missing": "red", "stale": "yellow", "forked": "yellow"}


def print_audit(console: Console, audit: Audit, root: Path, ui: str) -> None:
    """Causes by kind, what follows from them counted, then what cannot be known."""
    for kind in KINDS:
        causes = [one for one in audit.causes if one.kind == kind]
        if causes:
            console.print(_table(kind, causes, audit, root, ui.rstrip("/")))
        if len(causes) > SHOWN:
            console.print(f"and {len(causes) - SHOWN} more that are {kind}; --json has all", style="dim")
    for note in audit.notes:
        console.print(f"note: {note}", style="yellow", highlight=False, markup=False)
    console.print(_conclusion(audit), highlight=False)


def _table(kind: Kind, causes: list[Finding], audit: Audit, root: Path, ui: str) -> Table:
    title = f"[{_COLOURS.get(kind, 'magenta')}]{kind}[/]: {MEANING[kind]}"
    table = Table("what", "why", "where", "run", title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for one in causes[:SHOWN]:
        name = f"{one.asset} {one.cell}".strip() or "the study"
        behind = sum(other.because == name for other in audit.findings)
        more = f" ({behind} cells behind it are stale for that)" if behind else ""
        run = f"[link={ui}/runs/{one.run}]{one.run[:8]}[/]" if one.run else ""
        table.add_row(escape(name), escape(one.reason + more), escape(_place(one.path, root)), run)
    return table


def _place(path: str, root: Path) -> str:
    inside = Path(path).is_relative_to(root)
    return str(Path(path).relative_to(root)) if inside else path


def _conclusion(audit: Audit) -> str:
    read = f"{audit.n_cells} cells, {audit.n_bytes / 1e6:,.1f} MB read in {audit.seconds:.1f} s"
    if not audit.findings:
        return f"[green]nothing found[/]: {read}"
    counts = {kind: sum(one.kind == kind for one in audit.findings) for kind in KINDS}
    listed = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    return f"[red]{listed}[/]: {read}"
