"""Stored records of cells, and their problems; a damaged file is returned as a reason, not raised."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from emergence_assets.audit.events import Event
from emergence_assets.audit.findings import Kind
from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.lineage_id import cell_id
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
    """A plan that tolerates a damaged checkpoint timeline: the model then has the steps that its study lists."""

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
        """What a cell must be made from; None while that is unknown, also because a file is damaged."""
        try:
            return self.required(spec, cell)
        except EmergenceError:
            self._required[spec.name, cell] = None
            return None

    def stored(self, spec: AssetSpec, cell: Cell) -> Stored:
        """The record of a cell, or what is wrong with it."""
        try:
            return Stored(stored_provenance(spec, spec.path(self.storage, cell)))
        except EmergenceError as error:
            return Stored(None, error.what)
        except OSError as error:
            return Stored(None, f"it cannot be read: {error.strerror}")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            return Stored(None, f"its record is none of ours: {error}")

    def problems(self, spec: AssetSpec, cell: Cell, stored: Stored, event: Event | None) -> Iterator[tuple[Kind, str]]:
        """What is wrong with a cell itself, by its record and its latest event; its inputs are taken as they were."""
        record = stored.record
        if record is None:
            yield ("altered", stored.damage) if stored.damage else ("missing", "there is no file")
            return
        if (record.required.asset, record.required.cell) != (spec.name, str(cell)):
            yield "altered", f"the file holds {record.required.asset} of {record.required.cell}"
            return
        if event and event.fingerprint and event.fingerprint != record.fingerprint:
            made, there = cell_id(event.fingerprint), cell_id(record.fingerprint)
            yield (
                "forked",
                (
                    f"run {event.run_id} made {made} on {event.time}, the file is {there} of {record.created}: other "
                    "settings, inputs or code, or another machine"
                ),
            )
        if changed := self._own_difference(spec, cell, record):
            yield "stale", changed

    def _own_difference(self, spec: AssetSpec, cell: Cell, stored: Provenance) -> str:
        """Why a stored cell is not what the study and the code ask for; empty when it is."""
        try:
            recipe = spec.recipe(self.study, self.storage, cell)
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
