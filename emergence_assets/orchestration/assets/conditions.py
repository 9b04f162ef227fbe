"""What runs where and when: pools, backfill policies, tags of runs, and what is brought up to date by itself.

Which cells are due is decided in plan.py: a run that is requested once too often computes nothing.
"""

import warnings

import dagster as dg

from emergence_assets.study.study import Study

# Partitioned asset checks and backfill policies are what per-cell results need; Dagster marks them as not final.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
ACCELERATOR_POOL = "gpu"
"""Pool of the stages that use the accelerator; dagster.yaml sets its slots."""
RECOMPUTE_TAG = "emergence/recompute"
"""Run tag: `true` makes the selected cells anew even if they are up to date."""
SENSOR_TAG = "dagster/sensor_name"
"""Run tag that Dagster sets on runs that a sensor requested."""
BACKFILL_POLICIES = {
    None: None,
    # A forward pass per checkpoint serves all its layers.
    "one_run": dg.BackfillPolicy.single_run(),
    # Differs from its parents' policy on purpose: Dagster then gives every stage its own run, and a run over many
    # partitions, whose asset yields no output, does not make it skip the stages behind.
    "several_runs": dg.BackfillPolicy.multi_run(max_partitions_per_run=200),
}
"""Policies by the name that an asset's declaration gives."""


def upkeep(tables: dg.AssetSelection | None = None) -> dg.AutomationCondition:
    """When a cell is made by itself: once after it became due, as soon as everything it is made from is there.

    Due is what is missing, what has an input of another content, and what other code makes. A mere re-run of an input
    changes no data version and makes nothing due. `since` remembers what became due until it is requested or made, so
    that a cell whose inputs are still missing is not forgotten, and one that failed is not asked for again and again.
    Inputs that are requested in the same look count as there if Dagster can make them in the same run or backfill: a
    new checkpoint takes one look for its cells, and one for the tables.

    Args:
        tables: also wait while one of these lacks an input, or an input of it is being made: it is about to change. For
            what is made from tables, of which some follow sooner than others. Not asked of cells: they are missing or
            in progress themselves then, and to ask every cell of a family about its inputs takes seconds.
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
    """Request the cells of the study that became due, every `automation_seconds`."""
    return dg.AutomationConditionSensorDefinition(
        name="upkeep",
        target=dg.AssetSelection.key_prefixes([study.name]),
        default_status=dg.DefaultSensorStatus.RUNNING if study.automation else dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=study.automation_seconds,
        description="Makes what became due: cells of new checkpoints, and everything behind what changed.",
    )
