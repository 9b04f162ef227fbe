"""The body that all assets share: ask the plan, hand the work out, record one event per finished cell, check.

Stages say what a cell is (`Rule`) and how it is made (`tasks`); this module knows neither tensors nor tables.
"""

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from emergence_assets.automation import RECOMPUTE_TAG, SENSOR_TAG, upkeep
from emergence_assets.errors import EmergenceError
from emergence_assets.instance import claim_run
from emergence_assets.partitions import asset_key, cell_of, group_name, partition_key, partitions, remove_steps
from emergence_assets.plan import Cell, Plan, Rule, stored_provenance
from emergence_assets.provenance import Provenance, Required, code_version
from emergence_assets.study import Study
from emergence_assets.time_axis import TimeAxis
from resources.compute import Compute, Task
from resources.expectations import Check, Finding, validate
from resources.storage import Storage

LOG_EVERY_SECONDS = 15.0

Tasks = Callable[[Plan, Sequence[tuple[Cell, Required]]], Sequence[tuple[Task, Sequence[Cell]]]]
"""Tasks that make the given cells, each with the cells that it makes."""


@dataclass(frozen=True)
class Intake:
    """What comes before an asset's cells are known: things from outside are looked at, and some are turned away."""

    refresh: Callable[[Study, Storage, str], TimeAxis]
    """List and judge what there is of a model."""
    tasks: Callable[[Study, Storage, Sequence[Cell]], Sequence[Task]]
    """Tasks that look at what nobody looked at yet."""


@dataclass(frozen=True)
class CellAsset:
    """What a stage says of one of its assets."""

    rule: Rule
    tasks: Tasks
    checks: tuple[Check, ...]
    """Claims about the frame of summaries, one row per cell."""
    description: str
    kinds: frozenset[str]
    pool: str | None = None
    backfill_policy: dg.BackfillPolicy | None = None
    frame: Callable[[Plan, Sequence[Cell]], pl.DataFrame] | None = None
    """Frame that the checks look at, where it is more than the summaries; one row per cell, or a table."""
    picture: Callable[[Plan, Cell], bytes | None] | None = None
    """A PNG that is shown with a cell."""
    intake: Intake | None = None
    then: Tasks | None = None
    """Tasks that put together what `tasks` made: those write parts, these the cells."""


def build_asset(declared: CellAsset, study: Study, rules: Sequence[Rule], model: str | None) -> dg.AssetsDefinition:
    """The Dagster asset of one model (or of the whole study) for a declared asset."""
    rule = declared.rule
    key = asset_key(study, model, rule.name)
    grid = partitions(study, model, rule.grid) if model else None
    shape = Plan(study, Storage(Path(), study.name), rules)  # which assets feed which; nothing is read
    parents = {asset_key(study, name, source.name) for source, name in shape.sources(rule, model)}

    @dg.asset(
        key=key,
        deps=sorted(parents),
        partitions_def=grid,
        group_name=group_name(model or "all_models"),
        description=declared.description,
        kinds=set(declared.kinds),
        code_version=code_version(*rule.code),
        pool=declared.pool,
        backfill_policy=declared.backfill_policy if grid else None,
        # What comes from outside is delivered by its sensor; all else follows from what it is made from.
        automation_condition=upkeep(rests=rule.grid == "study") if parents else None,
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                check.name, asset=key, description=check.description, blocking=check.blocking, partitions_def=grid
            )
            for check in declared.checks
        ],
        required_resource_keys={"storage", "compute"},
        op_tags={"stage": rule.stage},
    )
    def cells(context: dg.AssetExecutionContext) -> Iterator[Any]:
        selected = [cell_of(model, name) for name in context.partition_keys] if grid and model else [Cell(model)]
        yield from materialise(context, declared, study, rules, key, selected)

    return cells


