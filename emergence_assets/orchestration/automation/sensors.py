"""Sensors that find new checkpoints and request runs for them, one per model. Off until they are switched on."""

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import dagster as dg

from emergence_assets.checkpoints.listing import pin_new_revisions, refresh_timeline
from emergence_assets.checkpoints.spec import CHECKPOINT
from emergence_assets.orchestration.automation.cursor import Cursor, Overdue, RequestedRun, pause_seconds
from emergence_assets.orchestration.instance.partitions import asset_key, dagster_name, step_set_name
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell, step_key
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import Timeline, TimelineEntry, is_used
from emergence_assets.study.family import TrainedHere
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.provenance import canonical_json
from resources.files.storage import Storage

MOST_PER_TICK = 10
"""Checkpoints that one tick hands over; a family of 154 steps is worked off in 16 ticks."""
GRACE_LOOKS = 4
"""So many looks a table that is out of date waits for what follows from events by itself."""
PATIENCE_SECONDS = 15.0
"""So long a tick waits for a hub that does not answer: Dagster ends it after 60 s."""


class Observation(NamedTuple):
    """What one look at a source found."""

    axis: Timeline
    plan: Plan
    known: frozenset[str]
    """Partition keys of the model's steps."""


def look_for_checkpoints(
    study: Study,
    storage: Storage,
    specs: Sequence[AssetSpec],
    model: str,
    instance: dg.DagsterInstance,
    cursor_text: str | None,
    now: float,
) -> dg.SensorResult:
    """One tick: list the source, and ask for a run for every checkpoint that was not handed over in this form yet.

    A tick that has nothing to hand over looks whether tables are out of date for a reason that no asset event tells
    of: a checkpoint was left out, admitted or taken away, or its branch moved.

    Args:
        study: whose source.
        storage: where its checkpoint timelines lie.
        specs: assets of the study.
        model: whose checkpoints.
        instance: has partitions and runs.
        cursor_text: of the tick before.
        now: seconds since 1970.
    """
    cursor = Cursor.from_json(cursor_text)
    if now < cursor.silent_until:
        return dg.SensorResult(skip_reason=dg.SkipReason(), cursor=cursor.to_json())
    try:
        pin_new_revisions(study, storage, [model], PATIENCE_SECONDS)
        axis = refresh_timeline(study, storage, model)
        known = frozenset(instance.get_dynamic_partitions(step_set_name(study, model)))
        sight = Observation(axis, Plan(study, storage, specs), known)
        handed = _to_request(study, model, sight, cursor, instance, now)[:MOST_PER_TICK]
        overdue, settled = {}, _digest(axis)
        if handed:
            settled = ""
        elif settled != cursor.settled:
            # Walks over all cells of the model, so only after the checkpoint timeline changed and until all followed.
            late, all_done = _overdue_tables(model, sight, specs)
            overdue = {name: _since(cursor, name, fingerprint, now) for name, fingerprint in late.items()}
            settled = settled if all_done else ""
    except (EmergenceError, OSError) as error:
        return _unreadable(cursor, error, now)
    on_axis = [entry.step for entry in axis.entries]
    deliveries = {step: found for step, found in cursor.deliveries.items() if step in on_axis}
    deliveries |= {entry.step: _requested_run(cursor, entry, now) for entry in handed}
    next_cursor = Cursor(deliveries=deliveries, overdue=overdue, settled=settled)
    requests = [_checkpoint_request(study, model, entry, deliveries[entry.step]) for entry in handed]
    requests += _table_requests(study, model, overdue, instance, now)
    came_back = "The source can be read again." if cursor.n_failures else None
    return dg.SensorResult(
        run_requests=requests or None,
        skip_reason=None if requests else dg.SkipReason(came_back),
        dynamic_partitions_requests=_partition_requests(study, model, sight, handed),
        cursor=next_cursor.to_json(),
    )


def _unreadable(cursor: Cursor, error: Exception, now: float) -> dg.SensorResult:
    pause = pause_seconds(cursor.n_failures + 1)
    # One message when it begins; a source that is away for a night fills no log.
    said = f"{error} It is asked again in {pause:.0f} s, then less and less often." if not cursor.n_failures else None
    waiting = cursor.model_copy(update={"n_failures": cursor.n_failures + 1, "silent_until": now + pause})
    return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=waiting.to_json())


def _to_request(
    study: Study, model: str, sight: Observation, cursor: Cursor, instance: dg.DagsterInstance, now: float
) -> list[TimelineEntry]:
    """Checkpoints that a run has to look at, by step. What was turned away was looked at; with other files it is new.

    A checkpoint is asked for when it is seen first or its files changed, when it is used although it was left out
    before, and again after growing pauses while its run did not come to an end that says what it is.
    """
    found = []
    for entry in sight.axis.entries:
        if not entry.identity or not is_used(entry.status, unjudged=True):
            continue
        cell, known = Cell(model, entry.step), step_key(entry.step) in sight.known
        if known and sight.plan.state(sight.plan.specs[CHECKPOINT.name], cell).state == "done":
            continue
        delivery = cursor.deliveries.get(entry.step)
        if delivery and known and delivery.identity == entry.identity:
            waiting = now < delivery.asked + pause_seconds(delivery.n_runs)
            if waiting or _is_under_way(instance, asset_key(study, model, CHECKPOINT.name), step_key(entry.step)):
                continue
        found.append(entry)
    return found


