"""`emergence claims`: what a study allows to say, statement by statement."""

import json
from typing import Any

import click

from emergence_assets.errors import EmergenceError

GRADES = ("A", "B", "C", "reject")


@click.command()
@click.option("--grade", "grades", type=click.Choice(GRADES), multiple=True, help="Only this grade; may be repeated.")
@click.option("--kind", "kinds", metavar="KIND", multiple=True, help="Only this kind, such as emergence or size.")
@click.option("--all", "everything", is_flag=True, help="Rejected statements too; by default they are counted.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def claims(grades: tuple[str, ...], kinds: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """List the statements of a study with their grades, and the controls that each failed or was not put to.

    A: every control passed. B: all that must pass did. C: something that must pass was not measured. Only A and B may
    be repeated without a reservation.
    """
    rows = _rows()
    known = list(dict.fromkeys(row["kind"] for row in rows))
    if strangers := set(kinds) - set(known):
        raise EmergenceError(f"There is no claim of kind {min(strangers)!r}.", remedy=f"choose from {', '.join(known)}")
    wanted = grades or (GRADES if everything or as_json else GRADES[:-1])
    chosen = [row for row in rows if row["grade"] in wanted and (not kinds or row["kind"] in kinds)]
    if as_json:
        click.echo(json.dumps(chosen, indent=2))
        return
    _print(chosen, rows)


def _rows() -> list[dict[str, Any]]:
    from emergence_assets.emergence.tables.claims import CLAIMS
    from emergence_assets.study import load_study
    from resources.storage import Storage, data_folder
    from resources.tables import read_table

    study = load_study()
    path = Storage(data_folder(), study.name).study_table("claims")
    if not path.exists():
        raise EmergenceError("There are no claims yet.", where=path, remedy="type `emergence run`")
    return read_table(path, CLAIMS).to_dicts()


def _print(chosen: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from emergence_assets.emergence.claim import short_number, speaks_against

    table = Table("claim", "grade", "statement", "estimate [95 %]", "failed", "not measured")
    for row in chosen:
        estimate = "" if row["estimate"] is None else short_number(row["estimate"])
        interval = (
            "" if row["lo"] is None or row["hi"] is None else f" [{short_number(row['lo'])}, {short_number(row['hi'])}]"
        )
        table.add_row(
            f"claims/{row['claim_id']}",
            row["grade"],
            row["statement"],
            f"{estimate}{interval} {row['unit']}",
            ", ".join(speaks_against(row)),
            ", ".join(row["controls_missing"]),
        )
    console = Console()
    console.print(table)
    counts = {grade: sum(row["grade"] == grade for row in rows) for grade in GRADES}
    console.print(", ".join(f"{grade}: {number}" for grade, number in counts.items()), highlight=False)
