"""A trained sparse autoencoder and its forward pass, on raw residual stream rows.

Shape suffixes: t tokens (rows), d d_model, n latents.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from emergence_assets.saes.model.latents import Latents, decode_latents, equal_counts, joined
from emergence_assets.saes.model.pre_activations import chunks, pre_activations
from emergence_assets.saes.model.selection import select_above, select_top_k
from resources.errors import EmergenceError


@dataclass(frozen=True, eq=False)
class SAE:
    """Parameters of a trained SAE: `x ≈ select(W_enc (x - b_dec) + b_enc) W_dec + b_dec`.

    `select` keeps either the `k` largest pre-activations of a token, or those above a threshold per latent; never
    negative ones. The input is the captured residual stream; the input scale of training is folded into biases and
    thresholds.

    Raises:
        EmergenceError: a shape does not fit the others, or k exceeds the number of latents.
        ValueError: both or neither of `k` and `threshold_n` are given.
    """

    W_enc_nd: Tensor
    """Encoder, rows are latents, float32."""
    b_enc_n: Tensor
    """Encoder bias, float32, in the units of the input."""
    W_dec_nd: Tensor
    """Decoder directions, rows are latents, of unit length, float32."""
    b_dec_d: Tensor
    """Subtracted from the input before encoding, added after decoding, float32."""
    k: int | None = None
    """Number of latents per token if the largest are selected, else None."""
    threshold_n: Tensor | None = None
    """Threshold of each latent if thresholds select, else None; float32, not negative, in units of the input."""

    def __post_init__(self):
        n_latents, d_model = self.W_enc_nd.shape
        if (self.k is None) == (self.threshold_n is None):
            raise ValueError("an SAE selects either the k largest latents or those above thresholds")
        for name, value, shape in (
            ("W_dec_nd", self.W_dec_nd, (n_latents, d_model)),
            ("b_enc_n", self.b_enc_n, (n_latents,)),
            ("b_dec_d", self.b_dec_d, (d_model,)),
            ("threshold_n", self.threshold_n, (n_latents,)),
        ):
            if value is not None and tuple(value.shape) != shape:
                raise EmergenceError(
                    f"{name} has shape {tuple(value.shape)}, the encoder requires {shape}", where="SAE parameters"
                )
        if self.k is not None and not 1 <= self.k <= n_latents:
            raise EmergenceError(
                f"k={self.k} active latents do not fit a dictionary of {n_latents}",
                where="SAE parameters",
                remedy=f"choose k from 1 to {n_latents}",
            )

    @property
    def n_latents(self) -> int:
        """Dictionary size."""
        return self.W_enc_nd.shape[0]

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.W_enc_nd.shape[1]

    @property
    def architecture(self) -> str:
        """Name of the selection in sae_lens: `topk`, or `jumprelu` for thresholds."""
        return "jumprelu" if self.k is None else "topk"

    @property
    def device(self) -> torch.device:
        """Device of the parameters; inputs must be on the same device."""
        return self.W_enc_nd.device

    def to(self, device: torch.device | str) -> "SAE":
        """Return the SAE with its parameters on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)

    @torch.no_grad()
    def encode(self, x_td: Tensor) -> Latents:
        """Select the active latents of each row.

        Args:
            x_td: raw residual stream, any float type, on the SAE's device.

        Returns:
            Latents; memory grows with the active latents, not with n_latents, because rows are processed in chunks.
        """
        parts = []
        for start, stop in chunks(x_td.shape[0], self.n_latents, x_td.device):
            centred_td = x_td[start:stop].float() - self.b_dec_d
            parts.append(self._select(pre_activations(centred_td, self.W_enc_nd, self.b_enc_n)))
        return joined(parts) if parts else self._nothing()

    def _select(self, pre_tn: Tensor) -> Latents:
        if self.threshold_n is not None:
            return select_above(pre_tn, self.threshold_n)
        return select_top_k(pre_tn, self.k or 0)

    def _nothing(self) -> Latents:
        empty = torch.zeros(0, device=self.device)
        return Latents(empty, empty.long(), equal_counts(0, 1, self.device))

    @torch.no_grad()
    def decode(self, latents: Latents) -> Tensor:
        """Reconstruct the residual stream [t, d], float32, from latents."""
        return decode_latents(latents, self.W_dec_nd) + self.b_dec_d

    def reconstruct(self, x_td: Tensor) -> Tensor:
        """Encode and decode rows, [t, d] float32."""
        return self.decode(self.encode(x_td))


def input_rows(x_td: Tensor | np.ndarray) -> Tensor:
    """Return rows of floats as a tensor, without a copy where memory can be shared.

    Raises:
        EmergenceError: not two-dimensional, or not floats.
    """
    if isinstance(x_td, np.ndarray):
        # A read-only memory map is copied to memory: random reads of rows are slow on a disk.
        x_td = torch.from_numpy(x_td if x_td.flags.writeable else np.array(x_td))
    if x_td.ndim != 2 or not x_td.is_floating_point():
        raise EmergenceError(
            f"an SAE takes rows of floats, got {x_td.dtype} of shape {tuple(x_td.shape)}",
            where="SAE input",
            remedy="pass residual stream rows [n_rows, d_model]",
        )
    return x_td.detach()
