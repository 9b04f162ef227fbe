"""Shared parts of the commands: opening the study, common options and printing of results."""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from resources.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

    from emergence_assets.cli.progress import Display
    from emergence_assets.plan.plan import Plan

SHOWN = 20
"""Maximum number of printed lines of a list; --json has all."""

UNBROKEN = 12
"""Characters; columns with at most as many are not broken into lines where the terminal is narrow."""

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
models_option = click.option(
    "--model", "models", multiple=True, metavar="MODEL", help="Only this model; may be repeated."
)


def cells_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select cells, and --json; the command receives the plan of the study and the selection."""

    @functools.wraps(command)
    def selecting(models: tuple[str, ...], steps: tuple[int, ...], layers: tuple[int, ...], **others: Any) -> Any:
        from emergence_assets.plan.selection import parse_selection

        plan = open_study()
        return command(plan=plan, selection=parse_selection(plan.study, models, steps, layers), **others)

    for option in (
        as_json_option,
        click.option("--layer", "layers", type=int, multiple=True, help="Only this layer; may be repeated."),
        click.option("--step", "steps", type=int, multiple=True, help="Only this step; may be repeated."),
        models_option,
    ):
        selecting = option(selecting)
    return selecting


def open_study(seed: int | None = None) -> "Plan":
    """Make the plan of the chosen study in the chosen data folder.

    Args:
        seed: shift of the seeds of the study; by default the value of `emergence --seed`.

    Raises:
        EmergenceError: the study does not exist, or its file is invalid.
    """
    from emergence_assets.pipeline import specs_for
    from emergence_assets.plan.plan import Plan
    from emergence_assets.study.load import load_study
    from resources.files.storage import Storage, data_folder

    study = load_study(seed=seed)
    return Plan(study, Storage(data_folder(), study.name), specs_for(study))


def display() -> "Display":
    """Make a progress display on stderr, so that stdout has only the result."""
    from rich.console import Console

    from emergence_assets.cli.progress import Display

    return Display(Console(stderr=True))


def show(result: Any, as_json: bool, *parts: Any) -> None:
    """Print the result of a command.

    Args:
        result: plain values.
        as_json: whether to print the result as JSON.
        parts: the result for people: lines, and tables or trees of rich.
    """
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    from rich.console import Console

    for part in parts:
        if isinstance(part, str):
            click.echo(part if isinstance(part, Coloured) else printable(part))
        else:
            console = Console()
            # Wider than the terminal, before anything is cut away.
            endless = console.options.update(max_width=10_000)
            console.width = max(console.width, console.measure(part, options=endless).minimum)
            console.print(_Printable(part))


class Coloured(str):
    """A line with colours of its own, in which all other text is printable."""


def coloured(text: str, colour: str) -> Coloured:
    """Return a line in a colour."""
    return Coloured(click.style(printable(text), fg=colour))


class _Printable:
    """A renderable of rich with text that a terminal does not obey."""

    def __init__(self, renderable: "RenderableType"):
        self._renderable = renderable

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.segment import Segment

        for segment in console.render(self._renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> "Table":
    """Make a table for a terminal: short columns are never broken, None is a dot, numbers are right-aligned."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", box=None, padding=(0, 2, 0, 0))
    listed = list(rows)
    for position, column in enumerate(columns):
        longest = max((len(str(row[position] or "")) for row in listed), default=0)
        if position == 0 or longest <= UNBROKEN:
            made.add_column(column, no_wrap=True, min_width=longest)
        else:
            made.add_column(column, overflow="fold", min_width=min(longest, UNBROKEN))
    for row in listed:
        made.add_row(
            *(
                value
                if isinstance(value, Text)
                else Text("·" if value is None else str(value), justify="right" if isinstance(value, int) else "left")
                for value in row
            )
        )
    return made


def shortened(lines: Sequence[str], what: str = "") -> list[str]:
    """Return the first lines of a long list, and the number of further lines."""
    more = [f"and {len(lines) - SHOWN} more{what}; --json has all"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]


def warning(text: str) -> Coloured:
    """Return a warning in the colour of warnings."""
    return coloured(f"warning: {text}", "yellow")
