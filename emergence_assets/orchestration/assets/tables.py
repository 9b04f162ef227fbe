"""Assets without partitions: one Dagster op makes all requested tables, each as soon as its inputs exist.

There is one op for all assets because every op costs Dagster half a second, and the workers would be idle between two
ops. Every table is still an asset of its own: it is selected, shown, checked and recorded separately.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from emergence_assets.checkpoints.spec import TRAINING_RUN
from emergence_assets.orchestration.assets.checks import as_written, check_specs, dagster_result, nothing_made
from emergence_assets.orchestration.assets.conditions import SENSOR_TAG, upkeep
from emergence_assets.orchestration.assets.events import Recorder
from emergence_assets.orchestration.assets.partitioned import RESOURCES, due_of, parent_keys
from emergence_assets.orchestration.assets.progress import listener_of, logged_report
from emergence_assets.orchestration.instance.dead_runs import tag_run_owner
from emergence_assets.orchestration.instance.partitions import asset_key, register_steps
from emergence_assets.plan.asset_spec import AssetSpec, Due
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.run_metadata import run_metadata
from emergence_assets.study.study import Study
from resources.compute.task import Task
from resources.errors import EmergenceError

Results = Iterator[dg.MaterializeResult | dg.AssetCheckResult]
Node = tuple[AssetSpec, Cell]
"""One table: its asset, and its cell, which is a model or the study."""


def build_tables(name: str, made: Sequence[AssetSpec], study: Study, specs: Sequence[AssetSpec]) -> dg.AssetsDefinition:
    """Make the Dagster assets of several specs without partitions, of all models, as one op.

    Args:
        name: name of the op.
        made: specs of the tables that the op makes.
        study: study of the assets.
        specs: all assets of the study.
    """
    nodes: dict[dg.AssetKey, Node] = {
        asset_key(study, model, spec.name): (spec, Cell(model)) for spec in made for model in spec.models(study)
    }
    parents = {key: parent_keys(study, specs, spec, cell.model) for key, (spec, cell) in nodes.items()}
    tables = dg.AssetSelection.assets(*nodes)

    @dg.multi_asset(
        name=f"{study.name.replace('-', '_').replace('.', '_')}__{name}",
        specs=[
            dg.AssetSpec(
                key,
                deps=parents[key],
                group_name=spec.stage,
                description=spec.description,
                kinds=set(spec.kinds),
                code_version=code_version(*spec.code),
                automation_condition=upkeep(tables) if parents[key] else None,
                skippable=True,
            )
            for key, (spec, _) in nodes.items()
        ],
        check_specs=[check for key, (spec, _) in nodes.items() for check in check_specs(spec, key)],
        can_subset=True,
        required_resource_keys=RESOURCES,
    )
    def op(context: dg.AssetExecutionContext) -> Results:
        tag_run_owner(context.instance, context.run)
        selected = {node: key for key, node in nodes.items() if key in context.selected_asset_keys}
        for spec, cell in selected:
            if spec.name == TRAINING_RUN.name:  # its checkpoints exist after this run
                register_steps(context.instance, study, str(cell.model), study.listed_steps or [])
        yield from _Tables(context, context.resources.plan, selected).make()

    return op


@dataclass
class _Tables:
    """One execution of the op that makes tables."""

    context: dg.AssetExecutionContext
    plan: Plan
    keys: Mapping[Node, dg.AssetKey]
    """Selected tables."""
    failed: set[Node] = field(default_factory=set)
    """Tables that were not made, or that failed a blocking check."""
    failure: EmergenceError | None = None
    """The first problem."""

    def make(self) -> Results:
        """Make the selected tables in waves: first tables whose inputs exist, then tables made from these.

        Raises:
            EmergenceError: the first problem, after all tables that do not depend on it.
        """
        waiting, prepared = list(self.keys), set[Node]()
        while waiting:
            left = set(waiting)
            ready = [node for node in waiting if not left.intersection(self.plan.input_cells(*node))]
            to_prepare = [node for node in ready if node[0].prepare and node not in prepared]
            # One asset does one thing per wave: its other models wait while the parts of a model are made.
            busy = {spec for spec, _ in to_prepare}
            wave = [node for node in ready if node[0] not in busy]
            yield from self._wave(wave, to_prepare)
            prepared |= set(to_prepare)
            waiting = [node for node in waiting if node not in wave and node not in self.failed]
        if self.failure:
            raise self.failure

    def _wave(self, ready: Sequence[Node], to_prepare: Sequence[Node]) -> Results:
        """Make independent tables; each asset is validated while the workers continue with other assets."""
        due: dict[AssetSpec, Due] = {}
        kept: dict[AssetSpec, list[Cell]] = {}
        for spec, cells in _by_spec(ready).items():
            required = yield from self._required(spec, cells)
            due[spec] = due_of(self.context, self.plan, spec, required)
            kept[spec] = [cell for cell, _ in required if cell not in {cell for cell, _ in due[spec]}]
        for spec, cells in _by_spec(to_prepare).items():
            required = yield from self._required(spec, cells)
            due[spec] = due_of(self.context, self.plan, spec, required)
        listener, run_id = listener_of(self.context), self.context.run.run_id
        tasks, cells_of = self._tasks(due, set(to_prepare))
        left = {spec: {cell for cell, _ in cells} for spec, cells in due.items() if spec in kept}
        for spec, cells in left.items():
            if cells:
                listener.changed("began", run_id, spec, list(cells))
            elif kept[spec]:
                yield from self._finished(spec, [], kept[spec])
        try:
            for task, _ in self.context.resources.compute.run(tasks, logged_report(self.context)):
                spec, cells = cells_of[task.label]
                if spec not in left:
                    continue
                left[spec] -= set(cells)
                if not left[spec]:
                    listener.changed("ended", run_id, spec, [cell for cell, _ in due[spec]])
                    yield from self._finished(spec, [cell for cell, _ in due[spec]], kept[spec])
        except EmergenceError as error:
            self.failure = self.failure or error
            yield from self._after_failure(due, left, kept, set(to_prepare))
        finally:
            self.plan.forget_states()

    def _required(self, spec: AssetSpec, cells: Sequence[Cell]) -> Iterator[dg.AssetCheckResult]:  # type: ignore[misc]
        """Return what cells must be made from. A missing input is an error, except in a run that a sensor requested."""
        required = []
        for cell in cells:
            if cell not in self.plan.cells(spec):
                why = f"{cell} has no checkpoint yet: {spec.name} is not made, and tables of the study are without it"
                self.context.log.warning(why)
                yield from nothing_made(spec, self.keys[spec, cell], why)
                continue
            broken = [one for one in self.plan.input_cells(spec, cell) if one in self.failed]
            try:
                if broken:
                    self.failed.add((spec, cell))
                    continue
                required.append((cell, self.plan.demand_inputs(spec, cell)))
            except EmergenceError as error:
                self.failed.add((spec, cell))
                if SENSOR_TAG not in self.context.run.tags:
                    self.failure = self.failure or error
                    continue
                # The request came too early. The table becomes due again after its missing input was made.
                self.context.log.info(f"Nothing is made yet: {error}")
                yield from nothing_made(spec, self.keys[spec, cell], str(error))
        return required

    def _tasks(
        self, due: Mapping[AssetSpec, Due], to_prepare: set[Node]
    ) -> tuple[list[Task], dict[str, tuple[AssetSpec, Sequence[Cell]]]]:
        metadata = run_metadata(self.context.run.run_id, self.plan.study)
        tasks, cells_of = [], {}
        for spec, wanted in due.items():
            parts = spec.prepare if any((spec, cell) in to_prepare for cell, _ in wanted) else None
            function, jobs = (parts.make, parts.jobs) if parts else (spec.make, spec.jobs)
            for job in jobs(self.plan, wanted):
                tasks.append(Task(function, job.arguments, job.label, bool(parts) or spec.on_accelerator, metadata))
                cells_of[job.label] = (spec, job.cells)
        return tasks, cells_of

    def _finished(self, spec: AssetSpec, made: Sequence[Cell], kept: Sequence[Cell]) -> Results:
        """Validate tables and yield their materialisations."""
        cells = [*made, *kept]
        results = self.plan.judge(spec, cells)
        for cell in cells:
            key = self.keys[spec, cell]
            if any(result.finding.check.blocking and not result.passes(cell) for result in results):
                self.failed.add((spec, cell))
            checks = [dagster_result(result, key, cell) for result in results]
            checks.append(as_written(spec, self.plan, [cell] if cell in kept else [], key))
            yield Recorder(self.context, self.plan, spec, key).result(cell, checks)

    def _after_failure(
        self,
        due: Mapping[AssetSpec, Due],
        left: Mapping[AssetSpec, set[Cell]],
        kept: Mapping[AssetSpec, Sequence[Cell]],
        to_prepare: set[Node],
    ) -> Results:
        """Record the tables that the workers did not make, and yield the finished tables of the same assets."""
        listener, run_id = listener_of(self.context), self.context.run.run_id
        for spec, missing in left.items():
            if missing:
                self.failed |= {(spec, cell) for cell in missing}
                made = [cell for cell, _ in due[spec] if cell not in missing]
                listener.changed("failed", run_id, spec, list(missing))
                if made or kept[spec]:
                    yield from self._finished(spec, made, kept[spec])
        # Written parts stay; the next run makes the table from them.
        self.failed |= to_prepare


def _by_spec(nodes: Sequence[Node]) -> dict[AssetSpec, list[Cell]]:
    grouped: dict[AssetSpec, list[Cell]] = {}
    for spec, cell in nodes:
        grouped.setdefault(spec, []).append(cell)
    return grouped
