"""Verification of a whole study: bytes, records, required provenance and the event log.

Neither files nor the instance are changed.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from emergence_assets.activations.spec import ACTIVATIONS, tokens_path
from emergence_assets.audit.content import Problem, content_bytes, content_problems, token_problems
from emergence_assets.audit.events import Event, EventKey, EventLog
from emergence_assets.audit.findings import KINDS, Audit, Finding, Kind
from emergence_assets.audit.orphans import orphans
from emergence_assets.audit.records import AuditPlan, Stored
from emergence_assets.checkpoints.spec import CHECKPOINT
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.content_hash import content_hash, tag_time
from emergence_assets.plan.disk_forecast import path_bytes
from emergence_assets.plan.lineage_id import cell_id
from emergence_assets.plan.plan import Plan
from resources.errors import EmergenceError
from resources.files.lease import holder_file
from resources.files.provenance import Provenance, Required, changed_names

Progress = Callable[[int, int], None]
"""Called with the bytes read so far, and the bytes in all."""
THREADS = 4
"""Number of threads; hashing releases the interpreter lock, so that one thread reads while another hashes."""


@dataclass(frozen=True)
class _AuditedCell:
    """A cell under audit, as it was when it was first read."""

    spec: AssetSpec
    cell: Cell
    stored: Stored
    event: Event | None

    @property
    def name(self) -> str:
        return f"{self.spec.name} {self.cell}"


def verify_study(plan: Plan, events: EventLog, progress: Progress = lambda _done, _all: None) -> Audit:
    """Compare all cells of a study with their records, events and required provenance.

    Args:
        plan: plan of the study; the audit makes a new plan from it.
        events: event log of the instance.
        progress: called with the bytes read so far, and the bytes in all.
    """
    began = time.monotonic()
    audited = _Verification(AuditPlan(plan), events, progress)
    audit = audited.run()
    audit.seconds = time.monotonic() - began
    return audit


class _Verification:
    def __init__(self, plan: AuditPlan, events: EventLog, progress: Progress):
        self.plan, self.events, self.progress = plan, events, progress
        self.audit = Audit(plan.study.name)
        self.suspects: dict[str, str] = {}
        """Name of a cell with a problem to the name of the cell that is the cause, which may be itself."""

    def run(self) -> Audit:
        logged = self.events.all()
        cells = [
            _AuditedCell(spec, cell, self.plan.stored(spec, cell), logged.get((spec.name, cell)))
            for spec in self.plan.specs.values()
            for cell in self.plan.cells(spec)
        ]
        self.audit.n_cells = len(cells)
        for model, what in self.plan.damaged_timelines.items():
            self._find("altered", "", model, self.plan.storage.timeline(model), what)
        for one in cells:
            self._compare(one)
        tokens = self._token_files(cells)
        self._hash(cells, tokens)
        self._orphans(cells, tokens)
        self._events_without_cells(cells, logged)
        self._notes(cells)
        self._sort()
        return self.audit

    def _sort(self) -> None:
        """Sort the findings: causes first, then by kind, then in flow order; assets unknown to the study come last."""
        order = {name: position for position, name in enumerate(self.plan.specs)}
        self.audit.findings.sort(
            key=lambda one: (
                bool(one.because),
                KINDS.index(one.kind),
                order.get(one.asset, len(order)),
                one.cell,
                one.path,
            )
        )

    def _find(
        self, kind: Kind, asset: str, cell: str, path: Path, reason: str, because: str = "", run: str = ""
    ) -> None:
        self.audit.findings.append(Finding(kind, asset, cell, str(path), reason, because, run))

    def _about(self, one: _AuditedCell, kind: Kind, reason: str, because: str = "") -> None:
        path = one.spec.path(self.plan.storage, one.cell)
        self._find(kind, one.spec.name, str(one.cell), path, reason, because, one.event.run_id if one.event else "")

    def _compare(self, one: _AuditedCell) -> None:
        """Compare the record of a cell with the required provenance and with its event."""
        event, record = one.event, one.stored.record
        kinds = set[Kind]()
        for kind, reason in self.plan.problems(one.spec, one.cell, one.stored, event):
            kinds.add(kind)
            if kind != "forked":
                self.suspects[one.name] = one.name
            if kind == "missing":
                reason += f"; run {event.run_id} made it on {event.time}" if event else "; it has no event either"
            self._about(one, kind, reason)
        if record is None or kinds & {"altered", "missing"}:
            return
        if "forked" not in kinds:
            self._compare_content(one, record)
        if "stale" not in kinds:
            self._compare_inputs(one, record)

    def _compare_content(self, one: _AuditedCell, record: Provenance) -> None:
        """Compare the content of a cell with the content hash of its event."""
        event = one.event
        if event is None:
            if not self.events.problem:
                self._about(one, "unrecorded", "there is no event of it; `emergence run` records it")
            return
        try:
            current = content_hash(one.spec, self.plan.storage, one.cell)
        except EmergenceError:
            return  # hashing the bytes finds the damage
        if event.content_hash in ("", current):
            return
        if event.created != tag_time(record.created):
            reason = f"the event is of a file of {event.created}, this one was made on {record.created}, from the same"
            self._about(one, "forked", reason)
        else:
            self._about(one, "altered", f"the content is not the one that run {event.run_id} recorded on {event.time}")

    def _compare_inputs(self, one: _AuditedCell, record: Provenance) -> None:
        """Compare the recorded inputs with the required inputs, and find the cause of a difference."""
        required = self.plan.demanded(one.spec, one.cell)
        inputs = (
            self.suspects.get(f"{source.name} {cell}") for source, cell in self.plan.input_cells(one.spec, one.cell)
        )
        cause = next(filter(None, inputs), "")
        is_current = required is not None and required.fingerprint == record.fingerprint
        if cause or not is_current:
            self.suspects[one.name] = cause or one.name
        if not is_current:
            self._about(one, "stale", self._changed_inputs(record, required), because=cause)

    def _changed_inputs(self, record: Provenance, required: Required | None) -> str:
        if required is None:
            return "its inputs are unknown"
        stored, wanted = record.required.inputs, required.inputs
        changed = changed_names(stored, wanted)
        if not changed:
            return "it changed"
        was, now = (cell_id(inputs.get(changed[0], "")) or "absent" for inputs in (stored, wanted))
        more = f", and {len(changed) - 1} more inputs" if len(changed) > 1 else ""
        return f"it was made from {changed[0]} {was}, which is {now} now{more}"

    def _token_files(self, cells: Sequence[_AuditedCell]) -> list[Path]:
        """Return the existing token files of the activations of the study; an absent token file is a finding."""
        paths: dict[Path, None] = {}
        checkpoints = [one.cell for one in cells if one.spec.name == CHECKPOINT.name and one.stored.record]
        for cell in checkpoints if ACTIVATIONS.name in self.plan.specs else ():
            try:
                settings = ACTIVATIONS.recipe(self.plan.study, self.plan.storage, cell)
                if settings is not None:
                    paths[tokens_path(self.plan, cell, settings)] = None
            except EmergenceError:
                continue  # the problem of the checkpoint is a finding of its own
        has_activations = any(one.spec.name == ACTIVATIONS.name and one.stored.record for one in cells)
        for path in paths if has_activations else ():
            if not path.exists():
                self._find("missing", ACTIVATIONS.name, "", path, "the token file of the activations is gone")
        return [path for path in paths if path.exists()]

    def _hash(self, cells: Sequence[_AuditedCell], tokens: Sequence[Path]) -> None:
        """Hash every file, and report altered and missing files."""
        work: dict[Future[list[Problem]], tuple[_AuditedCell | None, int]] = {}
        with ThreadPoolExecutor(THREADS) as threads:
            for path in tokens:
                work[threads.submit(token_problems, path)] = None, path_bytes(path)
            for one in cells:
                if record := one.stored.record:
                    hashing = threads.submit(content_problems, one.spec, self.plan, one.cell, record)
                    work[hashing] = one, content_bytes(one.spec, self.plan, one.cell)
            total = sum(n_bytes for _, n_bytes in work.values())
            for finished in as_completed(work):
                one, n_bytes = work[finished]
                self.audit.n_bytes += n_bytes
                self.progress(self.audit.n_bytes, total)
                for path, what in finished.result():
                    self._altered(one, path, what)

    def _altered(self, one: _AuditedCell | None, path: Path, what: str) -> None:
        if one is None:
            self._find("altered", ACTIVATIONS.name, "", path, what)
            return
        again = self.plan.stored(one.spec, one.cell).record
        if again is not None and one.stored.record is not None and again.created != one.stored.record.created:
            self.audit.notes.append(f"{one.name} was made again during the audit; audit it again")
            return
        kind: Kind = "altered" if path.exists() else "missing"
        self._find(kind, one.spec.name, str(one.cell), path, what, run=one.event.run_id if one.event else "")

    def _orphans(self, cells: Sequence[_AuditedCell], tokens: Sequence[Path]) -> None:
        known = {one.spec.path(self.plan.storage, one.cell) for one in cells} | set(tokens)
        known |= {beside for one in cells for beside in one.spec.also(self.plan.storage, one.cell)}
        for path in orphans(self.plan, known):
            self._find("orphaned", "", "", path, "no cell of the study has it")

    def _events_without_cells(self, cells: Sequence[_AuditedCell], logged: dict[EventKey, Event]) -> None:
        there = {(one.spec.name, one.cell) for one in cells}
        for (asset, cell), event in logged.items():
            if (asset, cell) not in there:
                reason = f"run {event.run_id} recorded it on {event.time}, and the study has no such cell"
                self._find("orphaned", asset, str(cell), Path(), reason, run=event.run_id)

    def _notes(self, cells: Sequence[_AuditedCell]) -> None:
        if self.events.problem:
            reason = f"{self.events.problem}; files are compared with their own records only"
            self._find("unrecorded", "", "", self.plan.storage.root, reason)
        without_hash = sum(1 for one in cells if one.event and not one.event.content_hash)
        if without_hash:
            self.audit.notes.append(
                f"{without_hash} events are of a version that recorded no content hash: for their cells, a file "
                "that was edited together with its own hash cannot be distinguished from the file that was written"
            )
        made = {one.name: one.stored.record.created for one in cells if one.stored.record}
        early = [
            one.name
            for one in cells
            if one.stored.record
            and any(made.get(source, "") > one.stored.record.created for source in one.stored.record.required.inputs)
        ]
        if early:
            self.audit.notes.append(
                f"{len(early)} results bear an earlier date than one of their inputs, {early[0]} for one: a clock was "
                "set back, or an input was made again; fingerprints do not depend on dates"
            )
        if holder_file(self.plan.storage.run_lock()).exists():
            self.audit.notes.append(
                "a run is working on this data, or was killed: what it makes now may be found missing"
            )
