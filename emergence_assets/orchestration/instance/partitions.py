"""Dagster partitions of a study, and partition keys of cells."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter

import dagster as dg

from emergence_assets.plan.cell import Cell, Grid, layer_key, step_key
from emergence_assets.study.study import Study


def dagster_name(model: str) -> str:
    """Return the name of a model with only letters, digits and underscores, as Dagster requires for names of jobs."""
    return re.sub(r"\W", "_", model)


def asset_key(study: Study, model: str | None, asset: str) -> dg.AssetKey:
    """Return the key `[study, model, asset]`, without a model for assets of the whole study."""
    return dg.AssetKey([study.name, *([model] if model else []), asset])


def step_set_name(study: Study, model: str) -> str:
    """Return the name under which the instance keeps the step partitions of a model."""
    return f"{study.name}/{model}/steps"


def partitions(study: Study, model: str, grid: Grid) -> dg.PartitionsDefinition | None:
    """Define the partitions of an asset of one model: none, its steps, or its steps × its layers."""
    # Dynamic, because checkpoints arrive during training.
    steps = dg.DynamicPartitionsDefinition(name=step_set_name(study, model))
    if grid == "step":
        return steps
    if grid == "cell":
        layers = dg.StaticPartitionsDefinition([layer_key(layer) for layer in study.layers_of(model)])
        return dg.MultiPartitionsDefinition({"step": steps, "layer": layers})
    return None


def register_steps(instance: dg.DagsterInstance, study: Study, model: str, steps: Sequence[int]) -> None:
    """Add the missing partitions of the given steps, in ascending order."""
    name = step_set_name(study, model)
    known = set(instance.get_dynamic_partitions(name))
    instance.add_dynamic_partitions(name, [key for step in sorted(steps) if (key := step_key(step)) not in known])


def remove_steps(instance: dg.DagsterInstance, study: Study, model: str, steps: Sequence[int]) -> None:
    """Delete the partitions of steps that are no longer on the checkpoint timeline; their events stay in the log."""
    name = step_set_name(study, model)
    known = set(instance.get_dynamic_partitions(name))
    for key in [key for step in steps if (key := step_key(step)) in known]:
        instance.delete_dynamic_partition(name, key)


def set_partitions(instance: dg.DagsterInstance, study: Study, model: str, steps: Sequence[int]) -> None:
    """Replace the partitions of a model by the partitions of the given steps."""
    wanted = {step_key(step) for step in steps}
    known = instance.get_dynamic_partitions(step_set_name(study, model))
    remove_steps(instance, study, model, [int(key.removeprefix("step")) for key in known if key not in wanted])
    register_steps(instance, study, model, steps)


def partition_key(cell: Cell) -> str:
    """Return the partition key of a cell: `step000512`, or `L03|step000512` (Dagster sorts dimensions by name)."""
    if cell.step is None:
        raise ValueError(f"{cell} has no step and so no partition")
    if cell.layer is None:
        return step_key(cell.step)
    return dg.MultiPartitionKey({"step": step_key(cell.step), "layer": layer_key(cell.layer)})


def split_into_ranges(
    cells: Iterable[Cell], known_steps: Sequence[int], known_layers: Sequence[int]
) -> list[list[Cell]]:
    """Split cells into partition ranges: groups of neighbouring steps with the same neighbouring layers.

    Args:
        cells: cells of one model and one asset.
        known_steps: all steps in the order of their partitions.
        known_layers: all layers in the order of their partitions.

    Raises:
        ValueError: a cell has no step, or its step has no partition.
    """
    layers_of: dict[int, list[int | None]] = {}
    model = None
    for cell in cells:
        if cell.step is None or cell.step not in known_steps:
            raise ValueError(f"{cell} has no partition")
        layers_of.setdefault(cell.step, []).append(cell.layer)
        model = cell.model
    layer_position: dict[int | None, int] = {layer: position for position, layer in enumerate(known_layers)}
    layer_position[None] = 0
    groups: list[tuple[list[int], list[int | None]]] = []
    for step in known_steps:
        if step not in layers_of:
            groups.append(([], []))  # a gap: the next step starts a new group
            continue
        layers = sorted(layers_of[step], key=layer_position.__getitem__)
        # Neighbouring layers have the same distance between their position here and among all layers.
        distances = [layer_position[layer] - position for position, layer in enumerate(layers)]
        runs = [[layer for _, layer in run] for _, run in groupby(zip(distances, layers, strict=True), itemgetter(0))]
        if len(runs) == 1 and groups and groups[-1][1] == runs[0]:
            groups[-1][0].append(step)
        else:
            groups += [([step], run) for run in runs]
    return [[Cell(model, step, layer) for step in steps for layer in layers] for steps, layers in groups if steps]


def range_tags(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the run tags that name a partition range by its first and last cell."""
    return {
        "dagster/asset_partition_range_start": partition_key(cells[0]),
        "dagster/asset_partition_range_end": partition_key(cells[-1]),
    }
