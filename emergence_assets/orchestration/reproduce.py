"""Reproduction of a result in a folder of its own, from pinned inputs, with a comparison of every cell.

Cells that are not made again are hard links to the files of the study, or copies where the disk has no hard links. The
study does not change, because files are replaced and never edited. `audit/closure.py` selects the cells.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from emergence_assets.activations.spec import ACTIVATIONS
from emergence_assets.audit.address import Target
from emergence_assets.audit.closure import Cells, closure
from emergence_assets.audit.comparison import Difference, compare
from emergence_assets.checkpoints.spec import TRAINING_RUN, TRAINING_START
from emergence_assets.orchestration.build import build_definitions
from emergence_assets.orchestration.instance.home import instance_of
from emergence_assets.orchestration.runs.study_run import run_study
from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import ListeningCompute, ProgressListener
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import write_timeline
from resources.compute.choice import chosen_compute
from resources.errors import EmergenceError
from resources.files.storage import Storage, prepare_folder

DECIDE_BITS = (
    *("python", "torch", "transformers", "numpy", "scipy", "scikit-learn", "polars", "h5py"),
    *("cpu_model", "cpu_capability", "mkl_cbwr", "num_threads", "device"),
)
"""Fields of the environment in a record; where all of them are equal, results are equal bit for bit."""
RELATIVE_TOLERANCE = {"activations": 2e-3, "sae": 0.1}
"""Tolerance of an asset where a field of `DECIDE_BITS` differs: largest difference over largest value.

