"""`emergence storage`: bytes of a study on disk now and when it is finished; eviction, restoring and export of rows."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from emergence_assets.cli.options import (
    as_json_option,
    cells_options,
    coloured,
    display,
    open_study,
    show,
    table,
    warning,
)

if TYPE_CHECKING:
    from rich.table import Table

    from emergence_assets.plan.disk_forecast import AssetForecast
    from emergence_assets.plan.plan import Plan
    from emergence_assets.plan.selection import Selection
    from emergence_assets.saes.layers.memory import StreamMemory


LAYOUT_NAMES = ("sae_lens", "dictionary_learning")
BY = ("stage", "asset", "model", "step", "layer")


@click.group(invoke_without_command=True)
@click.option("--by", multiple=True, type=click.Choice(BY), help="Sum by this field; may be repeated. Default: asset.")
@as_json_option
@click.pass_context
def storage(context: click.Context, by: tuple[str, ...], as_json: bool) -> None:
    """Show the bytes of the study on disk, the predicted bytes, and whether the disk has room.

    Works before the first run. Predictions are for finished cells, with rows kept or evicted by activations.retention.
    """
    if context.invoked_subcommand:
        return
    from dataclasses import asdict

    from emergence_assets.checkpoints.overview import list_new_models
    from emergence_assets.plan.disk_forecast import forecast, format_bytes, other_bytes, room, storage_rows
    from emergence_assets.plan.selection import Selection
    from emergence_assets.saes.row_storage import storage_states
    from emergence_assets.texts.counting import text_counts

    plan = open_study()
    unlisted = list_new_models(plan)
    counts = text_counts(plan.study, plan.storage)
    assets = forecast(plan, counts)
    space = room(plan, assets, counts)
    others = other_bytes(plan.storage)
    rows = storage_rows(plan, by) if by else []
    states = list(storage_states(plan, Selection()).values())
    kinds = {kind: states.count(kind) for kind in ("stored", "evicted", "sampled")}
    retention = plan.study.activations.retention
    result = {"retention": retention, "counts": counts._asdict(), "rows_are": kinds}
    result |= {"assets": [asdict(asset) for asset in assets], "others": others, "by": rows}
    fits = None if unlisted else space.fits
    result |= {"room": asdict(space) | {"needed": space.needed, "fits": fits}, "unlisted": unlisted}
    if by:
        listed = [(*(row[name] for name in by), row["cells"], _size(row["bytes"])) for row in rows if row["bytes"]]
        show(result, as_json, table((*by, "cells", "on disk"), listed))
        return
    lines = [
        f"rows of activations: retention is {retention}; "
        + ", ".join(f"{n} cells {kind}" for kind, n in kinds.items()),
        "; ".join(f"{name} {format_bytes(n)}" for name, n in others.items()),
    ]
    if retention == "stream":
        model, memory = _memory(plan, counts.n_rows)
        result |= {"stream_memory": {"model": model, **memory._asdict(), "total": memory.total}}
        lines.append(memory.describe(model))
    if not counts.is_exact:
        lines.append("texts are not tokenised yet: rows are estimated")
    lines += [warning(f"without {model}, whose checkpoints are not known: {why}") for model, why in unlisted.items()]
    outcome = {True: "fits", False: "does NOT fit", None: "not known whether it fits"}[fits]
    outcome = f"needed now {format_bytes(space.needed)} (5 % kept free), free {format_bytes(space.free)}: {outcome}"
    lines.append(coloured(outcome, "green" if fits else "red"))
    show(result, as_json, _forecast(plan.study.name, assets), *lines)


def _memory(plan: "Plan", n_rows: int) -> tuple[str, "StreamMemory"]:
    from emergence_assets.saes.layers.memory import largest_stream
    from resources.compute.accelerator import choose_accelerator

    return largest_stream(plan.study, n_rows, choose_accelerator().capture_batch)


@storage.command()
@cells_options
@click.option("--untrained-too", is_flag=True, help="Also rows on which no SAE is trained yet.")
def evict(plan: "Plan", selection: "Selection", as_json: bool, untrained_too: bool) -> None:
    """Evict training rows; read-outs, statistics, hashes, provenance and all results stay.

    `emergence storage restore` restores rows bit for bit; the training of a new SAE captures them again.
    """
    from emergence_assets.saes.row_storage import evict as evict_cells

    with display() as progress:
        done = evict_cells(plan, selection, untrained_too, progress)
    lines = [f"{done['changed']} cells, {_size(done['freed_bytes'])} freed"]
    if done["spared"]:
        lines.append(f"{done['spared']} cells kept their rows: their SAEs are not trained yet (--untrained-too)")
    show(done, as_json, *lines)


@storage.command()
@cells_options
def restore(plan: "Plan", selection: "Selection", as_json: bool) -> None:
    """Restore evicted rows by running their checkpoint again; refused unless every bit is equal."""
    from emergence_assets.saes.row_storage import restore as restore_cells

    with display() as progress:
        done = restore_cells(plan, selection, progress)
    show(done, as_json, f"{done['restored']} cells have their rows again")


@storage.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--to", "layout", required=True, type=click.Choice(LAYOUT_NAMES), help="Library that reads the files.")
@click.option(
    "--context", default=1, show_default=True, type=click.IntRange(min=1), help="Rows per sequence (sae_lens)."
)
@cells_options
def export(plan: "Plan", selection: "Selection", folder: Path, layout: str, context: int, as_json: bool) -> None:
    """Write training rows to FOLDER as cached activations of another trainer: a folder per cell, and index.json."""
    from emergence_assets.saes.row_storage import export as export_cells

    written = export_cells(plan, selection, layout, context, folder)
    lines = [
        f"{folder / entry['folder']}: {entry['n_rows']} rows of {entry['d_model']}, {entry['hook_name']}"
        for entry in written
    ]
    show(written, as_json, *lines, f"{len(written)} cells in {folder}")


def _forecast(study: str, assets: "list[AssetForecast]") -> "Table":
    from emergence_assets.plan.disk_forecast import by_asset

    shown = by_asset(assets)
    rows = [
        (
            *(asset.stage, asset.asset, f"{asset.n_done} of {asset.n_cells}"),
            *(_size(size) if size else None for size in (asset.bytes_now, asset.bytes_finished, asset.bytes_to_come)),
        )
        for asset in shown
    ]
    totals = [sum(getattr(asset, f"bytes_{name}") for asset in shown) for name in ("now", "finished", "to_come")]
    rows.append(("", "all", "", *map(_size, totals)))
    return table(("stage", "asset", "done", "on disk", "finished", "to come"), rows, f"study {study}")


def _size(n_bytes: float) -> str:
    from emergence_assets.plan.disk_forecast import format_bytes

    return format_bytes(n_bytes)
