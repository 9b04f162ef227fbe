"""`emergence audit`: where a number comes from, and whether everything is still what was recorded."""

from pathlib import Path
from typing import Literal

import click

from emergence_assets.cli.audit_diff import audit_diff
from emergence_assets.cli.audit_reproduce import audit_reproduce
from emergence_assets.cli.audit_trace import audit_trace
from emergence_assets.cli.audit_verify import audit_verify
from emergence_assets.cli.options import as_json_option
from resources.errors import EmergenceError

UI = "http://127.0.0.1:3000"
"""Where `emergence ui` serves by default."""


@click.command()
@click.argument("address", nargs=-1)
@click.option("--where", "filters", metavar="NAME=VALUE,…", multiple=True, help="Which row or cell of the asset.")
@click.option("--all", "everything", is_flag=True, help="Print every cell behind the result, not one of each kind.")
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
@as_json_option
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
        is_clean = audit_diff(states, as_json)
    elif verify:
        is_clean = audit_verify(ui, as_json)
    elif reproduce:
        is_clean = audit_reproduce(address[0], (*address[1:], *filters), into, start, as_json)
    else:
        is_clean = audit_trace(address[0], (*address[1:], *filters), everything, ui, as_json)
    if not is_clean:
        raise SystemExit(1)


def _require_one_question(asked: list[str], has_address: bool, has_folder: bool) -> None:
    if len(asked) > 1:
        raise EmergenceError(f"{' and '.join(asked)} are different questions.", remedy="ask one at a time")
    if has_address and asked in (["--verify"], ["--diff"]):
        raise EmergenceError(f"{asked[0]} is about everything.", remedy="leave the address out")
    if not has_address and asked in ([], ["--reproduce"]):
        raise EmergenceError(
            "No result to trace is named.",
            remedy="type for example `emergence audit claims/1` or `emergence audit --verify`",
        )
    if has_folder and asked != ["--reproduce"]:
        raise EmergenceError(
            "--into is where --reproduce keeps what it makes.", remedy="add --reproduce, or leave it out"
        )
