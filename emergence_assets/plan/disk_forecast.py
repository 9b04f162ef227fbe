"""Disk space of a study: stored bytes, predicted bytes, and whether the disk has room for them.

`AssetSpec.n_bytes` predicts the bytes of one finished cell; this module adds up the predictions.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from resources.errors import EmergenceError
from resources.files.storage import Storage, existing_folder, instance_home

MARGIN = 0.05
"""Relative error of the predictions; this share is kept free."""
EVENT_LOG_BYTES, EVENT_BYTES = 6_000_000, 95_000
"""Bytes of Dagster's event log: of an empty log, and per cell with its share of runs and checks."""

ACTIVATIONS = "activations"
"""Asset whose rows are evicted and restored."""


@dataclass(frozen=True)
class AssetForecast:
    """Disk space of one asset of one model, or of the whole study."""

    stage: str
    asset: str
    model: str | None
    n_cells: int
    n_done: int
    bytes_now: int
    """Bytes on disk, also of stale cells."""
    bytes_finished: int
    """Predicted bytes when every cell is done, with the retention of the study."""
    bytes_to_come: int
    """Predicted bytes of the cells that are not done, minus the bytes that they replace."""


def forecast(plan: Plan, counts: TextCounts) -> list[AssetForecast]:
    """Predict the disk space of every asset of a study by model, in flow order."""
    return [_of_asset(plan, spec, model, counts) for spec in plan.specs.values() for model in spec.models(plan.study)]


def _of_asset(plan: Plan, spec: AssetSpec, model: str | None, counts: TextCounts) -> AssetForecast:
    cells, n_done, now, finished, to_come = plan.cells(spec, model, expected=True), 0, 0, 0.0, 0.0
    for cell in cells:
        stored, predicted = stored_bytes(spec, plan, cell), spec.n_bytes(plan.study, cell, counts)
        now, finished = now + stored, finished + predicted
        if plan.state(spec, cell).state == "done":
            n_done += 1
        else:
            to_come += max(0.0, predicted - stored)
    return AssetForecast(spec.stage, spec.name, model, len(cells), n_done, now, round(finished), round(to_come))


def stored_bytes(spec: AssetSpec, plan: Plan, cell: Cell) -> int:
    """Sum the bytes of the files and folders of a cell; 0 where there are none."""
    return sum(path_bytes(path) for path in (spec.path(plan.storage, cell), *spec.also(plan.storage, cell)))


def path_bytes(path: Path) -> int:
    """Sum the bytes of a file, or of all files of a folder."""
    try:
        if not path.is_dir():
            return path.stat().st_size
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    except OSError:  # removed during the count
        return 0


def storage_rows(plan: Plan, by: Sequence[str]) -> list[dict[str, Any]]:
    """Sum the bytes on disk by any of stage, asset, model, step and layer, in flow order."""
    added: dict[tuple[Any, ...], dict[str, Any]] = {}
    for spec in plan.specs.values():
        for cell in plan.cells(spec):
            named = {"stage": spec.stage, "asset": spec.name, **cell._asdict()}
            key = tuple(named[name] for name in by)
            row = added.setdefault(key, {name: named[name] for name in by} | {"cells": 0, "bytes": 0})
            row["bytes"] += stored_bytes(spec, plan, cell)
            row["cells"] += 1
    return list(added.values())


def other_bytes(storage: Storage) -> dict[str, int]:
    """Return the bytes of the other files in the data folder, beside the cells of this study."""
    return {
        "token files": path_bytes(storage.tokens_folder),
        "checkpoint cache of all studies": path_bytes(storage.checkpoint_cache()),
        "measurements of all studies": path_bytes(storage.measurements_folder),
        "event log of all studies": path_bytes(instance_home(storage.data)),
    }


@dataclass(frozen=True)
class Room:
    """Comparison of the disk space that a study needs with the free space."""

    to_come: int
    """Predicted bytes, including the event log."""
    passing: int
    """Temporary bytes: rows of one checkpoint until its SAEs are trained, and downloaded checkpoints."""
    free: int

    @property
    def needed(self) -> int:
        """Bytes that have to be free at the start."""
        return round((self.to_come + self.passing) * (1 + MARGIN))

    @property
    def fits(self) -> bool:
        """Whether the needed bytes are free."""
        return self.needed <= self.free