def _overdue_tables(model: str, sight: Observation, specs: Sequence[AssetSpec]) -> tuple[dict[str, str], bool]:
    """Tables of the model that are out of date although everything that they are made from is there.

    None while a checkpoint waits to be looked at: it changes them once more.

    Returns:
        Name to the fingerprint that the table should have, and whether all tables are up to date.
    """
    if any(entry.identity and entry.status == "unjudged" for entry in sight.axis.entries):
        return {}, False
    cell, plan = Cell(model), sight.plan
    late = [spec for spec in specs if spec.grid == "model" and plan.state(spec, cell).state != "done"]
    overdue = {}
    for spec in late:
        inputs = list(plan.input_cells(spec, cell))
        # Without a checkpoint that can be used there is nothing to tell but in the registry.
        possible = bool(inputs) or not spec.needs_cells
        if possible and all(plan.state(*source).state == "done" for source in inputs):
            wanted = plan.required(spec, cell)
            overdue |= {spec.name: wanted.fingerprint} if wanted else {}
    return overdue, not late


def _digest(axis: Timeline) -> str:
    """Changes whenever the tables of a model do for a reason that lies in its checkpoint timeline."""
    said = [(entry.step, entry.status, entry.reason, entry.identity, entry.upstream) for entry in axis.entries]
    return sha256(canonical_json(said).encode()).hexdigest()[:32]


def _since(cursor: Cursor, name: str, fingerprint: str, now: float) -> Overdue:
    known = cursor.overdue.get(name)
    return known if known and known.fingerprint == fingerprint else Overdue(fingerprint=fingerprint, since=now)


def _table_requests(
    study: Study, model: str, overdue: Mapping[str, Overdue], instance: dg.DagsterInstance, now: float
) -> list[dg.RunRequest]:
    """Runs for tables that nothing else has asked for in the time that it takes."""
    return [
        dg.RunRequest(run_key=f"{model}/{name}/{found.fingerprint}", asset_selection=[asset_key(study, model, name)])
        for name, found in overdue.items()
        if now >= found.since + GRACE_LOOKS * study.automation_seconds
        and not _is_under_way(instance, asset_key(study, model, name))
    ]


def _is_under_way(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None = None) -> bool:
    """Whether a run that makes an asset waits or works."""
    unfinished = [status for status in dg.DagsterRunStatus if status not in _FINISHED]
    return any(
        key in (run.asset_selection or ()) and (partition is None or run.tags.get("dagster/partition") == partition)
        for run in instance.get_runs(dg.RunsFilter(statuses=unfinished))
    )


_FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def _requested_run(cursor: Cursor, entry: TimelineEntry, now: float) -> RequestedRun:
    before = cursor.deliveries.get(entry.step)
    return RequestedRun(identity=entry.identity, n_runs=1 + (before.n_runs if before else 0), asked=now)


def _checkpoint_request(study: Study, model: str, entry: TimelineEntry, delivery: RequestedRun) -> dg.RunRequest:
    # The key is the same when Dagster repeats a tick that was killed: the run is then not launched twice.
    return dg.RunRequest(
        run_key=f"{model}/{step_key(entry.step)}/{entry.identity}/{delivery.n_runs}",
        asset_selection=[asset_key(study, model, CHECKPOINT.name)],
        partition_key=step_key(entry.step),
    )


def _partition_requests(
    study: Study, model: str, sight: Observation, handed: Sequence[TimelineEntry]
) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    """Add partitions for requested checkpoints, in order of steps; delete those that left the checkpoint timeline."""
    name = step_set_name(study, model)
    new = [key for entry in handed if (key := step_key(entry.step)) not in sight.known]
    used = {step_key(entry.step) for entry in sight.axis.entries if is_used(entry.status, unjudged=True)}
    gone = sorted(sight.known - used)
    return [
        *([dg.AddDynamicPartitionsRequest(name, new)] if new else []),
        *([dg.DeleteDynamicPartitionsRequest(name, gone)] if gone else []),
    ]


def arrival_sensors(study: Study, storage: Storage, specs: Sequence[AssetSpec]) -> list[dg.SensorDefinition]:
    """A sensor per model of a family from outside; one that targets several models breaks the code location."""
    if isinstance(study.family, TrainedHere):
        return []
    return [_sensor(study, storage, specs, model) for model in study.models]


def _sensor(study: Study, storage: Storage, specs: Sequence[AssetSpec], model: str) -> dg.SensorDefinition:
    tables = [spec.name for spec in specs if spec.grid == "model"]

    @dg.sensor(
        name=f"new_checkpoints__{dagster_name(model)}",
        target=dg.AssetSelection.assets(*(asset_key(study, model, name) for name in (CHECKPOINT.name, *tables))),
        minimum_interval_seconds=study.automation_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if study.automation else dg.DefaultSensorStatus.STOPPED,
        description=f"Has new checkpoints of {model} looked at, and keeps its partitions those that are used.",
    )
    def new_checkpoints(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return look_for_checkpoints(study, storage, specs, model, context.instance, context.cursor, time.time())

    return new_checkpoints
