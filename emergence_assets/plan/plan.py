"""Which cells a study has, what each must be made from, and what state it is in. Plain: no orchestration.

Every stage has an `AssetSpec` per asset (in `spec.py`); `pipeline.SPECS` lists them in flow order.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell, Grid
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.timeline import Timeline, is_used, read_timeline
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.provenance import Required, State, difference
from resources.files.storage import Storage


class CellState(NamedTuple):
    """State of one cell, with the reason when it is not done."""

    state: State
    reason: str = ""


class Plan:
    """Required and stored provenance of every cell of a study, each worked out once.

    A run has one plan. Whoever makes cells calls `forget_states`; whoever changes a checkpoint timeline calls `reload`.
    """

    def __init__(self, study: Study, storage: Storage, specs: Sequence[AssetSpec]):
        self.study = study
        self.storage = storage
        self.specs = {spec.name: spec for spec in specs}
        self._timelines: dict[str, Timeline | None] = {}
        self._required: dict[tuple[str, Cell], Required | None] = {}
        self._states: dict[tuple[str, Cell], CellState] = {}

    def timeline(self, model: str) -> Timeline | None:
        """What is known of the checkpoints of a model; None before anybody looked."""
        if model not in self._timelines:
            self._timelines[model] = read_timeline(self.storage.timeline(model))
        return self._timelines[model]

    def steps_of(self, model: str, unvalidated: bool = False) -> list[int]:
        """Steps that the study uses of a model, ascending: those wanted and there, without what is left out."""
        timeline, listed = self.timeline(model), self.study.listed_steps
        if timeline is None:
            return listed or []
        if listed is None:
            return timeline.steps(unvalidated)
        entries = {entry.step: entry for entry in timeline.entries}
        return [
            step for step in listed if is_used(entries[step].status if step in entries else "unjudged", unvalidated)
        ]

    def cells(self, spec: AssetSpec, model: str | None = None) -> list[Cell]:
        """Cells of an asset, in order of model, step and layer; of one model if given."""
        return self._cells(spec.grid, model, spec.takes_unvalidated)

    def _cells(self, grid: Grid, model: str | None, unvalidated: bool) -> list[Cell]:
        if grid == "study":
            return [Cell()]
        models = [model] if model else self.study.models
        if grid == "model":
            return [Cell(name) for name in models]
        grid_of_steps = [Cell(name, step) for name in models for step in self.steps_of(name, unvalidated)]
        if grid == "step":
            return grid_of_steps
        layers = {name: self.study.layers_of(name) for name in models}
        return [Cell(name, step, layer) for name, step, _ in grid_of_steps for layer in layers[str(name)]]

    def forget_states(self) -> None:
        """Look at the stored cells again: some were made."""
        self._states.clear()

    def reload(self) -> None:
        """Read the checkpoint timelines again, and all that follows from them."""
        self._timelines.clear()
        self._required.clear()
        self._states.clear()

    def input_cells(self, spec: AssetSpec, cell: Cell) -> Iterator[tuple[AssetSpec, Cell]]:
        """What a cell is made from: of every input asset, the cells that share its model, step and layer."""
        if earlier := self.start_of(spec, cell):
            yield spec, earlier
        for name in spec.inputs:
            source = self.specs.get(name)
            if source is None:
                continue  # a family that is not trained here has no training run
            one = source.source_cell(cell)
            # By the consumer's axis: a table is not made from a checkpoint that nobody looked at.
            for candidate in self._cells(source.grid, cell.model, spec.takes_unvalidated) if one is None else [one]:
                if candidate.agrees(cell):
                    yield source, candidate

    def start_of(self, spec: AssetSpec, cell: Cell) -> Cell | None:
        """The cell of the same asset that a cell starts from."""
        return spec.starts_from(self.study, self.steps_of(cell.model), cell) if cell.model else None

    def required(self, spec: AssetSpec, cell: Cell) -> Required | None:
        """What the cell must be made from; None while an input is not known yet."""
        key = (spec.name, cell)
        if key not in self._required:
            self._required[key] = self._work_out(spec, cell)
        return self._required[key]

    def _work_out(self, spec: AssetSpec, cell: Cell) -> Required | None:
        inputs: dict[str, str] = {}
        for source, source_cell in self.input_cells(spec, cell):
            required = self.required(source, source_cell)
            if required is None:
                return None
            inputs[f"{source.name} {source_cell}"] = required.fingerprint
        recipe = spec.recipe(self.study, self.storage, cell)
        if recipe is None:
            return None
        return Required(spec.name, str(cell), recipe, inputs, code_version(*spec.code))

    def state(self, spec: AssetSpec, cell: Cell) -> CellState:
        """Done, stale or missing. A cell one of whose inputs is not done is never done.

        Raises:
            EmergenceError: what is stored is damaged.
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
        return CellState("done")

    def todo(self, spec: AssetSpec, model: str | None = None) -> list[Cell]:
        """Cells that have to be made."""
        return [cell for cell in self.cells(spec, model) if self.state(spec, cell).state != "done"]

    def demand_inputs(self, spec: AssetSpec, cell: Cell, together: Collection[Cell] = ()) -> Required:
        """What the cell is to be made from, all inputs being there.

        Args:
            spec: Of the asset.
            cell: To be made.
            together: Cells of the same asset that are made with it, those of earlier steps first.

        Raises:
            EmergenceError: an input has to be materialised first.
        """
        inputs = list(self.input_cells(spec, cell))
        for source, _ in upstream(self.study, list(self.specs.values()), spec, cell.model) if spec.needs_cells else ():
            if all(found.name != source.name for found, _ in inputs):
                raise EmergenceError(
                    f"{spec.name} of {cell} needs {source.name}, and no checkpoint can be used.",
                    where=self.storage.root,
                    remedy="type `emergence checkpoints`: it says why",
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
                remedy="materialise what stands before it, or type `emergence run`",
            )
        return required


def upstream(
    study: Study, specs: Sequence[AssetSpec], spec: AssetSpec, model: str | None
) -> list[tuple[AssetSpec, str | None]]:
    """Assets that an asset of one model (or of the whole study) is made from, with their models."""
    by_name = {one.name: one for one in specs}
    return [
        (source, name)
        for source in (by_name[name] for name in spec.inputs if name in by_name)
        for name in source.models(study)
        if name is None or model in (None, name)
    ]
