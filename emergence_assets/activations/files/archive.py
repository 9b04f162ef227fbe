"""Rows compressed for the archive: bytes of equal significance side by side, then zstd, block by block.

Bits of the mantissa are noise and do not compress; sign and exponent do, once they stand together. Nothing about files.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

BLOCK_BYTES = 4 << 20
"""Rows are compressed in blocks of about this size: memory is bounded, and a damaged block is told apart."""
LEVEL = 1
"""Higher levels of zstd take three times as long for a percent."""


def block_rows(row_bytes: int) -> int:
    """Rows of a block."""
    return max(1, BLOCK_BYTES // row_bytes)


def compress(stored_td: np.ndarray) -> Iterator[bytes]:
    """Compressed blocks of an array in storage form, in order."""
    codec = pa.Codec("zstd", LEVEL)
    n_rows = block_rows(stored_td.shape[1] * stored_td.itemsize)
    for start in range(0, len(stored_td), n_rows):
        block_td = np.ascontiguousarray(stored_td[start : start + n_rows])
        planes = block_td.view(np.uint8).reshape(-1, block_td.itemsize).T
        yield codec.compress(np.ascontiguousarray(planes).data, asbytes=True)


def decompress(
    compressed: np.ndarray, offsets: Sequence[int], n_block_rows: int, shape: tuple[int, int], dtype: np.dtype
) -> Iterator[np.ndarray]:
    """The blocks of rows that were compressed, in order; never more memory than a block at a time.

    Args:
        compressed: uint8, all blocks one after the other.
        offsets: Where each begins, and where the last ends.
        n_block_rows: Rows of every block but the last.
        shape: Of all rows together.
        dtype: Of the array in storage form.

    Raises:
        ValueError: The bytes are not what `compress` makes of rows of this shape.
    """
    codec = pa.Codec("zstd")
    n_rows, d_model = shape
    if list(offsets[:1]) != [0] or offsets[-1] != len(compressed) or any(a >= b for a, b in pairwise(offsets)):
        raise ValueError("the offsets do not divide the archive into blocks")
    for index, (begin, end) in enumerate(pairwise(offsets)):
        n_here = min(n_block_rows, n_rows - index * n_block_rows)
        if n_here < 1:
            raise ValueError("the archive has more blocks than rows")
        try:
            plain = codec.decompress(
                compressed[begin:end].data, decompressed_size=n_here * d_model * dtype.itemsize, asbytes=True
            )
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"block {index} of the archive does not decompress: {error}") from error
        planes = np.frombuffer(plain, np.uint8).reshape(dtype.itemsize, -1)
        yield np.ascontiguousarray(planes.T).view(dtype).reshape(n_here, d_model)
