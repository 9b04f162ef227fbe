"""The pipeline on one page: what Dagster loads. `STAGES` is the order in which data flows."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import dagster as dg

import resources.compute  # noqa: F401 - definitions load lazily, when the working directory has left sys.path
from emergence_assets.audit.nightly import audit_job
from emergence_assets.automation import upkeep_sensor
from emergence_assets.checkpoints.arrival import arrival_sensors
from emergence_assets.checkpoints.pin_check import pin_check
from emergence_assets.instance import dead_run_sensor
from emergence_assets.jobs import stage_jobs
from emergence_assets.pipeline import rules_for
from emergence_assets.study import Study, load_study
from resources.compute import LocalProcesses
from resources.storage import Storage, data_folder

STAGES = ("checkpoints", "activations", "saes", "features", "emergence", "report")


@dg.resource(description="Worker processes on this machine, one per core; ended with the run.")
def local_processes(_context: dg.InitResourceContext) -> Iterator[LocalProcesses]:
    """Compute of runs that Dagster launches itself."""
    with LocalProcesses() as workers:
        yield workers


def build_definitions(study: Study, storage: Storage, compute: Any = local_processes) -> dg.Definitions:
    """Assets, checks, jobs, sensors and resources of one study.

    Args:
        study: what is under study.
        storage: where its data lies.
        compute: a `Compute`, or a Dagster resource that yields one.
    """
    assets = [
        asset
        for stage in STAGES
        for asset in import_module(f"emergence_assets.{stage}.assets").build_assets(study, rules_for(study))
    ]
    verify_pins, nightly = pin_check(study, storage)
    audit, audit_nightly = audit_job(study, storage)
    stages = stage_jobs(study, storage, STAGES, lambda workers: build_definitions(study, storage, workers))
    return dg.Definitions(
        assets=assets,
        jobs=[*stages, verify_pins, audit],
        sensors=[
            *arrival_sensors(study, storage, rules_for(study)),
            upkeep_sensor(study.name, study.automation),
            dead_run_sensor(study.automation),
        ],
        schedules=[nightly, audit_nightly],
        resources={"storage": storage, "compute": compute},
        # A run works through its own pool of processes; Dagster's would start one more per step and import all again.
        executor=dg.in_process_executor,
    )


_study = load_study()
defs = build_definitions(_study, Storage(data_folder(), _study.name))
