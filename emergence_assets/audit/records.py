"""Stored records of cells and their problems; a damaged file gives a reason, not an exception."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from emergence_assets.audit.events import Event
from emergence_assets.audit.findings import Kind
from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.check_results import blocking_failures, check_results
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.lineage_id import cell_id
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import Timeline
from emergence_assets.plan.verdicts import known_failures
from resources.errors import EmergenceError
from resources.files.provenance import Provenance, Required, difference


class Stored(NamedTuple):
    """Record of a cell, or the reason why it cannot be read."""

    record: Provenance | None
    damage: str = ""
    """Reason why the record cannot be read; empty when it can be read, or when no file exists."""


class AuditPlan(Plan):
    """Plan that tolerates a damaged checkpoint timeline: the model then has the steps listed by the study."""

    def __init__(self, plan: Plan):
        super().__init__(plan.study, plan.storage, list(plan.specs.values()))
        self.damaged_timelines: dict[str, str] = {}
        """Model to the problem of its timeline."""

    def timeline(self, model: str) -> Timeline | None:
        """Return the checkpoint timeline of a model; None without a file, and when the file is damaged."""
        try:
            return super().timeline(model)
        except EmergenceError as error:
            self.damaged_timelines[model] = error.what
            self._timelines[model] = None
            return None

    def demanded(self, spec: AssetSpec, cell: Cell) -> Required | None:
        """Return what a cell must be made from; None while an input is unknown or a file is damaged."""
        try:
            return self.required(spec, cell)
        except EmergenceError:
            self._required[spec.name, cell] = None
            return None

    def stored(self, spec: AssetSpec, cell: Cell) -> Stored:
        """Read the record of a cell, or the reason why it cannot be read."""
        try:
            return Stored(stored_provenance(spec, spec.path(self.storage, cell)))
        except EmergenceError as error:
            return Stored(None, error.what)
        except OSError as error:
            return Stored(None, f"it cannot be read: {error.strerror}")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            return Stored(None, f"its record has another format: {error}")

    def problems(self, spec: AssetSpec, cell: Cell, stored: Stored, event: Event | None) -> Iterator[tuple[Kind, str]]:
        """Yield the problems of a cell itself, by record and latest event; its recorded inputs are accepted."""
        record = stored.record
        if record is None:
            yield ("altered", stored.damage) if stored.damage else ("missing", "there is no file")
            return
        if (record.required.asset, record.required.cell) != (spec.name, str(cell)):
            yield "altered", f"the file holds {record.required.asset} of {record.required.cell}"
            return
        if event and event.fingerprint and event.fingerprint != record.fingerprint:
            recorded_id, stored_id = cell_id(event.fingerprint), cell_id(record.fingerprint)
            yield (
                "forked",
                (
                    f"run {event.run_id} made {recorded_id} on {event.time}, the file is {stored_id} of "
                    f"{record.created}: other settings, inputs or code, or another machine"
                ),
            )
        if changed := self._own_difference(spec, cell, record):
            yield "stale", changed
        elif failures := self._failures(spec, cell, record):
            yield "failed", failures

    def _failures(self, spec: AssetSpec, cell: Cell, stored: Provenance) -> str:
        """Describe the blocking checks that a cell does not pass; a cell without a verdict is validated."""
        known = known_failures(self.storage, spec, cell, stored)
        if known is not None:
            return known
        try:
            return blocking_failures(check_results(spec, self, [cell]), cell)
        except EmergenceError:
            return ""  # hashing the bytes finds the damage

    def _own_difference(self, spec: AssetSpec, cell: Cell, stored: Provenance) -> str:
        """Describe how a stored cell differs from the present study and code; empty without a difference."""
        try:
            settings = spec.recipe(self.study, self.storage, cell)
        except EmergenceError as error:
            return f"an input cannot be read: {error.what}"
        if settings is None:
            return "an input is missing"
        required = Required(spec.name, str(cell), settings, stored.required.inputs, code_version(*spec.code))
        return difference(stored.required, required)


def named_inputs(names: Iterable[Any]) -> dict[str, set[str]]:
    """Group the inputs that a row names: asset to cells; an asset that is named without a cell has none."""
    inputs: dict[str, set[str]] = {}
    for name in names:
        asset, _, cell = str(name).partition(" ")
        inputs.setdefault(asset, set()).update({cell} if cell else ())
    return inputs


def input_parts(inputs: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Group the inputs of a record: asset to cell to fingerprint."""
    parts: dict[str, dict[str, str]] = {}
    for name, fingerprint in inputs.items():
        asset, _, cell = name.partition(" ")
        parts.setdefault(asset, {})[cell] = fingerprint
    return parts