Rows are in half precision, and training amplifies the last bits."""
TABLE_TOLERANCE = 0.05
"""Tolerance of tables and records, as in RELATIVE_TOLERANCE."""
Start = Literal["checkpoints", "training"]


@dataclass(frozen=True)
class Reproduced:
    """One reproduced cell, compared with the stored cell."""

    asset: str
    cell: str
    fingerprint: str
    promised: bool
    """Whether equality bit for bit is expected: the same machine, libraries, device and threads."""
    differs_in: dict[str, list[str]]
    """Field of `DECIDE_BITS` to its stored and its present value, where they differ."""
    differences: list[Difference]
    tolerance: float

    @property
    def is_equal(self) -> bool:
        """Whether the cell is equal bit for bit."""
        return not self.differences

    @property
    def agrees(self) -> bool:
        """Whether the cell is equal, or within the tolerance where equality is not promised."""
        if self.promised:
            return self.is_equal
        return all(one.relative is not None and one.relative <= self.tolerance for one in self.differences)


@dataclass
class Reproduction:
    """Result of a reproduction."""

    address: str
    folder: str
    """Folder of the cells that were made again."""
    start: Start
    cells: list[Reproduced] = field(default_factory=list)
    given: dict[str, int] = field(default_factory=dict)
    """Number of cells taken as they are, by asset; their hashes were verified."""

    @property
    def agrees(self) -> bool:
        """Whether every cell agrees."""
        return all(cell.agrees for cell in self.cells)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        cells = [asdict(cell) | {"equal": cell.is_equal, "agrees": cell.agrees} for cell in self.cells]
        return {"address": self.address, "folder": self.folder, "from": self.start, "agrees": self.agrees} | {
            "cells": cells,
            "given": self.given,
        }


def reproduce(
    target: Target, address: str, plan: Plan, folder: Path, start: Start, progress: ProgressListener
) -> Reproduction:
    """Make a result again and compare its cells with the stored cells.

    Args:
        target: result to reproduce.
        address: address of the result as it was typed.
        plan: plan of the study.
        folder: empty or absent folder that receives the cells.
        start: take checkpoints as they are, or train them again.
        progress: listener of the run.

    Raises:
        EmergenceError: the folder is in use; a cell behind the result is missing, damaged, or made by other settings or
            other code than the study has now; or a cell cannot be made.
    """
    if folder.exists() and any(folder.iterdir()):
        raise EmergenceError("The folder is not empty.", where=folder, remedy="name another folder with --into")
    if start == "training" and TRAINING_RUN.name not in plan.specs:
        raise EmergenceError("These models were not trained here.", remedy="leave out --from training")
    split = closure(target, plan, from_training=start == "training")
    _require_done(plan, (*_cells(plan, split.again), *_cells(plan, split.given)))
    scratch = Storage(folder, plan.study.name)
    prepare_folder(scratch.root)
    _link_given(plan, scratch, split.given, split.again)
    with (
        instance_of(folder / "dagster") as instance,
        chosen_compute(folder) as workers,
    ):
        made = Plan(plan.study, scratch, list(plan.specs.values()))
        made.n_accelerators = workers.n_accelerators
        compute = ListeningCompute(workers, progress)
        definitions = build_definitions(plan.study, scratch, made, compute, progress)
        run_study(made, definitions, instance, progress, only=split.again)
    made.reload()
    compared = [_compared(spec, cell, plan, made) for spec, cell in _cells(plan, split.again)]
    given = {name: len(cells) for name, cells in split.given.items()}
    return Reproduction(address, str(folder), start, compared, given)


def _cells(plan: Plan, cells: Cells) -> Iterator[tuple[AssetSpec, Cell]]:
    """Yield cells in flow order."""
    for spec in plan.specs.values():
        for cell in sorted(cells.get(spec.name, ()), key=str):
            yield spec, cell


def _require_done(plan: Plan, cells: Sequence[tuple[AssetSpec, Cell]]) -> None:
    for spec, cell in cells:
        state = plan.state(spec, cell)
        if state.state != "done":
            stored = stored_provenance(spec, spec.path(plan.storage, cell))
            commit = stored.environment.get("git_commit") if stored else None
            raise EmergenceError(
                f"{spec.name} of {cell} is {state.state}{f': {state.reason}' if state.reason else ''}.",
                where=spec.path(plan.storage, cell),
                remedy="a result is reproduced with the code, settings and inputs that made it"
                + (f"; it was made at commit {commit}" if commit else "")
                + ", or type `emergence run` to bring it up to date",
            )


def _link_given(plan: Plan, scratch: Storage, given: Cells, again: Cells) -> None:
    """Link the cells that are taken as they are, and all other files of the pipeline, into the scratch folder."""
    storage = plan.storage
    for spec, cell in _cells(plan, given):
        for path in (spec.path(storage, cell), *spec.also(storage, cell)):
            _link(path, scratch.root / path.relative_to(storage.root))
        if spec.name == TRAINING_RUN.name:
            start = storage.training_folder(str(cell.model)) / TRAINING_START
            _link(start, scratch.root / start.relative_to(storage.root))
    trained = {cell.model for cell in again.get(TRAINING_RUN.name, ())}
    for model in plan.study.models:
        timeline = None if model in trained else plan.timeline(model)
        if timeline is None:
            continue
        write_timeline(scratch.timeline(model), timeline)
        for entry in timeline.entries:
            if entry.identity:
                _link(storage.checkpoint_measurement(entry.identity), scratch.checkpoint_measurement(entry.identity))
    if given.get(ACTIVATIONS.name):
        _link(storage.tokens_folder, scratch.tokens_folder)
    for here, there in (
        (storage.checkpoint_lock_file(), scratch.checkpoint_lock_file()),
        (storage.checkpoint_cache(), scratch.checkpoint_cache()),
        (storage.imported_saes_folder, scratch.imported_saes_folder),
    ):
        _link(here, there)


def _link(source: Path, target: Path) -> None:
    """Link a file or all files of a folder, or copy them where the disk has no hard links; skip an absent source."""
    for file in (path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]:
        if not file.is_file():
            continue
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, place)
        except OSError:
            shutil.copy2(file, place)


def _compared(spec: AssetSpec, cell: Cell, plan: Plan, made: Plan) -> Reproduced:
    stored = stored_provenance(spec, spec.path(plan.storage, cell))
    again = stored_provenance(spec, spec.path(made.storage, cell))
    before, now = (dict(record.environment) if record else {} for record in (stored, again))
    differs_in = {
        name: [str(before.get(name)), str(now.get(name))]
        for name in DECIDE_BITS
        # The instruction set is known only in processes that loaded torch.
        if before.get(name) != now.get(name)
        and not (name == "cpu_capability" and None in (before.get(name), now.get(name)))
    }
    differences = [
        difference
        for path in dict.fromkeys((spec.path(plan.storage, cell), *spec.also(plan.storage, cell)))
        for difference in compare(path, made.storage.root / path.relative_to(plan.storage.root), plan.storage.root)
    ]
    fingerprint = stored.fingerprint if stored else ""
    tolerance = RELATIVE_TOLERANCE.get(spec.name, TABLE_TOLERANCE)
    return Reproduced(spec.name, str(cell), fingerprint, not differs_in, differs_in, differences, tolerance)
