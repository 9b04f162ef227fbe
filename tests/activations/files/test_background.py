"""Writing beside the forward pass keeps the order, runs at most a few blocks ahead, and raises failures in `append`."""

import contextlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from emergence_assets.activations.files.background import QUEUED_BLOCKS, BackgroundWriter
from emergence_assets.activations.files.layout import ROW_DATASETS, ActivationSpec
from emergence_assets.activations.files.writing import ActivationWriter
from resources.errors import EmergenceError
from tests.activations.files.layer_files import everything, random_rows, temporaries
from tests.activations.files.sample_file import write

SIZE = {"n_rows": 600, "d_model": 8}
SPEC = ActivationSpec(600, 5, 8)


class SlowWriter(ActivationWriter):
    """A writer on a slow disk: it waits before each block, and counts its blocks."""

    n_taken = 0
    seconds = 0.0
    go_on: threading.Event | None = None

    def append(self, name: str, block_td: np.ndarray) -> None:
        if self.go_on is not None:
            self.go_on.wait(30)
        time.sleep(self.seconds)
        super().append(name, block_td)
        self.n_taken += 1


def n_writing_threads() -> int:
    return sum(thread.name.startswith("activation writer") for thread in threading.enumerate())


@pytest.mark.parametrize("seconds", [0, 0.002])
def test_blocks_arrive_in_the_order_in_which_they_were_given(tmp_path: Path, seconds: float) -> None:
    layers = (-1, 0, 3)
    rows = {layer: random_rows(**SIZE, seed=layer + 1) for layer in layers}
    with contextlib.ExitStack() as open_files:
        writers = {layer: open_files.enter_context(SlowWriter(tmp_path / f"{layer}.h5", SPEC, {})) for layer in layers}
        writers[0].seconds = seconds
        with BackgroundWriter(writers) as background:
            for start in range(0, 600, 7):
                for layer in layers:
                    background.append(layer, "resid_post", rows[layer]["resid_post"][start : start + 7])
            for name in list(ROW_DATASETS)[1:]:
                for layer in layers:
                    background.append(layer, name, rows[layer][name])
        for writer in writers.values():
            writer.commit()
    for layer in layers:
        expected = everything(write(tmp_path / "directly.h5", rows[layer], "float16", {}))
        found = everything(tmp_path / f"{layer}.h5")
        # Statistics are sums of blocks, and the blocks were different.
        assert all(found[name] == expected[name] for name in ROW_DATASETS)
    assert n_writing_threads() == 0


def test_the_forward_pass_waits_for_a_slow_disk(tmp_path: Path) -> None:
    block_td = np.ones((10, 8), np.float32)
    with SlowWriter(tmp_path / "layer.h5", SPEC, {}) as writer:
        writer.go_on = threading.Event()
        n_given = 0

        def give() -> None:
            nonlocal n_given
            with BackgroundWriter({0: writer}) as background:
                for _ in range(30):
                    background.append(0, "resid_post", block_td)
                    n_given += 1

        giver = threading.Thread(target=give)
        giver.start()
        deadline = time.monotonic() + 10
        while n_given <= QUEUED_BLOCKS and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert n_given == QUEUED_BLOCKS + 1  # the writer works on one more
        assert writer.n_taken == 0
        writer.go_on.set()
        giver.join(30)
        assert (n_given, writer.n_taken) == (30, 30)


def test_leaving_waits_until_everything_is_written(tmp_path: Path) -> None:
    with SlowWriter(tmp_path / "layer.h5", SPEC, {}) as writer:
        writer.seconds = 0.02
        with BackgroundWriter({0: writer}) as background:
            for _ in range(QUEUED_BLOCKS):
                background.append(0, "resid_post", np.ones((10, 8), np.float32))
        assert writer.n_taken == QUEUED_BLOCKS


