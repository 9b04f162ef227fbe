"""Every night each source is asked whether its checkpoints are still what was pinned. Nothing is recomputed."""

import dagster as dg

from emergence_assets.audit.events import open_event_log
from emergence_assets.audit.findings import KINDS, Audit, Finding
from emergence_assets.audit.verify import verify_study
from emergence_assets.checkpoints.listing import verify_pins
from emergence_assets.checkpoints.spec import CHECKPOINT_REGISTRY
from emergence_assets.orchestration.assets.checks import AS_WRITTEN
from emergence_assets.orchestration.instance.partitions import asset_key
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.plan import Plan
from emergence_assets.study.study import Study
from resources.files.storage import Storage, instance_home

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


AUDIT_AT = "0 4 * * *"
RED = ("altered", "missing", "forked")
"""What a check does not pass with; results that are stale or unrecorded are whole."""
SHOWN = 20
"""Findings that an event lists."""


def audit_job(study: Study, storage: Storage) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """The job that verifies a study, and the schedule that starts it every night."""

    @dg.op(name="verify_everything", description="Hashes every file and compares records, requirements and events.")
    def verify_everything(context: dg.OpExecutionContext) -> None:
        plan = Plan(study, storage, specs_for(study))
        with open_event_log(instance_home(storage.data), study.name) as events:
            found = verify_study(plan, events)
        for spec in plan.specs.values():
            for model in spec.models(study):
                _tell(context, asset_key(study, model, spec.name), found.of_asset(spec.name, model))
        context.log.info(f"{found.n_cells} cells, {found.n_bytes} bytes in {found.seconds:.0f} s")
        for note in found.notes:
            context.log.warning(note)
        if found.findings:
            raise dg.Failure(
                description=f"{_counted(found)}; `emergence audit --verify` lists them.",
                metadata={"found": dg.MetadataValue.json(_listed(found.causes))},
                allow_retries=False,
            )

    @dg.job(name="audit", description="Compares everything that is stored with what was recorded; changes nothing.")
    def audit() -> None:
        verify_everything()

    schedule = dg.ScheduleDefinition(
        name="audit_nightly",
        job=audit,
        cron_schedule=AUDIT_AT,
        default_status=dg.DefaultScheduleStatus.RUNNING if study.automation else dg.DefaultScheduleStatus.STOPPED,
        description="Every night at four: is every file still what was written?",
    )
    return audit, schedule


def _tell(context: dg.OpExecutionContext, key: dg.AssetKey, findings: list[Finding]) -> None:
    """The audit status of one asset: its check, and what was found as metadata."""
    red = [one for one in findings if one.kind in RED]
    listed = dg.MetadataValue.json(_listed(findings))
    context.log_event(
        dg.AssetCheckEvaluation(  # pyright: ignore[reportArgumentType]  # works, although the annotation does not say so
            asset_key=key,
            check_name=AS_WRITTEN,
            passed=not red,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"found": listed} if red else {},
        )
    )
    status = ", ".join(sorted({one.kind for one in findings})) or "as recorded"
    context.log_event(dg.AssetObservation(key, metadata={"audit": status} | ({"found": listed} if findings else {})))


def _listed(findings: list[Finding]) -> list[str]:
    lines = [f"{one.kind} {one.asset} {one.cell}: {one.reason} ({one.path})" for one in findings[:SHOWN]]
    return lines + ([f"and {len(findings) - SHOWN} more"] if len(findings) > SHOWN else [])


def _counted(found: Audit) -> str:
    counts = {kind: sum(one.kind == kind for one in found.findings) for kind in KINDS}
    return ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
