"""Which cells a study has, what each must be made from, and what state it is in. Plain: no orchestration.

The stages contribute one `Rule` per asset (in their `cells.py`); `pipeline.RULES` lists them in flow order.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from emergence_assets.code_version import code_version
from emergence_assets.errors import EmergenceError
from emergence_assets.provenance import Provenance, Required, State, difference
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from emergence_assets.time_axis import TimeAxis, is_used, read_time_axis
from resources.storage import Storage

Grid = Literal["study", "model", "step", "cell"]
"""What one partition holds: the whole study, one model, one checkpoint, or one layer of a checkpoint."""


class Cell(NamedTuple):
    """One partition of one asset; fields that the asset does not have are None."""

    model: str | None = None
    step: int | None = None
    layer: int | None = None

    def __str__(self) -> str:
        parts = [self.model or "all models"]
        if self.step is not None:
            parts.append(step_key(self.step))
        if self.layer is not None:
            parts.append(layer_key(self.layer))
        return "/".join(parts)


def step_key(step: int) -> str:
    """`step000512`: zero-padded, so that keys sort as steps do."""
    return f"step{step:06d}"


def layer_key(layer: int) -> str:
    """`L03`, or `embed` for the embedding output."""
    return "embed" if layer < 0 else f"L{layer:02d}"


@dataclass(frozen=True)
class Rule:
    """How one asset's cells are named, stored and made."""

    name: str
    stage: str
    grid: Grid
    inputs: tuple[str, ...]
    """Names of the assets it is made from."""
    recipe: Callable[[Study, Storage, Cell], Mapping[str, Any] | None]
    """Settings that decide the result; None while something outside the pipeline is not there yet."""
    code: tuple[str, ...]
    """Functions that make it, as `package.module:name`."""
    path: Callable[[Storage, Cell], Path]
    """File or folder of one cell."""
    stored: Callable[[Path], Provenance | None]
    """Provenance inside that file or folder; None when there is none."""
    verify: Callable[[Path], None] = field(default=lambda _path: None)
    """Raise EmergenceError when the content is not what was written."""
    starts_from: Callable[[Study, Sequence[int], Cell], Cell | None] = field(default=lambda _study, _steps, _cell: None)
    """The cell of the same asset, at an earlier step, that a cell is made from too; given the model's steps."""
    needs_cells: bool = True
    """Whether it cannot be made while an asset that it is made from has no cell at all."""
    takes_unjudged: bool = False
    """Its cells are also of checkpoints that nobody looked at yet."""
    also: Callable[[Storage, Cell], tuple[Path, ...]] = field(default=lambda _storage, _cell: ())
    """What else lies on disk of a cell, beside `path`."""
    n_bytes: Callable[[Study, Cell, TextCounts], float] = field(default=lambda _study, _cell, _counts: 0)
    """What a finished cell takes on disk, by its study's retention."""

    def source_cell(self, cell: Cell) -> Cell | None:
        """The one cell of this asset that shares a cell's model, step and layer; None when there may be several."""
        if self.grid == "study":
            return Cell()
        named = {"model": (cell.model,), "step": (cell.model, cell.step), "cell": tuple(cell)}[self.grid]
        return None if None in named else Cell(*named)


_read: dict[tuple[str, Path], tuple[tuple[int, int, int], Provenance | None]] = {}


