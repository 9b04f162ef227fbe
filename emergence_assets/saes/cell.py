"""The SAEs of one or several layers of a checkpoint: trained, imported, measured and compared. Pure: no files.

Layers of one checkpoint, and seeds, make one stack; what was imported is measured as if it were ours.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from emergence_assets.activations.reading import Rows
from emergence_assets.saes.feed import Member, Start
from emergence_assets.saes.fidelity import Fidelity
from emergence_assets.saes.overlap import shared_fraction
from emergence_assets.saes.quality import SAEQuality, measure_quality
from emergence_assets.saes.recipe import SAERecipe
from emergence_assets.saes.sae import SAE
from emergence_assets.saes.training import Report, TrainedSAE, train_saes
from emergence_assets.saes.training_state import TrainingState

CONTROL_SEEDS = 1_000_000
"""Seeds of cold controls are counted from here."""
MeasureFidelity = Callable[[int, Sequence[SAE], Tensor], list[Fidelity]]
"""From layer, SAEs and mean activation to what the model keeps with each."""


class Input(TypedDict):
    """What the optimiser saw subtracted from the rows, and what it saw them divided by."""

    mean: list[float]
    scale: float


@dataclass(frozen=True, eq=False)
class LayerRows:
    """What the SAEs of one layer are made from."""

    layer: int
    rows: Rows
    is_evaluation_t: np.ndarray
    """Bool, one per row; these are kept from training."""
    imported: Mapping[int, SAE] = field(default_factory=dict)
    """By seed; these are not trained."""
    start: Mapping[int, Start] = field(default_factory=dict)
    """Warm start, by seed."""
    has_control: bool = False
    """Whether a cold SAE is trained beside each that is started warm."""


@dataclass(frozen=True, eq=False)
class LayerSAEs:
    """SAEs of one layer, by seed, and what is known of them."""

    saes: dict[int, SAE]
    metrics: list[dict[str, Any]]
    """Of each seed, plain values; see `docs/tables.md` for those that the table sae_metrics has."""
    curves: dict[int, list[list[float]]]
    """(step, loss) of each seed that was trained."""
    inputs: dict[int, Input]
    """Mean and scale of what each seed that was trained was trained on."""


def make_saes(
    layers: Sequence[LayerRows],
    seeds: Sequence[int],
    recipe: SAERecipe,
    device: torch.device | str,
    report: Report,
    *,
    warm_steps: int | None = None,
    fidelity: MeasureFidelity | None = None,
    states: tuple[TrainingState, TrainingState] | None = None,
) -> list[LayerSAEs]:
    """Train all that is not imported in one stack, then measure everything.

    Args:
        layers: of one checkpoint.
        seeds: one SAE each.
        recipe: of all.
        device: where to train.
        report: see `train_saes`.
        warm_steps: optimiser steps of SAEs that are started warm, if others than the recipe's.
        fidelity: how to measure what the model keeps; by default it is not measured.
        states: where to go on after a kill, of the stack and of its cold controls.
    """
    wanted = [(one, seed) for one in layers for seed in seeds if seed not in one.imported]
    is_warm = any(one.start for one in layers)
    own_recipe = replace(recipe, n_steps=warm_steps) if is_warm and warm_steps else recipe
    members = {(one.layer, seed): _member(one, seed, one.start.get(seed)) for one, seed in wanted}
    controls = {
        # Random directions of their own: those of the seed are what the first SAE of the chain began with.
        (one.layer, seed): _member(one, CONTROL_SEEDS + seed, None)
        for one, seed in wanted
        if one.has_control and one.start
    }
    own_state, control_state = states or (None, None)
    trained = _trained(members, own_recipe, device, report, own_state)
    cold = _trained(controls, recipe, device, report, control_state)
    return [_measured(one, seeds, recipe, trained, cold, device, fidelity) for one in layers]


def _member(one: LayerRows, seed: int, start: Start | None) -> Member:
    # Layers get initialisations of their own, so that matching across layers is not matching of seeds.
    return Member(one.rows, seed * 1_000 + one.layer + 1, ~one.is_evaluation_t, start=start)


def _trained(
    members: Mapping[tuple[int, int], Member],
    recipe: SAERecipe,
    device: torch.device | str,
    report: Report,
    state: TrainingState | None,
) -> dict[tuple[int, int], TrainedSAE]:
    if not members:
        return {}
    return dict(zip(members, train_saes(list(members.values()), recipe, device, report, state), strict=True))


def _measured(
    one: LayerRows,
    seeds: Sequence[int],
    recipe: SAERecipe,
    trained: Mapping[tuple[int, int], TrainedSAE],
    cold: Mapping[tuple[int, int], TrainedSAE],
    device: torch.device | str,
    fidelity: MeasureFidelity | None,
) -> LayerSAEs:
    evaluation_td = Rows(one.rows.array[one.is_evaluation_t], one.rows.dtype).tensor().float()
    saes = {
        seed: one.imported[seed].to(device) if seed in one.imported else trained[one.layer, seed].sae for seed in seeds
    }
    quality = {seed: measure_quality(sae, evaluation_td) for seed, sae in saes.items()}
    kept = dict(zip(saes, _fidelity(one, list(saes.values()), evaluation_td, device, fidelity), strict=True))
    metrics = []
    for seed, sae in saes.items():
        fires_n = torch.from_numpy(quality[seed].firings_n > 0).to(sae.device)
        others = [shared_fraction(sae, saes[other], fires_n) for other in seeds if other != seed]
        own = trained.get((one.layer, seed))
        metrics.append(
            {
                "sae_seed": seed,
                "start": "imported" if own is None else "warm" if seed in one.start else "cold",
                **_quality_columns(quality[seed]),
                "shared_frac": _mean(others),
                **kept[seed],
                **(_training_columns(own) if own else _without_training(quality[seed])),
                **_control_columns(one, seed, own, cold.get((one.layer, seed)), recipe, evaluation_td),
            }
        )
    curves = {
        seed: [[float(step), loss] for step, loss in trained[one.layer, seed].curve]
        for seed in seeds
        if (one.layer, seed) in trained
    }
    inputs: dict[int, Input] = {
        seed: {"mean": own.input_mean_d.tolist(), "scale": own.input_scale}
        for seed in seeds
        if (own := trained.get((one.layer, seed)))
    }
    return LayerSAEs(saes, metrics, curves, inputs)


def _fidelity(
    one: LayerRows,
    saes: Sequence[SAE],
    evaluation_td: Tensor,
    device: torch.device | str,
    fidelity: MeasureFidelity | None,
) -> list[dict[str, Any]]:
    if fidelity is None:
        return [{"kl_recovered": None, "loss_recovered": None, "fidelity_tokens": None}] * len(saes)
    return [
        {
            "kl_recovered": found.kl_recovered,
            "loss_recovered": found.loss_recovered,
            "fidelity_tokens": found.n_tokens,
        }
        for found in fidelity(one.layer, saes, evaluation_td.mean(0).to(device))
    ]


def _quality_columns(quality: SAEQuality) -> dict[str, Any]:
    return {
        "fvu": quality.fvu,
        "explained_variance": quality.explained_variance,
        "l0": quality.l0,
        "eval_dead_frac": quality.dead_fraction,
        "dense_frac": quality.dense_fraction,
        "cosine": quality.cosine,
        "n_eval_tokens": quality.n_tokens,
        "density": quality.density_counts(),
    }


def _training_columns(own: TrainedSAE) -> dict[str, Any]:
    return {
        "dead_frac": own.dead_fraction,
        "final_loss": own.curve[-1][1],
        "train_tokens": own.n_tokens,
        "norm_scale": own.input_scale,
    }


def _without_training(quality: SAEQuality) -> dict[str, Any]:
    return {"dead_frac": quality.dead_fraction, "final_loss": None, "train_tokens": None, "norm_scale": None}


def _control_columns(
    one: LayerRows,
    seed: int,
    warm: TrainedSAE | None,
    cold: TrainedSAE | None,
    recipe: SAERecipe,
    evaluation_td: Tensor,
) -> dict[str, Any]:
    """What a cold start gives instead, and how much of the SAE before it and the warm one share with it."""
    columns: dict[str, Any] = dict.fromkeys(("cold_fvu", "tokens_to_cold_fvu", "kept_warm_frac", "kept_cold_frac"))
    if warm is None or cold is None:
        return columns
    reached = [step for step, loss in warm.curve if loss <= cold.curve[-1][1]]
    before = one.start[seed].sae.to(cold.sae.device)
    return {
        "cold_fvu": measure_quality(cold.sae, evaluation_td).fvu,
        "tokens_to_cold_fvu": reached[0] * recipe.batch_size if reached else None,
        "kept_warm_frac": shared_fraction(before, warm.sae),
        "kept_cold_frac": shared_fraction(before, cold.sae),
    }


def _mean(values: Sequence[float]) -> float | None:
    """None where there is nothing to average: one seed, or no latent that fires."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else None
