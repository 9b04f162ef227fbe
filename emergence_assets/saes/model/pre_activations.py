"""Pre-activations of all latents: the only dense product of an SAE, in chunks that stay in the processor's cache."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

CPU = torch.device("cpu")
# Pre-activations per chunk: 2^22 float32 are 16 MB. Fewer do not fill the matrix kernel, more exceed the cache
# (d=512, n=4096: whole batch 54 ms, chunks of 512 rows 40 ms).
CHUNK_ELEMENTS = 2**22
GPU_CHUNK_ELEMENTS = 2**27
"""Pre-activations per chunk on a GPU, where few kernels matter more than the cache: 512 MB; not measured."""


def chunks(n_tokens: int, n_latents: int, device: torch.device = CPU) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows whose pre-activations stay in the processor's cache, or fill a GPU."""
    size = max(1, (CHUNK_ELEMENTS if device.type == "cpu" else GPU_CHUNK_ELEMENTS) // n_latents)
    return ((start, min(start + size, n_tokens)) for start in range(0, n_tokens, size))


def pre_activations(centred_td: Tensor, W_enc_nd: Tensor, b_enc_n: Tensor) -> Tensor:
    """Compute `centred W_encᵀ + b_enc`, [t, n], by the fastest exact product of this machine."""
    if _ONEDNN_PRODUCT is not None and centred_td.device.type == "cpu" and centred_td.dtype == torch.float32:
        return _ONEDNN_PRODUCT(centred_td, W_enc_nd, b_enc_n, "none", [], "")
    return F.linear(centred_td, W_enc_nd, b_enc_n)


def _onednn_product():
    # torch multiplies float32 by MKL, which keeps to AVX2 on processors not made by Intel. oneDNN uses AVX-512 there:
    # 0.32 ms against 0.70 (1024x64x512), 40 ms against 93 (2048x512x4096) on one EPYC core. Same float32 arithmetic.
    if not torch.backends.mkldnn.is_available() or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return None
    return torch.ops.mkldnn._linear_pointwise.default


_ONEDNN_PRODUCT = _onednn_product()
