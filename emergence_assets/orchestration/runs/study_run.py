"""Run what is due of a study in this process, stage by stage, against the instance that the UI shows."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from emergence_assets.checkpoints.listing import cache_portions, pin_new_models, refresh_time_axis
from emergence_assets.orchestration.instance.home import close_dead_runs
from emergence_assets.orchestration.instance.partitions import follow_time_axis
from emergence_assets.orchestration.runs.batch import Batch, Follow, Outcome, run_batch
from emergence_assets.orchestration.runs.batching import disk_portions, model_rectangles
from emergence_assets.orchestration.runs.missing_events import unrecorded
from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.disk_forecast import require_room
from emergence_assets.plan.listeners import Listener
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import bring_probe_set
from resources.errors import EmergenceError
from resources.files.run_lock import only_run, swept
from resources.files.storage import Storage, prepare_folder


def run_study(
    study: Study,
    storage: Storage,
    definitions: dg.Definitions,
    specs: Sequence[AssetSpec],
    instance: dg.DagsterInstance,
    listener: Listener,
    stages: Sequence[str] | None = None,
    only: Mapping[str, Collection[Cell]] | None = None,
    follow: Follow | None = None,
) -> Outcome:
    """Make every cell that is not done, of all stages or of the named ones.

    Args:
        study: what is under study.
        storage: where its data lies.
        definitions: of the study.
        specs: all its assets.
        instance: that keeps the events.
        listener: told how far it is.
        stages: names of the stages; all by default.
        only: asset to the cells that may be made; all by default.
        follow: told every Dagster event.

    Raises:
        EmergenceError: another run works on the data, a file is damaged, a cell could not be made, or a blocking check
            did not pass. What is finished stays.
    """
    prepare_folder(storage.root)
    with only_run(storage.run_lock()), swept(storage.root):
        close_dead_runs(instance)
        pin_new_models(study, storage)
        bring_probe_set(study)
        run = _Run(study, storage, definitions, specs, instance, listener, stages, only, follow)
        for phase in _phases(specs):
            run.phase(phase)
        follow_time_axes(study, storage, specs, instance, look=run.looks)
        run.outcome.left_out = left_out(study, Plan(study, storage, specs))
        return run.outcome


@dataclass
class _Run:
    """One call of `run_study`: what it works with, and what it has done so far."""

    study: Study
    storage: Storage
    definitions: dg.Definitions
    specs: Sequence[AssetSpec]
    instance: dg.DagsterInstance
    listener: Listener
    stages: Sequence[str] | None
    only: Mapping[str, Collection[Cell]] | None
    follow: Follow | None
    outcome: Outcome = field(default_factory=Outcome)
    _totals: dict[str, int] = field(default_factory=dict)
    _followed: set[tuple[str, Cell]] = field(default_factory=set)
    _counts: TextCounts | None = None
    _anything_due: bool = False

    @property
    def looks(self) -> bool:
        """Whether it asks the sources of checkpoints what there is."""
        return self.only is None or any(spec.takes_unjudged and self.only.get(spec.name) for spec in self.specs)

    def text_counts(self) -> TextCounts:
        """Of the study, counted once."""
        from emergence_assets.texts.counting import text_counts

        if self._counts is None:
            self._counts = text_counts(self.study, self.storage)
        return self._counts

    def _wanted(self, spec: AssetSpec, cells: Sequence[Cell]) -> list[Cell]:
        """Those of the cells that may be made."""
        return [cell for cell in cells if self.only is None or cell in self.only.get(spec.name, ())]

    def phase(self, specs: Sequence[AssetSpec]) -> None:
        """Make what is due of neighbouring assets, planned together."""
        follow_time_axes(self.study, self.storage, self.specs, self.instance, look=self.looks)
        plan = Plan(self.study, self.storage, self.specs)
        selected = [spec for spec in specs if self.stages is None or spec.stage in self.stages]
        due = {spec.name: self._wanted(spec, plan.todo(spec)) for spec in selected}
        verify_done(plan, selected)
        if any(due.values()) and self.only is None:  # a forecast is of the whole study
            require_room(plan, self.text_counts(), self.stages)
        self._totals |= {spec.name: len(plan.cells(spec)) for spec in selected}
        if any(due.values()):
            self._anything_due = True
            self.listener.planned({name: len(cells) for name, cells in due.items()}, self._totals)
        elif specs[-1] is self.specs[-1] and not self._anything_due:
            self.listener.planned({}, self._totals)
        for has_partitions, following in itertools.groupby(selected, key=lambda spec: spec.has_partitions):
            if has_partitions:
                for spec in following:
                    self._cells(plan, spec, due[spec.name])
            else:
                self._tables(plan, {spec: due[spec.name] for spec in following})

    def _cells(self, plan: Plan, spec: AssetSpec, due: Sequence[Cell]) -> None:
        """Make what is due of an asset with partitions, and record what has no event."""
        if spec.takes_unjudged:
            self._take_in(plan, spec, due)
        else:
            self._make_due(plan, spec, [cell for cell in due if (spec.name, cell) not in self._followed])
        unknown = self._wanted(spec, unrecorded(plan, spec, self.instance, set(due)))
        self._make(spec, unknown, force=False)
        self.outcome.recorded += len(unknown)

    def _tables(self, plan: Plan, due: dict[AssetSpec, list[Cell]]) -> None:
        """Make what is due of assets without partitions in one run, which costs a second or two; record the others."""
        unknown = {
            spec: self._wanted(spec, unrecorded(plan, spec, self.instance, set(cells))) for spec, cells in due.items()
        }
        for wanted, force in ((due, True), (unknown, False)):
            if parts := tuple((spec, tuple(cells)) for spec, cells in wanted.items() if cells):
                self._run(Batch(parts), force)
        self.outcome.made |= {spec.name: len(cells) for spec, cells in due.items() if cells}
        self.outcome.recorded += sum(len(cells) for cells in unknown.values())

    def _take_in(self, plan: Plan, spec: AssetSpec, due: Sequence[Cell]) -> None:
        """Register checkpoints, in portions that the cache holds; those that follow at once find their files there."""
        before = _fingerprints(plan, spec, due)
        portions = cache_portions(self.study, plan, due)
        for portion in portions:
            follow_time_axes(self.study, self.storage, self.specs, self.instance)  # training made what was expected
            self._make(spec, portion, force=False)
            if len(portions) > 1:
                self._follow_up(spec, portion)
        after = _fingerprints(plan, spec, due)
        self.outcome.made[spec.name] = sum(after[cell] != before.get(cell) for cell in after)

    def _make_due(self, plan: Plan, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Make cells; where rows go once SAEs are trained, in portions that half of the free disk holds."""
        portions = disk_portions(plan, spec, cells, self.text_counts) if cells else []
        for portion in portions:
            self._make(spec, portion, force=True)
            self.outcome.made[spec.name] = self.outcome.made.get(spec.name, 0) + len(portion)
            if len(portions) > 1:
                self._follow_up(spec, portion)

    def _follow_up(self, spec: AssetSpec, portion: Sequence[Cell]) -> None:
        """Make what needs the files or rows of these checkpoints before they have to go."""
        checkpoints = {(cell.model, cell.step) for cell in portion}
        for follower in self._followers(spec):
            if self.stages is None or follower.stage in self.stages:
                plan = Plan(self.study, self.storage, self.specs)
                todo = self._wanted(follower, plan.todo(follower))
                due = [cell for cell in todo if (cell.model, cell.step) in checkpoints]
                self._make(follower, due, force=True)
                self._followed |= {(follower.name, cell) for cell in due}
                self.outcome.made[follower.name] = self.outcome.made.get(follower.name, 0) + len(due)

    def _followers(self, spec: AssetSpec) -> list[AssetSpec]:
        """What is made layer by layer from an asset; where rows do not stay, also what is made from that."""
        found = [spec.name]
        for one in self.specs:
            parents = found if self.study.activations.retention != "keep" else [spec.name]
            if one.grid == "cell" and set(one.inputs) & set(parents):
                found.append(one.name)
        return [one for one in self.specs if one.name in found[1:]]

    def _make(self, spec: AssetSpec, cells: Sequence[Cell], force: bool) -> None:
        for model, group in model_rectangles(self.study, cells, self.instance):
            self._run(Batch(((spec, tuple(group)),), model), force)

    def _run(self, batch: Batch, force: bool) -> None:
        run_batch(self.study, self.definitions, batch, self.instance, self.outcome, self.listener, force, self.follow)


