"""Lower bound of the duration of a training step on an H100: operations and bytes at round rates, in sequence.

Arithmetic, not a measurement; it does not hold for other GPUs.
"""

from dataclasses import dataclass

HBM = 3.0e12
"""Bytes per second of the GPU's memory."""
L2 = 5.0e12
"""Bytes per second of the GPU's L2 cache, from which rows are gathered."""
SPARSE_PASSES = 4
"""Passes that gather rows: decoding, slopes, and both gradients."""


@dataclass(frozen=True)
class Arithmetic:
    """Rates and sizes of a data type."""

    flops: float
    """Operations per second in large products."""
    value_bytes: int
    adam_bytes: int
    """Bytes read and written per parameter and step: gradient, parameter, two moments; and a half-precision copy."""


BFLOAT16 = Arithmetic(600e12, 2, 34)
FLOAT32 = Arithmetic(50e12, 4, 28)
"""Without TF32, the default of torch."""


def seconds_per_token(shape: tuple[int, int, int, int], arithmetic: Arithmetic) -> float:
    """Compute the seconds of encoder product, writing and reading pre-activations, sparse passes and Adam, per token.

    Args:
        shape: d_model, n_latents, k, batch size.
        arithmetic: rates of the data type.
    """
    d_model, n_latents, k, batch_size = shape
    product = 2 * d_model * n_latents / arithmetic.flops
    pre_activations = 2 * n_latents * arithmetic.value_bytes / HBM
    sparse = SPARSE_PASSES * k * d_model * arithmetic.value_bytes / L2
    adam = arithmetic.adam_bytes * 2 * d_model * n_latents / HBM / batch_size
    return product + pre_activations + sparse + adam
