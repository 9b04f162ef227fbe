"""`emergence audit ADDRESS`: a result and all cells behind it, as a tree."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emergence_assets.cli.options import open_study, show, warning

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from emergence_assets.audit.trace import Group, Node, Trace

SHOWN_VALUES = 6
"""Maximum number of shown elements of a list."""
SHOWN_CHARACTERS = 90
SHOWN_DIGITS = 12
"""Digits of a commit that are shown."""
OF_THE_RUN = ("run_id", "study", "study_sha256", "seeds", "git_commit", "git_dirty")
"""Fields of an environment that are shown elsewhere or follow from the settings."""
FACTS = ("weights_sha256", "revision", "commit_sha", "location", "tokens_seen", "n_params", "content_sha256")
"""Fields of a summary that identify the input bytes; --json shows all fields."""


def audit_trace(address: str, filters: tuple[str, ...], everything: bool, ui: str, as_json: bool) -> bool:
    """Print the trace of a result; runs are links to the UI at address `ui`."""
    from emergence_assets.audit.address import parse_filters, resolve
    from emergence_assets.audit.events import open_event_log
    from emergence_assets.audit.records import AuditPlan
    from emergence_assets.audit.trace import trace, trace_as_dict
    from resources.files.storage import instance_home

    plan = AuditPlan(open_study())
    with open_event_log(instance_home(plan.storage.data), plan.study.name) as events:
        target = resolve(address, parse_filters(filters), plan, events)
        result = trace(target, plan, events, everything=everything)
    problem = [warning(f"runs are unknown: {result.event_problem}")] if result.event_problem else []
    show(trace_as_dict(result), as_json, _heading(result), *problem, _TreeOfCells(ui.rstrip("/")).tree(result.root))
    return True


def _heading(result: "Trace") -> "Text":
    """Return name and lineage id of the result, and the columns of its row."""
    from rich.text import Text

    target = result.target
    name = (f"figure {target.figure}", " of the report") if target.figure else (target.spec.name, f" {target.cell}")
    heading = Text.assemble((name[0], "bold"), name[1], "   lineage ", (target.lineage_id or "unknown", "cyan"))
    for column, value in (target.row or {}).items():
        if value is not None:
            heading.append_text(Text.assemble("\n", (f"{column}  ", "dim"), _short(value)))
    return heading


class _TreeOfCells:
    """Tree of cells that shows every cell, and every group of settings, once."""

    def __init__(self, ui: str):
        self._ui = ui
        self._drawn: set[tuple[str, str]] = set()
        self._settings: dict[str, Any] = {}
        """Name of a group of settings to its last shown value."""

    def tree(self, node: "Node") -> "Tree":
        """Return the tree of a cell and all cells behind it."""
        from rich.tree import Tree

        tree = Tree(_title(node), guide_style="dim")
        self._fill(tree, node)
        return tree

    def _fill(self, tree: "Tree", node: "Node") -> None:
        from rich.markup import escape

        if (node.asset, node.cell) in self._drawn:
            tree.add("[dim]shown above[/]")
            return
        self._drawn.add((node.asset, node.cell))
        record, event = node.stored.record, node.event
        if record:
            commit = str(record.environment.get("git_commit") or "")[:SHOWN_DIGITS]
            changed = " with changes" if record.environment.get("git_dirty") is True else ""
            made = f"made {record.created}, code {record.required.code_version}"
            made += f", commit {commit}{changed}" if commit else ""
            run = event.run_id if event else str(record.environment.get("run_id") or "")
            link = f"[link={self._ui}/runs/{run}]/runs/{run}[/]" if run else "[dim]no run known[/]"
            tree.add(f"[dim]{escape(made)}[/]  {link}" + ("" if event or not run else " [dim]by its own record[/]"))
            settings, environment = record.required.recipe, record.environment
            facts = {name: record.summary.get(name) for name in FACTS if name not in settings}
            machine = {name: value for name, value in environment.items() if name not in OF_THE_RUN and value != ""}
            for name, value in {**settings, **facts, "made with": machine}.items():
                if name in settings or value not in (None, "", {}):
                    tree.add(f"[dim]{escape(name)}[/] {escape(self._setting(name, value))}")
        for group in node.groups:
            self._add_group(tree, group)

    def _setting(self, name: str, value: Any) -> str:
        if isinstance(value, Mapping) and value:
            if self._settings.get(name) == value:
                return "as above"
            self._settings[name] = value
        return _short(value)

    def _add_group(self, tree: "Tree", group: "Group") -> None:
        from rich.markup import escape

        for child in group.nodes:
            self._fill(tree.add(_title(child)), child)
        shown = {node.cell for node in group.nodes}
        others = [value for cell, value in group.fingerprints.items() if cell not in shown]
        if not others:
            return
        outcome = "not read; --all reads them, --verify all bytes"
        if group.n_read:
            outcome = f"{len(group.differing)} have problems" if group.differing else "none has a problem"
        title = f"{len(others)} more cells with {len(set(others))} fingerprints: {outcome}"
        branch = tree.add(f"[bold]{group.asset}[/] [dim]{title}[/]")
        for cell, problem in list(group.differing.items())[:SHOWN_VALUES]:
            branch.add(f"{escape(cell)}  [red]{escape(problem)}[/]")


def _title(node: "Node") -> str:
    from rich.markup import escape

    from emergence_assets.plan.lineage_id import cell_id

    title = f"[bold]{node.asset}[/] {escape(node.cell)}  [cyan]{cell_id(node.fingerprint)}[/]"
    return f"{title}  [red]{escape(node.problem)}[/]" if node.problem else title


def _short(value: Any) -> str:
    if isinstance(value, list):
        more = f", … {len(value)} in all" if len(value) > SHOWN_VALUES else ""
        return _cut(", ".join(_short(one) for one in value[:SHOWN_VALUES]) + more)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(one)}" for name, one in value.items())
    return f"{value:.6g}" if isinstance(value, float) else _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
