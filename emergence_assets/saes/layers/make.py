"""Make the SAEs of one or several layers of a checkpoint: train, measure and compare them, without files.

All layers and seeds of a checkpoint are one stack. Imported SAEs are measured like trained SAEs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypedDict

import torch
from torch import Tensor

from emergence_assets.checkpoints.training.training_state import TrainingState
from emergence_assets.saes.layers.layer_rows import LayerRows
from emergence_assets.saes.layers.metrics import control_columns, mean_known, quality_columns, training_columns
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.quality.fidelity import NOT_MEASURED, Fidelity
from emergence_assets.saes.quality.overlap import matched_cosine, shared_fraction
from emergence_assets.saes.quality.quality import measure_quality
from emergence_assets.saes.quality.spectrum import MAX_ROWS, Spectrum, row_spectrum
from emergence_assets.saes.training.batches import SAEJob, WarmStart
from emergence_assets.saes.training.training import TrainedSAE, train_saes
from emergence_assets.study.sae import SAESettings
from resources.progress import Report

CONTROL_SEEDS = 1_000_000
"""First seed of cold controls."""
MeasureFidelity = Callable[[int, Sequence[SAE], Tensor], list[Fidelity]]
"""Function from layer, SAEs and mean activation [d] to the fidelity of each SAE."""


class Input(TypedDict):
    """Mean and scale of an SAE's training rows."""

    mean: list[float]
    scale: float


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """Inputs of the SAEs of one layer."""

    rows: LayerRows
    imported: Mapping[int, SAE] = field(default_factory=dict)
    """Imported SAEs by seed; these seeds are not trained."""
    warm_starts: Mapping[int, WarmStart] = field(default_factory=dict)
    """Warm starts by seed; empty for cold starts."""
    has_control: bool = False
    """Whether a cold control is trained beside each warm-started SAE."""

    @property
    def layer(self) -> int:
        """Layer of the rows."""
        return self.rows.layer


@dataclass(frozen=True, eq=False)
class LayerSAEs:
    """SAEs of one layer by seed, and their metrics."""

    saes: dict[int, SAE]
    metrics: list[dict[str, Any]]
    """Metrics of each seed as plain values; `emergence/sae_quality/table.py` describes them."""
    curves: dict[int, list[list[float]]]
    """Points (step, loss) of each trained seed."""
    inputs: dict[int, Input]
    """Mean and scale of the training rows of each trained seed."""


def make_saes(
    layers: Sequence[LayerInputs],
    seeds: Sequence[int],
    settings: SAESettings,
    device: torch.device | str,
    report: Report,
    *,
    warm_steps: int | None = None,
    fidelity: MeasureFidelity | None = None,
    states: tuple[TrainingState, TrainingState] | None = None,
) -> list[LayerSAEs]:
    """Train all SAEs that are not imported in one stack, then measure all SAEs.

    Args:
        layers: layers of one checkpoint.
        seeds: seeds of the SAEs, one SAE per seed and layer.
        settings: settings of all SAEs.
        device: device of the training.
        report: see `train_saes`.
        warm_steps: optimiser steps of warm-started SAEs; by default those of the settings.
        fidelity: function that measures fidelity; by default fidelity is not measured.
        states: files to resume from after a kill, of the stack and of its cold controls.
    """
    if settings.massive == "leave_out":
        layers = [replace(inputs, rows=inputs.rows.without_massive()) for inputs in layers]
    wanted = [(inputs, seed) for inputs in layers for seed in seeds if seed not in inputs.imported]
    is_warm = any(inputs.warm_starts for inputs in layers)
    own = settings.model_copy(update={"n_steps": warm_steps}) if is_warm and warm_steps else settings
    jobs = {(inputs.layer, seed): _job(inputs, seed, inputs.warm_starts.get(seed)) for inputs, seed in wanted}
    controls = {
        # Random directions other than those of the seed, from which the first SAE of the chain started.
        (inputs.layer, seed): _job(inputs, CONTROL_SEEDS + seed, None)
        for inputs, seed in wanted
        if inputs.has_control and inputs.warm_starts
    }
    # Before the training: computed rows of the first slab are gone afterwards.
    spectra = [row_spectrum(inputs.rows.first_slab(MAX_ROWS)) for inputs in layers]
    own_state, control_state = states or (None, None)
    trained = _trained(jobs, own, device, report, own_state)
    cold = _trained(controls, settings, device, report, control_state)
    return [
        _measured(inputs, spectrum, seeds, settings.batch_size, trained, cold, device, fidelity)
        for inputs, spectrum in zip(layers, spectra, strict=True)
    ]


def _job(inputs: LayerInputs, seed: int, warm_start: WarmStart | None) -> SAEJob:
    # Each layer starts from different directions, so that matches across layers are not due to equal seeds.
    return inputs.rows.job(seed * 1_000 + inputs.layer + 1, warm_start)


def _trained(
    jobs: Mapping[tuple[int, int], SAEJob],
    settings: SAESettings,
    device: torch.device | str,
    report: Report,
    state: TrainingState | None,
) -> dict[tuple[int, int], TrainedSAE]:
    if not jobs:
        return {}
    return dict(zip(jobs, train_saes(list(jobs.values()), settings, device, report, state), strict=True))


def _measured(
    inputs: LayerInputs,
    spectrum: Spectrum,
    seeds: Sequence[int],
    batch_size: int,
    trained: Mapping[tuple[int, int], TrainedSAE],
    cold: Mapping[tuple[int, int], TrainedSAE],
    device: torch.device | str,
    fidelity: MeasureFidelity | None,
) -> LayerSAEs:
    evaluation_td = inputs.rows.held_out.tensor().float()
    own = {seed: trained[inputs.layer, seed] for seed in seeds if seed not in inputs.imported}
    saes = {seed: own[seed].sae if seed in own else inputs.imported[seed].to(device) for seed in seeds}
    quality = {seed: measure_quality(sae, evaluation_td) for seed, sae in saes.items()}
    kept = [NOT_MEASURED] * len(saes)
    if fidelity is not None:
        kept = fidelity(inputs.layer, list(saes.values()), evaluation_td.mean(0).to(device))
    fires = {seed: torch.from_numpy(quality[seed].firings_n > 0).to(sae.device) for seed, sae in saes.items()}
    metrics = []
    for (seed, sae), found in zip(saes.items(), kept, strict=True):
        others = [other for other in seeds if other != seed]
        shared = [shared_fraction(sae, saes[other], fires[seed]) for other in others]
        matched = [matched_cosine(sae, saes[other], fires[seed], fires[other]) for other in others]
        before = inputs.warm_starts[seed].sae if seed in inputs.warm_starts else None
        control = cold.get((inputs.layer, seed))
        metrics.append(
            {
                "sae_seed": seed,
                "start": "imported" if seed not in own else "cold" if before is None else "warm",
                **quality_columns(quality[seed]),
                "shared_frac": mean_known(shared),
                "pw_mcc": mean_known(matched),
                **asdict(spectrum),
                "massive_frac": inputs.rows.massive_share,
                **asdict(found),
                **training_columns(own.get(seed), quality[seed]),
                **control_columns(before, own.get(seed), control, batch_size, evaluation_td),
            }
        )
    curves = {seed: [[float(step), loss] for step, loss in one.curve] for seed, one in own.items()}
    known: dict[int, Input] = {
        seed: {"mean": one.input_mean_d.tolist(), "scale": one.input_scale} for seed, one in own.items()
    }
    return LayerSAEs(saes, metrics, curves, known)
