"""What a study takes on disk: what is there, what is to come, and whether the disk holds it. Plain: no orchestration.

The stages say what one finished cell takes (`AssetSpec.n_bytes`); this module adds them up.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.family import Hub
from resources.errors import EmergenceError
from resources.files.storage import existing_folder

MARGIN = 0.05
"""Predictions are this good; what they leave out is kept free."""
EVENT_LOG_BYTES, EVENT_BYTES = 6_000_000, 95_000
"""What Dagster's event log takes: to begin with, and per cell with its share of runs and checks."""

ACTIVATIONS = "activations"
"""Asset whose rows go and come back."""


@dataclass(frozen=True)
class AssetForecast:
    """One asset of one model, or of the whole study."""

    stage: str
    asset: str
    model: str | None
    n_cells: int
    n_done: int
    bytes_now: int
    """On disk, whatever state it is in."""
    bytes_finished: int
    """Predicted, when every cell is done and its rows are treated as the study says."""
    bytes_to_come: int
    """Predicted for the cells that are not done, less what they replace."""


def forecast(plan: Plan, counts: TextCounts) -> list[AssetForecast]:
    """Every asset of a study by model, in flow order."""
    found = []
    for spec in plan.specs.values():
        for model in [None] if spec.grid == "study" else plan.study.models:
            found.append(_of_asset(plan, spec, model, counts))
    return found


def _of_asset(plan: Plan, spec: AssetSpec, model: str | None, counts: TextCounts) -> AssetForecast:
    cells, n_done, now, finished, to_come = expected_cells(plan, spec, model), 0, 0, 0.0, 0.0
    for cell in cells:
        there, predicted = stored_bytes(spec, plan, cell), spec.n_bytes(plan.study, cell, counts)
        now, finished = now + there, finished + predicted
        if plan.state(spec, cell).state == "done":
            n_done += 1
        else:
            to_come += max(0.0, predicted - there)
    return AssetForecast(spec.stage, spec.name, model, len(cells), n_done, now, round(finished), round(to_come))


def expected_cells(plan: Plan, spec: AssetSpec, model: str | None) -> list[Cell]:
    """Cells of an asset, also those whose checkpoints nobody has looked at yet."""
    if spec.grid in ("study", "model") or plan.study.listed_steps is None:
        return plan.cells(spec, model)
    known = plan.timeline(str(model))
    if known is not None and known.entries:
        return plan.cells(spec, model)
    layers = plan.study.layers_of(str(model)) if spec.grid == "cell" else [None]
    return [Cell(model, step, layer) for step in plan.study.listed_steps for layer in layers]


def stored_bytes(spec: AssetSpec, plan: Plan, cell: Cell) -> int:
    """What a cell takes now: its files and folders; 0 where there is nothing."""
    return sum(path_bytes(path) for path in (spec.path(plan.storage, cell), *spec.also(plan.storage, cell)))


def path_bytes(path: Path) -> int:
    """Length of a file, or of all files of a folder together."""
    try:
        if not path.is_dir():
            return path.stat().st_size
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    except FileNotFoundError:  # taken away in between
        return 0


@dataclass(frozen=True)
class Room:
    """Whether what is to come fits."""

    to_come: int
    """Bytes, predicted, with the event log."""
    passing: int
    """Bytes that do not stay: rows until their SAEs are trained, of one checkpoint at least; fetched checkpoints."""
    free: int

    @property
    def needed(self) -> int:
        """Bytes that have to be free at the start."""
        return round((self.to_come + self.passing) * (1 + MARGIN))

    @property
    def fits(self) -> bool:
        """Whether they are."""
        return self.needed <= self.free


def room(plan: Plan, forecasts: Sequence[AssetForecast], counts: TextCounts) -> Room:
    """Compare what is to come with what is free."""
    n_missing = sum(asset.n_cells - asset.n_done for asset in forecasts)
    to_come = sum(asset.bytes_to_come for asset in forecasts)
    if n_missing:
        to_come += EVENT_LOG_BYTES + EVENT_BYTES * n_missing
    free = shutil.disk_usage(existing_folder(plan.storage.root)).free
    passing = passing_bytes(plan, counts, forecasts) + (cache_growth(plan) if n_missing else 0)
    return Room(to_come, passing, free)


