"""Worker of `reactivation_mechanism`: measure the last checkpoint of a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from emergence_assets.activations.forward.ablation import reuses_prefix
from emergence_assets.activations.forward.worker import loaded_checkpoint
from emergence_assets.checkpoints.models.loading import is_causal
from emergence_assets.emergence.last_checkpoint import LastCheckpoint
from emergence_assets.emergence.mechanism.forward_pass import measure_mechanism
from emergence_assets.emergence.mechanism.layers import mechanism_layers
from emergence_assets.emergence.mechanism.rows import reactivation_mechanism, without_mechanism
from emergence_assets.emergence.mechanism.targets import mechanism_targets
from emergence_assets.features.statistics.encoded import encoded, stored_read_outs
from emergence_assets.plan.table_worker import Made


def measure_model(
    cells: Sequence[Mapping[str, Any]],
    origins: Mapping[int, Mapping[str, Any]],
    probes: str,
    settings: Mapping[str, Any],
    fingerprint: str,
    report: Any,
) -> Made:
    """Make the rows of `reactivation_mechanism` of one model; for the arguments see `LastCheckpoint`."""
    frame = _measured(LastCheckpoint(cells, origins, probes, settings, fingerprint), settings, report)
    explained = frame.filter(pl.col("undefined_because") == "none")
    numbers = {f"mean_{name}": explained[name].mean() for name in ("share_attn", "share_mlp", "cdi", "cdi_control")}
    return Made(frame, {name: value for name, value in numbers.items() if value is not None})


def _measured(last: LastCheckpoint, settings: Mapping[str, Any], report: Any) -> pl.DataFrame:
    """Return the rows of the table; a single row with the reason if no measurement is possible."""
    level, latents, limits = last.level, last.chosen_latents(), settings["mechanism"]
    chosen = mechanism_layers(latents, last.keys["n_layers"], limits["n_categories"])
    if chosen.is_empty():
        return without_mechanism(last.keys, level.level, "layers")
    with loaded_checkpoint(last.origin, report) as loaded:
        if not is_causal(loaded.model):
            return without_mechanism(last.keys, level.level, "causal")
        device, blocks_name = loaded.accelerator.device, last.origin["recipe"]["blocks"]
        longest = max((loaded.tokens.probe_ids[text] for text in last.score), key=len)
        if not reuses_prefix(loaded.model, torch.from_numpy(longest).long()[None].to(device), blocks_name):
            return without_mechanism(last.keys, level.level, "recurrent")
        early, late = (chosen[name].unique().to_list() for name in ("early_layer", "late_layer"))
        saes = {(layer, seed): sae for layer in (*early, *late) for seed, sae in last.saes(layer, device).items()}
        codes = {}
        for layer in early:
            read_out_pd = stored_read_outs(Path(last.files[layer]["activations"]))
            codes |= {(layer, seed): encoded(saes[layer, seed], read_out_pd) for seed in last.seeds}
        targets = mechanism_targets(chosen, latents, codes, level, limits["n_controls"], settings["statistics"]["seed"])
        found = []
        if targets:
            found = measure_mechanism(
                loaded.model,
                [loaded.tokens.probe_ids[text] for text in last.score],
                level.codes_p[last.score],
                targets,
                saes,
                loaded.accelerator.capture_batch,
                device,
                report,
                blocks_name,
            )
        return reactivation_mechanism(last.keys, chosen, level, targets, found, last.weights_pb)
