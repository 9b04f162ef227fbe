"""Finished cells with missing or outdated Dagster events, after a killed run or in another Dagster home.

A cell is finished before its event is written. A process killed in between leaves the new file with the event of the
old file, or without an event.
"""

from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from emergence_assets.orchestration.instance.partitions import asset_key, partition_key
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.content_hash import VERSION_TAG
from emergence_assets.plan.plan import Plan


def missing_events(
    plan: Plan, due: Mapping[AssetSpec, Collection[Cell]], instance: dg.DagsterInstance
) -> dict[AssetSpec, list[Cell]]:
    """Return the finished cells of assets without an event, or with a latest event of another fingerprint.

    Args:
        plan: plan of the study.
        due: assets, each with the cells that will be made and recorded, and are skipped here.
        instance: instance with the events.
    """
    keys = {(spec, model): asset_key(plan.study, model, spec.name) for spec in due for model in spec.models(plan.study)}
    tables = _recorded_tables(instance, [key for (spec, _), key in keys.items() if not spec.has_partitions])
    missing: dict[AssetSpec, list[Cell]] = {spec: [] for spec in due}
    for (spec, model), key in keys.items():
        cells = [cell for cell in plan.cells(spec, model) if cell not in due[spec]]
        done = [cell for cell in cells if plan.state(spec, cell).state == "done"]
        recorded = _recorded_partitions(instance, key) if done and spec.has_partitions else {}
        for cell in done:
            required = plan.required(spec, cell)
            known = recorded.get(partition_key(cell)) if spec.has_partitions else tables.get(key)
            if required is not None and known != required.fingerprint:
                missing[spec].append(cell)
    return missing


def _recorded_partitions(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str | None]:
    """Return the fingerprints of the latest events of an asset, by partition."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, [VERSION_TAG]
    )
    return {partition: values.get(VERSION_TAG) for partition, values in tags.items()}


def _recorded_tables(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> dict[dg.AssetKey, str | None]:
    """Return the fingerprints of the latest events of assets without partitions, read in one query."""
    events = {
        record.asset_entry.asset_key: record.asset_entry.last_materialization
        for record in (instance.get_asset_records(keys) if keys else ())
    }
    return {key: (event.tags or {}).get(VERSION_TAG) for key, event in events.items() if event}
