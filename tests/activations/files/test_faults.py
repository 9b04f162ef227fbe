"""Processes are killed, write at once, or have no locks: a file under its final name is whole, old or new. Counted."""

import contextlib
import errno
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emergence_assets.activations.files.batches import ShuffledRows
from emergence_assets.activations.files.layout import ROW_DATASETS, STORAGE_STATES, StorageState
from emergence_assets.activations.files.reading import open_rows, read_spec, verify_file
from emergence_assets.activations.files.storage_state import evict_rows, restore_rows
from resources.errors import EmergenceError
from resources.files.temporaries import sweep_temporaries
from resources.hdf5.hdf5 import to_storage
from tests.activations.conftest import Faults
from tests.activations.files.fork_server import D_MODEL, N_LAYERS, N_ROWS, ROOT, ForkServer
from tests.activations.files.layer_files import everything, random_rows, stored_rows, temporaries, write_layer

KILLS = [50, pytest.param(200, marks=pytest.mark.long)]
SIZE = {"n_rows": N_ROWS, "d_model": D_MODEL}


def killed(forks: ForkServer, function: str, argument: object, moment: float) -> bool:
    """Start a task and kill it after some seconds; return whether it was still running."""
    pid = forks.start(function, argument)
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    return forks.wait() == [-signal.SIGKILL]


def require_rows(path: Path, written: dict[str, np.ndarray]) -> None:
    """Require a whole file with the written rows."""
    verify_file(path)
    for name in ROW_DATASETS:
        np.testing.assert_array_equal(open_rows(path, name).array, to_storage(written[name], "float16"))


def seconds_of(forks: ForkServer, function: str, argument: object) -> float:
    """Measure the seconds of the task without a kill."""
    start = time.perf_counter()
    forks.start(function, argument)
    assert forks.wait() == [0]
    return time.perf_counter() - start


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", KILLS)
def test_a_writer_killed_at_any_moment_leaves_whole_layers_or_none(
    tmp_path: Path, forks: ForkServer, faults: Faults, n_kills: int
) -> None:
    written = [random_rows(**SIZE, seed=layer) for layer in range(N_LAYERS)]
    (tmp_path / "whole").mkdir()
    seconds = seconds_of(forks, "write_layers", tmp_path / "whole")
    moments, outcomes = random.Random(0), Counter[str]()
    for index in range(n_kills):
        folder = tmp_path / str(index)
        folder.mkdir()
        at_work = killed(forks, "write_layers", folder, moments.uniform(0, 1.1) * seconds)
        seconds *= 1.05 if at_work else 0.9  # the machine may be busy: half of the kills have to hit
        for path in folder.glob("layer*.h5"):
            require_rows(path, written[int(path.stem[-1])])
        n_whole = len(list(folder.glob("layer*.h5")))
        outcomes[f"left {n_whole} whole layers"] += 1
        for leftover in temporaries(folder):
            with contextlib.suppress(EmergenceError):  # refused; or whole, and only the rename was missing
                require_rows(leftover, written[int(leftover.name[len(".layer")])])
        sweep_temporaries(folder)
        assert len(list(folder.iterdir())) == n_whole
        shutil.rmtree(folder)
    assert outcomes["left 0 whole layers"] > n_kills // 10
    faults("kill -9 while layers are written", outcomes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "before", "after"),
    [
        ("evict", "stored", "evicted"),
        ("restore", "evicted", "stored"),
    ],
)
def test_a_rewrite_killed_at_any_moment_leaves_the_old_file_or_the_new(
    tmp_path: Path, forks: ForkServer, faults: Faults, function: str, before, after
) -> None:
    path, kept, new = tmp_path / "layer.h5", tmp_path / "before.h5", tmp_path / "after.h5"
    write_layer(path, before, **SIZE)
    shutil.copy(path, kept)
    seconds = seconds_of(forks, function, path)
    shutil.copy(path, new)
    assert read_spec(new).storage_state == after
    moments, outcomes = random.Random(1), Counter[str]()
    for _ in range(13):
        shutil.copy(kept, path)
        seconds *= 1.05 if killed(forks, function, path, moments.uniform(0, 1.1) * seconds) else 0.9
        found = path.read_bytes()
        assert found in (kept.read_bytes(), new.read_bytes())
        outcomes["left the new file" if found == new.read_bytes() else "left the old file"] += 1
        sweep_temporaries(tmp_path)
        assert len(list(tmp_path.iterdir())) == 3
    verify_file(new)
    faults(f"kill -9 while {before} rows become {after}", outcomes)


@pytest.mark.slow
def test_of_two_writers_of_one_path_one_wins_as_a_whole(tmp_path: Path, forks: ForkServer, faults: Faults) -> None:
    path = tmp_path / "layer.h5"
    either = [write_layer(tmp_path / f"{seed}.h5", n_rows=2000, seed=seed).read_bytes() for seed in (0, 1)]
    outcomes = Counter[str]()
    for turn in range(20):
        for seed in (0, 1) if turn % 2 else (1, 0):
            forks.start("write_again", path, seed, 1)
        assert forks.wait() == [0, 0]
        outcomes[f"the content of writer {either.index(path.read_bytes())}"] += 1
        assert temporaries(tmp_path) == []
        path.unlink()
    faults("two writers of one path", outcomes)


