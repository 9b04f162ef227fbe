"""Shuffled batches of rows that are kept on the device, in memory, on a disk, or computed slab by slab by a model.

The order of rows is defined in `row_order.py` and equal in all places. Imports torch.

Shape suffixes: t rows · d d_model.
"""

import mmap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from emergence_assets.activations.files.reading import Rows
from emergence_assets.activations.files.row_order import SLAB_BYTES, RowOrder
from resources.compute.machine import available_memory

Regime = Literal["device", "memory", "disk", "computed"]


class ComputedRows(Protocol):
    """Rows that nothing holds as a whole: each slab is computed when it is needed."""

    @property
    def order(self) -> RowOrder:
        """Blocks and slabs of the rows; its seed is not used."""
        ...

    @property
    def d_model(self) -> int:
        """Width of a row."""
        ...

    @property
    def slab_memory(self) -> Tensor:
        """Memory of a slab, of the type and on the device of its rows."""
        ...

    def slab(self, epoch: int, slab: int) -> Tensor:
        """Return the rows of the blocks of a slab, in the order of the blocks: [t, d].

        The memory is used again for the next slab.
        """
        ...


Source = Rows | Tensor | ComputedRows


class ShuffledRows:
    """Endless batches of rows across epochs, which can start at any batch.

    Args:
        rows: A mapped dataset, a tensor [t, d], or rows that are computed.
        batch_size: Rows per batch.
        seed: Seed of the order, together with the number of the epoch.
        device: Device of the batches.
        kept_t: Mask of the rows to use, bool [t]; by default all. Computed rows are all used.
        slab_bytes: See `RowOrder`; the disk regime takes twice as much memory.
        regime: Where rows are kept; by default the fastest place that holds them. Does not change batches.
        text_starts: See `RowOrder`, of the kept rows.
        norm_limit: Rows of a larger L2 norm are left out: each gives its place to the row before it in the order of its
            slab, so that slabs of all layers keep their size.

    Raises:
        ValueError: No row is kept, `kept_t` has another length, or the regime is disk but the rows are not on a disk.
    """

    def __init__(
        self,
        rows: Source,
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        *,
        kept_t: np.ndarray | None = None,
        slab_bytes: int = SLAB_BYTES,
        regime: Regime | None = None,
        text_starts: np.ndarray | None = None,
        norm_limit: float | None = None,
    ):
        self.device, self.batch_size, self.norm_limit = torch.device(device), batch_size, norm_limit
        self._mapped, self._computed, self._kept = None, None, None
        self._massive_of_all: np.ndarray | None = None
        if not isinstance(rows, Rows | Tensor):
            self.regime: Regime = "computed"
            self._computed = rows
            self.n_rows, self.d_model = rows.order.n_rows, rows.d_model
            self.order = replace(rows.order, seed=seed)
            return
        self._rows_td = rows.tensor() if isinstance(rows, Rows) else rows
        if kept_t is not None and kept_t.shape != self._rows_td.shape[:1]:
            raise ValueError(f"kept_t has shape {kept_t.shape}; there are {len(self._rows_td)} rows")
        self._kept = None if kept_t is None or bool(kept_t.all()) else np.flatnonzero(kept_t)
        self.n_rows = len(self._rows_td) if self._kept is None else len(self._kept)
        if self.n_rows < 1:
            raise ValueError("there are no rows to shuffle")
        self.d_model = self._rows_td.shape[1]
        row_bytes = self.d_model * self._rows_td.element_size()
        self.order = RowOrder.for_rows(self.n_rows, row_bytes, seed, slab_bytes, text_starts)
        self._mapped = rows if isinstance(rows, Rows) and rows.is_mapped else None
        n_bytes = self.n_rows * row_bytes
        self.regime = regime or choose_regime(n_bytes, self.device, on_disk=self._mapped is not None)
        if self.regime == "device":
            kept_td = self._rows_td if self._kept is None else self._rows_td[torch.from_numpy(self._kept)]
            self._rows_td, self._kept = kept_td.to(self.device), None
        if self.regime == "disk" and self._mapped is None:
            raise ValueError("the disk regime needs a mapped dataset")

    def first_slab(self, n_rows: int = 65_536) -> Iterator[Tensor]:
        """Yield the rows of the first slab of the first epoch in the order of its blocks, at most `n_rows` at a time.

        These are all rows if they fit into a slab, else a random sample of blocks; without rows above the norm limit.
        On the device.
        """
        for part_td in self._slab_parts(0, 0, n_rows):
            on_device_td = part_td.to(self.device)
            yield on_device_td if self.norm_limit is None else on_device_td[~self._is_massive(on_device_td)]

    def batches(self, first: int = 0) -> Iterator[Tensor]:
        """Yield batches [batch_size, d] on the device, in the data type of the rows, from batch number `first` on."""
        position = first * self.batch_size
        epoch, row = divmod(position, self.n_rows)
        pieces = self._pieces(epoch, row)
        piece, done = next(pieces), 0
        while True:
            batch_td = self._empty_batch()
            filled = 0
            while filled < self.batch_size:
                if done == len(piece.order_t):
                    piece, done = next(pieces), 0
                n = min(self.batch_size - filled, len(piece.order_t) - done)
                chosen_t = piece.order_t[done : done + n]
                torch.index_select(piece.rows_td, 0, chosen_t, out=batch_td[filled : filled + n])
                filled, done = filled + n, done + n
            if self._computed is not None and len(piece.order_t) - done < self.batch_size:
                # The rest of the slab: the first member that needs more rows overwrites the slab for all members.
                rest_td = piece.rows_td.index_select(0, piece.order_t[done:])
                piece, done = _Piece(rest_td, torch.arange(len(rest_td), device=rest_td.device)), 0
            yield batch_td.to(self.device, non_blocking=True)

    def _empty_batch(self) -> Tensor:
        # Pinned memory is copied to a GPU without a wait; torch does not reuse it before the copy is done.
        staged = self.device.type == "cuda" and self.regime != "device"
        like_td = self._rows_td if self._computed is None else self._computed.slab_memory
        place = torch.device("cpu") if staged else like_td.device
        return torch.empty((self.batch_size, self.d_model), dtype=like_td.dtype, device=place, pin_memory=staged)

    def _pieces(self, first_epoch: int, row: int) -> Iterator["_Piece"]:
        """Yield slab after slab, starting at a row of an epoch."""
        if self.regime == "disk":
            yield from self._read_pieces(first_epoch, row)
        for epoch, slab, skipped in self._slabs(first_epoch, row):
            if self._computed is not None:
                rows_td = self._computed.slab(epoch, slab)
                order = self._order_within(epoch, slab, rows_td)[skipped:]
                yield _Piece(rows_td, torch.from_numpy(order).to(rows_td.device))
                continue
            order = self._order_within(epoch, slab)[skipped:]
            if not self.order.is_uniform:
                order = self._block_rows(epoch, slab)[order]
            chosen = order if self._kept is None else self._kept[order]
            yield _Piece(self._rows_td, torch.from_numpy(chosen).to(self._rows_td.device))

    def _slab_parts(self, epoch: int, slab: int, n_rows: int) -> Iterator[Tensor]:
        """Yield the rows of a slab in the order of its blocks, `n_rows` at a time, where they are kept."""
        if self._computed is not None:
            yield from self._computed.slab(epoch, slab).split(n_rows)
            return
        chosen_t = self._block_rows(epoch, slab)
        for start in range(0, len(chosen_t), n_rows):
            part_t = chosen_t[start : start + n_rows]
            kept_t = part_t if self._kept is None else self._kept[part_t]
            yield self._rows_td[torch.from_numpy(kept_t).to(self._rows_td.device)]

    def _order_within(self, epoch: int, slab: int, rows_td: Tensor | None = None) -> np.ndarray:
        """Return the positions of the rows of a slab in their order, without rows above the norm limit.

        Args:
            epoch: Number of the epoch.
            slab: Number of the slab.
            rows_td: Rows of the slab in the order of its blocks, if they are in memory.
        """
        order = self.order.within_slab(epoch, slab)
        if self.norm_limit is None:
            return order
        is_massive_t = self._massive_of_all
        if is_massive_t is None:
            parts = self._slab_parts(epoch, slab, 65_536) if rows_td is None else rows_td.split(65_536)
            is_massive_t = np.concatenate([self._is_massive(part_td).cpu().numpy() for part_td in parts])
            self._massive_of_all = is_massive_t if self.order.is_uniform else None
        allowed = np.flatnonzero(~is_massive_t[order])
        if len(allowed) in (0, len(order)):
            return order
        before = np.searchsorted(allowed, np.arange(len(order)), side="right") - 1
        return order[allowed[np.maximum(before, 0)]]

    def _is_massive(self, rows_td: Tensor) -> Tensor:
        return torch.linalg.vector_norm(rows_td.float(), dim=1) > self.norm_limit

    def _block_rows(self, epoch: int, slab: int) -> np.ndarray:
        """Return the row numbers of a slab in the order of its blocks."""
        starts, ends = self.order.slab_blocks(epoch, slab).T
        return np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])

    def _slabs(self, epoch: int, row: int) -> Iterator[tuple[int, int, int]]:
        """Yield epoch, slab, and the number of its rows to skip, without end."""
        while True:
            for slab in range(self.order.n_slabs):
                n_rows = self.order.slab_size(epoch, slab)
                if row < n_rows:
                    yield epoch, slab, row
                row = max(0, row - n_rows)
            epoch += 1

    def _read_pieces(self, epoch: int, row: int) -> Iterator["_Piece"]:
        """Read the next slab while batches are taken from this one; copying releases the interpreter lock."""
        slabs = self._slabs(epoch, row)
        shape = (self.order.most_rows, self.d_model)
        buffers = [torch.empty(shape, dtype=self._rows_td.dtype) for _ in range(2)]
        with ThreadPoolExecutor(1, "activation reader") as reader:
            pending = reader.submit(self._read, next(slabs), buffers[0])
            turn = 0
            while True:
                piece = pending.result()
                turn = 1 - turn
                pending = reader.submit(self._read, next(slabs), buffers[turn])
                yield piece

    def _read(self, position: tuple[int, int, int], buffer_td: Tensor) -> "_Piece":
        epoch, slab, skipped = position
        filled = 0
        for start, end in self.order.slab_blocks(epoch, slab).tolist():
            target_td = buffer_td[filled : filled + end - start]
            if self._kept is None:
                self._advise(mmap.MADV_WILLNEED, start, end)
                target_td.copy_(self._rows_td[start:end])
            else:
                self._advise(mmap.MADV_WILLNEED, int(self._kept[start]), int(self._kept[end - 1]) + 1)
                torch.index_select(self._rows_td, 0, torch.from_numpy(self._kept[start:end]), out=target_td)
            filled += end - start
        # Pages that were read stay in the page cache but no longer count as memory of this process.
        self._advise(mmap.MADV_DONTNEED, 0, len(self._rows_td))
        return _Piece(buffer_td, torch.from_numpy(self._order_within(epoch, slab, buffer_td[:filled])[skipped:]))

    def _advise(self, advice: int, start: int, end: int) -> None:
        if self._mapped is not None:
            self._mapped.expect(advice, start, end)


class _Piece(NamedTuple):
    """Rows with their order."""

    rows_td: Tensor
    order_t: Tensor


def choose_regime(n_bytes: int, device: torch.device, *, on_disk: bool) -> Regime:
    """Choose the fastest memory that holds the rows in half of its free bytes."""
    if device.type == "cuda" and n_bytes <= torch.cuda.mem_get_info(device)[0] // 2:
        return "device"
    return "disk" if on_disk and n_bytes > available_memory() // 2 else "memory"
