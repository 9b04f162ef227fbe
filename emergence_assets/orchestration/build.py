"""Dagster definitions of a study."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from emergence_assets.orchestration.assets.conditions import upkeep_sensor
from emergence_assets.orchestration.assets.partitioned import build_partitioned
from emergence_assets.orchestration.assets.tables import build_tables
from emergence_assets.orchestration.automation.jobs import stage_jobs
from emergence_assets.orchestration.automation.schedules import nightly_schedules
from emergence_assets.orchestration.automation.sensors import arrival_sensors
from emergence_assets.orchestration.instance.dead_runs import dead_run_sensor
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.listeners import Listener
from emergence_assets.plan.plan import Plan
from emergence_assets.study.study import Study
from resources.compute.choice import chosen_compute
from resources.compute.task import Compute
from resources.files.storage import Storage

STAGES = ("checkpoints", "activations", "saes", "features", "emergence", "report")


def build_definitions(
    study: Study,
    storage: Storage,
    plan: Plan | None = None,
    compute: Compute | None = None,
    progress: Listener | None = None,
) -> dg.Definitions:
    """Make the assets, checks, jobs, sensors and resources of one study.

    Args:
        study: study of the definitions.
        storage: storage of its data.
        plan: plan of a run in this process; by default every run that Dagster launches makes its own plan.
        compute: workers of a run in this process; by default every run that Dagster launches has its own workers.
        progress: listener of a run in this process; by default the log of the run.
    """
    specs = specs_for(study)
    schedules = nightly_schedules(study, storage)

    @dg.resource(
        description="The cells of the study, their inputs and their states.", required_resource_keys={"compute"}
    )
    def fresh_plan(context: dg.InitResourceContext) -> Plan:
        made = Plan(study, storage, specs)
        made.n_accelerators = context.resources.compute.n_accelerators
        return made

    @dg.resource(description="Worker processes of this machine, or of a cluster; they end with the run.")
    def workers(_context: dg.InitResourceContext) -> Iterator[Compute]:
        with chosen_compute(storage.data) as compute:
            yield compute

    given: dict[str, Any] = {"plan": plan or fresh_plan, "compute": compute or workers, "progress": progress}
    return dg.Definitions(
        assets=build_assets(study, specs),
        jobs=[*stage_jobs(study, specs), *(schedule.job for schedule in schedules)],
        sensors=[
            *arrival_sensors(study, storage, specs),
            upkeep_sensor(study),
            dead_run_sensor(study.automation),
        ],
        schedules=schedules,
        resources=given,
        # A run has its own pool of processes; Dagster's executor would start a process per step and import everything.
        executor=dg.in_process_executor,
    )


def build_assets(study: Study, specs: Sequence[AssetSpec]) -> list[dg.AssetsDefinition]:
    """Make the Dagster assets of a study.

    Tables that are inputs of partitions have an op of their own; one op makes all other tables.
    """
    with_partitions = [spec for spec in specs if spec.has_partitions]
    early = {name for spec in with_partitions for name in spec.inputs}
    tables = [spec for spec in specs if not spec.has_partitions]
    groups = {
        "training": [spec for spec in tables if spec.name in early],
        "tables": [spec for spec in tables if spec.name not in early],
    }
    return [
        *(build_partitioned(spec, study, specs, model) for spec in with_partitions for model in study.models),
        *(build_tables(name, made, study, specs) for name, made in groups.items() if made),
    ]
