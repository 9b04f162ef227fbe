"""`emergence audit`: the trace of a number to its inputs, and the comparison of all files with their records."""

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
"""Default address of `emergence ui`."""


@click.command()
@click.argument("address", nargs=-1)
@click.option("--where", "filters", metavar="NAME=VALUE,…", multiple=True, help="Which row or cell of the asset.")
@click.option("--all", "everything", is_flag=True, help="Print every cell behind the result, not one cell per asset.")
@click.option(
    "--verify", is_flag=True, help="Hash every file of the study and compare all records; exit code 1: findings."
)
@click.option(
    "--reproduce",
    is_flag=True,
    help="Make the result again in a folder of its own and compare; exit code 1: differences.",
)
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Folder in which --reproduce keeps its files."
)
@click.option(
    "--from",
    "start",
    type=click.Choice(("checkpoints", "training")),
    default="checkpoints",
    show_default=True,
    help="Start of --reproduce: stored weights, or training.",
)
@click.option(
    "--diff",
    "states",
    nargs=2,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER FOLDER",
    help="List the changes between two data folders of one study; exit code 1: changes.",
)
@click.option("--ui", "ui", default=UI, show_default=True, help="Address of the UI for links to runs.")
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
    """Trace a result back to its input bytes, make it again, or verify all stored files. Changes no file of the study.

    ADDRESS is a claim (claims/3), a figure (report/presence_over_time), an asset with the fields of one of its rows or
    cells (category_presence --where "model=m,layer=4,step=512,category=fish"; sae model=m,step=512,layer=4), or the
    lineage id that the report and this command print.
    """
    modes = [name for name, on in (("--verify", verify), ("--diff", states), ("--reproduce", reproduce)) if on]
    _require_one_mode(modes, bool(address), bool(into))
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


def _require_one_mode(modes: list[str], has_address: bool, has_folder: bool) -> None:
    if len(modes) > 1:
        raise EmergenceError(f"{' and '.join(modes)} cannot be combined.", remedy="give one of them at a time")
    if has_address and modes in (["--verify"], ["--diff"]):
        raise EmergenceError(f"{modes[0]} takes no address.", remedy="leave the address out")
    if not has_address and modes in ([], ["--reproduce"]):
        raise EmergenceError(
            "No result to trace is named.",
            remedy="type for example `emergence audit claims/1` or `emergence audit --verify`",
        )
    if has_folder and modes != ["--reproduce"]:
        raise EmergenceError("--into needs --reproduce.", remedy="add --reproduce, or leave --into out")
