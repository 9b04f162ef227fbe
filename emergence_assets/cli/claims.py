"""`emergence claims`: what a study allows to say, statement by statement."""

import json
from typing import TYPE_CHECKING, Any

import click

from emergence_assets.emergence.claims.grading import GRADES, GRANTED
from emergence_assets.study.seeds import MOST
from resources.errors import EmergenceError

if TYPE_CHECKING:
    import polars as pl  # takes half a second, which `--help` need not wait for


@click.command()
@click.option("--grade", "grades", type=click.Choice(GRADES), multiple=True, help="Only this grade; may be repeated.")
@click.option("--kind", "kinds", metavar="KIND", multiple=True, help="Only this kind, such as emergence or size.")
@click.option(
    "--against",
    "other_seed",
    type=click.IntRange(0, MOST),
    metavar="SEED",
    help="Also the run of the study with this seed (`emergence --seed 2 run`; 0 is the study's own): what holds there.",
)
@click.option("--all", "everything", is_flag=True, help="Rejected statements too; by default they are counted.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def claims(
    grades: tuple[str, ...], kinds: tuple[str, ...], other_seed: int | None, everything: bool, as_json: bool
) -> None:
    """List the statements of a study with their grades, and the controls that each failed or was not put to.

    A: every control passed. B: all that must pass did. C: something that must pass was not measured. Only A and B may
    be repeated without a reservation.

    With --against, a statement holds if it is granted in both runs and the intervals have a value in common.
    """
    from emergence_assets.emergence.claims.replication import beside, replication

    table = _claims()
    other = None if other_seed is None else _claims(other_seed)
    rows = (table if other is None else beside(table, other)).to_dicts()
    known = list(dict.fromkeys(row["kind"] for row in rows))
    if strangers := set(kinds) - set(known):
        raise EmergenceError(f"There is no claim of kind {min(strangers)!r}.", remedy=f"choose from {', '.join(known)}")
    wanted = grades or (GRADES if everything or as_json else GRADES[:-1])
    chosen = [row for row in rows if row["grade"] in wanted and (not kinds or row["kind"] in kinds)]
    if as_json:
        click.echo(json.dumps(chosen, indent=2))
        return
    _print(chosen, rows, other_seed)
    if other is not None:
        _print_replication(replication(table, other), int(other_seed or 0))


def _claims(seed: int | None = None) -> "pl.DataFrame":
    from emergence_assets.emergence.claims.table import CLAIMS
    from emergence_assets.study.load import load_study
    from resources.files.storage import Storage, data_folder
    from resources.tables.parquet import read_table

    study = load_study(seed=seed)
    path = Storage(data_folder(), study.name).study_table("claims")
    if not path.exists():
        remedy = "type `emergence run`" if seed is None else f"type `emergence --seed {seed} run`"
        raise EmergenceError(f"There are no claims of {study.name} yet.", where=path, remedy=remedy)
    return read_table(path, CLAIMS)


def _print(chosen: list[dict[str, Any]], rows: list[dict[str, Any]], other_seed: int | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from emergence_assets.emergence.claims.claim import format_number, speaks_against

    there = [] if other_seed is None else [f"seed {other_seed}"]
    table = Table()
    table.add_column("claim", no_wrap=True)
    for name in ("grade", *there):
        table.add_column(name)
    table.add_column("statement")
    # Beside another run there is no room for these: the plain list has them.
    for name in ("estimate [95 %]", *([] if there else ["failed", "not measured"])):
        table.add_column(name, overflow="fold")
    for row in chosen:
        estimate = "" if row["estimate"] is None else format_number(row["estimate"])
        interval = (
            ""
            if row["lo"] is None or row["hi"] is None
            else f" [{format_number(row['lo'])}, {format_number(row['hi'])}]"
        )
        table.add_row(
            f"claims/{row['claim_id']}",
            row["grade"],
            *([_there(row)] if there else []),
            row["statement"],
            f"{estimate}{interval} {row['unit']}",
            *([] if there else [", ".join(speaks_against(row)), ", ".join(row["controls_missing"])]),
        )
    console = Console()
    console.print(table)
    counts = {grade: sum(row["grade"] == grade for row in rows) for grade in GRADES}
    console.print(", ".join(f"{grade}: {number}" for grade, number in counts.items()), highlight=False)


def _there(row: dict[str, Any]) -> str:
    """What the other run says, in a word."""
    if row["grade_other"] is None:
        return "not stated"
    if row["holds"] is False and row["grade_other"] in GRANTED:
        return f"{row['grade_other']}, elsewhere"
    return row["grade_other"]


def _print_replication(counts: "pl.DataFrame", other_seed: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("kind", no_wrap=True)
    for name in ("of", "stated in both", "granted", f"granted with seed {other_seed}", "held", "by chance"):
        table.add_column(name)
    for row in counts.iter_rows(named=True):
        table.add_row(*(str(row[name]) for name in counts.columns[:-1]), f"{row['by_chance']:.1f}")
    Console().print(table)
