"""Jobs that verify a study every night, and their schedules. The jobs recompute nothing."""

from collections.abc import Callable, Sequence

import dagster as dg

from emergence_assets.audit.events import open_event_log
from emergence_assets.audit.findings import Finding
from emergence_assets.audit.verify import verify_study
from emergence_assets.checkpoints.listing import verify_pins
from emergence_assets.checkpoints.spec import CHECKPOINT_REGISTRY
from emergence_assets.orchestration.assets.checks import AS_WRITTEN
from emergence_assets.orchestration.instance.partitions import asset_key
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.plan import Plan
from emergence_assets.study.study import Study
from resources.files.storage import Storage, instance_home

Verify = Callable[[dg.OpExecutionContext, Plan], tuple[str, list[str]]]
"""Writes findings into the event log; returns a sentence, and a line per problem."""
FAILING_KINDS = ("altered", "missing", "forked")
"""Kinds of findings with which the check of an asset fails; the files of stale and unrecorded results are intact."""
SHOWN = 20
"""Maximum number of findings that an event lists."""


def nightly_schedules(study: Study, storage: Storage) -> list[dg.ScheduleDefinition]:
    """Make the nightly schedules of a study, each with its job."""
    return [
        _nightly(study, storage, "verify_pins", 3, "Compares every checkpoint with its pin at the source.", _pins),
        _nightly(study, storage, "audit", 4, "Compares every file with its record and its event.", _files),
    ]


def _nightly(
    study: Study, storage: Storage, name: str, hour: int, description: str, verify: Verify
) -> dg.ScheduleDefinition:
    @dg.op(name=f"run_{name}", description=description)
    def run(context: dg.OpExecutionContext) -> None:
        sentence, problems = verify(context, Plan(study, storage, specs_for(study)))
        if problems:
            metadata = {"found": dg.MetadataValue.json(problems)}
            raise dg.Failure(description=sentence, metadata=metadata, allow_retries=False)

    @dg.job(name=name, description=f"{description} Changes no result.")
    def job() -> None:
        run()

    return dg.ScheduleDefinition(
        name=f"{name}_nightly",
        job=job,
        cron_schedule=f"0 {hour} * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING if study.automation else dg.DefaultScheduleStatus.STOPPED,
        description=f"Runs the job {name} every night at {hour} o'clock.",
    )


def _pins(context: dg.OpExecutionContext, plan: Plan) -> tuple[str, list[str]]:
    changed: list[str] = []
    for model in plan.study.models:
        lines = [f"step {entry.step}: {entry.upstream}" for entry in verify_pins(plan.study, plan.storage, model)]
        changed += [f"{model} {line}" for line in lines]
        metadata = {"n_changed": len(lines), "changed upstream": dg.MetadataValue.json(lines)}
        key = asset_key(plan.study, model, CHECKPOINT_REGISTRY.name)
        context.log_event(dg.AssetObservation(key, metadata=metadata))
    sentence = (
        f"{len(changed)} checkpoints changed at their source; their pins are kept and nothing was "
        "recomputed. `emergence checkpoints lock --update` pins the new commits."
    )
    return sentence, changed


def _files(context: dg.OpExecutionContext, plan: Plan) -> tuple[str, list[str]]:
    with open_event_log(instance_home(plan.storage.data), plan.study.name) as events:
        audit = verify_study(plan, events)
    for spec in plan.specs.values():
        for model in spec.models(plan.study):
            _record(context, asset_key(plan.study, model, spec.name), audit.of_asset(spec.name, model))
    context.log.info(f"{audit.n_cells} cells, {audit.n_bytes} bytes in {audit.seconds:.0f} s")
    for note in audit.notes:
        context.log.warning(note)
    return f"{audit.counted}; `emergence audit --verify` lists them.", _listed(audit.causes)


def _record(context: dg.OpExecutionContext, key: dg.AssetKey, findings: Sequence[Finding]) -> None:
    """Write the check result of an asset, and its findings as an observation."""
    is_failed = any(one.kind in FAILING_KINDS for one in findings)
    listed = {"found": dg.MetadataValue.json(_listed(findings))} if findings else {}
    context.log_event(
        dg.AssetCheckEvaluation(  # pyright: ignore[reportArgumentType]  # works in spite of the annotation
            asset_key=key,
            check_name=AS_WRITTEN,
            passed=not is_failed,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata=listed if is_failed else {},
        )
    )
    status = ", ".join(sorted({one.kind for one in findings})) or "as recorded"
    context.log_event(dg.AssetObservation(key, metadata={"audit": status} | listed))


def _listed(findings: Sequence[Finding]) -> list[str]:
    lines = [f"{one.kind} {one.asset} {one.cell}: {one.reason} ({one.path})" for one in findings[:SHOWN]]
    return lines + ([f"and {len(findings) - SHOWN} more"] if len(findings) > SHOWN else [])
