"""How a trace looks in a terminal. The data are in `trace.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from emergence_assets.audit.trace import Group, Node, Trace
from emergence_assets.plan.lineage_id import cell_id

SHOWN_VALUES = 6
"""Elements of a list that are shown."""
SHOWN_CHARACTERS = 90
SHOWN_DIGITS = 12
"""Of a commit."""
OF_THE_RUN = ("run_id", "study", "study_sha256", "seeds", "git_commit", "git_dirty")
"""Of an environment, what is told elsewhere or follows from the settings."""
FACTS = ("weights_sha256", "revision", "commit_sha", "location", "tokens_seen", "n_params", "content_sha256")
"""Of a summary, what says which bytes were used; the rest is shown with --json."""


@dataclass
class _Told:
    """What was printed already, and where the UI is."""

    ui: str
    cells: set[tuple[str, str]] = field(default_factory=set)
    settings: dict[str, Any] = field(default_factory=dict)
    """Groups of settings, as they were told last."""

    def setting(self, name: str, value: Any) -> str:
        """A setting in words; a group of them is told once."""
        if isinstance(value, Mapping) and value:
            if self.settings.get(name) == value:
                return "as above"
            self.settings[name] = value
        return _short(value)


def print_trace(console: Console, found: Trace, ui: str) -> None:
    """The row, then the tree; runs are links into the UI at this address."""
    target = found.target
    name = f"[bold]{target.spec.name}[/] {escape(str(target.cell))}"
    if target.figure:
        name = f"[bold]figure {escape(target.figure)}[/] of the report"
    console.print(f"{name}   lineage [cyan]{target.lineage_id or 'unknown'}[/]", highlight=False)
    if target.row:
        console.print(_row(target.row))
    if found.event_problem:
        console.print(f"runs are not known: {found.event_problem}", style="yellow", highlight=False, markup=False)
    console.print(_tree(found.root, _Told(ui.rstrip("/"))))


def _row(row: Mapping[str, Any]) -> RenderableType:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in row.items():
        if value is not None:
            table.add_row(f"[dim]{escape(name)}[/]", escape(_short(value)))
    return table


def _tree(node: Node, told: "_Told") -> Tree:
    tree = Tree(_title(node), guide_style="dim")
    _fill(tree, node, told)
    return tree


def _title(node: Node) -> str:
    title = f"[bold]{node.asset}[/] {escape(node.cell)}  [cyan]{cell_id(node.fingerprint)}[/]"
    if node.problem:
        title += f"  [red]{escape(node.problem)}[/]"
    return title


def _fill(tree: Tree, node: Node, told: "_Told") -> None:
    if (node.asset, node.cell) in told.cells:
        tree.add("[dim]told above[/]")
        return
    told.cells.add((node.asset, node.cell))
    record, event = node.stored.record, node.event
    if record:
        commit = str(record.environment.get("git_commit") or "")[:SHOWN_DIGITS]
        changed = " with changes" if record.environment.get("git_dirty") is True else ""
        made = f"made {record.created}, code {record.required.code_version}"
        made += f", commit {commit}{changed}" if commit else ""
        run = event.run_id if event else str(record.environment.get("run_id") or "")
        link = f"[link={told.ui}/runs/{run}]/runs/{run}[/]" if run else "[dim]no run known[/]"
        tree.add(f"[dim]{escape(made)}[/]  {link}" + ("" if event or not run else " [dim]by its own record[/]"))
        for name, value in record.required.recipe.items():
            tree.add(f"[dim]{escape(name)}[/] {escape(told.setting(name, value))}")
        for name in FACTS:
            if record.summary.get(name) not in (None, "") and name not in record.required.recipe:
                tree.add(f"[dim]{name}[/] {escape(_short(record.summary[name]))}")
        machine = {name: value for name, value in record.environment.items() if name not in OF_THE_RUN and value != ""}
        if machine:
            tree.add(f"[dim]made with[/] {escape(told.setting('environment', machine))}")
    for group in node.groups:
        _add_group(tree, group, told)


def _add_group(tree: Tree, group: Group, told: "_Told") -> None:
    others = len(group.fingerprints) - len(group.nodes)
    for child in group.nodes:
        _fill(tree.add(_title(child)), child, told)
    if not others:
        return
    if group.n_read:
        said = "none differs from what it should be" if not group.differing else f"{len(group.differing)} differ"
    else:
        said = "not read; --all reads them, --verify all bytes"
    branch = tree.add(
        f"[bold]{group.asset}[/] [dim]{others} more cells with {_distinct(group)} fingerprints: {said}[/]"
    )
    for cell, problem in list(group.differing.items())[:SHOWN_VALUES]:
        branch.add(f"{escape(cell)}  [red]{escape(problem)}[/]")


def _distinct(group: Group) -> int:
    at_length = {node.cell for node in group.nodes}
    return len({value for cell, value in group.fingerprints.items() if cell not in at_length})


def _short(value: Any) -> str:
    if isinstance(value, list):
        more = f", … {len(value)} in all" if len(value) > SHOWN_VALUES else ""
        return _cut(", ".join(_short(one) for one in value[:SHOWN_VALUES]) + more)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(one)}" for name, one in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
