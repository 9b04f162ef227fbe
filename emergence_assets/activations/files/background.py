"""Write during the forward pass: a thread appends blocks of rows.

If the disk is slower than the device, the forward pass waits for it, so that memory is bounded.
"""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from emergence_assets.activations.files.writing import ActivationWriter

QUEUED_BLOCKS = 4
"""Maximum number of blocks that wait for the thread; a block is a group of texts of one layer."""


class BackgroundWriter:
    """Appends blocks to the writers of several layers in the order of the calls.

    The end of the `with` block waits until all blocks are written, except after an error. The caller then commits the
    writers.
    """

    def __init__(self, writers: Mapping[int, ActivationWriter]):
        self._writers = writers
        self._blocks: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1, "activation writer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=error is not None)  # waiting blocks are useless after an error
        if error is None:
            for block in self._blocks:
                block.result()

    def append(self, layer: int, name: str, block_td: np.ndarray) -> None:
        """Queue rows of one dataset of one layer; waits while the queue is full.

        Raises:
            EmergenceError: An earlier block could not be written: the disk is full.
            ValueError: An earlier block did not fit.
        """
        if len(self._blocks) > QUEUED_BLOCKS:  # one of them is being written
            self._blocks.popleft().result()
        self._blocks.append(self._thread.submit(self._writers[layer].append, name, block_td))