def room(plan: Plan, forecasts: Sequence[AssetForecast], counts: TextCounts) -> Room:
    """Compare the predicted bytes with the free bytes."""
    n_missing = sum(asset.n_cells - asset.n_done for asset in forecasts)
    to_come = sum(asset.bytes_to_come for asset in forecasts)
    if n_missing:
        to_come += EVENT_LOG_BYTES + EVENT_BYTES * n_missing
    free = shutil.disk_usage(existing_folder(plan.storage.root)).free
    passing = passing_bytes(plan, counts, forecasts) + (cache_growth(plan) if n_missing else 0)
    return Room(to_come, passing, free)


def cache_growth(plan: Plan) -> int:
    """Return an upper bound of the bytes of checkpoints still to be downloaded; 0 for families without downloads."""
    limit = plan.study.family.cache_bytes
    if limit == float("inf"):
        return 0
    timelines = [plan.timeline(model) for model in plan.study.models]
    if all(timelines):
        weights = sum(entry.weights_bytes for timeline in timelines if timeline for entry in timeline.entries)
        limit = min(limit, weights)
    return max(0, round(limit) - path_bytes(plan.storage.checkpoint_cache()))


def passing_bytes(plan: Plan, counts: TextCounts, forecasts: Sequence[AssetForecast]) -> int:
    """Return the bytes of the rows of the largest uncaptured checkpoint, where rows are evicted after SAE training."""
    if plan.study.activations.retention != "drop-after-sae":
        return 0
    captured = [asset for asset in forecasts if asset.asset == ACTIVATIONS and asset.n_done < asset.n_cells]
    return max((round(checkpoint_rows_bytes(plan, str(asset.model), counts)) for asset in captured), default=0)


def checkpoint_rows_bytes(plan: Plan, model: str, counts: TextCounts) -> float:
    """Return the bytes of the rows of all layers of one checkpoint that are freed after the training of its SAEs."""
    study, spec = plan.study, plan.specs[ACTIVATIONS]
    kept = study.model_copy(update={"activations": study.activations.model_copy(update={"retention": "keep"})})
    cell = Cell(model, 0, 0)
    excess = spec.n_bytes(kept, cell, counts) - spec.n_bytes(study, cell, counts)
    return excess * len(study.layers_of(model))


def require_room(plan: Plan, counts: TextCounts, stages: Sequence[str] | None = None) -> None:
    """Refuse to start a study that the disk cannot hold.

    Args:
        plan: plan of the study.
        counts: text counts of the study.
        stages: names of the stages to run; all by default.

    Raises:
        EmergenceError: the disk has too little room; the message names the missing bytes and settings that need fewer.
    """

    def room_of(one: Plan) -> Room:
        assets = [asset for asset in forecast(one, counts) if stages is None or asset.stage in stages]
        return room(one, assets, counts)

    space = room_of(plan)
    if space.fits:
        return
    settings = plan.study.activations
    smaller = []
    for retention in ("drop-after-sae", "stream"):
        other = plan.study.model_copy(update={"activations": settings.model_copy(update={"retention": retention})})
        needed = room_of(Plan(other, plan.storage, tuple(plan.specs.values())))
        if retention != settings.retention and needed.needed < space.needed:
            smaller.append(f"{retention} ({format_bytes(needed.needed)})")
    remedy = f"free {format_bytes(space.needed - space.free)} there, or give another folder with --data"
    if smaller:
        remedy += f", or evict rows sooner with activations.retention: {', '.join(smaller)}"
    raise EmergenceError(
        f"The study needs {format_bytes(space.needed)} more, and {format_bytes(space.free)} are free.",
        where=plan.storage.root,
        remedy=remedy + "; `emergence storage` lists the bytes of every asset",
    )


def format_bytes(n_bytes: float) -> str:
    """Format bytes with a unit, such as `1.3 GB`; powers of ten."""
    amount, unit = float(n_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if abs(amount) < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"


def by_asset(forecasts: Sequence[AssetForecast]) -> list[AssetForecast]:
    """Add up the models of every asset."""
    summed = ("n_cells", "n_done", "bytes_now", "bytes_finished", "bytes_to_come")
    assets: dict[str, list[AssetForecast]] = {}
    for one in forecasts:
        assets.setdefault(one.asset, []).append(one)
    return [
        replace(models[0], model=None, **{name: sum(getattr(one, name) for one in models) for name in summed})
        for models in assets.values()
    ]
