"""What is stored of cells, read so that damage is an answer and no end: record or reason."""

from collections.abc import Mapping
from typing import NamedTuple

from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import Timeline
from resources.errors import EmergenceError
from resources.files.provenance import Provenance, Required, difference


class Stored(NamedTuple):
    """The record of a cell, or why there is none."""

    record: Provenance | None
    damage: str = ""
    """Why it cannot be read; empty when it can, or when nothing is there."""


class AuditPlan(Plan):
    """A plan that goes on where a checkpoint timeline is damaged: the model then has the steps that its study lists."""

    def __init__(self, plan: Plan):
        super().__init__(plan.study, plan.storage, list(plan.specs.values()))
        self.damaged_axes: dict[str, str] = {}
        """Model to what is wrong."""

    def timeline(self, model: str) -> Timeline | None:
        """What is known of the checkpoints of a model; None also when its file is damaged."""
        try:
            return super().timeline(model)
        except EmergenceError as error:
            self.damaged_axes[model] = error.what
            self._axes[model] = None
            return None

    def demanded(self, spec: AssetSpec, cell: Cell) -> Required | None:
        """What a cell must be made from; None while it cannot be told, also because something is damaged."""
        try:
            return self.required(spec, cell)
        except EmergenceError:
            self._required[spec.name, cell] = None
            return None

    def stored(self, spec: AssetSpec, cell: Cell) -> Stored:
        """The record of a cell."""
        return read_record(spec, self, cell)


def read_record(spec: AssetSpec, plan: Plan, cell: Cell) -> Stored:
    """The record of a cell, or what is wrong with it."""
    try:
        return Stored(stored_provenance(spec, spec.path(plan.storage, cell)))
    except EmergenceError as error:
        return Stored(None, error.what)
    except OSError as error:
        return Stored(None, f"it cannot be read: {error.strerror}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return Stored(None, f"its record is none of ours: {error}")


def own_difference(spec: AssetSpec, plan: Plan, cell: Cell, stored: Provenance) -> str:
    """Why a stored cell is not what the study and the code ask for, its inputs taken as they were; empty when it is."""
    try:
        recipe = spec.recipe(plan.study, plan.storage, cell)
    except EmergenceError as error:
        return f"what it is made from cannot be read: {error.what}"
    if recipe is None:
        return "what it is made from is not there"
    required = Required(spec.name, str(cell), recipe, stored.required.inputs, code_version(*spec.code))
    return difference(stored.required, required)


def input_parts(inputs: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Asset to cell to fingerprint, of the inputs that a record names."""
    parts: dict[str, dict[str, str]] = {}
    for name, fingerprint in inputs.items():
        asset, _, cell = name.partition(" ")
        parts.setdefault(asset, {})[cell] = fingerprint
    return parts