def materialise(
    context: dg.AssetExecutionContext,
    declared: CellAsset,
    study: Study,
    rules: Sequence[Rule],
    key: dg.AssetKey,
    cells: Sequence[Cell],
) -> Iterator[Any]:
    """Make what is due of the selected cells, record an event for each, and yield check results.

    Raises:
        EmergenceError: an input is missing, or a cell could not be made; the finished ones stay recorded.
    """
    claim_run(context.instance, context.run)
    rule = declared.rule
    if declared.intake:
        left_out = _take_in(context, declared.intake, study, cells)
        cells = [cell for cell in cells if cell not in left_out]
        if not cells:
            yield from _nothing_made(declared, key, "\n".join(left_out.values()))
            return
    plan = Plan(study, context.resources.storage, rules)
    force = context.run.tags.get(RECOMPUTE_TAG) == "true"
    try:
        required = [(cell, plan.demand_inputs(rule, cell, together=set(cells))) for cell in cells]
    except EmergenceError as error:
        if SENSOR_TAG not in context.run.tags or cells[0].step is not None:
            raise
        # A table that was asked for early. It becomes due anew when the input that it waits for was made.
        context.log.info(f"Nothing is made yet: {error}")
        yield from _nothing_made(declared, key, str(error))
        return
    due = [(cell, want) for cell, want in required if force or plan.state(rule, cell).state != "done"]
    due_cells = {cell for cell, _ in due}
    recorder = _Recorder(context, plan, declared, key)
    single = len(cells) == 1
    kept = [cell for cell in cells if cell not in due_cells]
    if kept:
        context.log.info(f"{len(kept)} of {len(cells)} cells are up to date and are not computed again")
    if not single:
        for cell in kept:
            recorder.record(cell)
    work = declared.tasks(plan, due)
    made_by = {task.label: made for task, made in work}
    compute: Compute = context.resources.compute
    done = 0
    for task, _ in compute.run([task for task, _ in work], _logger(context)):
        for cell in made_by[task.label]:
            done += 1
            if not single:
                recorder.record(cell)
        context.log.debug(f"{task.label} finished, {done} of {len(due)} cells")
    for _ in compute.run([task for task, _ in declared.then(plan, due)], _logger(context)) if declared.then else ():
        pass
    results = _check(declared, plan, cells)
    if single:
        yield dg.MaterializeResult(
            asset_key=key,
            metadata=recorder.metadata(cells[0]),
            data_version=dg.DataVersion(recorder.provenance(cells[0]).fingerprint),
            check_results=[_check_result(result.finding, key) for result in results],
        )
        return
    for result in results:
        for cell in cells:
            # Works for check evaluations, with their partition, although the annotation does not say so; a run-less
            # event does not: its key lacks the run, so that a second check of the same partition is refused.
            context.log_event(
                dg.AssetCheckEvaluation(  # pyright: ignore[reportArgumentType]
                    asset_key=key,
                    check_name=result.finding.check.name,
                    passed=not _concerns(result, cell),
                    metadata={},
                    severity=_severity(result.finding),
                    partition=partition_key(cell),
                )
            )
        yield _check_result(result.finding, key)


def _take_in(context: dg.AssetExecutionContext, intake: Intake, study: Study, cells: Sequence[Cell]) -> dict[Cell, str]:
    """Look at what the cells are made of; those that may not be used lose their partition.

    Returns:
        Those of the cells, with the reason.
    """
    storage, models = context.resources.storage, dict.fromkeys(str(cell.model) for cell in cells)
    for model in models:
        intake.refresh(study, storage, model)
    for _ in context.resources.compute.run(intake.tasks(study, storage, cells), _logger(context)):
        pass
    axes = {model: intake.refresh(study, storage, model) for model in models}
    for model, axis in axes.items():
        for entry in axis.left_out:
            context.log.warning(f"{model} step {entry.step} is left out ({entry.status}): {entry.reason}")
        remove_steps(context.instance, study, model, [entry.step for entry in axis.left_out])
    left_out = {}
    for cell in cells:
        axis = axes[str(cell.model)]
        if cell.step not in axis.steps():
            entry = axis.entry(int(cell.step or 0))
            left_out[cell] = f"{cell} {f'is {entry.status}: {entry.reason}' if entry else 'is gone from its source'}"
    return left_out


def _nothing_made(declared: CellAsset, key: dg.AssetKey, why: str) -> Iterator[dg.AssetCheckResult]:
    """Results for a run that makes nothing: its checks did not pass, and say why; they block nobody."""
    for check in declared.checks:
        severity = dg.AssetCheckSeverity.WARN
        yield dg.AssetCheckResult(
            asset_key=key, check_name=check.name, passed=False, severity=severity, metadata={"found": why}
        )


def materialise_models(
    context: dg.AssetExecutionContext,
    declared: CellAsset,
    study: Study,
    rules: Sequence[Rule],
    models: Mapping[dg.AssetKey, str],
) -> Iterator[dg.MaterializeResult]:
    """Like `materialise` for assets without partitions, of several models side by side in one run."""
    claim_run(context.instance, context.run)
    rule = declared.rule
    plan = Plan(study, context.resources.storage, rules)
    cells = {Cell(model): key for key, model in models.items()}
    force = context.run.tags.get(RECOMPUTE_TAG) == "true"
    due = [(cell, plan.demand_inputs(rule, cell)) for cell in cells if force or plan.state(rule, cell).state != "done"]
    for _ in context.resources.compute.run([task for task, _ in declared.tasks(plan, due)], _logger(context)):
        pass
    for cell, key in cells.items():
        recorder = _Recorder(context, plan, declared, key)
        yield dg.MaterializeResult(
            asset_key=key,
            metadata=recorder.metadata(cell),
            data_version=dg.DataVersion(recorder.provenance(cell).fingerprint),
            check_results=[_check_result(result.finding, key) for result in _check(declared, plan, [cell])],
        )


