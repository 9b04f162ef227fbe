"""Processes and threads share a cache: no entry is filled twice, claimed twice, or removed while in use."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emergence_assets.checkpoints.sources.cache import CheckpointCache
from resources.errors import EmergenceError
from tests.checkpoints.sources.small_cache import filling, keys, put

PROGRAM = """
import sys, time
from pathlib import Path
from emergence_assets.checkpoints.sources.cache import CheckpointCache
root, key, n_bytes, action = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]


def fill(folder):
    with (root.parent / "fills").open("a") as log:
        log.write("x")
    (folder / "a").write_bytes(b"x" * (n_bytes // 2))
    if action == "stop half-way":
        print("half", flush=True)
        time.sleep(60)
    time.sleep(0.2)
    (folder / "b").write_bytes(b"x" * (n_bytes - n_bytes // 2))
with CheckpointCache(root, 1000).hold(key, n_bytes, fill) as folder:
    print(sum(file.stat().st_size for file in folder.iterdir()), flush=True)
    if action == "stay":
        time.sleep(60)
"""


@contextlib.contextmanager
def process(cache: CheckpointCache, key: str, n_bytes: int, action: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds an entry; killed at the end."""
    arguments = [sys.executable, "-c", PROGRAM, str(cache.root), key, str(n_bytes), action]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def first_line(started: "subprocess.Popen[str]") -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def test_an_entry_of_another_process_is_kept_until_that_process_ends(cache: CheckpointCache) -> None:
    with process(cache, "a", 600, "stay") as other:
        assert first_line(other) == "600"
        assert cache.evict("a") == 0
        with pytest.raises(EmergenceError, match="No room"):
            put(cache, "b", 600)
        other.send_signal(signal.SIGKILL)
        other.wait()
        put(cache, "b", 600)
    assert keys(cache) == ["b"]


def test_processes_that_want_the_same_fill_it_once(cache: CheckpointCache) -> None:
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(process(cache, "a", 100, "go")) for _ in range(3)]
        assert [first_line(other) for other in started] == ["100"] * 3
    assert (cache.root.parent / "fills").read_text() == "x"


def test_threads_that_want_the_same_fill_it_once(cache: CheckpointCache) -> None:
    fills: list[Path] = []
    together = threading.Barrier(4)

    def fill(folder: Path) -> None:
        fills.append(folder)
        time.sleep(0.05)
        filling(100)(folder)

    def want(_: int) -> int:
        together.wait()
        with cache.hold("a", 100, fill) as folder:
            return (folder / "weights").stat().st_size

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(want, range(4))) == [100] * 4
    assert len(fills) == 1


def test_threads_that_want_different_ones_stay_within_the_bound(tmp_path: Path) -> None:
    cache = CheckpointCache(tmp_path / "cache", 1000, wait_seconds=5)

    def want(number: int) -> int:
        with cache.hold(f"{number % 5}", 400, filling(400)) as folder:
            time.sleep(0.01)
            assert (folder / "weights").stat().st_size == 400
            return sum(entry.n_bytes for entry in cache.entries())

    with ThreadPoolExecutor(4) as threads:
        assert max(threads.map(want, range(20))) <= 1000


@pytest.mark.parametrize("how", ["killed", "failed"])
def test_a_fill_that_ends_half_way_leaves_nothing_whole_and_is_gone_on_with(cache: CheckpointCache, how: str) -> None:
    if how == "killed":
        with process(cache, "a", 200, "stop half-way") as other:
            assert first_line(other) == "half"
            other.send_signal(signal.SIGKILL)
    else:

        def fail(folder: Path) -> None:
            (folder / "a").write_bytes(b"x" * 100)
            raise EmergenceError("The hub does not answer.")

        with pytest.raises(EmergenceError, match="does not answer"), cache.hold("a", 200, fail):
            pass
    assert not cache.contains("a")
    assert [(entry.key, entry.whole) for entry in cache.entries()] == [("a", False)]

    def go_on(folder: Path) -> None:
        assert (folder / "a").stat().st_size == 100
        (folder / "b").write_bytes(b"x" * 100)

    with cache.hold("a", 200, go_on) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def test_room_is_claimed_before_it_is_filled(cache: CheckpointCache) -> None:
    with process(cache, "a", 600, "stop half-way") as other:
        assert first_line(other) == "half"
        (entry,) = cache.entries()
        assert entry.n_bytes == 600  # of which 300 are there
        assert cache.evict("a") == 0
        with pytest.raises(EmergenceError, match="No room"):
            put(cache, "b", 600)
        other.send_signal(signal.SIGKILL)
        other.wait()
    put(cache, "b", 600)  # the claim of a dead process is void
    assert keys(cache) == [entry.key for entry in cache.entries()] == ["b"]


def test_a_request_that_waits_for_space_gets_it_when_it_is_free(tmp_path: Path) -> None:
    cache = CheckpointCache(tmp_path / "cache", 1000, wait_seconds=3)
    with ThreadPoolExecutor(1) as threads:
        with cache.hold("a", 600, filling(600)):
            waiting = threads.submit(put, cache, "b", 600)
            time.sleep(0.1)
            assert not waiting.done()
        waiting.result(timeout=3)
    assert keys(cache) == ["b"]
