"""A run of a study in this process, stage by stage, on the instance that the UI shows."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import dagster as dg

from emergence_assets.checkpoints.listing import cache_batches, pin_new_models, refresh_timeline
from emergence_assets.checkpoints.overview import without_checkpoints
from emergence_assets.checkpoints.sources.ahead import fetch_meanwhile
from emergence_assets.orchestration.instance.dead_runs import close_dead_runs
from emergence_assets.orchestration.instance.partitions import set_partitions
from emergence_assets.orchestration.runs.batch import Batch, FailedCheck, Outcome, run_batch
from emergence_assets.orchestration.runs.batching import disk_batches, partition_ranges
from emergence_assets.orchestration.runs.missing_events import missing_events
from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.disk_forecast import require_room
from emergence_assets.plan.listeners import Listener
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.texts.study_corpus import pin_corpus
from emergence_assets.texts.study_texts import download_probe_set
from resources.errors import EmergenceError
from resources.files.run_lock import clean_temporaries, exclusive_run
from resources.files.storage import prepare_folder
from resources.tables.expectations import load_in_background

Only = Mapping[str, Collection[Cell]]
"""Asset to the cells that a run may make."""


def run_study(
    plan: Plan,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    listener: Listener,
    stages: Sequence[str] | None = None,
    only: Only | None = None,
    again: bool = False,
) -> Outcome:
    """Make every cell that is not done, of all stages or of the named ones.

    Args:
        plan: plan of the study, which the definitions use too.
        definitions: Dagster definitions of the study.
        instance: instance that keeps the events.
        listener: receives the planned cells.
        stages: names of the stages; all by default.
        only: cells that the run may make; all by default.
        again: make the cells anew that failed a blocking check.

    Raises:
        EmergenceError: another run works on the data, a file is damaged, a cell could not be made, or a blocking check
            did not pass, in this run or before. Finished cells stay; what is not made from failed cells is made.
    """
    prepare_folder(plan.storage.root)
    with exclusive_run(plan.storage.run_lock()), clean_temporaries(plan.storage.root):
        close_dead_runs(instance)
        pin_new_models(plan.study, plan.storage)
        download_probe_set(plan.study)
        pin_corpus(plan.study)
        run = _Run(plan, definitions, instance, listener, stages, only, again)
        run.make_all()
        run.outcome.left_out = left_out(plan)
        return run.outcome


def update_partitions(plan: Plan, instance: dg.DagsterInstance, read_sources: bool = True) -> None:
    """List the checkpoints of every model, and keep a partition for exactly the used checkpoints.

    Args:
        plan: plan of the study; its timelines are read again.
        instance: instance that keeps the partitions.
        read_sources: whether to read the sources of checkpoints; otherwise the stored timelines are used.

    Raises:
        EmergenceError: the source cannot be read, or no checkpoint of a model can be used.
    """
    for model in plan.study.models:
        if read_sources and any(spec.takes_unvalidated for spec in plan.specs.values()):
            refresh_timeline(plan.study, plan.storage, model)
    plan.reload()
    for model in plan.study.models:
        set_partitions(instance, plan.study, model, plan.steps_of(model, unvalidated=True))


@dataclass
class _Run:
    """One call of `run_study`: its arguments and its progress."""

    plan: Plan
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    listener: Listener
    stages: Sequence[str] | None
    only: Only | None
    again: bool
    outcome: Outcome = field(default_factory=Outcome)
    _totals: dict[str, int] = field(default_factory=dict)
    _made_early: set[tuple[str, Cell]] = field(default_factory=set)
    _anything_due: bool = False

    def make_all(self) -> None:
        """Make the checkpoints first, because the other cells depend on their validation; then make all other cells."""
        specs = list(self.plan.specs.values())
        split = max((position + 1 for position, spec in enumerate(specs) if spec.takes_unvalidated), default=0)
        for is_last, phase in ((False, specs[:split]), (True, specs[split:])):
            if is_last:
                self.plan.reload()
            else:
                update_partitions(self.plan, self.instance, read_sources=self._reads_sources)
            self._phase(phase, is_last)
        self._require_passed()

    def _require_passed(self) -> None:
        """Raise FailedCheck if cells of the selected assets failed a blocking check."""
        failed = self._failed()
        if not failed:
            return
        shown = "; ".join(f"{spec.name} of {cell}: {reason}" for spec, cell, reason in failed[:3])
        more = f"; and {len(failed) - 3} more, see `emergence status`" if len(failed) > 3 else ""
        raise FailedCheck(
            f"Nothing is made from cells that failed a blocking check, of which there are {len(failed)}: {shown}{more}",
            where=failed[0][0].path(self.plan.storage, failed[0][1]),
            remedy="look at the check in the UI; change what the cell is made from, or make it anew with "
            "`emergence run --again`",
        )

    def _failed(self) -> list[tuple[AssetSpec, Cell, str]]:
        """Return the cells of the selected assets that failed a blocking check, with the reason."""
        return [
            (spec, cell, reason)
            for spec in self._selected(list(self.plan.specs.values()))
            for cell in self._wanted(spec, self.plan.cells(spec))
            for state, reason in [self.plan.state(spec, cell)]
            if state == "failed"
        ]

    def _selected(self, specs: Sequence[AssetSpec]) -> list[AssetSpec]:
        return [spec for spec in specs if self.stages is None or spec.stage in self.stages]

    @property
    def _reads_sources(self) -> bool:
        """Whether the run reads the sources of checkpoints."""
        only = self.only
        return only is None or any(spec.takes_unvalidated and only.get(spec.name) for spec in self.plan.specs.values())

    @cached_property
    def _text_counts(self) -> TextCounts:
        """Text counts of the study."""
        from emergence_assets.texts.counting import text_counts

        return text_counts(self.plan.study, self.plan.storage)

    def _wanted(self, spec: AssetSpec, cells: Sequence[Cell]) -> list[Cell]:
        """Return the cells that the run may make."""
        return [cell for cell in cells if self.only is None or cell in self.only.get(spec.name, ())]

    def _phase(self, specs: Sequence[AssetSpec], is_last: bool) -> None:
        """Make the stale or missing cells of neighbouring assets, planned together."""
        selected = self._selected(specs)
        due = {spec: self._wanted(spec, self.plan.todo(spec, again=self.again)) for spec in selected}
        verify_done(self.plan, selected)
        if any(due.values()) and self.only is None:  # the forecast covers the whole study
            require_room(self.plan, self._text_counts, self.stages)
        self._totals |= {spec.name: len(self.plan.cells(spec)) for spec in selected}
        if any(due.values()):
            load_in_background()
            self._anything_due = True
            counts = {spec.name: len(cells) for spec, cells in due.items()}
            self.listener.planned(counts, self._totals, self._notes(counts))
        elif is_last and not self._anything_due and not self._failed():
            self.listener.planned({}, self._totals)
        tables: dict[AssetSpec, list[Cell]] = {}
        for spec in selected:
            if spec.has_partitions:
                self._tables(tables)  # inputs of partitions
                tables = {}
                self._cells(spec, due[spec])
            else:
                tables[spec] = due[spec]
        self._tables(tables)

    def _notes(self, due: Mapping[str, int]) -> list[str]:
        """State the memory of SAEs that train from a stream."""
        if self.plan.study.activations.retention != "stream" or not due.get("sae"):
            return []
        from emergence_assets.saes.layers.memory import largest_stream
        from resources.compute.accelerator import choose_accelerator

        batch = choose_accelerator().capture_batch
        model, memory = largest_stream(self.plan.study, self._text_counts.n_rows, batch)
        return [memory.describe(model)]

    def _cells(self, spec: AssetSpec, due: Sequence[Cell]) -> None:
        """Make the due cells of an asset with partitions, and record cells without an event."""
        if spec.takes_unvalidated:
            self._make_checkpoints(spec, due)
        else:
            due = self._possible(spec, due)
            self._make_due(spec, [cell for cell in due if (spec.name, cell) not in self._made_early])
        unknown = self._wanted(spec, missing_events(self.plan, {spec: set(due)}, self.instance)[spec])
        self._make(spec, unknown, force=False)
        self.outcome.recorded += len(unknown)

    def _tables(self, due: dict[AssetSpec, list[Cell]]) -> None:
        """Make the due cells of assets without partitions in one run of 1 to 2 s overhead; record missing events."""
        due = {spec: self._possible(spec, cells) for spec, cells in due.items()}
        missing = missing_events(self.plan, due, self.instance)
        unknown = {spec: self._wanted(spec, cells) for spec, cells in missing.items()}
        for wanted, force in ((due, True), (unknown, False)):
            if batch := [(spec, cells) for spec, cells in wanted.items() if cells]:
                self._run(batch, force)
        self.outcome.made |= {spec.name: len(cells) for spec, cells in due.items() if cells}
        self.outcome.recorded += sum(len(cells) for cells in unknown.values())

    def _make_checkpoints(self, spec: AssetSpec, due: Sequence[Cell]) -> None:
        """Register checkpoints in batches that fit into the cache; their dependents find the files there."""
        if any(source.name in self.outcome.made for source in self.plan.specs.values() if source.name in spec.inputs):
            # Training made the expected checkpoints.
            update_partitions(self.plan, self.instance, read_sources=self._reads_sources)
        before = _fingerprints(self.plan, spec, due)
        batches = cache_batches(self.plan.study, self.plan, due)
        for batch, following in itertools.zip_longest(batches, batches[1:], fillvalue=()):
            self._make(spec, batch, force=False)
            if len(batches) > 1:
                fetch_meanwhile(self.plan, following)
                self._make_dependents(spec, batch)
        after = _fingerprints(self.plan, spec, due)
        self.outcome.made[spec.name] = sum(after[cell] != before.get(cell) for cell in after)

    def _make_due(self, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Make cells; with eviction after SAE training, in batches that fit into half of the free disk space."""
        batches = disk_batches(self.plan, spec, cells, lambda: self._text_counts) if cells else []
        for batch in batches:
            self._make(spec, batch, force=True)
            self.outcome.made[spec.name] = self.outcome.made.get(spec.name, 0) + len(batch)
            if len(batches) > 1:
                self._make_dependents(spec, batch)

    def _make_dependents(self, spec: AssetSpec, batch: Sequence[Cell]) -> None:
        """Make the cells that need the files or rows of these checkpoints, before these are evicted."""
        checkpoints = {(cell.model, cell.step) for cell in batch}
        for dependent in self._dependents(spec):
            if self.stages is None or dependent.stage in self.stages:
                todo = self._wanted(dependent, self.plan.todo(dependent))
                due = [cell for cell in todo if (cell.model, cell.step) in checkpoints]
                self._make(dependent, due, force=True)
                self._made_early |= {(dependent.name, cell) for cell in due}
                self.outcome.made[dependent.name] = self.outcome.made.get(dependent.name, 0) + len(due)

    def _dependents(self, spec: AssetSpec) -> list[AssetSpec]:
        """Return the assets of layers made from an asset; where rows are evicted, also the assets made from these."""
        names = [spec.name]
        for one in self.plan.specs.values():
            parents = names if self.plan.study.activations.retention != "keep" else [spec.name]
            if one.grid == "cell" and set(one.inputs) & set(parents):
                names.append(one.name)
        return [one for one in self.plan.specs.values() if one.name in names[1:]]

    def _possible(self, spec: AssetSpec, cells: Sequence[Cell]) -> list[Cell]:
        """Return the cells that are not made from a cell that failed a blocking check in this run."""
        return [cell for cell in cells if not self.plan.has_failed_input(spec, cell)]

    def _make(self, spec: AssetSpec, cells: Sequence[Cell], force: bool) -> None:
        for group in partition_ranges(self.plan.study, cells, self.instance):
            self._run([(spec, group)], force)

    def _run(self, batch: Batch, force: bool) -> None:
        try:
            run_batch(self.plan.study, self.definitions, batch, self.instance, self.outcome, force)
        except FailedCheck:
            if all(self.plan.state(spec, cell).state != "failed" for spec, cells in batch for cell in cells):
                raise


