"""Batches of cells that fit on the disk at a time, and partition ranges of one Dagster run."""

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence

import dagster as dg

from emergence_assets.activations.spec import ACTIVATIONS
from emergence_assets.orchestration.instance.partitions import split_into_ranges, step_set_name
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.disk_forecast import checkpoint_rows_bytes
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study


def disk_batches(
    plan: Plan, spec: AssetSpec, cells: Sequence[Cell], counts: Callable[[], TextCounts]
) -> list[list[Cell]]:
    """Split activations that will be evicted into batches of whole checkpoints; other cells are one batch."""
    if spec.name != ACTIVATIONS.name or plan.study.activations.retention != "drop-after-sae":
        return [list(cells)]
    limit = shutil.disk_usage(plan.storage.root).free / 2
    batches: list[list[Cell]] = []
    filled = 0.0
    for (model, _), layers in itertools.groupby(cells, key=lambda cell: (cell.model, cell.step)):
        n_bytes = checkpoint_rows_bytes(plan, str(model), counts())
        if not batches or filled + n_bytes > limit:
            batches.append([])
            filled = 0.0
        batches[-1] += layers
        filled += n_bytes
    return batches


def partition_ranges(study: Study, cells: Sequence[Cell], instance: dg.DagsterInstance) -> Iterator[list[Cell]]:
    """Split partitions into ranges of one Dagster run: neighbouring steps and layers of one model."""
    for model in study.models:
        of_model = [cell for cell in cells if cell.model == model]
        if of_model:
            keys = instance.get_dynamic_partitions(step_set_name(study, model))
            order = [int(key.removeprefix("step")) for key in keys]
            yield from split_into_ranges(of_model, order, study.layers_of(model))
