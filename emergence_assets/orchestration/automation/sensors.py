"""Sensors that find new checkpoints and request runs for them, one sensor per model. Off by default."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import dagster as dg

from emergence_assets.checkpoints.listing import pin_new_revisions, refresh_timeline
from emergence_assets.checkpoints.spec import CHECKPOINT
from emergence_assets.orchestration.automation.cursor import Cursor, Overdue, RequestedRun, pause_seconds
from emergence_assets.orchestration.instance.partitions import asset_key, dagster_name, step_set_name
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell, step_key
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import Timeline, TimelineEntry, is_used
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.provenance import canonical_json
from resources.files.storage import Storage

MOST_PER_TICK = 10
"""Maximum number of checkpoints that one tick requests; a family of 154 steps takes 16 ticks."""
GRACE_TICKS = 4
"""Number of ticks for which a stale table waits for a request that follows from asset events."""
RETRY_SECONDS = 15.0
"""Retry timeout of a tick for a hub that does not answer; Dagster ends a tick after 60 s."""
SETTLED = ("done", "failed")
"""States of a cell for which no run is requested: what failed a blocking check would fail again."""
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def look_for_checkpoints(
    study: Study,
    storage: Storage,
    specs: Sequence[AssetSpec],
    model: str,
    instance: dg.DagsterInstance,
    cursor_text: str | None,
    now: float,
) -> dg.SensorResult:
    """Evaluate one tick: list the source, and request a run for every checkpoint that was not requested with its files.

    A tick without such a checkpoint searches for tables that are stale for a reason without an asset event: a
    checkpoint was left out, admitted or removed, or its branch moved.

    Args:
        study: study with the source of the checkpoints.
        storage: storage of the checkpoint timelines.
        specs: assets of the study.
        model: model of the checkpoints.
        instance: instance with the partitions and runs.
        cursor_text: cursor of the previous tick.
        now: seconds since 1970.
    """
    cursor = Cursor.from_json(cursor_text)
    if now < cursor.silent_until:
        return dg.SensorResult(skip_reason=dg.SkipReason(), cursor=cursor.to_json())
    try:
        pin_new_revisions(study, storage, [model], RETRY_SECONDS)
        timeline = refresh_timeline(study, storage, model)
        return _Tick(model, Plan(study, storage, specs), timeline, cursor, instance, now).result()
    except (EmergenceError, OSError) as error:
        return _unreadable(cursor, error, now)


def _unreadable(cursor: Cursor, error: Exception, now: float) -> dg.SensorResult:
    pause = pause_seconds(cursor.n_failures + 1)
    # One message at the first failure: a source that is unreachable for a night must not fill the log.
    message = f"{error} The next try is in {pause:.0f} s, later tries are rarer." if not cursor.n_failures else None
    waiting = cursor.model_copy(update={"n_failures": cursor.n_failures + 1, "silent_until": now + pause})
    return dg.SensorResult(skip_reason=dg.SkipReason(message), cursor=waiting.to_json())


@dataclass(frozen=True)
class _Tick:
    """State of one tick for one model."""

    model: str
    plan: Plan
    timeline: Timeline
    cursor: Cursor
    """Cursor of the previous tick."""
    instance: dg.DagsterInstance
    now: float

    def result(self) -> dg.SensorResult:
        """Return the requests for runs and partitions, and the cursor of the next tick."""
        known = frozenset(self.instance.get_dynamic_partitions(step_set_name(self.plan.study, self.model)))
        wanted = self._checkpoints(known)[:MOST_PER_TICK]
        overdue, settled = {}, "" if wanted else self._digest()
        if settled and settled != self.cursor.settled:
            # Visits all cells of the model, so only after a change of the timeline, and until all tables are done.
            overdue, all_done = self._overdue_tables()
            settled = settled if all_done else ""
        steps = {entry.step for entry in self.timeline.entries}
        requested = {step: request for step, request in self.cursor.requested.items() if step in steps}
        for entry in wanted:
            n_runs = requested[entry.step].n_runs + 1 if entry.step in requested else 1
            requested[entry.step] = RequestedRun(identity=entry.identity, n_runs=n_runs, asked=self.now)
        runs = [self._checkpoint_run(entry, requested[entry.step]) for entry in wanted]
        runs += self._table_runs(overdue)
        recovered = "The source can be read again." if self.cursor.n_failures else None
        return dg.SensorResult(
            run_requests=runs or None,
            skip_reason=None if runs else dg.SkipReason(recovered),
            dynamic_partitions_requests=self._partitions(known, wanted),
            cursor=Cursor(requested=requested, overdue=overdue, settled=settled).to_json(),
        )

    def _checkpoints(self, known: Collection[str]) -> list[TimelineEntry]:
        """Return the checkpoints that a run has to validate, by step.

        A checkpoint is requested when it is new, when its files changed, and when it is used after having been left
        out. It is requested again after growing pauses while no run has validated it.
        """
        study, to_validate = self.plan.study, []
        for entry in self.timeline.entries:
            if not entry.identity or not is_used(entry.status, unvalidated=True):
                continue
            key = step_key(entry.step)
            if key in known:
                if self.plan.state(self.plan.specs[CHECKPOINT.name], Cell(self.model, entry.step)).state in SETTLED:
                    continue
                before = self.cursor.requested.get(entry.step)
                if before and before.identity == entry.identity:
                    waiting = self.now < before.asked + pause_seconds(before.n_runs)
                    if waiting or self._is_under_way(asset_key(study, self.model, CHECKPOINT.name), key):
                        continue
            to_validate.append(entry)
        return to_validate

    def _overdue_tables(self) -> tuple[dict[str, Overdue], bool]:
        """Return the stale tables of the model whose inputs all exist, and whether no table is stale.

        No table is returned while a checkpoint is not validated, because its validation changes the tables once more.
        """
        if any(entry.identity and entry.status == "unjudged" for entry in self.timeline.entries):
            return {}, False
        cell, plan = Cell(self.model), self.plan
        late = [
            spec for spec in plan.specs.values() if spec.grid == "model" and plan.state(spec, cell).state not in SETTLED
        ]
        overdue = {}
        for spec in late:
            inputs = list(plan.input_cells(spec, cell))
            # Without a usable checkpoint only the registry has content.
            possible = bool(inputs) or not spec.needs_cells
            if possible and all(plan.state(*source).state == "done" for source in inputs):
                required, before = plan.required(spec, cell), self.cursor.overdue.get(spec.name)
                if required and before and before.fingerprint == required.fingerprint:
                    overdue[spec.name] = before
                elif required:
                    overdue[spec.name] = Overdue(fingerprint=required.fingerprint, since=self.now)
        return overdue, not late

    def _digest(self) -> str:
        """Return a hash of all facts of the checkpoint timeline that the tables of the model depend on."""
        facts = [
            (entry.step, entry.status, entry.reason, entry.identity, entry.upstream) for entry in self.timeline.entries
        ]
        return sha256(canonical_json(facts).encode()).hexdigest()[:32]

    def _checkpoint_run(self, entry: TimelineEntry, request: RequestedRun) -> dg.RunRequest:
        # When Dagster repeats a killed tick, the key is equal and the run is not launched twice.
        return dg.RunRequest(
            run_key=f"{self.model}/{step_key(entry.step)}/{entry.identity}/{request.n_runs}",
            asset_selection=[asset_key(self.plan.study, self.model, CHECKPOINT.name)],
            partition_key=step_key(entry.step),
        )

    def _table_runs(self, overdue: Mapping[str, Overdue]) -> list[dg.RunRequest]:
        """Return runs for the tables that asset events have not requested within the grace period."""
        keys = {name: asset_key(self.plan.study, self.model, name) for name in overdue}
        return [
            dg.RunRequest(run_key=f"{self.model}/{name}/{table.fingerprint}", asset_selection=[keys[name]])
            for name, table in overdue.items()
            if self.now >= table.since + GRACE_TICKS * self.plan.study.automation_seconds
            and not self._is_under_way(keys[name])
        ]

    def _is_under_way(self, key: dg.AssetKey, partition: str | None = None) -> bool:
        """Return whether a run of an asset is queued or in progress."""
        unfinished = [status for status in dg.DagsterRunStatus if status not in FINISHED]
        return any(
            key in (run.asset_selection or ()) and (partition is None or run.tags.get("dagster/partition") == partition)
            for run in self.instance.get_runs(dg.RunsFilter(statuses=unfinished))
        )

    def _partitions(
        self, known: Collection[str], wanted: Sequence[TimelineEntry]
    ) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
        """Add the partitions of requested checkpoints by step; delete partitions that are no longer on the timeline."""
        name = step_set_name(self.plan.study, self.model)
        new = [key for entry in wanted if (key := step_key(entry.step)) not in known]
        used = {step_key(entry.step) for entry in self.timeline.entries if is_used(entry.status, unvalidated=True)}
        gone = sorted(set(known) - used)
        return [
            *([dg.AddDynamicPartitionsRequest(name, new)] if new else []),
            *([dg.DeleteDynamicPartitionsRequest(name, gone)] if gone else []),
        ]


def arrival_sensors(study: Study, storage: Storage, specs: Sequence[AssetSpec]) -> list[dg.SensorDefinition]:
    """Make a sensor per model of an external family; a sensor with several models breaks the code location."""
    if study.family.trained_here:
        return []
    return [_sensor(study, storage, specs, model) for model in study.models]


def _sensor(study: Study, storage: Storage, specs: Sequence[AssetSpec], model: str) -> dg.SensorDefinition:
    tables = [spec.name for spec in specs if spec.grid == "model"]

    @dg.sensor(
        name=f"new_checkpoints__{dagster_name(model)}",
        target=dg.AssetSelection.assets(*(asset_key(study, model, name) for name in (CHECKPOINT.name, *tables))),
        minimum_interval_seconds=study.automation_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if study.automation else dg.DefaultSensorStatus.STOPPED,
        description=f"Requests the validation of new checkpoints of {model}; the partitions are the used checkpoints.",
    )
    def new_checkpoints(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return look_for_checkpoints(study, storage, specs, model, context.instance, context.cursor, time.time())

    return new_checkpoints
