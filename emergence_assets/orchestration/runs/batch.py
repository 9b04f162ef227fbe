"""One Dagster run in this process, over cells of one asset or over several tables."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg

from emergence_assets.orchestration.assets.conditions import RECOMPUTE_TAG
from emergence_assets.orchestration.instance.dead_runs import OWNER_TAG, owner
from emergence_assets.orchestration.instance.partitions import asset_key, partition_key, range_tags
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.study.study import Study
from resources.errors import EmergenceError

MAX_RETRIES_TAG = "dagster/max_retries"
"""Run tag; the runs of this process are not retried, because only this process can execute them."""
FAILED_CHECK = "DagsterAssetCheckFailedError"
"""Class name of the error after a failed blocking check; Dagster does not export the class."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class FailedCheck(EmergenceError):
    """A blocking check did not pass."""


@dataclass
class Outcome:
    """Result of a run of the study."""

    made: dict[str, int] = field(default_factory=dict)
    """Number of cells made, by asset."""
    recorded: int = 0
    """Number of finished cells whose missing event was recorded."""
    warnings: list[str] = field(default_factory=list)
    """Failed checks that do not block."""
    left_out: list[str] = field(default_factory=list)
    """Checkpoints that are not used, and admitted checkpoints, each with its reason."""


Batch = Sequence[tuple[AssetSpec, Sequence[Cell]]]
"""Cells of one Dagster run: cells of one asset, or tables that follow from each other."""


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
        study: study of the cells.
        definitions: Dagster definitions of the study.
        batch: cells to make.
        instance: instance that keeps the events.
        outcome: receives the warnings of checks.
        force: make the cells even if they are up to date.

    Raises:
        EmergenceError: a cell could not be made. Finished cells stay.
        FailedCheck: a blocking check did not pass.
    """
    run_id = str(uuid.uuid4())
    cells = [cell for _, part in batch for cell in part]
    tags = {OWNER_TAG: owner(instance, run_id), MAX_RETRIES_TAG: "0"} | ({RECOMPUTE_TAG: "true"} if force else {})
    partition = None
    if cells[0].step is not None:
        if len(cells) == 1:
            partition = partition_key(cells[0])
        else:
            tags |= range_tags(cells)
    try:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=sorted({asset_key(study, cell.model, spec.name) for spec, part in batch for cell in part}),
            partition_key=partition,
            tags=tags,
            run_config=QUIET,
            run_id=run_id,
        )
    except dg.DagsterExecutionInterruptedError as interruption:
        raise KeyboardInterrupt from interruption  # Dagster's name for Ctrl-C
    except dg.DagsterError as error:
        if type(error).__name__ != FAILED_CHECK:
            raise
        raise FailedCheck(
            str(error).replace("\n", " "),
            where=_named(cells),
            remedy="look at the check in the UI; results made from these cells would be meaningless",
        ) from error
    for evaluation in result.get_asset_check_evaluations():
        if evaluation.passed or (evaluation.partition is not None and len(cells) > 1):
            continue
        details = evaluation.metadata.get("found")
        asset = evaluation.asset_key.path[-1]
        message = f"{evaluation.check_name} of {asset} did not pass: {details.value if details else ''}"
        if evaluation.severity == dg.AssetCheckSeverity.WARN:
            outcome.warnings.append(message)
            continue
        raise FailedCheck(
            message,
            where=_named([cell for spec, part in batch if spec.name == asset for cell in part]),
            remedy=f"look at run {result.run_id} in the UI; results made from these cells would be meaningless",
        )


def _named(cells: Sequence[Cell]) -> str:
    return ", ".join(str(cell) for cell in cells[:3]) + (" …" if len(cells) > 3 else "")