@pytest.mark.slow
def test_readers_beside_a_writer_see_one_file_or_the_other(tmp_path: Path, forks: ForkServer, faults: Faults) -> None:
    path = tmp_path / "layer.h5"
    known = [everything(write_layer(tmp_path / f"{seed}.h5", n_rows=2000, seed=seed)) for seed in (0, 1)]
    write_layer(path, n_rows=2000)
    pid = forks.start("write_again", path, 0, 60)
    outcomes = Counter[str]()
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        try:
            rows = open_rows(path, "resid_post", verify=True).array.tobytes()
        except EmergenceError as error:
            assert error.what == "The file was replaced while it was opened."  # noqa: PT017
            outcomes["asked to run again"] += 1
            continue
        outcomes[f"read version {[one['resid_post'] for one in known].index(rows)}"] += 1
    assert forks.wait() == [0]
    assert min(outcomes["read version 0"], outcomes["read version 1"]) > 0
    faults("reads beside a writer", outcomes)


def test_a_reader_goes_on_with_the_rows_it_opened(tmp_path: Path, faults: Faults) -> None:
    path, outcomes = write_layer(tmp_path / "layer.h5", n_rows=2000), Counter[str]()
    expected = stored_rows(n_rows=2000).array
    rows = open_rows(path, "resid_post")
    batches = ShuffledRows(open_rows(path, "resid_post"), 64, 0, slab_bytes=1 << 14, regime="disk").batches()
    undisturbed = ShuffledRows(stored_rows(n_rows=2000), 64, 0, slab_bytes=1 << 14, regime="memory").batches()

    def go_on(n_batches: int) -> None:
        for _ in range(n_batches):
            assert next(batches).equal(next(undisturbed))
        np.testing.assert_array_equal(rows.array, expected)
        outcomes["went on with the old rows"] += 1

    go_on(5)
    write_layer(path, n_rows=2000, seed=1)
    go_on(10)
    evict_rows(path)
    go_on(10)
    restore_rows(path, stored_rows(n_rows=2000, seed=1))
    go_on(10)
    path.unlink()
    go_on(40)
    batches.close()
    faults("a file replaced, evicted, restored, deleted under a reader", outcomes)


@contextlib.contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock through a separate file descriptor."""
    with path.open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("state", STORAGE_STATES)
def test_a_lock_of_another_program_keeps_nobody_from_reading_or_replacing(tmp_path: Path, state: StorageState) -> None:
    path = write_layer(tmp_path / "layer.h5", state)
    with held_lock(path):
        everything(path)
        restore_rows(path, stored_rows())
    assert read_spec(path).storage_state == "stored"


@pytest.mark.parametrize("setting", [None, "FALSE", "TRUE"])
def test_a_lock_blocks_only_readers_that_lock(tmp_path: Path, setting: str | None) -> None:
    path = write_layer(tmp_path / "layer.h5")
    program = "import sys; from emergence_assets.activations.files.reading import verify_file; verify_file(sys.argv[1])"
    environment = {name: value for name, value in os.environ.items() if name != "HDF5_USE_FILE_LOCKING"}
    if setting is not None:
        environment["HDF5_USE_FILE_LOCKING"] = setting
    command = [sys.executable, "-c", program, str(path)]
    with held_lock(path):
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert (ended.returncode != 0) == (setting == "TRUE"), ended.stderr
    assert ("what to do: Unset HDF5_USE_FILE_LOCKING" in ended.stderr) == (setting == "TRUE")


@pytest.mark.slow
def test_a_disk_without_locks_is_good_enough(tmp_path: Path, forks: ForkServer, faults: Faults) -> None:
    for code in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        forks.start("work_without_locks", tmp_path / f"{code}.h5", code)
    assert forks.wait() == [0, 0, 0]
    faults("flock fails with ENOLCK, ENOSYS, EOPNOTSUPP", Counter({"written, evicted, restored, read": 3}))


@pytest.mark.slow
def test_a_disk_that_cannot_reserve_space_is_good_enough(tmp_path: Path, forks: ForkServer, faults: Faults) -> None:
    for code in (errno.ENOSYS, errno.EOPNOTSUPP):
        forks.start("work_without_reservation", tmp_path / f"{code}.h5", code)
    assert forks.wait() == [0, 0]
    forks.start("work_without_reservation", tmp_path / "refused.h5", errno.EPERM)
    assert forks.wait() != [0], "the filter works: another error is not passed over"
    faults("fallocate fails with ENOSYS, EOPNOTSUPP", Counter({"written, evicted, restored, read": 2}))
