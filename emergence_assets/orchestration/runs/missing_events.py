"""Finished cells with missing or outdated Dagster events, after a killed run or in another Dagster home.

A cell is finished before its event is written. A process killed in between leaves the new file with the event of the
old file, or without an event.
"""

from collections.abc import Collection, Mapping

import dagster as dg

from emergence_assets.orchestration.instance.partitions import asset_key, partition_key
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.content_hash import VERSION_TAG
from emergence_assets.plan.plan import Plan


def missing_events(plan: Plan, spec: AssetSpec, instance: dg.DagsterInstance, due: Collection[Cell]) -> list[Cell]:
    """Return the finished cells of an asset without an event, or with a latest event of another fingerprint.

    Args:
        plan: plan of the study.
        spec: spec of the asset.
        instance: instance with the events.
        due: cells that will be made and recorded, and are skipped here.
    """
    missing = []
    for model in spec.models(plan.study):
        done = [cell for cell in plan.cells(spec, model) if cell not in due]
        if not done:
            continue
        known = _recorded(spec, instance, asset_key(plan.study, model, spec.name))
        for cell in done:
            required = plan.required(spec, cell)
            partition = partition_key(cell) if spec.has_partitions else None
            if required is not None and known.get(partition) != required.fingerprint:
                missing.append(cell)
    return missing


def _recorded(spec: AssetSpec, instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str | None, str | None]:
    """Return the fingerprints of the latest events, by partition."""
    if spec.has_partitions:
        tags = instance.event_log_storage.get_latest_tags_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, [VERSION_TAG]
        )
        return {partition: values.get(VERSION_TAG) for partition, values in tags.items()}
    latest = instance.get_latest_materialization_event(key)
    event = latest.asset_materialization if latest else None
    return {} if event is None else {None: (event.tags or {}).get(VERSION_TAG)}
