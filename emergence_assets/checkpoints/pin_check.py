"""Every night each source is asked whether its checkpoints are still what was pinned. Nothing is recomputed.

Belongs here: the job and its schedule. Does not belong here: how a source answers (`sources/`).
"""

import dagster as dg

from emergence_assets.checkpoints.cells import CHECKPOINT_REGISTRY
from emergence_assets.checkpoints.listing import verify_pins
from emergence_assets.partitions import asset_key
from emergence_assets.study import Study
from resources.storage import Storage

PINS_AT = "0 3 * * *"


def pin_check(study: Study, storage: Storage) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """The job that compares pins with what their sources have now, and the schedule that starts it every night."""

    @dg.op(name="compare_pins", description="Asks the source whether every checkpoint is still what was pinned.")
    def compare_pins(context: dg.OpExecutionContext) -> None:
        changed = []
        for model in study.models:
            lines = [f"step {entry.step}: {entry.upstream}" for entry in verify_pins(study, storage, model)]
            changed += [f"{model} {line}" for line in lines]
            metadata = {"n_changed": len(lines), "changed upstream": dg.MetadataValue.json(lines)}
            context.log_event(dg.AssetObservation(asset_key(study, model, CHECKPOINT_REGISTRY.name), metadata=metadata))
        if changed:
            raise dg.Failure(
                description=f"{len(changed)} checkpoints changed at their source; their pins are kept and nothing was "
                "recomputed. `emergence checkpoints lock --update` takes what is there now.",
                metadata={"changed upstream": dg.MetadataValue.json(changed)},
                allow_retries=False,
            )

    @dg.job(name="verify_pins", description="Compares every checkpoint with its source; recomputes nothing.")
    def verify() -> None:
        compare_pins()

    schedule = dg.ScheduleDefinition(
        name="verify_pins_nightly",
        job=verify,
        cron_schedule=PINS_AT,
        default_status=dg.DefaultScheduleStatus.RUNNING if study.automation else dg.DefaultScheduleStatus.STOPPED,
        description="Every night at three: has a branch moved, has a file changed?",
    )
    return verify, schedule
