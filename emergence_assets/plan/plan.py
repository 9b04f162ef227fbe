"""Plan of a study: its cells, the provenance that each cell requires, and the state of each cell. No orchestration.

Every stage has an `AssetSpec` per asset (in `spec.py`); `pipeline.SPECS` lists the specs in flow order.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.check_results import CheckResult, blocking_failures, check_results
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.timeline import Timeline, is_used, read_timeline
from emergence_assets.plan.verdicts import keep_verdicts, known_failures
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.provenance import Required, State, difference
from resources.files.storage import Storage


class CellState(NamedTuple):
    """State of one cell, with the reason when it is not done."""

    state: State
    reason: str = ""


class Plan:
    """Required and stored provenance of every cell of a study, each computed once.

    A run has one plan. Call `forget_states` after making cells, and `reload` after changing a checkpoint timeline.
    """

    def __init__(self, study: Study, storage: Storage, specs: Sequence[AssetSpec]):
        self.study = study
        self.storage = storage
        self.specs = {spec.name: spec for spec in specs}
        self.n_accelerators = 0
        """Number of GPUs of the workers that the jobs are for."""
        self._timelines: dict[str, Timeline | None] = {}
        self._required: dict[tuple[str, Cell], Required | None] = {}
        self._states: dict[tuple[str, Cell], CellState] = {}
        self._failed_inputs: dict[tuple[str, Cell], bool] = {}
        self._judged: dict[tuple[str, Cell], str] = {}
        """Failed blocking checks of cells that this plan validated: their verdicts may not be kept on the disk."""

    def timeline(self, model: str) -> Timeline | None:
        """Return the checkpoint timeline of a model; None before its source was read."""
        if model not in self._timelines:
            self._timelines[model] = read_timeline(self.storage.timeline(model))
        return self._timelines[model]

    def steps_of(self, model: str, unvalidated: bool = False) -> list[int]:
        """Return the steps of a model that the study uses, ascending, without checkpoints that are left out."""
        timeline, listed = self.timeline(model), self.study.listed_steps
        if timeline is None:
            return listed or []
        if listed is None:
            return timeline.steps(unvalidated)
        entries = {entry.step: entry for entry in timeline.entries}
        return [
            step for step in listed if is_used(entries[step].status if step in entries else "unjudged", unvalidated)
        ]

    def cells(self, spec: AssetSpec, model: str | None = None, *, expected: bool = False) -> list[Cell]:
        """Return the cells of an asset, ordered by model, step and layer; only of `model` if given.

        A model whose source has no checkpoint yet has no cells, and no part in the tables of the study.

        Args:
            spec: spec of the asset.
            model: only cells of this model.
            expected: add the cells of checkpoints that are not validated yet.
        """
        return self._cells(spec, model, expected or spec.takes_unvalidated)

    def _cells(self, spec: AssetSpec, model: str | None, unvalidated: bool) -> list[Cell]:
        grid = spec.grid
        if grid == "study":
            return [Cell()]
        models = [model] if model else self.study.models
        if grid == "model":
            return [Cell(name) for name in models if self._has_checkpoint(name, used=spec.needs_cells)]
        grid_of_steps = [Cell(name, step) for name in models for step in self.steps_of(name, unvalidated)]
        if grid == "step":
            return grid_of_steps
        layers = {name: self.study.layers_of(name) for name in models}
        return [Cell(name, step, layer) for name, step, _ in grid_of_steps for layer in layers[str(name)]]

    def _has_checkpoint(self, model: str, used: bool) -> bool:
        """Return whether a model has a checkpoint (with `used`, one that may be used), or was not looked for yet."""
        timeline = self.timeline(model)
        return timeline is None or bool(self.steps_of(model, unvalidated=True) if used else timeline.entries)

    def forget_states(self) -> None:
        """Compare the stored cells again on the next request, because some were made."""
        self._states.clear()
        self._failed_inputs.clear()
        self._judged.clear()

    def reload(self) -> None:
        """Discard the checkpoint timelines and all values that follow from them, so that they are read again."""
        self._timelines.clear()
        self._required.clear()
        self.forget_states()

    def input_cells(self, spec: AssetSpec, cell: Cell) -> Iterator[tuple[AssetSpec, Cell]]:
        """Yield the inputs of a cell: the cells of every input asset with its model, step and layer."""
        if earlier := self.start_of(spec, cell):
            yield spec, earlier
        for name in spec.inputs:
            source = self.specs.get(name)
            if source is None:
                continue  # an external family has no training run
            one = source.source_cell(cell)
            # By the timeline of the consumer: a table is not made from a checkpoint that is not validated.
            for candidate in self._cells(source, cell.model, spec.takes_unvalidated) if one is None else [one]:
                if candidate.agrees(cell):
                    yield source, candidate

    def behind(self, spec: AssetSpec, cell: Cell) -> set[tuple[AssetSpec, Cell]]:
        """Return all cells that a cell is made from, directly or indirectly, without itself."""
        found: set[tuple[AssetSpec, Cell]] = set()
        pending = [(spec, cell)]
        while pending:
            new = set(self.input_cells(*pending.pop())) - found
            found |= new
            pending += new
        return found

    def start_of(self, spec: AssetSpec, cell: Cell) -> Cell | None:
        """Return the cell of the same asset that a cell starts from; None if it starts from no other cell."""
        return spec.starts_from(self.study, self.steps_of(cell.model), cell) if cell.model else None

    def required(self, spec: AssetSpec, cell: Cell) -> Required | None:
        """Return what a cell must be made from; None while an input is unknown."""
        key = (spec.name, cell)
        if key not in self._required:
            self._required[key] = self._compute_required(spec, cell)
        return self._required[key]

    def _compute_required(self, spec: AssetSpec, cell: Cell) -> Required | None:
        inputs: dict[str, str] = {}
        for source, source_cell in self.input_cells(spec, cell):
            required = self.required(source, source_cell)
            if required is None:
                return None
            inputs[f"{source.name} {source_cell}"] = required.fingerprint
        settings = spec.recipe(self.study, self.storage, cell)
        if settings is None:
            return None
        return Required(spec.name, str(cell), settings, inputs, code_version(*spec.code))

    def state(self, spec: AssetSpec, cell: Cell) -> CellState:
        """Return the state of a cell; a cell with an input that is not done is never done.

        A cell without a verdict on its blocking checks is validated, together with all other cells like it.

        Raises:
            EmergenceError: the stored cell is damaged.
        """
        key = (spec.name, cell)
        if key not in self._states:
            self._states[key] = self._compare(spec, cell)
        return self._states[key]

    def _compare(self, spec: AssetSpec, cell: Cell) -> CellState:
        stored = stored_provenance(spec, spec.path(self.storage, cell))
        if stored is None:
            return CellState("missing")
        for source, source_cell in self.input_cells(spec, cell):
            if (state := self.state(source, source_cell).state) != "done":
                return CellState("stale", f"its input {source.name} of {source_cell} is {state}")
        required = self.required(spec, cell)
        if required is None:
            return CellState("stale", "an input is missing")
        if reason := difference(stored.required, required):
            return CellState("stale", reason)
        failures = known_failures(self.storage, spec, cell, stored)
        if failures is None and (spec.name, cell) not in self._judged:
            self.judge(spec, self._unjudged(spec, cell))
        if failures is None:
            failures = self._judged[spec.name, cell]
        return CellState("failed", failures) if failures else CellState("done")

    def _unjudged(self, spec: AssetSpec, cell: Cell) -> list[Cell]:
        """Return the cells of the same asset and model that are up to date and have no verdict."""
        found = []
        for one in self.cells(spec, cell.model):
            stored, required = stored_provenance(spec, spec.path(self.storage, one)), self.required(spec, one)
            is_current = stored and required and stored.fingerprint == required.fingerprint
            if stored and is_current and known_failures(self.storage, spec, one, stored) is None:
                found.append(one)
        return found

    def judge(self, spec: AssetSpec, cells: Sequence[Cell]) -> list[CheckResult]:
        """Validate stored cells once against all checks of their asset, and keep the verdicts of blocking checks."""
        results = check_results(spec, self, cells)
        judged = ((cell, stored_provenance(spec, spec.path(self.storage, cell))) for cell in cells)
        failures = {cell: (stored, blocking_failures(results, cell)) for cell, stored in judged if stored}
        keep_verdicts(self.storage, spec, failures)
        self._judged |= {(spec.name, cell): failed for cell, (_, failed) in failures.items()}
        return results

    def todo(self, spec: AssetSpec, model: str | None = None, *, again: bool = False) -> list[Cell]:
        """Return the cells that can be made: stale or missing, and not made from a cell that failed a blocking check.

        Args:
            spec: spec of the asset.
            model: only cells of this model.
            again: add the cells that failed a blocking check, and those made from them.
        """
        return [
            cell
            for cell in self.cells(spec, model)
            if (state := self.state(spec, cell).state) != "done"
            and (again or (state != "failed" and not self.has_failed_input(spec, cell)))
        ]

    def has_failed_input(self, spec: AssetSpec, cell: Cell) -> bool:
        """Return whether a cell is made from a cell that failed a blocking check, directly or through others."""
        key = (spec.name, cell)
        if key not in self._failed_inputs:
            states = ((source, one, self.state(source, one).state) for source, one in self.input_cells(spec, cell))
            self._failed_inputs[key] = any(
                state == "failed" or (state != "done" and self.has_failed_input(source, one))
                for source, one, state in states
            )
        return self._failed_inputs[key]

    def _why_none(self, cell: Cell) -> str:
        """Return why the last of the checkpoints that are left out is left out; empty where none has a reason."""
        models = [cell.model] if cell.model else self.study.models
        timelines = [timeline for model in models if (timeline := self.timeline(model))]
        reasons = [entry.reason for timeline in timelines for entry in timeline.entries if entry.reason]
        return f": {reasons[-1]}" if reasons else ""

    def demand_inputs(self, spec: AssetSpec, cell: Cell, together: Collection[Cell] = ()) -> Required:
        """Return what a cell must be made from, after checking that all its inputs are done.

        Args:
            spec: spec of the asset.
            cell: cell to make.
            together: cells of the same asset that are made in the same run, earlier steps first.

        Raises:
            EmergenceError: an input has to be materialised first.
        """
        inputs = list(self.input_cells(spec, cell))
        for source, _ in upstream(self.study, list(self.specs.values()), spec, cell.model) if spec.needs_cells else ():
            if all(existing.name != source.name for existing, _ in inputs):
                raise EmergenceError(
                    f"{spec.name} of {cell} needs {source.name}, and no checkpoint can be used{self._why_none(cell)}.",
                    where=self.storage.root,
                    remedy="type `emergence checkpoints` for all checkpoints with their reasons",
                )
        for source, source_cell in inputs:
            state = self.state(source, source_cell)
            if state.state != "done" and not (source is spec and source_cell in together):
                raise EmergenceError(
                    f"{spec.name} of {cell} needs {source.name} of {source_cell}, which is {state.state}.",
                    where=source.path(self.storage, source_cell),
                    remedy=f"materialise {source.name} first, or type `emergence run`"
                    + (f" ({state.reason})" if state.reason else ""),
                )
        required = self.required(spec, cell)
        if required is None:
            raise EmergenceError(
                f"{spec.name} of {cell} cannot be made yet.",
                where=spec.path(self.storage, cell),
                remedy="materialise its inputs, or type `emergence run`",
            )
        return required


def upstream(
    study: Study, specs: Sequence[AssetSpec], spec: AssetSpec, model: str | None
) -> list[tuple[AssetSpec, str | None]]:
    """Return the input assets of an asset of one model, or of the whole study, with their models."""
    by_name = {one.name: one for one in specs}
    return [
        (source, name)
        for source in (by_name[name] for name in spec.inputs if name in by_name)
        for name in source.models(study)
        if name is None or model in (None, name)
    ]
