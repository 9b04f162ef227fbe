"""Loss of a batch and its gradients, written out.

With k of n latents active only k rows of W_dec and of W_enc matter per token, while autograd multiplies dense [t, n]
matrices of which all but k / n is zero. The one dense product that remains is the encoder's, because exact top-k needs
every pre-activation.

Shape suffixes: t tokens (rows of a batch), d d_model, n latents, k active latents.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from emergence_assets.saes.sae import Latents, chunks, decode_latents, pre_activations, select_top_k


class Parameters(NamedTuple):
    """Parameters of an SAE, or their gradients, in the order in which the optimiser holds them."""

    W_enc_nd: Tensor
    b_enc_n: Tensor
    W_dec_nd: Tensor
    b_dec_d: Tensor


class Step(NamedTuple):
    """What one batch says: the loss, how to lower it, and which latents it used."""

    squared_error: Tensor
    """Σ‖x - x̂‖² over the batch, 0-dimensional, left on the device."""
    gradients: Parameters
    """Of ½ Σ‖x - x̂‖² / n_tokens."""
    latents: Latents
    """Active latents of the batch."""


def loss_and_gradients(y_td: Tensor, parameters: Parameters, k: int) -> Step:
    """Squared error of a batch and the exact gradients of half its mean.

    Args:
        y_td: scaled input, float32.
        parameters: of the SAE on scaled input.
        k: active latents per token.

    With e = x̂ - x, r = e / n_tokens, a the activations and g = [a > 0] (r · W_dec rows): dW_dec = aᵀr,
    dW_enc = gᵀ(x - b_dec), db_enc = Σ g, db_dec = Σ r - db_enc W_enc, the last term for b_dec's part in the input.
    """
    n_tokens, n_latents = y_td.shape[0], parameters.b_enc_n.shape[0]
    centred_td = y_td - parameters.b_dec_d
    latents = encode_scaled(centred_td, parameters, k)
    residual_td = decode_latents(latents, parameters.W_dec_nd).sub_(centred_td)
    squared_error = residual_td.square().sum()
    residual_td.div_(n_tokens)

    indices, values = latents.indices_tk.view(-1), latents.values_tk.view(-1)
    bags = torch.arange(n_tokens, device=y_td.device)
    # For each active latent of each token the dot product of residual and decoder row, without copying the rows.
    slopes = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        residual_td, parameters.W_dec_nd, indices, bags * k, bags.repeat_interleave(k), 0
    )
    slopes = torch.where(values > 0, slopes, 0.0)

    by_latent = _group_by_latent(latents.indices_tk, n_latents)
    slopes = torch.index_select(slopes, 0, by_latent.slots)

    def sum_per_latent(rows_td: Tensor, weights: Tensor) -> Tensor:
        return F.embedding_bag(by_latent.tokens, rows_td, by_latent.offsets_n, mode="sum", per_sample_weights=weights)

    # A sum per latent, also on GPUs in a fixed order; index_add_ would be faster there, but not repeatable.
    b_enc_n = sum_per_latent(torch.ones(n_tokens, 1, device=y_td.device), slopes).view(-1)
    gradients = Parameters(
        W_enc_nd=sum_per_latent(centred_td, slopes),
        b_enc_n=b_enc_n,
        W_dec_nd=sum_per_latent(residual_td, torch.index_select(values, 0, by_latent.slots)),
        b_dec_d=residual_td.sum(0) - b_enc_n @ parameters.W_enc_nd,
    )
    return Step(squared_error, gradients, latents)


class _ByLatent(NamedTuple):
    """The active slots of a batch, sorted by latent."""

    slots: Tensor
    """Position in the flattened [t, k] of each."""
    tokens: Tensor
    """Row of the batch of each."""
    offsets_n: Tensor
    """Where each latent's slots begin."""


def _group_by_latent(indices_tk: Tensor, n_latents: int) -> _ByLatent:
    n_tokens, k = indices_tk.shape
    n_slots = n_tokens * k
    if indices_tk.device.type == "cpu" and n_slots < 2**31:
        # Row lists to column lists is one counting pass: 0.05 ms where sorting 16384 numbers takes 0.7.
        columns = scipy.sparse.csr_matrix(
            (
                np.arange(n_slots, dtype=np.int32),
                indices_tk.view(-1).numpy().astype(np.int32),
                np.arange(0, n_slots + 1, k, dtype=np.int32),
            ),
            shape=(n_tokens, n_latents),
        ).tocsc()
        slots, tokens, offsets = (torch.from_numpy(part) for part in (columns.data, columns.indices, columns.indptr))
        return _ByLatent(slots, tokens, offsets[:-1])
    latents, slots = indices_tk.view(-1).sort(stable=True)
    return _ByLatent(slots, slots // k, torch.searchsorted(latents, torch.arange(n_latents, device=latents.device)))


def encode_scaled(centred_td: Tensor, parameters: Parameters, k: int) -> Latents:
    """Active latents of scaled rows from which b_dec was subtracted."""
    parts = [
        select_top_k(pre_activations(centred_td[start:stop], parameters.W_enc_nd, parameters.b_enc_n), k)
        for start, stop in chunks(centred_td.shape[0], parameters.b_enc_n.shape[0])
    ]
    return parts[0] if len(parts) == 1 else Latents(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
