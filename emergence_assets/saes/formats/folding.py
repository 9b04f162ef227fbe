"""Conversion of SAEs to our conventions: decoder rows of unit length, and `b_dec` subtracted from the input.

Both conversions are exact: the function stays the same. Shape suffixes: d d_model, n latents.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from emergence_assets.saes.formats.files import refused
from emergence_assets.saes.model.sae import SAE

UNIT_TOLERANCE = 1e-3
"""Largest deviation of a decoder row from unit length if rows cannot be folded."""
_EXACT_TOLERANCE = 1e-6
"""Largest deviation that counts as float32 rounding; a division by such lengths would only add rounding errors."""
_MIN_LENGTH, _MAX_LENGTH = 1e-8, 1e30
_ROWS = 1024
"""Rows per block in double precision, because a published SAE may fill half of the memory."""


@dataclass(frozen=True, eq=False)
class ForeignSAE:
    """An SAE in the conventions of its library.

    Pre-activations are `W_enc x + b_enc`, with `x - b_dec` for x if `is_centred`. Either the `k` largest or those above
    `threshold_n` are selected, in both cases only positive ones. The output is `values W_dec + b_dec`.
    """

    W_enc_nd: Tensor
    b_enc_n: Tensor
    W_dec_nd: Tensor
    """Decoder, with rows of any length."""
    b_dec_d: Tensor
    k: int | None = None
    threshold_n: Tensor | None = None
    """Threshold of each latent; a negative threshold is equivalent to zero."""
    is_rescaled: bool = False
    """Whether latents are selected by pre-activation times length of the decoder row."""
    is_centred: bool = True
    """Whether b_dec is subtracted from the input before encoding."""


def as_ours(foreign: ForeignSAE, path: Path, *, normalise_decoder: bool = False) -> tuple[SAE, list[str]]:
    """Convert an SAE to our conventions; returns it with a description of every change.

    Args:
        foreign: SAE with finite float32 parameters.
        path: file of the weights, for error messages.
        normalise_decoder: divide decoder rows by their lengths if folding them is impossible. This changes the
            function as much as the lengths differ from one.

    Raises:
        EmergenceError: the SAE selects the k largest pre-activations without rescaling, its rows are not of unit length
            (rescaling would select other latents), and `normalise_decoder` is false; a row has length zero; or folding
            gives infinite numbers.
    """
    folded = []
    W_enc_nd, b_enc_n, W_dec_nd = foreign.W_enc_nd, foreign.b_enc_n, foreign.W_dec_nd
    threshold_n = None if foreign.threshold_n is None else foreign.threshold_n.clamp(min=0)
    if not foreign.is_centred:
        # W x + b = W (x - b_dec) + (b + W b_dec)
        b_enc_n = b_enc_n + _times_in_double(W_enc_nd, foreign.b_dec_d)
        folded.append("input without b_dec")
    length_n = torch.cat([rows.double().norm(dim=1) for rows in W_dec_nd.split(_ROWS)])
    is_exact = bool(((length_n - 1).abs() < _EXACT_TOLERANCE).all())
    can_fold = foreign.is_rescaled or threshold_n is not None
    if not is_exact and (can_fold or normalise_decoder):
        _check_can_be_one(length_n, path)
    if not can_fold and normalise_decoder and not is_exact:
        W_dec_nd = W_dec_nd / length_n.float().unsqueeze(1)
        folded.append(f"decoder rows of lengths {float(length_n.min()):.4g} to {float(length_n.max()):.4g} normalised")
    elif not can_fold:
        require_unit_length(length_n, path)
    elif not is_exact:
        length_n = length_n.float()
        W_enc_nd, b_enc_n = W_enc_nd * length_n.unsqueeze(1), b_enc_n * length_n
        W_dec_nd = W_dec_nd / length_n.unsqueeze(1)
        if threshold_n is not None and not foreign.is_rescaled:
            threshold_n = threshold_n * length_n
        folded.append("decoder lengths")
    for name, value in (("W_enc", W_enc_nd), ("b_enc", b_enc_n), ("threshold", threshold_n)):
        if value is not None and not bool(torch.isfinite(value).all()):
            raise refused(path, f"{name} becomes infinite when decoder lengths or b_dec are folded into it")
    return SAE(W_enc_nd, b_enc_n, W_dec_nd, foreign.b_dec_d, foreign.k, threshold_n), folded


def _times_in_double(W_nd: Tensor, x_d: Tensor) -> Tensor:
    """Multiply in double precision to [n], rounded once to float32."""
    return torch.cat([rows.double() @ x_d.double() for rows in W_nd.split(_ROWS)]).float()


def require_unit_length(length_n: Tensor, path: Path) -> None:
    """Raise EmergenceError if the length of a decoder row differs from one by more than 0.001."""
    off_n = (length_n - 1).abs()
    if not bool((off_n < UNIT_TOLERANCE).all()):
        worst = int(off_n.argmax())
        raise refused(
            path,
            f"has decoder rows that are not of unit length, row {worst} of {float(length_n[worst]):.4g}: its k largest"
            " latents would be others if they were rescaled",
            "have the decoder rows divided by their lengths, as sparsify does before each step of training but not in"
            " what it saves; or choose an SAE whose decoder rows are of unit length",
        )


def _check_can_be_one(length_n: Tensor, path: Path) -> None:
    is_bad_n = (length_n < _MIN_LENGTH) | (length_n > _MAX_LENGTH)
    if bool(is_bad_n.any()):
        first = int(is_bad_n.int().argmax())
        raise refused(
            path,
            f"has decoder rows that cannot be made of unit length, first row {first} of {float(length_n[first]):.4g}",
            "remove these latents from the SAE",
        )
