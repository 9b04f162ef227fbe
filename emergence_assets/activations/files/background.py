"""Write during the forward pass: a thread takes blocks of rows from a bounded queue and appends them.

If the disk is slower than the device, the queue fills and the forward pass waits, so that memory is bounded.
"""

import queue
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np

from emergence_assets.activations.files.writing import ActivationWriter

QUEUED_BLOCKS = 4
"""Maximum number of blocks in the queue; a block is a group of texts of one layer."""


class BackgroundWriter:
    """Appends blocks to the writers of several layers in the order of the calls.

    The end of the `with` block waits until all blocks are written, except after an error. The caller then commits the
    writers.
    """

    def __init__(self, writers: Mapping[int, ActivationWriter]):
        self._writers = writers
        self._blocks: queue.Queue[tuple[int, str, np.ndarray] | None] = queue.Queue(QUEUED_BLOCKS)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="activation writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._failure = self._failure or error  # queued blocks are useless after an error
        self._blocks.put(None)
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def append(self, layer: int, name: str, block_td: np.ndarray) -> None:
        """Queue rows of one dataset of one layer; waits while the queue is full.

        Raises:
            EmergenceError: An earlier block could not be written: the disk is full.
            ValueError: An earlier block did not fit.
        """
        if self._failure is not None:
            raise self._failure
        self._blocks.put((layer, name, block_td))

    def _work(self) -> None:
        while (block := self._blocks.get()) is not None:
            if self._failure is None:  # else empty the queue: the forward pass may wait for space in it
                layer, name, block_td = block
                try:
                    self._writers[layer].append(name, block_td)
                except BaseException as error:
                    self._failure = error
