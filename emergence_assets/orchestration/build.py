"""Dagster definitions of a study."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

# Definitions load lazily, when the working directory has left sys.path.
import resources.compute.local_processes  # noqa: F401
from emergence_assets.orchestration.assets.conditions import upkeep_sensor
from emergence_assets.orchestration.assets.partitioned import build_asset
from emergence_assets.orchestration.assets.unpartitioned import build_tables
from emergence_assets.orchestration.automation.jobs import stage_jobs
from emergence_assets.orchestration.automation.schedules import audit_job, pin_check
from emergence_assets.orchestration.automation.sensors import arrival_sensors
from emergence_assets.orchestration.instance.home import dead_run_sensor
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.study.study import Study
from resources.compute.local_processes import LocalProcesses
from resources.files.storage import Storage

STAGES = ("checkpoints", "activations", "saes", "features", "emergence", "report")


@dg.resource(description="Worker processes on this machine, one per core; ended with the run.")
def local_processes(_context: dg.InitResourceContext) -> Iterator[LocalProcesses]:
    """Compute of runs that Dagster launches itself."""
    with LocalProcesses() as workers:
        yield workers


def _assets(spec: AssetSpec, study: Study, specs: Sequence[AssetSpec]) -> list[dg.AssetsDefinition]:
    """The Dagster assets of one spec asset: one per model where it has partitions."""
    if spec.has_partitions:
        return [build_asset(spec, study, specs, model) for model in study.models]
    return [build_tables(spec, study, specs)]


def build_definitions(study: Study, storage: Storage, compute: Any = local_processes) -> dg.Definitions:
    """Assets, checks, jobs, sensors and resources of one study.

    Args:
        study: what is under study.
        storage: where its data lies.
        compute: a `Compute`, or a Dagster resource that yields one.
    """
    specs = specs_for(study)
    assets = [asset for spec in specs for asset in _assets(spec, study, specs)]
    verify_pins, nightly = pin_check(study, storage)
    audit, audit_nightly = audit_job(study, storage)
    stages = stage_jobs(study, storage, STAGES, lambda workers: build_definitions(study, storage, workers))
    return dg.Definitions(
        assets=assets,
        jobs=[*stages, verify_pins, audit],
        sensors=[
            *arrival_sensors(study, storage, specs_for(study)),
            upkeep_sensor(study.name, study.automation),
            dead_run_sensor(study.automation),
        ],
        schedules=[nightly, audit_nightly],
        resources={"storage": storage, "compute": compute},
        # A run works through its own pool of processes; Dagster's would start one more per step and import all again.
        executor=dg.in_process_executor,
    )
