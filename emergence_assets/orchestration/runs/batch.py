"""One Dagster run in this process over cells of one asset or over several tables."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg

from emergence_assets.orchestration.assets.conditions import RECOMPUTE_TAG
from emergence_assets.orchestration.instance.home import OWNER_TAG, owner
from emergence_assets.orchestration.instance.partitions import asset_key, partition_key, range_tags
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
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
    left_out: list[str] = field(default_factory=list)
    """Checkpoints that are not used, with the reason, and admitted ones."""


@dataclass(frozen=True)
class Batch:
    """What one Dagster run makes: cells of one asset, or tables that follow from each other."""

    parts: tuple[tuple[AssetSpec, tuple[Cell, ...]], ...]

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [cell for _, cells in self.parts for cell in cells]


def run_batch(
    study: Study,
    definitions: dg.Definitions,
    batch: Batch,
    instance: dg.DagsterInstance,
    outcome: Outcome,
    force: bool,
) -> None:
    """Materialise a batch in one Dagster run in this process.

    Args:
        study: what is under study.
        definitions: of the study.
        batch: what to make.
        instance: that keeps the events.
        outcome: receives the warnings of checks.
        force: make the cells even if they are up to date.

    Raises:
        EmergenceError: a cell could not be made, or a blocking check did not pass. What is finished stays.
    """
    run_id = str(uuid.uuid4())
    cells = batch.cells
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