def follow_time_axes(
    study: Study, storage: Storage, specs: Sequence[AssetSpec], instance: dg.DagsterInstance, look: bool = True
) -> None:
    """See which checkpoints there are, and give exactly those that are used a partition.

    Args:
        study: what is under study.
        storage: where its data lies.
        specs: all its assets.
        instance: that keeps the partitions.
        look: whether to ask the source; otherwise what is known already holds.

    Raises:
        EmergenceError: the source cannot be read, or no checkpoint of a model can be used.
    """
    for model in study.models:
        if look and any(spec.takes_unjudged for spec in specs):
            refresh_time_axis(study, storage, model)
        steps = Plan(study, storage, specs).steps_of(model, unjudged=True)
        follow_time_axis(instance, study, model, steps)


def left_out(study: Study, plan: Plan) -> list[str]:
    """A line for every checkpoint that is not used, and for those that are used although they fail a check."""
    lines = []
    for model in study.models:
        axis = plan.time_axis(model)
        for entry in axis.entries if axis else ():
            if entry.reason or entry.upstream:
                said = "; ".join(part for part in (entry.reason, entry.upstream) if part)
                lines.append(f"{model} step {entry.step} is {entry.status}: {said}")
    return lines


def _phases(specs: Sequence[AssetSpec]) -> list[list[AssetSpec]]:
    """What decides which checkpoints are used, and the rest, which is planned after that."""
    split = max((position + 1 for position, spec in enumerate(specs) if spec.takes_unjudged), default=0)
    return [phase for phase in (list(specs[:split]), list(specs[split:])) if phase]


def _fingerprints(plan: Plan, spec: AssetSpec, cells: Sequence[Cell]) -> dict[Cell, str]:
    """Of the cells that are stored."""
    found = {}
    for cell in cells:
        try:
            stored = stored_provenance(spec, spec.path(plan.storage, cell))
        except EmergenceError:
            continue
        if stored:
            found[cell] = stored.fingerprint
    return found


def verify_done(plan: Plan, specs: Sequence[AssetSpec]) -> None:
    """Compare the content of everything finished with what was recorded when it was written.

    Raises:
        EmergenceError: a file was altered or cut short.
    """
    for spec in specs:
        for cell in plan.cells(spec):
            if plan.state(spec, cell).state == "done":
                spec.verify(spec.path(plan.storage, cell))
