"""Worker that measures the mechanism of features at the last checkpoint of a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.activations.files.reading import open_rows
from emergence_assets.activations.forward.worker import loaded_checkpoint
from emergence_assets.checkpoints.models.loading import is_causal
from emergence_assets.emergence.last_checkpoint import chosen_latents
from emergence_assets.emergence.mechanism.forward_pass import measure_mechanism
from emergence_assets.emergence.mechanism.layers import mechanism_layers
from emergence_assets.emergence.mechanism.rows import reactivation_mechanism, without_mechanism
from emergence_assets.emergence.mechanism.targets import mechanism_targets
from emergence_assets.emergence.table_worker import Made
from emergence_assets.features.statistics.encoded import encoded
from emergence_assets.features.statistics.labels import text_weights
from emergence_assets.features.statistics.probe_labels import cell_labels
from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.spec import seed_folder


def measure_model(
    origin: dict[str, Any],
    keys: dict[str, Any],
    files: dict[str, dict[str, str]],
    probes: str,
    settings: Mapping[str, Any],
    report: Any,
) -> Made:
    """Rows of `reactivation_mechanism` of one model; arguments as of `last_checkpoint_arguments`."""
    frame = _measured(origin, keys, files, probes, settings, report)
    explained = frame.filter(pl.col("undefined_because") == "none")
    numbers = {f"mean_{name}": explained[name].mean() for name in ("share_attn", "share_mlp", "cdi", "cdi_control")}
    return Made(frame, {name: value for name, value in numbers.items() if value is not None})


def _measured(
    origin: Mapping[str, Any],
    keys: Mapping[str, Any],
    files: Mapping[str, Mapping[str, str]],
    probes: str,
    recipe: Mapping[str, Any],
    report: Any,
) -> Any:
    """The table, of whatever can be measured."""
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
