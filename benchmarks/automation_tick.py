"""Duration of one automation tick over ten sizes, 154 steps and all layers, without and with one new checkpoint."""

import time
from pathlib import Path
from typing import Any

import dagster as dg

from emergence_assets.orchestration.build import build_definitions
from emergence_assets.orchestration.instance.partitions import asset_key, partition_key, register_steps
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import parse_study
from emergence_assets.study.study import Study
from resources.files.storage import Storage

STEPS = [0, *(2**power for power in range(10)), *range(1000, 143_001, 1000)]
"""The 154 published steps of Pythia."""
NEW_STEP = 144_000


def measure_automation_tick() -> dict[str, Any]:
    """Record every cell of the family as made, then evaluate: first tick, no change, one new checkpoint, after it."""
    study = parse_study(
        {
            "name": "whole-family",
            "family": {"source": "hub", "preset": "pythia"},
            "steps": "all",
            "probe_set": {"source": "wordnet"},
            "activations": {"training_texts": 1000},
            "sae": {"n_latents": 512, "k": 16, "n_steps": 100},
        }
    )
    definitions = build_definitions(study, Storage(Path("nowhere"), study.name))
    figures: dict[str, Any] = {}
    with dg.DagsterInstance.ephemeral() as instance:
        figures["cells per asset"] = _record_all(instance, study)
        cursor = None
        for name in ("first tick", "nothing new", "one new checkpoint", "its cells requested"):
            if name == "one new checkpoint":
                register_steps(instance, study, "pythia-410m", [NEW_STEP])
                _record(instance, study, "checkpoint", Cell("pythia-410m", NEW_STEP))
            began = time.perf_counter()
            result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
            figures[f"{name}, s"] = time.perf_counter() - began
            figures[f"{name}, cells requested"] = result.total_requested
            cursor = result.cursor
    figures["one new checkpoint adds, s"] = figures["one new checkpoint, s"] - figures["nothing new, s"]
    return figures


def _record_all(instance: dg.DagsterInstance, study: Study) -> int:
    plan = Plan(study, Storage(Path("nowhere"), study.name), specs_for(study))
    grid = [Cell(model, step) for model in study.models for step in STEPS]
    cells = [Cell(model, step, layer) for model, step, _ in grid for layer in study.layers_of(str(model))]
    by_grid = {"study": [Cell()], "model": [Cell(model) for model in study.models], "step": grid, "cell": cells}
    for model in study.models:
        register_steps(instance, study, model, STEPS)
    for spec in plan.specs.values():
        for cell in by_grid[spec.grid]:
            _record(instance, study, spec.name, cell)
    return len(cells)


def _record(instance: dg.DagsterInstance, study: Study, asset: str, cell: Cell) -> None:
    partition = partition_key(cell) if cell.step is not None else None
    tags = {"dagster/data_version": str(cell)}
    instance.report_runless_asset_event(
        dg.AssetMaterialization(asset_key(study, cell.model, asset), partition=partition, tags=tags)
    )
