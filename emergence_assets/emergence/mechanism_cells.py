"""The table `reactivation_mechanism` as a cell: one pass of a model's last checkpoint over its probe texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import probe_recipe
from emergence_assets.emergence.last_checkpoint import chosen_latents, last_checkpoint_arguments
from emergence_assets.emergence.table_cells import table_rule, write_cell
from emergence_assets.features.cells import cell_labels
from emergence_assets.plan import Cell, Plan
from emergence_assets.provenance import Required
from emergence_assets.saes.cells import seed_folder
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import required_from_json
from resources.storage import Storage

TABLE_BYTES, ROW_BYTES = 17_500, 400
"""Of compressed parquet: columns with their statistics, and a category."""
MIN_LAYERS = 3
"""Fewer have no middle, and no rows of categories."""


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {
        "mechanism": study.mechanism.model_dump(),
        "probe_set": probe_recipe(study),
        "seeds": list(study.sae.seeds),
        "n_bootstrap": study.statistics.n_bootstrap,
        "seed": study.statistics.seed,
    }


def _bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    n_rows = study.mechanism.n_categories if len(study.layers_of(str(cell.model))) >= MIN_LAYERS else 1
    return TABLE_BYTES + ROW_BYTES * n_rows


REACTIVATION_MECHANISM = table_rule(
    "reactivation_mechanism",
    ("checkpoint", "activations", "sae", "latent_stats"),
    ("mechanism_cells:measure_model",),
    _bytes,
    recipe=_recipe,
)
RULES = (REACTIVATION_MECHANISM,)


def mechanism_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    work = []
    for cell, required in due:
        arguments = last_checkpoint_arguments(plan, cell, required)
        arguments["path"] = str(REACTIVATION_MECHANISM.path(plan.storage, cell))
        label = f"reactivation_mechanism {cell}"
        work.append((Task("emergence_assets.emergence.mechanism_cells:measure_model", arguments, label), [cell]))
    return work


def measure_model(
    origin: dict[str, Any],
    keys: dict[str, Any],
    files: dict[str, dict[str, str]],
    probes: str,
    path: str,
    required: str,
    report: Any,
) -> None:
    """Worker: the mechanism of the categories of one model, at its last checkpoint."""
    import polars as pl

    from emergence_assets.emergence.tables.mechanism import REACTIVATION_MECHANISM as TABLE

    frame = _measured(origin, keys, files, probes, required_from_json(required).recipe, report)
    explained = frame.filter(pl.col("undefined_because") == "none")
    numbers = {"rows": len(frame)} | {
        f"mean_{name}": explained[name].mean() for name in ("share_attn", "share_mlp", "cdi", "cdi_control")
    }
    summary = {name: value for name, value in numbers.items() if value is not None}
    write_cell(Path(path), frame, TABLE, required, summary)


def _measured(
    origin: Mapping[str, Any],
    keys: Mapping[str, Any],
    files: Mapping[str, Mapping[str, str]],
    probes: str,
    recipe: Mapping[str, Any],
    report: Any,
) -> Any:
    """The table, of whatever can be measured."""
    import numpy as np

    from emergence_assets.activations.harvest import loaded_checkpoint
    from emergence_assets.activations.reading import open_rows
    from emergence_assets.checkpoints.loading import is_causal
    from emergence_assets.emergence.mechanism_layers import mechanism_layers
    from emergence_assets.emergence.mechanism_pass import measure_mechanism
    from emergence_assets.emergence.mechanism_table import reactivation_mechanism, without_mechanism
    from emergence_assets.emergence.mechanism_targets import mechanism_targets
    from emergence_assets.features.encoded import encoded
    from emergence_assets.features.labels import text_weights
    from emergence_assets.saes.folder import read_sae

    settings, level = recipe["mechanism"], cell_labels(probes, Path(origin["tokens_file"]))[0]
    cells = chosen_latents(files, level.level)
    chosen = mechanism_layers(cells, int(keys["n_layers"]), settings["n_categories"])
    if chosen.is_empty():
        return without_mechanism(keys, level.level, "layers")
    with loaded_checkpoint(origin, report) as loaded:
        if not is_causal(loaded.model):
            return without_mechanism(keys, level.level, "causal")
        device = loaded.accelerator.device
        early, late = (chosen[name].unique().to_list() for name in ("early_layer", "late_layer"))
        saes = {
            (layer, seed): read_sae(seed_folder(Path(files[str(layer)]["saes"]), seed))[0].to(device)
            for layer in (*early, *late)
            for seed in recipe["seeds"]
        }
        codes = {}
        for layer in early:
            rows = open_rows(Path(files[str(layer)]["activations"]), "read_out", verify=True)
            read_out_pd = np.ascontiguousarray(rows.float32())
            codes |= {(layer, seed): encoded(saes[layer, seed], read_out_pd) for seed in recipe["seeds"]}
        targets = mechanism_targets(chosen, cells, codes, level, settings["n_controls"], recipe["seed"])
        score = level.rows(select=False)
        found = []
        if targets:
            found = measure_mechanism(
                loaded.model,
                [loaded.tokens.probe_ids[text] for text in score],
                level.codes_p[score],
                targets,
                saes,
                loaded.accelerator.capture_batch,
                device,
                report,
                origin["recipe"]["blocks"],
            )
        weights_pb = text_weights(level, recipe["n_bootstrap"], recipe["seed"])
        return reactivation_mechanism(keys, chosen, level, targets, found, weights_pb)