def cache_growth(plan: Plan) -> int:
    """What fetched checkpoints will take at most, beyond what is cached; 0 where nothing is fetched."""
    if not isinstance(plan.study.family, Hub):
        return 0
    limit = plan.study.family.cache_gb * 1e9
    axes = [plan.timeline(model) for model in plan.study.models]
    if all(axes):
        limit = min(limit, sum(entry.weights_bytes for axis in axes if axis for entry in axis.entries))
    return max(0, round(limit) - path_bytes(plan.storage.checkpoint_cache()))


def passing_bytes(plan: Plan, counts: TextCounts, forecasts: Sequence[AssetForecast]) -> int:
    """Rows of the largest checkpoint that is still to be captured, where rows go once their SAEs are trained."""
    if plan.study.activations.retention not in ("drop-after-sae", "archive-after-sae"):
        return 0
    captured = [asset for asset in forecasts if asset.asset == ACTIVATIONS and asset.n_done < asset.n_cells]
    return max((round(checkpoint_rows_bytes(plan, str(asset.model), counts)) for asset in captured), default=0)


def checkpoint_rows_bytes(plan: Plan, model: str, counts: TextCounts) -> float:
    """What the rows of all layers of one checkpoint take while they are on disk, beyond what stays."""
    study, spec = plan.study, plan.specs[ACTIVATIONS]
    kept = study.model_copy(update={"activations": study.activations.model_copy(update={"retention": "keep"})})
    cell = Cell(model, 0, 0)
    excess = spec.n_bytes(kept, cell, counts) - spec.n_bytes(study, cell, counts)
    return excess * len(study.layers_of(model))


def require_room(plan: Plan, counts: TextCounts, stages: Sequence[str] | None = None) -> None:
    """Refuse to start what the disk cannot hold.

    Args:
        plan: Of the study.
        counts: Of its texts.
        stages: Stages that are to be run; by default all.

    Raises:
        EmergenceError: says how much is missing, and which settings would need less.
    """

    def room_of(one: Plan) -> Room:
        assets = [asset for asset in forecast(one, counts) if stages is None or asset.stage in stages]
        return room(one, assets, counts)

    found = room_of(plan)
    if found.fits:
        return
    settings = plan.study.activations
    smaller = []
    for retention in ("archive-after-sae", "drop-after-sae", "stream"):
        other = plan.study.model_copy(update={"activations": settings.model_copy(update={"retention": retention})})
        needed = room_of(Plan(other, plan.storage, tuple(plan.specs.values())))
        if retention != settings.retention and needed.needed < found.needed:
            smaller.append(f"{retention} ({format_bytes(needed.needed)})")
    remedy = f"free {format_bytes(found.needed - found.free)} there, or give another folder with --data"
    if smaller:
        remedy += f", or let rows go sooner with activations.retention: {', '.join(smaller)}"
    raise EmergenceError(
        f"The study needs {format_bytes(found.needed)} more, and {format_bytes(found.free)} are free.",
        where=plan.storage.root,
        remedy=remedy + "; `emergence storage` shows what takes how much",
    )


def format_bytes(n_bytes: float) -> str:
    """Bytes as people read them: `1.3 GB`; powers of ten."""
    amount, unit = float(n_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if abs(amount) < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"


def by_asset(forecasts: Sequence[AssetForecast]) -> list[AssetForecast]:
    """Models added up, asset by asset."""
    added: dict[str, AssetForecast] = {}
    for one in forecasts:
        if one.asset not in added:
            added[one.asset] = replace(one, model=None)
            continue
        so_far = added[one.asset]
        added[one.asset] = replace(
            so_far,
            n_cells=so_far.n_cells + one.n_cells,
            n_done=so_far.n_done + one.n_done,
            bytes_now=so_far.bytes_now + one.bytes_now,
            bytes_finished=so_far.bytes_finished + one.bytes_finished,
            bytes_to_come=so_far.bytes_to_come + one.bytes_to_come,
        )
    return list(added.values())
