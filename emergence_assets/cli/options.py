"""Options of commands that are about some cells: --model, --step, --layer, and --json."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from emergence_assets.plan.plan import Plan
    from emergence_assets.plan.selection import Selection


def selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which cells are meant."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print as JSON."),
        click.option("--layer", "layers", type=int, multiple=True, help="Only this layer; may be repeated."),
        click.option("--step", "steps", type=int, multiple=True, help="Only this step; may be repeated."),
        click.option("--model", "models", multiple=True, metavar="MODEL", help="Only this model; may be repeated."),
    ):
        command = option(command)
    return command


def study_plan() -> "Plan":
    """The chosen study with its data folder.

    Raises:
        EmergenceError: no such study, or it does not fit.
    """
    from emergence_assets.orchestration.session import Session
    from emergence_assets.pipeline import specs_for
    from emergence_assets.plan.plan import Plan

    session = Session.open()
    return Plan(session.study, session.storage, specs_for(session.study))


def selection_of(plan: "Plan", models: Sequence[str], steps: Sequence[int], layers: Sequence[int]) -> "Selection":
    """What was typed, checked against the study.

    Raises:
        EmergenceError: there is no such model or layer.
    """
    from emergence_assets.plan.selection import parse_selection

    return parse_selection(plan.study, models, steps, layers)
