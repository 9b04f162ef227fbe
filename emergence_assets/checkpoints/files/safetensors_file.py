"""Read header and bytes of a safetensors file in blocks, without torch; the file is treated as hostile input."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from resources.errors import BrokenCheckpoint

FETCH_AGAIN = "replace this file by an intact copy: fetch it again, or save the checkpoint again"
MAX_JSON_BYTES = 64 * 2**20
"""Largest JSON file or header that is read; parsed, it takes up to 30 times as much memory. The largest published
tokenizers have 35 MB."""
MAX_DIMENSIONS, MAX_SIDE = 8, 2**62
"""Most dimensions of a tensor, and its longest side or offset: products of longer ones take minutes."""
BLOCK_BYTES = 64 * 2**20
# Width of an element in bytes, and its exponent bits; if all are set, the value is NaN or infinite.
DTYPES: dict[str, tuple[int, int | None]] = {
    "F64": (8, 0x7FF0_0000_0000_0000),
    "F32": (4, 0x7F80_0000),
    "F16": (2, 0x7C00),
    "BF16": (2, 0x7F80),
    "F8_E5M2": (1, 0x7C),
    "F8_E4M3": (1, 0x7F),  # has no infinity; all bits set is NaN
    **{name: (width, None) for width, name in ((8, "I64"), (4, "I32"), (2, "I16"), (1, "I8"))},
    **{name: (width, None) for width, name in ((8, "U64"), (4, "U32"), (2, "U16"), (1, "U8"), (1, "BOOL"))},
}


class Tensor(NamedTuple):
    """A tensor of a file, without its values."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    """Start of the data, in bytes from the beginning of the file."""

    @property
    def n_bytes(self) -> int:
        """Size of the data."""
        return math.prod(self.shape) * DTYPES[self.dtype][0]


def refuse(what: str, where: Path, remedy: str = FETCH_AGAIN) -> NoReturn:
    """Raise BrokenCheckpoint with this reason."""
    raise BrokenCheckpoint(f"broken checkpoint: {what}", where=where, remedy=remedy)


def read_header(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file by name; every byte of data must belong to exactly one tensor.

    Layout: 8 bytes little-endian header length, JSON header, data (https://github.com/huggingface/safetensors#format).

    Raises:
        BrokenCheckpoint: the file is truncated, or its header is invalid.
    """
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(8), "little")
        if n_bytes < 8 or header_length > min(n_bytes - 8, MAX_JSON_BYTES):
            refuse(f"not a safetensors file, or truncated: {n_bytes} bytes, header of {header_length}", path)
        try:
            header = json.loads(file.read(header_length))
        except (ValueError, RecursionError):
            refuse("safetensors header is not JSON", path)
    if not isinstance(header, dict):
        refuse("safetensors header is not a JSON object", path)
    header.pop("__metadata__", None)
    tensors, spans = {}, []
    for name, entry in header.items():
        match entry:
            case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if (
                dtype in DTYPES
                and len(shape) <= MAX_DIMENSIONS
                and all(type(size) is int and 0 <= size <= MAX_SIDE for size in (*shape, begin, end))
            ):
                pass
            case _:
                refuse(f"safetensors header has an invalid entry for tensor {name:.100}: {entry!s:.100}", path)
        if end - begin != math.prod(shape) * DTYPES[dtype][0]:
            refuse(f"tensor {name:.100} has {end - begin} bytes, which do not fit {dtype} of shape {shape}", path)
        tensors[name] = Tensor(dtype, tuple(shape), path, 8 + header_length + begin)
        spans.append((begin, end))
    expected = 0
    for begin, end in sorted(spans):
        if begin != expected:
            refuse("tensors overlap or leave a gap", path)
        expected = end
    if 8 + header_length + expected != n_bytes:
        refuse(f"file has {n_bytes} bytes, its header describes {8 + header_length + expected}", path)
    if not tensors:
        refuse("file holds no tensors", path)
    return tensors


def read_blocks(
    path: Path, tensors: dict[str, Tensor], on_bytes: Callable[[bytes], None] = lambda _bytes: None
) -> Iterator[tuple[str, Tensor, int, bytes]]:
    """Read a file once, from its first byte to its last.

    Args:
        path: path of the file.
        tensors: header of the file.
        on_bytes: called with every byte in order, the header included.

    Yields:
        Name, tensor, offset inside the tensor in bytes, and at most `BLOCK_BYTES` bytes, in the order of the file.

    Raises:
        BrokenCheckpoint: the file became shorter.
    """
    in_order = sorted(tensors.items(), key=lambda item: item[1].start)
    with path.open("rb") as file:
        on_bytes(file.read(in_order[0][1].start))
        for name, tensor in in_order:
            done = 0
            while done < tensor.n_bytes:
                n_bytes = min(tensor.n_bytes - done, BLOCK_BYTES)
                content = file.read(n_bytes)
                if len(content) < n_bytes:
                    refuse("file became shorter while it was read", path)
                on_bytes(content)
                yield name, tensor, done, content
                done += len(content)


def n_not_finite(tensor: Tensor, content: bytes) -> int:
    """Count the NaN or infinite values in a block of a tensor."""
    width, exponent = DTYPES[tensor.dtype]
    if exponent is None:
        return 0
    block = np.frombuffer(content, dtype=f"<u{width}")
    mask = block.dtype.type(exponent)
    return int(np.count_nonzero((block & mask) == mask))
