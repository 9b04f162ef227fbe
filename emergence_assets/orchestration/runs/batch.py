"""One Dagster run in this process over a rectangle of cells or over several tables, and what came of it."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dagster as dg

from emergence_assets.orchestration.assets.conditions import RECOMPUTE_TAG
from emergence_assets.orchestration.assets.unpartitioned import op_name
from emergence_assets.orchestration.instance.home import OWNER_TAG, owner
from emergence_assets.orchestration.instance.partitions import asset_key, partition_key, range_tags
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import Listener
from emergence_assets.study.study import Study
from resources.errors import EmergenceError

MAX_RETRIES_TAG = "dagster/max_retries"
"""Nobody but this process could start its runs again."""
FAILED_CHECK = "DagsterAssetCheckFailedError"
"""Class of the error after a blocking check; Dagster does not export it."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Outcome:
    """What a run of the study did."""

    made: dict[str, int] = field(default_factory=dict)
    """Cells made, by asset."""
    recorded: int = 0
    """Cells that were on disk and got the event they lacked."""
    warnings: list[str] = field(default_factory=list)
    """Checks that do not block and did not pass."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by asset."""
    left_out: list[str] = field(default_factory=list)
    """Checkpoints that are not used, with the reason, and admitted ones."""


@dataclass(frozen=True)
class Batch:
    """What one Dagster run makes: cells of one asset, or whole assets without partitions that follow each other."""

    parts: tuple[tuple[AssetSpec, tuple[Cell, ...]], ...]
    model: str | None = None
    """The only model that it is about."""

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [cell for _, cells in self.parts for cell in cells]

    def part_of_step(self, study: Study, step_key: str) -> tuple[AssetSpec, tuple[Cell, ...]]:
        """The asset that a step of the run makes, with its cells."""
        named = {op_name(study, spec): (spec, cells) for spec, cells in self.parts}
        return named.get(step_key, self.parts[0])


Follow = Callable[[Batch, dg.EventLogEntry], None]
"""Is told every Dagster event of a batch; must return at once."""


def run_batch(
    study: Study,
    definitions: dg.Definitions,
    batch: Batch,
    instance: dg.DagsterInstance,
    outcome: Outcome,
    listener: Listener,
    force: bool,
    follow: Follow | None = None,
) -> None:
    """Materialise a batch in one Dagster run in this process.

    Raises:
        EmergenceError: a cell could not be made, or a blocking check did not pass. What is finished stays.
    """
    run_id = str(uuid.uuid4())
    cells = batch.cells
    instance.add_event_listener(run_id, _follower(study, batch, outcome, listener, follow))
    tags = {OWNER_TAG: owner(run_id), MAX_RETRIES_TAG: "0"} | ({RECOMPUTE_TAG: "true"} if force else {})
    partition = None
    if cells[0].step is not None:
        if len(cells) == 1:
            partition = partition_key(cells[0])
        else:
            tags |= range_tags(cells)
    try:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=sorted(
                {asset_key(study, cell.model, spec.name) for spec, part in batch.parts for cell in part}
            ),
            partition_key=partition,
            tags=tags,
            run_config=QUIET,
            run_id=run_id,
        )
    except dg.DagsterExecutionInterruptedError as interruption:
        raise KeyboardInterrupt from interruption  # Dagster's own word for Ctrl-C
    except dg.DagsterError as error:
        if type(error).__name__ != FAILED_CHECK:
            raise
        raise EmergenceError(
            str(error).replace("\n", " "),
            where=_named(cells),
            remedy="look at the check in the UI; results built on these cells would be nonsense",
        ) from error
    for evaluation in result.get_asset_check_evaluations():
        if evaluation.passed or (evaluation.partition is not None and len(cells) > 1):
            continue
        found = evaluation.metadata.get("found")
        asset = evaluation.asset_key.path[-1]
        message = f"{evaluation.check_name} of {asset} did not pass: {found.value if found else ''}"
        if evaluation.severity == dg.AssetCheckSeverity.WARN:
            outcome.warnings.append(message)
            continue
        raise EmergenceError(
            message,
            where=_named([cell for spec, part in batch.parts if spec.name == asset for cell in part]),
            remedy=f"look at run {result.run_id} in the UI; results built on these cells would be nonsense",
        )


def _named(cells: Sequence[Cell]) -> str:
    return ", ".join(str(cell) for cell in cells[:3]) + (" …" if len(cells) > 3 else "")


def _follower(
    study: Study, batch: Batch, outcome: Outcome, listener: Listener, follow: Follow | None
) -> Callable[[dg.EventLogEntry], None]:
    """Tells the listener which asset of the batch begins and which is finished."""
    began: dict[str, float] = {}

    def tell(entry: dg.EventLogEntry) -> None:
        if follow:
            follow(batch, entry)
        event = entry.dagster_event
        if event is None or event.step_key is None:
            return
        spec, cells = batch.part_of_step(study, event.step_key)
        if event.event_type == dg.DagsterEventType.STEP_START:
            began[spec.name] = time.monotonic()
            listener.began(spec, batch.model, len(cells))
        elif event.event_type == dg.DagsterEventType.STEP_SUCCESS and spec.name in began:
            outcome.seconds[spec.name] = outcome.seconds.get(spec.name, 0.0) + time.monotonic() - began[spec.name]
            listener.ended(spec, batch.model, len(cells))

    return tell
