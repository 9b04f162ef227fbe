"""Rows of `compression_retention`: presence of categories after compression of a model's weights.

SAEs and chosen latents stay fixed; only the model changes. Every variant has a control with Gaussian noise of the same
size per matrix (`control_id` noise). Every block is also bypassed once and the model read at its last layer (`skip_l`).

Shape suffixes: p texts, c categories, d d_model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from emergence_assets.activations.forward.equal_lengths import text_read_outs
from emergence_assets.activations.forward.weight_variants import (
    BITS,
    WeightChange,
    bypassed_block,
    changed_weights,
    compressed,
    noise_like,
)
from emergence_assets.emergence.compression.retention import (
    Presence,
    mean_presence,
    presence_of,
    retained_c,
    unexplained,
)
from emergence_assets.emergence.compression.table import COMPRESSION_RETENTION
from emergence_assets.features.statistics.encoded import encoded
from emergence_assets.features.statistics.formulas import estimate
from emergence_assets.saes.model.sae import SAE


@dataclass(frozen=True, eq=False)
class Instruments:
    """Texts, SAEs, latents and weights that stay fixed while the model changes."""

    texts: Sequence[np.ndarray]
    """Token ids of the labelled texts of split score."""
    category_p: NDArray[np.integer]
    kept_c: NDArray[np.bool_]
    """Whether each category has enough texts."""
    weights_pb: NDArray[np.float32]
    saes: Mapping[int, Mapping[int, SAE]]
    """SAE by layer and seed."""
    latents: Mapping[int, Mapping[int, NDArray[np.integer]]]
    """Latent of every category, -1 for none, by layer and seed."""
    loss: Callable[[PreTrainedModel], float | None]
    """Loss on the fixed text; None for a model that is not causal."""
    batch_size: int
    device: torch.device | str
    blocks_name: str | None = None


class Version(NamedTuple):
    """One version of the model: unchanged, compressed, with noise, or with a bypassed block."""

    variant: str
    control_id: str
    changed_layer: int | None
    state: Callable[[], AbstractContextManager[WeightChange | None]]


@dataclass(frozen=True)
class _Measurements:
    """Measurements of one version: loss, and presence and FVU by layer."""

    loss: float | None
    presence: dict[int, Presence] = field(default_factory=dict)
    fvu: dict[int, float] = field(default_factory=dict)


def compression_retention(
    keys: Mapping[str, Any],
    level: str,
    model: PreTrainedModel,
    variants: Sequence[str],
    layer_skip: bool,
    seed: int,
    instruments: Instruments,
    report: Callable[[int, int, str], None],
) -> pl.DataFrame:
    """Return one row per version and layer; see `COMPRESSION_RETENTION`. The model is restored afterwards.

    Args:
        keys: model, n_params_nonemb, step, tokens_seen, n_layers and data_version of the checkpoint.
        level: label level.
        model: model in evaluation mode.
        variants: see `activations.weight_variants.VARIANTS`.
        layer_skip: whether every block is bypassed once.
        seed: seed of the noise.
        instruments: everything that stays fixed.
        report: called with versions done, all versions, and a note.
    """
    layers = sorted(instruments.saes)
    versions = list(_versions(model, variants, range(int(keys["n_layers"])) if layer_skip else (), seed, instruments))
    rows, own = [], None
    for number, version in enumerate(versions):
        read = layers if version.changed_layer is None else layers[-1:]
        with version.state() as change:
            found = _measured(model, read, instruments)
        own = own or found
        report(number + 1, len(versions), f"{version.variant} {version.control_id}")
        about = {"variant": version.variant, "control_id": version.control_id, "changed_layer": version.changed_layer}
        if version.control_id == "none":
            about["bits"] = BITS.get(version.variant)
        if change is not None:
            about |= {"density": change.density, "relative_norm": change.relative_norm}
        for layer in read:
            place = {"layer": layer, "rel_depth": (layer + 1) / int(keys["n_layers"]), "category_level": level}
            rows.append({**keys, **place, **about, **_row(found, own, layer, instruments)})
    return pl.DataFrame(rows, schema=COMPRESSION_RETENTION.schema)


def _versions(
    model: PreTrainedModel, variants: Sequence[str], skipped: Sequence[int], seed: int, instruments: Instruments
) -> Iterator[Version]:
    """Yield the versions, the unchanged model first: all others are compared with it."""
    name = instruments.blocks_name
    yield Version("none", "none", None, nullcontext)
    for variant in variants:
        yield Version(variant, "none", None, lambda variant=variant: changed_weights(model, compressed(variant), name))
        yield Version(
            variant, "noise", None, lambda variant=variant: changed_weights(model, noise_like(variant, seed), name)
        )
    for layer in skipped:
        yield Version(f"skip_{layer}", "none", layer, lambda layer=layer: bypassed_block(model, layer, name))


def _measured(model: PreTrainedModel, layers: Sequence[int], given: Instruments) -> _Measurements:
    read_out = text_read_outs(model, given.texts, layers, given.batch_size, given.device, given.blocks_name)
    found = _Measurements(given.loss(model))
    for layer in layers:
        seeds, latents = given.saes[layer], given.latents[layer]
        presence = [
            presence_of(encoded(sae, read_out[layer]), given.category_p, latents[seed], given.weights_pb)
            for seed, sae in seeds.items()
        ]
        found.presence[layer] = mean_presence(presence)
        x_pd = read_out[layer].cpu().numpy()
        fvu = [unexplained(x_pd, sae.reconstruct(read_out[layer]).cpu().numpy()) for sae in seeds.values()]
        found.fvu[layer] = float(np.mean(fvu))
    return found


def _row(found: _Measurements, own: _Measurements, layer: int, given: Instruments) -> dict[str, Any]:
    kept = given.kept_c
    drop = own.presence[layer] - found.presence[layer]
    return {
        "n_categories": int(kept.sum()),
        "n_texts": len(given.texts),
        "p_model": own.presence[layer].p_c[kept].mean(),
        "p_variant": found.presence[layer].p_c[kept].mean(),
        **estimate("mean_drop", drop.p_c[kept].mean(), np.nanmean(drop.p_cb[kept], axis=0)),
        "retention": retained_c(Presence(drop.p_c[kept], drop.p_cb[kept])).mean(),
        "fvu_model": own.fvu[layer],
        "fvu_variant": found.fvu[layer],
        "fvu_ratio": found.fvu[layer] / own.fvu[layer] if own.fvu[layer] > 0 else None,
        "loss_model": own.loss,
        "loss_delta": None if own.loss is None or found.loss is None else found.loss - own.loss,
        "n_seeds": len(given.saes[layer]),
        "n_boot": given.weights_pb.shape[1],
    }
