"""Initial parameters of a training."""

import torch
import torch.nn.functional as F

from emergence_assets.saes.model.latents import decode_latents
from emergence_assets.saes.model.stack import Parameters, unfold_input_scale
from emergence_assets.saes.training.batches import Batches, SAEJob, WarmStart
from emergence_assets.saes.variants.registry import variant_of
from emergence_assets.study.sae import SAESettings
from resources.errors import EmergenceError


def initial_parameters(settings: SAESettings, job: SAEJob, batches: Batches) -> Parameters:
    """Return a stack of one SAE on scaled input: random unit directions, or the SAE of a warm start.

    Encoder rows lie along the decoder rows and biases are 0, so that b_dec starts at the mean.

    Raises:
        EmergenceError: the warm start has another shape.
    """
    if job.warm_start is not None:
        return _warm_parameters(settings, job.warm_start, batches)
    device, d_model, n_latents = batches.rows.device, batches.rows.d_model, settings.n_latents
    generator = torch.Generator().manual_seed(job.seed)
    W_dec_nd = F.normalize(torch.randn(n_latents, d_model, generator=generator), dim=1).to(device)
    parameters = Parameters(
        W_enc_gnd=W_dec_nd.clone()[None],
        b_enc_gn=torch.zeros(1, n_latents, device=device),
        W_dec_gnd=W_dec_nd[None],
        b_dec_gd=torch.zeros(1, d_model, device=device),
    )
    variant = variant_of(settings)
    # Overlapping directions add up to more than the input: <x, x̂>/<x̂, x̂> is the encoder length with the least error.
    y_gtd = batches.scaled(next(batches.rows.batches()))[None]
    reconstruction_td = decode_latents(variant.encode_first(y_gtd, parameters), W_dec_nd)
    power = reconstruction_td.square().sum()
    length = torch.where(power > 0, (y_gtd[0] * reconstruction_td).sum() / power, 1.0)
    parameters.W_enc_gnd.mul_(length)
    return parameters._replace(log_threshold_gn=variant.initial_log_threshold(y_gtd, parameters))


def _warm_parameters(settings: SAESettings, start: WarmStart, batches: Batches) -> Parameters:
    device = batches.rows.device
    sae = start.sae.to(device)
    if (sae.n_latents, sae.d_model) != (settings.n_latents, batches.rows.d_model):
        raise EmergenceError(
            f"the SAE to start from has {sae.n_latents} latents of width {sae.d_model}, "
            f"the one to train {settings.n_latents} of width {batches.rows.d_model}",
            where="SAE warm start",
            remedy="start from an SAE of the same study",
        )
    mean_d = batches.mean_d if start.mean_d is None else start.mean_d.to(device)
    with_threshold = variant_of(settings).learns_thresholds
    return unfold_input_scale(sae, mean_d, start.scale or batches.scale, with_threshold=with_threshold)