@pytest.mark.parametrize("n_blocks", [1, 3, QUEUED_BLOCKS + 1, 60])
def test_a_failed_write_raises_in_append_and_nothing_blocks(tmp_path: Path, n_blocks: int) -> None:
    too_wide_td = np.ones((10, 9), np.float32)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            with (
                ActivationWriter(tmp_path / "layer.h5", SPEC, {}) as writer,
                BackgroundWriter({0: writer}) as background,
            ):
                for _ in range(n_blocks):
                    background.append(0, "resid_post", too_wide_td)
        except ValueError as error:
            raised.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(20)
    assert not worker.is_alive()
    assert len(raised) == 1
    assert "takes" in str(raised[0])
    assert list(tmp_path.iterdir()) == []
    assert n_writing_threads() == 0


def test_an_unknown_layer_raises_in_append(tmp_path: Path) -> None:
    with (
        ActivationWriter(tmp_path / "layer.h5", SPEC, {}) as writer,
        pytest.raises(KeyError),
        BackgroundWriter({0: writer}) as background,
    ):
        background.append(5, "resid_post", np.ones((1, 8), np.float32))


class FullDiskWriter(ActivationWriter):
    """A writer whose reserved space is lost: before the tenth block the file is made sparse and the disk is filled."""

    n_taken = 0

    def append(self, name: str, block_td: np.ndarray) -> None:
        self.n_taken += 1
        if self.n_taken == 10:
            (temporary,) = temporaries(self.folder)
            size = temporary.stat().st_size
            with temporary.open("r+b") as stream:
                stream.truncate(4096)
                stream.truncate(size)
            with (self.folder / "eaten").open("wb", buffering=0) as stream, contextlib.suppress(OSError):
                while stream.write(bytes(4096)):
                    pass
        super().append(name, block_td)

    folder: Path


def test_a_disk_that_fills_up_stops_the_forward_pass(small_disk: Path) -> None:
    spec = ActivationSpec(20_000, 5, 8)
    n_given = 0

    def forward_pass() -> None:
        nonlocal n_given
        with FullDiskWriter(small_disk / "layer.h5", spec, {}) as writer, BackgroundWriter({0: writer}) as background:
            writer.folder = small_disk
            for _ in range(40):
                background.append(0, "resid_post", np.ones((500, 8), np.float32))
                n_given += 1
                time.sleep(0.002)

    with pytest.raises(EmergenceError, match="No space for a file of"):
        forward_pass()
    assert 9 <= n_given < 40
    assert [path.name for path in small_disk.iterdir()] == ["eaten"]
    assert n_writing_threads() == 0


@pytest.mark.parametrize("error", [RuntimeError("forward pass failed"), KeyboardInterrupt()])
@pytest.mark.parametrize("seconds", [0, 0.05])
def test_an_error_in_the_forward_pass_leaves_nothing_behind(
    tmp_path: Path, error: BaseException, seconds: float
) -> None:
    def forward_pass() -> None:
        with contextlib.ExitStack() as open_files:
            writers = {
                layer: open_files.enter_context(SlowWriter(tmp_path / f"{layer}.h5", SPEC, {})) for layer in (0, 1)
            }
            writers[0].seconds = seconds
            with BackgroundWriter(writers) as background:
                for _ in range(QUEUED_BLOCKS):
                    background.append(0, "resid_post", np.ones((10, 8), np.float32))
                raise error

    start = time.perf_counter()
    with pytest.raises(type(error)) as caught:
        forward_pass()
    assert caught.value is error
    assert time.perf_counter() - start < (QUEUED_BLOCKS - 1) * 0.05 + 1, "what was queued is not written any more"
    assert list(tmp_path.iterdir()) == []
    assert n_writing_threads() == 0


def test_an_error_of_the_forward_pass_is_not_hidden_by_a_disk_error(tmp_path: Path) -> None:
    def forward_pass() -> None:
        with ActivationWriter(tmp_path / "layer.h5", SPEC, {}) as writer, BackgroundWriter({0: writer}) as background:
            background.append(0, "resid_post", np.ones((10, 9), np.float32))
            time.sleep(0.1)
            raise RuntimeError("forward pass failed")

    with pytest.raises(RuntimeError, match="forward"):
        forward_pass()
