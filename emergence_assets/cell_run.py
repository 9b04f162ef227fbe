"""One Dagster run in this process over a rectangle of cells, and what came of it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError

from emergence_assets.automation import RECOMPUTE_TAG
from emergence_assets.errors import EmergenceError
from emergence_assets.instance import OWNER_TAG, owner
from emergence_assets.partitions import asset_key, partition_key, range_tags
from emergence_assets.plan import Cell, Rule
from emergence_assets.study import Study

MAX_RETRIES_TAG = "dagster/max_retries"
"""Nobody but this process could start its runs again."""
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


def run_cells(
    study: Study,
    definitions: dg.Definitions,
    rule: Rule,
    cells: Sequence[Cell],
    instance: dg.DagsterInstance,
    outcome: Outcome,
    force: bool,
) -> None:
    """Materialise one rectangle of cells in one Dagster run in this process."""
    run_id = str(uuid.uuid4())
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
            asset_selection=sorted({asset_key(study, cell.model, rule.name) for cell in cells}),
            partition_key=partition,
            tags=tags,
            run_config=QUIET,
            run_id=run_id,
        )
    except dg.DagsterExecutionInterruptedError as interruption:
        raise KeyboardInterrupt from interruption  # Dagster's own word for Ctrl-C
    except DagsterAssetCheckFailedError as error:
        raise EmergenceError(
            str(error).replace("\n", " "),
            where=", ".join(str(cell) for cell in cells[:3]),
            remedy="look at the check in the UI; results built on these cells would be nonsense",
        ) from error
    for evaluation in result.get_asset_check_evaluations():
        if evaluation.passed or (evaluation.partition is not None and len(cells) > 1):
            continue
        found = evaluation.metadata.get("found")
        message = f"{evaluation.check_name} of {rule.name} did not pass: {found.value if found else ''}"
        if evaluation.severity == dg.AssetCheckSeverity.WARN:
            outcome.warnings.append(message)
            continue
        raise EmergenceError(
            message,
            where=", ".join(str(cell) for cell in cells[:3]) + (" …" if len(cells) > 3 else ""),
            remedy=f"look at run {result.run_id} in the UI; results built on these cells would be nonsense",
        )