def stored_provenance(rule: Rule, path: Path) -> Provenance | None:
    """Provenance of a stored cell, read once per version of its file: files are replaced, never edited.

    Raises:
        EmergenceError: what is stored is damaged.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    version = (found.st_ino, found.st_size, found.st_mtime_ns)
    known = _read.get((rule.name, path))
    if known is None or known[0] != version:
        known = _read[rule.name, path] = (version, rule.stored(path))
    return known[1]


class CellState(NamedTuple):
    """State of one cell, with the reason when it is not done."""

    state: State
    reason: str = ""


class Plan:
    """Required and stored provenance of every cell, each worked out once; make a new one after anything changed."""

    def __init__(self, study: Study, storage: Storage, rules: Sequence[Rule]):
        self.study = study
        self.storage = storage
        self.rules = {rule.name: rule for rule in rules}
        self._axes: dict[str, TimeAxis | None] = {}
        self._required: dict[tuple[str, Cell], Required | None] = {}
        self._states: dict[tuple[str, Cell], CellState] = {}

    def time_axis(self, model: str) -> TimeAxis | None:
        """What is known of the checkpoints of a model; None before anybody looked."""
        if model not in self._axes:
            self._axes[model] = read_time_axis(self.storage.time_axis(model))
        return self._axes[model]

    def steps_of(self, model: str, unjudged: bool = False) -> list[int]:
        """Steps that the study uses of a model, ascending: those wanted and there, without what is left out."""
        axis, listed = self.time_axis(model), self.study.listed_steps
        if axis is None:
            return listed or []
        if listed is None:
            return axis.steps(unjudged)
        entries = {entry.step: entry for entry in axis.entries}
        return [step for step in listed if is_used(entries[step].status if step in entries else "unjudged", unjudged)]

    def cells(self, rule: Rule, model: str | None = None) -> list[Cell]:
        """Cells of an asset, in order of model, step and layer; of one model if given."""
        return self._cells(rule.grid, model, rule.takes_unjudged)

    def _cells(self, grid: Grid, model: str | None, unjudged: bool) -> list[Cell]:
        if grid == "study":
            return [Cell()]
        models = [model] if model else self.study.models
        if grid == "model":
            return [Cell(name) for name in models]
        grid_of_steps = [Cell(name, step) for name in models for step in self.steps_of(name, unjudged)]
        if grid == "step":
            return grid_of_steps
        layers = {name: self.study.layers_of(name) for name in models}
        return [Cell(name, step, layer) for name, step, _ in grid_of_steps for layer in layers[str(name)]]

    def sources(self, rule: Rule, model: str | None) -> list[tuple[Rule, str | None]]:
        """Assets that an asset of one model (or of the whole study) is made from, with their models."""
        named = [self.rules[name] for name in rule.inputs if name in self.rules]
        return [
            (source, None if source.grid == "study" else name)
            for source in named
            for name in ([None] if source.grid == "study" else [model] if model else self.study.models)
        ]

    def input_cells(self, rule: Rule, cell: Cell) -> Iterator[tuple[Rule, Cell]]:
        """What a cell is made from: of every input asset, the cells that share its model, step and layer."""
        if earlier := self.start_of(rule, cell):
            yield rule, earlier
        for name in rule.inputs:
            source = self.rules.get(name)
            if source is None:
                continue  # a family that is not trained here has no training run
            one = source.source_cell(cell)
            # By the consumer's axis: a table is not made from a checkpoint that nobody looked at.
            for candidate in self._cells(source.grid, cell.model, rule.takes_unjudged) if one is None else [one]:
                if _agree(candidate, cell):
                    yield source, candidate

    def start_of(self, rule: Rule, cell: Cell) -> Cell | None:
        """The cell of the same asset that a cell starts from."""
        return rule.starts_from(self.study, self.steps_of(cell.model), cell) if cell.model else None

    def required(self, rule: Rule, cell: Cell) -> Required | None:
        """What the cell must be made from; None while an input is not known yet."""
        key = (rule.name, cell)
        if key not in self._required:
            self._required[key] = self._work_out(rule, cell)
        return self._required[key]

    def _work_out(self, rule: Rule, cell: Cell) -> Required | None:
        inputs: dict[str, str] = {}
        for source, source_cell in self.input_cells(rule, cell):
            required = self.required(source, source_cell)
            if required is None:
                return None
            inputs[f"{source.name} {source_cell}"] = required.fingerprint
        recipe = rule.recipe(self.study, self.storage, cell)
        if recipe is None:
            return None
        return Required(rule.name, str(cell), recipe, inputs, code_version(*rule.code))

    def state(self, rule: Rule, cell: Cell) -> CellState:
        """Done, stale or missing. A cell one of whose inputs is not done is never done.

        Raises:
            EmergenceError: what is stored is damaged.
        """
        key = (rule.name, cell)
        if key not in self._states:
            self._states[key] = self._compare(rule, cell)
        return self._states[key]

    def _compare(self, rule: Rule, cell: Cell) -> CellState:
        stored = stored_provenance(rule, rule.path(self.storage, cell))
        if stored is None:
            return CellState("missing")
        for source, source_cell in self.input_cells(rule, cell):
            if (state := self.state(source, source_cell).state) != "done":
                return CellState("stale", f"its input {source.name} of {source_cell} is {state}")
        required = self.required(rule, cell)
        if required is None:
            return CellState("stale", "an input is missing")
        if reason := difference(stored.required, required):
            return CellState("stale", reason)
        return CellState("done")

    def todo(self, rule: Rule, model: str | None = None) -> list[Cell]:
        """Cells that have to be made."""
        return [cell for cell in self.cells(rule, model) if self.state(rule, cell).state != "done"]

    def demand_inputs(self, rule: Rule, cell: Cell, together: Collection[Cell] = ()) -> Required:
        """What the cell is to be made from, all inputs being there.

        Args:
            rule: Of the asset.
            cell: To be made.
            together: Cells of the same asset that are made with it, those of earlier steps first.

        Raises:
            EmergenceError: an input has to be materialised first.
        """
        inputs = list(self.input_cells(rule, cell))
        for source, _ in self.sources(rule, cell.model) if rule.needs_cells else ():
            if all(found.name != source.name for found, _ in inputs):
                raise EmergenceError(
                    f"{rule.name} of {cell} needs {source.name}, and no checkpoint can be used.",
                    where=self.storage.root,
                    remedy="type `emergence checkpoints`: it says why",
                )
        for source, source_cell in inputs:
            state = self.state(source, source_cell)
            if state.state != "done" and not (source is rule and source_cell in together):
                raise EmergenceError(
                    f"{rule.name} of {cell} needs {source.name} of {source_cell}, which is {state.state}.",
                    where=source.path(self.storage, source_cell),
                    remedy=f"materialise {source.name} first, or type `emergence run`"
                    + (f" ({state.reason})" if state.reason else ""),
                )
        required = self.required(rule, cell)
        if required is None:
            raise EmergenceError(
                f"{rule.name} of {cell} cannot be made yet.",
                where=rule.path(self.storage, cell),
                remedy="materialise what stands before it, or type `emergence run`",
            )
        return required


def _agree(left: Cell, right: Cell) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(left, right, strict=True))
