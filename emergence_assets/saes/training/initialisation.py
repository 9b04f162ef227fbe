"""Parameters that training starts with."""

import torch
import torch.nn.functional as F

from emergence_assets.saes.model.latents import decode_latents
from emergence_assets.saes.model.stack import Parameters, unfold_input_scale
from emergence_assets.saes.model.variants import Activation, BatchTopK, JumpReLU, TopK
from emergence_assets.saes.training.batches import Feed, Member
from emergence_assets.saes.training.encoding import encode_stack
from emergence_assets.saes.training.settings import SAERecipe
from resources.errors import EmergenceError


def initial_parameters(recipe: SAERecipe, activation: Activation, member: Member, feed: Feed) -> Parameters:
    """Random unit directions, encoder along them, biases 0: of the scaled input, so that b_dec starts at the mean.

    Or, for a warm start, the given SAE.

    Raises:
        EmergenceError: a warm start of another shape.
    """
    device, d_model, n_latents = feed.rows.device, feed.rows.d_model, recipe.n_latents
    is_jump = isinstance(activation, JumpReLU)
    if member.start is not None:
        start, sae = member.start, member.start.sae.to(device)
        if (sae.n_latents, sae.d_model) != (n_latents, d_model):
            raise EmergenceError(
                f"the SAE to start from has {sae.n_latents} latents of width {sae.d_model}, "
                f"the one to train {n_latents} of width {d_model}",
                where="SAE warm start",
                remedy="start from an SAE of the same study",
            )
        mean_d = feed.mean_d if start.mean_d is None else start.mean_d.to(device)
        return unfold_input_scale(sae, mean_d, start.scale or feed.scale, with_threshold=is_jump)
    generator = torch.Generator().manual_seed(member.seed)
    W_dec_nd = F.normalize(torch.randn(n_latents, d_model, generator=generator), dim=1).to(device)
    parameters = Parameters(
        W_enc_gnd=W_dec_nd.clone()[None],
        b_enc_gn=torch.zeros(1, n_latents, device=device),
        W_dec_gnd=W_dec_nd[None],
        b_dec_gd=torch.zeros(1, d_model, device=device),
    )
    # Overlapping directions add up to more than the input: <x, x̂>/<x̂, x̂> is the encoder length of least first error.
    y_gtd = feed.scaled(next(feed.rows.batches()))[None]
    as_first = TopK(activation.k) if is_jump else activation
    latents = encode_stack(y_gtd, parameters, [as_first]).latents
    reconstruction_td = decode_latents(latents, W_dec_nd)
    power = reconstruction_td.square().sum()
    length = torch.where(power > 0, (y_gtd[0] * reconstruction_td).sum() / power, 1.0)
    parameters.W_enc_gnd.mul_(length)
    if not is_jump:
        return parameters
    # Thresholds at which the first batch has as many active latents as are aimed at.
    threshold = encode_stack(y_gtd, parameters, [BatchTopK(activation.k)]).threshold_g
    assert threshold is not None
    log_threshold = threshold.clamp(min=activation.bandwidth).log()
    return parameters._replace(log_threshold_gn=log_threshold[:, None].repeat(1, n_latents))
