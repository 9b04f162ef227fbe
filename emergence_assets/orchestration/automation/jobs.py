"""Asset jobs in the UI: an asset of a model for chosen partitions, or all tables of a stage."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from emergence_assets.orchestration.instance.partitions import asset_key, dagster_name
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.study.study import Study


def stage_jobs(study: Study, specs: Sequence[AssetSpec]) -> list[Any]:
    """Make a job for every model and asset with partitions, and a job for every stage that has only tables.

    All assets of a Dagster job share one partitions definition, and every model has its own.
    """
    with_partitions = {spec.stage for spec in specs if spec.has_partitions}
    without = dict.fromkeys(spec.stage for spec in specs if spec.stage not in with_partitions)
    cells = [
        dg.define_asset_job(
            f"{spec.name}__{dagster_name(model)}",
            selection=dg.AssetSelection.assets(asset_key(study, model, spec.name)),
            description=f"Makes {spec.name} of {model} for the chosen partitions.",
        )
        for spec in specs
        if spec.has_partitions
        for model in study.models
    ]
    tables = [
        dg.define_asset_job(
            stage,
            selection=dg.AssetSelection.groups(stage),
            description=f"Makes everything that is missing or out of date in stage {stage}.",
        )
        for stage in without
    ]
    return [*cells, *tables]
