"""Pools, backfill policies and tags of runs, and the automation condition that keeps cells up to date.

The plan (`plan.py`) decides which cells are stale or missing, so that a superfluous run computes nothing.
"""

import warnings

import dagster as dg

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.study.study import Study

# Dagster marks backfill policies as not final.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
ACCELERATOR_POOL = "gpu"
"""Pool of the stages that use the accelerator; dagster.yaml sets the number of its slots."""
RECOMPUTE_TAG = "emergence/recompute"
"""Run tag; `true` makes the selected cells again even if they are up to date."""
SENSOR_TAG = "dagster/sensor_name"
"""Run tag that Dagster sets on runs requested by a sensor."""


def backfill_policy(spec: AssetSpec) -> dg.BackfillPolicy | None:
    """Return Dagster's policy for the backfills of an asset with partitions.

    Dagster puts assets with equal policies and partitions into one run. A run over many partitions yields no output,
    which makes Dagster skip the later assets of that run without an error, so that no two of a chain may be equal.
    """
    if spec.cells_per_run is None:
        return None
    if spec.cells_per_run == "all":
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=spec.cells_per_run)


def upkeep(tables: dg.AssetSelection | None = None) -> dg.AutomationCondition:
    """Make the condition under which Dagster requests a cell: once after it became due, as soon as its inputs exist.

    A cell is due when it is missing, when the content of an input changed, or when its code changed. A mere re-run of
    an input changes no data version and makes no cell due. `since` keeps a due cell until it is requested or made, so
    that a cell with missing inputs is not lost and a failed cell is not requested again and again. Inputs that are
    requested in the same evaluation count as existing if Dagster can make them in the same run or backfill: a new
    checkpoint takes one evaluation for its cells, and one for the tables.

    Args:
        tables: also wait while one of these tables lacks an input, or an input of it is in progress, because the table
            is about to change. Meant for assets made from tables, some of which follow sooner than others. Cells are
            not included: they are missing or in progress themselves then, and to evaluate the inputs of every cell of
            a family takes seconds.
    """
    condition = dg.AutomationCondition
    due = (
        condition.newly_missing()
        | condition.any_deps_match(condition.data_version_changed() | condition.will_be_requested())
        | condition.code_version_changed()
    )
    possible = ~condition.any_deps_missing() & ~condition.any_deps_in_progress() & ~condition.in_progress()
    if tables is not None:
        is_about_to_change = condition.any_deps_missing() | condition.any_deps_in_progress()
        possible &= ~condition.any_deps_match(is_about_to_change).allow(tables)
    waiting = due.since(condition.newly_requested() | condition.newly_updated())
    return (waiting & possible).with_label("due and possible")


def upkeep_sensor(study: Study) -> dg.AutomationConditionSensorDefinition:
    """Make the sensor that requests the due cells of the study, every `automation_seconds`."""
    return dg.AutomationConditionSensorDefinition(
        name="upkeep",
        target=dg.AssetSelection.key_prefixes([study.name]),
        default_status=dg.DefaultSensorStatus.RUNNING if study.automation else dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=study.automation_seconds,
        description="Requests due cells: the cells of new checkpoints, and all cells made from changed ones.",
    )
