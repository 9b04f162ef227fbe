"""`emergence claims`: the claims of a study with their grades."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from emergence_assets.cli.options import as_json_option, open_study, show, table
from emergence_assets.emergence.claims.grading import GRADES, SUPPORTED
from emergence_assets.study.seeds import MOST
from resources.errors import EmergenceError, require_known

if TYPE_CHECKING:
    import polars as pl  # half a second to import, too slow for `--help`


@click.command()
@click.argument("number", type=click.IntRange(min=1), required=False)
@click.option("--grade", "grades", type=click.Choice(GRADES), multiple=True, help="Only this grade; may be repeated.")
@click.option("--kind", "kinds", metavar="KIND", multiple=True, help="Only this kind, such as emergence or size.")
@click.option(
    "--against",
    "other_seed",
    type=click.IntRange(0, MOST),
    metavar="SEED",
    help="Compare with the run of the study with this seed (`emergence --seed 2 run`; 0: the seeds of the study).",
)
@click.option("--all", "everything", is_flag=True, help="List rejected claims too; by default they are only counted.")
@as_json_option
def claims(
    number: int | None,
    grades: tuple[str, ...],
    kinds: tuple[str, ...],
    other_seed: int | None,
    everything: bool,
    as_json: bool,
) -> None:
    """List the claims of a study with their grades; with a number, show one with its controls, latents and texts.

    A: every control passed. B: every required control passed. C: a required control was not measured. Only claims of
    grade A and B may be repeated, B with the controls that it lists.

    With --against, a claim holds if it has grade A or B in both runs and they agree: intervals of an effect lie on the
    same side of 0, those of a step or a depth overlap. Counted as well: estimates of the other run that lie inside the
    interval of this one, 83 % if intervals cover all that differs between two runs.
    """
    from emergence_assets.emergence.claims.replication import beside, replication

    own = _claims()
    if number is not None:
        _one(own, number, as_json)
        return
    other = None if other_seed is None else _claims(other_seed)
    rows = (own if other is None else beside(own, other)).to_dicts()
    require_known("kind of claim", kinds, dict.fromkeys(row["kind"] for row in rows))
    wanted = grades or (GRADES if everything or as_json else GRADES[:-1])
    chosen = [row for row in rows if row["grade"] in wanted and (not kinds or row["kind"] in kinds)]
    counts = ", ".join(f"{grade}: {sum(row['grade'] == grade for row in rows)}" for grade in GRADES)
    if other is None:
        columns = ("#", "grade", "kind", "model", "about", "estimate [95 %]")
        hint = "`emergence claims NUMBER` shows one with its statement, controls and texts" if chosen else ""
        show(chosen, as_json, table(columns, map(_alone, chosen)), counts, *([hint] if hint else []))
        return
    columns = ("claim", "grade", f"seed {other_seed}", "statement", "estimate [95 %]")
    of_kinds = table(
        (
            *("kind", "of", "stated in both", "other inside", "agree", "supported"),
            *(f"supported with seed {other_seed}", "held", "by chance"),
        ),
        [(*row[:-1], f"{row[-1]:.1f}") for row in replication(own, other).iter_rows()],
    )
    show(chosen, as_json, table(columns, map(_beside, chosen)), counts, of_kinds)


def _claims(seed: int | None = None) -> "pl.DataFrame":
    from emergence_assets.emergence.claims.table import CLAIMS
    from resources.tables.parquet import read_table

    plan = open_study(seed)
    path = plan.storage.study_table("claims")
    if not path.exists():
        remedy = "type `emergence run`" if seed is None else f"type `emergence --seed {seed} run`"
        raise EmergenceError(f"There are no claims of {plan.study.name} yet.", where=path, remedy=remedy)
    return read_table(path, CLAIMS)


def _alone(row: Mapping[str, Any]) -> tuple[str, ...]:
    layer = f" L{row['layer']}" if row["layer"] is not None else ""
    return str(row["claim_id"]), row["grade"], row["kind"], row["model"] or "all", _about(row) + layer, _short(row)


def _short(row: Mapping[str, Any]) -> str:
    """Return the estimate with two digits; `emergence claims NUMBER` has three, and the unit."""
    if row["estimate"] is None:
        return "not known"
    value, lo, hi = ("" if row[name] is None else _two_digits(row[name]) for name in ("estimate", "lo", "hi"))
    return f"{value} [{lo}, {hi}]" if lo and hi else value


def _two_digits(value: float) -> str:
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"
    return shown.replace("0.", ".", 1) if abs(value) < 1 else shown


def _about(row: Mapping[str, Any]) -> str:
    return row["category"] or (f"mean of {row['category_level']}s" if row["category_level"] else "all latents")


def _one(own: "pl.DataFrame", number: int, as_json: bool) -> None:
    from emergence_assets.cli.claim_latents import claim_latents
    from emergence_assets.emergence.claims.claim import speaks_against

    found = own.filter(claim_id=number)
    if found.is_empty():
        raise EmergenceError(f"There is no claim {number}.", remedy=f"choose from 1 to {own['claim_id'].max()}")
    row = found.row(0, named=True)
    latents = claim_latents(row)
    lines = [
        f"claim {number}, grade {row['grade']} by policy {row['policy']}",
        row["statement"],
        *(f"  {name}: {value}" for name, value in _facts(row).items() if value),
        *(f"  {what}: {', '.join(names)}" for what, names in _controls(row, speaks_against(row)) if names),
        *(f"  finding: {finding}" for finding in row["findings"] or ()),
    ]
    for latent in latents:
        lines += ["", f"best latent {latent['latent']} of SAE seed {latent['seed']}: {latent['name']}"]
        lines += [f"  {text}" for text in latent["texts"]]
    show(row | {"latents": latents}, as_json, *lines, "", f"`emergence audit claims/{number}` traces it to its inputs")


def _facts(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "estimate [95 %]": _estimate(row) if row["estimate"] is not None else "",
        "q (false discovery rate)": "" if row["q"] is None else f"{row['q']:.2g}",
        "read at": ", ".join(f"{name} {row[name]:,}" for name in ("step", "layer") if row[name] is not None),
        "figure of the report": row["figure"] or "",
    }


def _controls(row: Mapping[str, Any], against: Sequence[str]) -> tuple[tuple[str, Sequence[str]], ...]:
    return (
        ("controls passed", row["controls_passed"]),
        ("controls failed", against),
        ("controls not measured", row["controls_missing"]),
    )


def _beside(row: Mapping[str, Any]) -> tuple[str, ...]:
    there = row["grade_other"] or "not stated"
    if row["holds"] is False and there in SUPPORTED:
        there += ", elsewhere"
    return f"claims/{row['claim_id']}", row["grade"], there, row["statement"], _estimate(row)


def _estimate(row: Mapping[str, Any]) -> str:
    from emergence_assets.emergence.claims.claim import format_number

    value, lo, hi = ("" if row[name] is None else format_number(row[name]) for name in ("estimate", "lo", "hi"))
    return f"{value}{f' [{lo}, {hi}]' if lo and hi else ''} {row['unit']}"
