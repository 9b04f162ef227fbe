"""A file with changed bytes is refused with a message, or has unchanged content after verification."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.activations.files.layout import STORAGE_STATES, StorageState
from emergence_assets.activations.files.reading import open_rows, read_attrs, read_stats
from emergence_assets.activations.files.storage_state import evict_rows, restore_rows
from resources.errors import EmergenceError
from tests.activations.files.layer_files import everything, stored_rows, temporaries, write_layer

Edit = Callable[[bytes], bytes]
WINDOW = 64


@cache
def whole(state: StorageState) -> tuple[bytes, dict[str, object]]:
    """Bytes and content of an intact file."""
    with TemporaryDirectory() as folder:
        path = write_layer(Path(folder) / "layer.h5", state)
        return path.read_bytes(), everything(path)


def overwrite(at: float, new: bytes) -> Edit:
    """Overwrite bytes."""

    def edit(old: bytes) -> bytes:
        place = int(at * len(old))
        return (old[:place] + new + old[place + len(new) :])[: len(old)]

    return edit


def splice(at: float, n_removed: int, new: bytes) -> Edit:
    """Insert and remove bytes: the rest moves."""
    return lambda old: old[: int(at * len(old))] + new + old[int(at * len(old)) + n_removed :]


def copy_window(source: float, target: float) -> Edit:
    """Copy a window of the file over another one: every byte of it is plausible."""

    def edit(old: bytes) -> bytes:
        n_windows = len(old) // WINDOW
        begin = int(source * n_windows) * WINDOW
        return overwrite(int(target * n_windows) * WINDOW / len(old), old[begin : begin + WINDOW])(old)

    return edit


# The first 4 KiB are metadata: half of all edits go there.
places = st.one_of(st.floats(0, 1, exclude_max=True), st.floats(0, 0.2))
windows = st.one_of(st.binary(min_size=WINDOW, max_size=WINDOW), st.sampled_from([bytes(WINDOW), b"\xff" * WINDOW]))
edits = st.one_of(
    st.builds(overwrite, places, st.binary(min_size=1, max_size=9)),
    st.builds(overwrite, places, windows),
    st.builds(splice, places, st.integers(0, 40), st.binary(max_size=40)),
    st.builds(copy_window, places, places),
)


@pytest.mark.slow
@pytest.mark.parametrize("state", STORAGE_STATES)
@settings(max_examples=300)
@given(changes=st.lists(edits, min_size=1, max_size=4))
def test_an_edited_file_is_refused_or_reads_as_before(state: StorageState, changes: list[Edit]) -> None:
    data, expected = whole(state)
    for change in changes:
        data = change(data)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "layer.h5"
        path.write_bytes(data)
        try:
            found = everything(path)
        except EmergenceError:
            pass
        else:
            assert found == expected
        reads = [read_attrs, read_stats, lambda path: open_rows(path, "read_out").float32()]
        for read in reads:
            try:
                read(path)
            except EmergenceError as error:
                assert error.what  # noqa: PT017
        for rewrite in (evict_rows, lambda path: restore_rows(path, stored_rows())):
            path.write_bytes(data)
            try:
                rewrite(path)
            except EmergenceError:
                assert path.read_bytes() == data
                continue
            if path.read_bytes() != data:  # at least one fault was planted
                restore_rows(path, stored_rows())
                assert everything(path) == whole("stored")[1]
            assert temporaries(Path(folder)) == []
