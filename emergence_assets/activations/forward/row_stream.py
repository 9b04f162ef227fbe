"""Training rows of several layers that are computed slab by slab, and never held as a whole. Imports torch.

One forward pass over the texts of a slab fills the slabs of all layers. All SAEs of a stack take their batches from
these slabs, each in the order of its own seed.

Shape suffixes: t rows · d d_model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from emergence_assets.activations.files.row_order import RowOrder
from emergence_assets.activations.files.writing import as_tensor
from resources.hdf5.hdf5 import NUMERIC_TYPES

ComputeRows = Callable[[Sequence[int], Callable[[int, np.ndarray], None]], None]
"""Function that runs training texts, given by index, and passes layer and rows [any number, d_model] on in order."""


class RowStream:
    """Slabs of the training rows of several layers, of which one per layer is in memory.

    Args:
        layers: Block indexes from 0; -1 is the embedding.
        texts: Indexes of the training texts whose rows are used, ascending.
        rows_of_texts: Rows of each of these texts.
        d_model: Width of a row.
        dtype: float16, bfloat16 or float32; data type of the rows.
        slab_bytes: Bytes of a slab of one layer; decides the order of rows, see `RowOrder`.
        compute: Runs texts.
    """

    def __init__(
        self,
        layers: Sequence[int],
        texts: np.ndarray,
        rows_of_texts: np.ndarray,
        d_model: int,
        dtype: str,
        slab_bytes: int,
        compute: ComputeRows,
    ):
        kind = NUMERIC_TYPES[dtype][1]
        self._texts, self._compute, self.d_model = texts, compute, d_model
        self._starts = np.concatenate([[0], np.cumsum(rows_of_texts)])
        self.order = RowOrder.for_rows(
            int(self._starts[-1]), d_model * kind.itemsize, 0, slab_bytes, text_starts=self._starts[:-1]
        )
        self._slabs = {layer: np.empty((self.order.most_rows, d_model), kind) for layer in layers}
        self._tensors = {layer: as_tensor(rows_td, dtype) for layer, rows_td in self._slabs.items()}
        self._held: tuple[int, int] | None = None
        self._n_rows = 0
        self.n_computed = 0
        """Rows of each layer that were computed so far."""

    def of_layer(self, layer: int) -> "StreamedRows":
        """Return the rows of one layer, for `ShuffledRows`."""
        return StreamedRows(self, layer)

    def memory(self, layer: int) -> Tensor:
        """Return the memory of the slab of a layer: [most rows of a slab, d_model]."""
        return self._tensors[layer]

    def slab(self, layer: int, epoch: int, slab: int) -> Tensor:
        """Return the rows of a slab in the order of its blocks, which all layers keep until another slab is asked for.

        Raises:
            EmergenceError: The model cannot run, or its values are not finite.
        """
        if self._held != (epoch, slab):
            self._held = None  # a failed pass leaves a part of the new slab
            self._fill(epoch, slab)
            self._held = (epoch, slab)
        return self._tensors[layer][: self._n_rows]

    def _fill(self, epoch: int, slab: int) -> None:
        blocks = self.order.slab_blocks(epoch, slab)
        places = np.searchsorted(self._starts, blocks)
        chosen = np.concatenate([self._texts[first:end] for first, end in places])
        filled = dict.fromkeys(self._slabs, 0)

        def append(layer: int, rows_td: np.ndarray) -> None:
            self._slabs[layer][filled[layer] : filled[layer] + len(rows_td)] = rows_td
            filled[layer] += len(rows_td)

        self._compute(chosen.tolist(), append)
        self._n_rows = self.order.slab_size(epoch, slab)
        self.n_computed += self._n_rows


@dataclass(frozen=True, eq=False)
class StreamedRows:
    """Rows of one layer of a stream; see `batches.ComputedRows`."""

    stream: RowStream
    layer: int

    @property
    def order(self) -> RowOrder:
        """Blocks and slabs of the rows."""
        return self.stream.order

    @property
    def d_model(self) -> int:
        """Width of a row."""
        return self.stream.d_model

    @property
    def slab_memory(self) -> Tensor:
        """Memory of a slab."""
        return self.stream.memory(self.layer)

    def slab(self, epoch: int, slab: int) -> Tensor:
        """Return the rows of a slab: [t, d]."""
        return self.stream.slab(self.layer, epoch, slab)