class _Recorder:
    """Writes materialisation events with data versions and pointers to the events of their inputs."""

    def __init__(self, context: dg.AssetExecutionContext, plan: Plan, declared: CellAsset, key: dg.AssetKey):
        self.context, self.plan, self.rule, self.key = context, plan, declared.rule, key
        self.draw = declared.picture

    def provenance(self, cell: Cell) -> Provenance:
        path = self.rule.path(self.plan.storage, cell)
        stored = stored_provenance(self.rule, path)
        if stored is None:
            raise EmergenceError(f"{self.rule.name} of {cell} was made and is gone.", where=path, remedy="run again")
        return stored

    def metadata(self, cell: Cell) -> dict[str, Any]:
        stored = self.provenance(cell)
        path = self.rule.path(self.plan.storage, cell)
        shown: dict[str, Any] = dict(stored.summary)
        shown |= {"path": dg.MetadataValue.path(str(path)), "fingerprint": stored.fingerprint}
        shown |= {f"environment/{name}": value for name, value in stored.environment.items()}
        for chart in sorted(path.glob("*.png")) if path.is_dir() else []:
            shown[chart.stem] = picture(chart.stem, chart.read_bytes())
        if self.draw and (drawn := self.draw(self.plan, cell)):
            shown["picture"] = picture(self.rule.name, drawn)
        return shown

    def record(self, cell: Cell) -> None:
        tags = {
            "dagster/data_version": self.provenance(cell).fingerprint,
            "dagster/code_version": code_version(*self.rule.code),
        }
        for source, source_cell in self.plan.input_cells(self.rule, cell):
            tags |= self._input_tags(source, source_cell)
        self.context.log_event(
            dg.AssetMaterialization(self.key, metadata=self.metadata(cell), partition=partition_key(cell), tags=tags)
        )

    def _input_tags(self, source: Rule, cell: Cell) -> dict[str, str]:
        key = asset_key(self.plan.study, cell.model, source.name)
        partition = partition_key(cell) if cell.step is not None else None
        event = self.context.instance.get_latest_data_version_record(key, partition_key=partition)
        if event is None or event.asset_materialization is None:
            return {}
        version = (event.asset_materialization.tags or {}).get("dagster/data_version", "")
        name = key.to_user_string()
        return {
            f"dagster/input_data_version/{name}": sha256(version.encode()).hexdigest(),
            f"dagster/input_event_pointer/{name}": str(event.storage_id),
        }


def picture(title: str, png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG inside the event itself, so that the UI shows it without a file server."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")


class _Result(NamedTuple):
    finding: Finding
    cells: frozenset[str]
    """Cells that it is about; empty when it is about the frame as a whole."""


def _check(declared: CellAsset, plan: Plan, cells: Sequence[Cell]) -> list[_Result]:
    frame = declared.frame(plan, cells) if declared.frame else summaries(declared.rule, plan, cells)
    names = frame["cell"].to_list() if "cell" in frame.columns else []
    return [
        _Result(finding, frozenset(names[row] for row in finding.failed_rows) if names else frozenset())
        for finding in validate(frame, declared.checks)
    ]


def _concerns(result: _Result, cell: Cell) -> bool:
    """Whether a check that did not pass is about this cell."""
    return not result.finding.passed and (not result.cells or str(cell) in result.cells)


def summaries(rule: Rule, plan: Plan, cells: Sequence[Cell]) -> pl.DataFrame:
    """Frame with a row per cell: its key and the numbers of its summary."""
    rows = []
    for cell in cells:
        stored = stored_provenance(rule, rule.path(plan.storage, cell))
        rows.append({"cell": str(cell), **(dict(stored.summary) if stored else {})})
    return pl.DataFrame(rows, infer_schema_length=None)


def _severity(finding: Finding) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if finding.check.blocking else dg.AssetCheckSeverity.WARN


def _check_result(finding: Finding, key: dg.AssetKey) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=finding.check.name,
        passed=finding.passed,
        severity=_severity(finding),
        metadata={"found": "\n".join(finding.details)} if finding.details else {},
    )


def _logger(context: dg.AssetExecutionContext) -> Callable[[str, int, int, str], None]:
    last = time.monotonic()

    def report(label: str, done: int, total: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_EVERY_SECONDS:
            last = time.monotonic()
            context.log.info(f"{label}: {done} of {total} {note}")

    return report
