"""Bytes that stored cells take on disk."""

from collections.abc import Sequence
from typing import Any

from emergence_assets.plan.disk_forecast import path_bytes, stored_bytes
from emergence_assets.plan.plan import Plan
from resources.files.storage import Storage, instance_home


def storage_rows(plan: Plan, by: Sequence[str]) -> list[dict[str, Any]]:
    """Sum the bytes on disk by any of stage, asset, model, step and layer, in flow order."""
    added: dict[tuple[Any, ...], dict[str, Any]] = {}
    for spec in plan.specs.values():
        for cell in plan.cells(spec):
            named = {"stage": spec.stage, "asset": spec.name, **cell._asdict()}
            key = tuple(named[name] for name in by)
            row = added.setdefault(key, {name: named[name] for name in by} | {"cells": 0, "bytes": 0})
            row["bytes"] += stored_bytes(spec, plan, cell)
            row["cells"] += 1
    return list(added.values())


def other_bytes(storage: Storage) -> dict[str, int]:
    """Return the bytes of the other files in the data folder, beside the cells of this study."""
    return {
        "token files": path_bytes(storage.tokens_folder),
        "checkpoint cache of all studies": path_bytes(storage.checkpoint_cache()),
        "measurements of all studies": path_bytes(storage.measurements_folder),
        "event log of all studies": path_bytes(instance_home(storage.data)),
    }