def left_out(plan: Plan) -> list[str]:
    """Return a line for every model without checkpoints, and for every checkpoint with a problem, used or not."""
    lines = without_checkpoints(plan.study, plan.storage, plan.study.models)
    for model in plan.study.models:
        timeline = plan.timeline(model)
        for entry in timeline.entries if timeline else ():
            if entry.reason or entry.upstream:
                reasons = "; ".join(part for part in (entry.reason, entry.upstream) if part)
                lines.append(f"{model} step {entry.step} is {entry.status}: {reasons}")
    return lines


def _fingerprints(plan: Plan, spec: AssetSpec, cells: Sequence[Cell]) -> dict[Cell, str]:
    """Return the fingerprints of the stored cells."""
    fingerprints = {}
    for cell in cells:
        try:
            stored = stored_provenance(spec, spec.path(plan.storage, cell))
        except EmergenceError:
            continue
        if stored:
            fingerprints[cell] = stored.fingerprint
    return fingerprints


def verify_done(plan: Plan, specs: Sequence[AssetSpec]) -> None:
    """Compare the content of all finished cells with the hashes recorded when they were written.

    Raises:
        EmergenceError: a file was altered or truncated.
    """
    for spec in specs:
        for cell in plan.cells(spec):
            if plan.state(spec, cell).state == "done":
                spec.verify(spec.path(plan.storage, cell))
