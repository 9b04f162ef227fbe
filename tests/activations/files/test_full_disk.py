"""A full disk at every stage gives a clear error and no partial file, and finished files stay usable. Counted."""

import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from emergence_assets.activations.files import writing
from emergence_assets.activations.files.layout import ActivationSpec, StorageState
from emergence_assets.activations.files.storage_state import evict_rows, restore_rows
from emergence_assets.activations.files.writing import ActivationWriter
from resources.errors import EmergenceError
from tests.activations.conftest import Faults
from tests.activations.files.layer_files import everything, random_rows, stored_rows, temporaries, write_layer
from tests.conftest import mounted_disk, unavailable

SIZE = {"n_rows": 4000, "d_model": 32}  # 256 kB of rows on a disk of 1 MiB


def fill(disk: Path, left_bytes: int = 0) -> Path:
    """Fill the disk with another file, except for some bytes."""
    eaten, free = disk / "eaten", os.statvfs(disk)
    with eaten.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, free.f_bavail * free.f_frsize - left_bytes))
    return eaten


def refused(work: Callable[[], object]) -> str:
    """Return the error of a task that must fail; keep no reference to it, because an open file blocks the unmount."""
    try:
        work()
    except (EmergenceError, OSError) as error:
        return str(error)
    raise AssertionError("it was done")


def append_all(writer: ActivationWriter, seed: int) -> None:
    for name, block_td in random_rows(**SIZE, seed=seed).items():
        writer.append(name, block_td)


def test_a_started_file_is_finished_although_the_disk_fills(small_disk: Path, faults: Faults) -> None:
    spec, paths = ActivationSpec(4000, 5, 32), [small_disk / f"layer{layer}.h5" for layer in (0, 1)]
    with ActivationWriter(paths[0], spec, {}) as first, ActivationWriter(paths[1], spec, {}) as second:
        append_all(first, 0)
        eaten = fill(small_disk)
        append_all(second, 1)
        first.commit()
        second.commit()
    for seed, path in enumerate(paths):
        assert everything(path)["resid_post"] == stored_rows(**SIZE, seed=seed).array.tobytes()
    assert sorted(small_disk.iterdir()) == [eaten, *paths]
    faults("disk full while rows are written and committed", Counter({"finished all the same": 2}))


def test_a_layer_that_does_not_fit_leaves_the_previous_layer_usable(small_disk: Path) -> None:
    finished = write_layer(small_disk / "layer0.h5", **SIZE, attrs={})
    eaten = fill(small_disk, left_bytes=200_000)
    with pytest.raises(EmergenceError, match="No space for a file of"):
        ActivationWriter(small_disk / "layer1.h5", ActivationSpec(4000, 5, 32), {})
    everything(finished)
    assert sorted(small_disk.iterdir()) == [eaten, finished]


@pytest.mark.parametrize(
    ("state", "work"),
    [
        ("stored", evict_rows),
        ("evicted", lambda path: restore_rows(path, stored_rows(**SIZE))),
    ],
)
def test_rows_stay_where_they_are_when_the_new_file_does_not_fit(small_disk: Path, state: StorageState, work) -> None:
    path = write_layer(small_disk / "layer.h5", state, **SIZE)
    before, eaten = path.read_bytes(), fill(small_disk)
    message = refused(lambda: work(path))
    assert "No space for a file of" in message
    assert "what to do: Free " in message
    assert path.read_bytes() == before
    assert sorted(small_disk.iterdir()) == [eaten, path]
    eaten.unlink()
    work(path)
    everything(path)


@pytest.mark.parametrize("work", ["write", "evict", "restore"])
def test_space_that_vanishes_after_it_was_checked_leaves_nothing_half_made(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults, work: str
) -> None:
    path = small_disk / "layer.h5"
    size = {"n_rows": 1000, "d_model": 32}
    does: dict[str, tuple[StorageState, Callable[[], object]]] = {
        "write": ("stored", lambda: write_layer(path, **size, seed=1)),
        "evict": ("stored", lambda: evict_rows(path)),
        "restore": ("evicted", lambda: restore_rows(path, stored_rows(**size))),
    }
    state, do = does[work]
    outcomes = Counter[str]()
    for left_bytes in range(0, 1 << 18, 8192):
        before = write_layer(path, state, **size).read_bytes()
        # The real check, then another file fills the disk: HDF5, the reservation or a write meets the full disk.
        monkeypatch.setattr(writing, "require_space", lambda folder, _n, left=left_bytes: fill(folder, left))
        try:
            do()
        except EmergenceError as error:
            assert error.what.startswith("No space for a file of")  # noqa: PT017
            assert path.read_bytes() == before
            outcomes["refused, old file untouched"] += 1
        else:
            everything(path)
            outcomes["done and verified"] += 1
        monkeypatch.undo()
        assert temporaries(small_disk) == []
        (small_disk / "eaten").unlink()
    assert min(outcomes["refused, old file untouched"], outcomes["done and verified"]) > 0
    faults(f"disk full in the middle: {work}", outcomes)


def test_a_disk_without_room_for_names_is_explained(tmp_path: Path) -> None:
    with mounted_disk(tmp_path / "disk", "1m,nr_inodes=3") as disk:
        finished = write_layer(disk / "layer0.h5")
        (disk / "other").touch()
        with pytest.raises(EmergenceError, match="No space"):
            write_layer(disk / "layer1.h5")
        with pytest.raises(EmergenceError, match="No space"):
            evict_rows(finished)
        everything(finished)
        assert temporaries(disk) == []


def test_a_read_only_disk_is_not_mistaken_for_a_damaged_file(small_disk: Path) -> None:
    path = write_layer(small_disk / "layer.h5")
    if subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=False, capture_output=True).returncode:
        unavailable("mounting again is not permitted here")
    everything(path)
    for work in (evict_rows, write_layer):
        assert "Read-only file system" in refused(lambda work=work: work(path))
    everything(path)
