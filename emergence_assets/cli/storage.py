"""`emergence storage`: bytes of a study on disk now and when it is finished; eviction, restoring and export of rows."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emergence_assets.cli.options import selecting, selection_of, study_plan

if TYPE_CHECKING:
    from emergence_assets.plan.disk_forecast import AssetForecast, Room
    from emergence_assets.plan.plan import Plan


LAYOUT_NAMES = ("sae_lens", "dictionary_learning")
BY = ("stage", "asset", "model", "step", "layer")


@click.group(invoke_without_command=True)
@click.option("--by", multiple=True, type=click.Choice(BY), help="Add up by this; may be repeated. Default: asset.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def storage(context: click.Context, by: tuple[str, ...], as_json: bool) -> None:
    """Show what the study takes on disk, what it will take, and whether that fits.

    Works before anything was run. Predictions are of finished cells, with rows treated as activations.retention says.
    """
    if context.invoked_subcommand:
        return
    from dataclasses import asdict

    from emergence_assets.plan.disk_forecast import forecast, room
    from emergence_assets.plan.disk_usage import other_bytes, storage_rows
    from emergence_assets.plan.selection import Selection
    from emergence_assets.saes.row_storage import storage_states
    from emergence_assets.texts.counting import text_counts

    plan = study_plan()
    counts = text_counts(plan.study, plan.storage)
    assets = forecast(plan, counts)
    space = room(plan, assets, counts)
    others = other_bytes(plan.storage)
    rows = storage_rows(plan, by) if by else []
    states = list(storage_states(plan, Selection()).values())
    kinds = {kind: states.count(kind) for kind in ("stored", "evicted")}
    if as_json:
        found = {"retention": plan.study.activations.retention, "counts": counts._asdict(), "rows_are": kinds}
        found |= {"assets": [asdict(asset) for asset in assets], "others": others, "by": rows}
        found |= {"room": asdict(space) | {"needed": space.needed, "fits": space.fits}}
        click.echo(json.dumps(found, indent=2))
    elif by:
        _print_rows(rows, by)
    else:
        _print_forecast(plan, assets, space, others, kinds, counts.is_exact)


@storage.command()
@selecting
@click.option("--untrained-too", is_flag=True, help="Also rows that no SAE has been trained on yet.")
def evict(
    models: tuple[str, ...], steps: tuple[int, ...], layers: tuple[int, ...], as_json: bool, untrained_too: bool
) -> None:
    """Evict training rows; read-outs, statistics, hashes and provenance stay, and all that was made from them.

    `emergence storage restore` brings rows back bit for bit; a new SAE captures them again by itself.
    """
    from rich.console import Console

    from emergence_assets.cli.views.progress import Display
    from emergence_assets.plan.disk_forecast import format_bytes
    from emergence_assets.saes.row_storage import evict as evict_cells

    plan = study_plan()
    with Display(Console(file=sys.stderr)) as display:
        done = evict_cells(plan, selection_of(plan, models, steps, layers), untrained_too, display)
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    click.echo(f"{done['changed']} cells, {format_bytes(done['freed_bytes'])} freed")
    if done["spared"]:
        click.echo(f"{done['spared']} cells kept their rows: their SAEs are not trained yet (--untrained-too)")


@storage.command()
@selecting
def restore(models: tuple[str, ...], steps: tuple[int, ...], layers: tuple[int, ...], as_json: bool) -> None:
    """Bring evicted rows back by running their checkpoint again; refused unless every bit is as it was."""
    from rich.console import Console

    from emergence_assets.cli.views.progress import Display
    from emergence_assets.saes.row_storage import restore as restore_cells

    plan = study_plan()
    with Display(Console(file=sys.stderr)) as display:
        done = restore_cells(plan, selection_of(plan, models, steps, layers), display)
    if as_json:
        click.echo(json.dumps(done, indent=2))
    else:
        click.echo(f"{done['restored']} cells have their rows again")


@storage.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--to", "layout", required=True, type=click.Choice(LAYOUT_NAMES), help="Who is to read it.")
@click.option(
    "--context", default=1, show_default=True, type=click.IntRange(min=1), help="Rows per sequence (sae_lens)."
)
@selecting
def export(
    folder: Path,
    layout: str,
    context: int,
    models: tuple[str, ...],
    steps: tuple[int, ...],
    layers: tuple[int, ...],
    as_json: bool,
) -> None:
    """Write training rows into FOLDER as cached activations of another trainer, a folder per cell, and index.json."""
    from emergence_assets.saes.row_storage import export as export_cells

    plan = study_plan()
    written = export_cells(plan, selection_of(plan, models, steps, layers), layout, context, folder)
    if as_json:
        click.echo(json.dumps(written, indent=2))
        return
    for entry in written:
        click.echo(f"{folder / entry['folder']}: {entry['n_rows']} rows of {entry['d_model']}, {entry['hook_name']}")
    click.echo(f"{len(written)} cells in {folder}")


def _print_forecast(
    plan: "Plan",
    assets: "list[AssetForecast]",
    space: "Room",
    others: dict[str, int],
    kinds: dict[str, int],
    is_exact: bool,
) -> None:
    from rich.console import Console
    from rich.table import Table

    from emergence_assets.plan.disk_forecast import by_asset, format_bytes

    console = Console()
    table = Table(title=f"study {plan.study.name}")
    for column in ("stage", "asset", "done", "on disk", "finished", "to come"):
        is_name = column in ("stage", "asset")
        table.add_column(column, justify="left" if is_name else "right", no_wrap=is_name)
    shown = by_asset(assets)
    for asset in shown:
        sizes = (asset.bytes_now, asset.bytes_finished, asset.bytes_to_come)
        done = f"{asset.n_done} of {asset.n_cells}"
        table.add_row(asset.stage, asset.asset, done, *(format_bytes(size) if size else "·" for size in sizes))
    totals = [sum(getattr(asset, f"bytes_{name}") for asset in shown) for name in ("now", "finished", "to_come")]
    table.add_section()
    table.add_row("", "all", "", *(format_bytes(total) for total in totals))
    console.print(table)
    console.print(
        f"rows of activations: retention is {plan.study.activations.retention}; "
        + ", ".join(f"{n} cells {kind}" for kind, n in kinds.items()),
        highlight=False,
    )
    console.print("; ".join(f"{name} {format_bytes(n)}" for name, n in others.items()), highlight=False)
    if not is_exact:
        console.print("texts are not tokenised yet: rows are estimated", highlight=False)
    verdict = "fits" if space.fits else "does NOT fit"
    console.print(
        f"needed now {format_bytes(space.needed)} (5 % kept free), free {format_bytes(space.free)}: {verdict}",
        style="green" if space.fits else "red",
        highlight=False,
    )


def _print_rows(rows: list[dict[str, Any]], by: tuple[str, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    from emergence_assets.plan.disk_forecast import format_bytes

    table = Table(*by, "cells", "on disk")
    for row in rows:
        if row["bytes"]:
            named = ("·" if row[name] is None else str(row[name]) for name in by)
            table.add_row(*named, str(row["cells"]), format_bytes(row["bytes"]))
    Console().print(table)
