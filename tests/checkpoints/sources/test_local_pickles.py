"""Pickled weights in a folder are converted once, beside it, by the first process."""

import threading
from pathlib import Path

import numpy as np
import pytest

from emergence_assets.checkpoints.files import folder as files_folder
from emergence_assets.checkpoints.sources.source import CheckpointRef
from resources.errors import BrokenCheckpoint, EmergenceError
from tests.checkpoints.sources.hub_family import MODEL, silent
from tests.checkpoints.sources.local_family import make_source, ref_of, why
from tests.family import as_pickle, evil_pickle, read_weights, step_folder


@pytest.mark.parametrize("n", [1, 2])
def test_pickles_are_converted_once_beside_the_folder(family: Path, root: Path, n: int) -> None:
    folder = as_pickle(root, MODEL, 8, n)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    source, told = make_source(root), []
    ref, copies = ref_of(source), source._converted
    assert copies is not None
    assert ref.weights_bytes == sum(path.stat().st_size for path in folder.glob("*.bin"))
    assert not source.is_cached(ref)
    for _ in range(2):
        with source.fetch(ref, lambda *news: told.append(news)) as converted:
            published, found = read_weights(step_folder(family, MODEL, 8)), read_weights(converted)
            assert all(np.array_equal(found[name], published[name]) for name in published)
            assert (converted / "config.json").read_bytes() == before["config.json"]
            assert not list(converted.glob("*.bin*"))
            assert copies.evict(ref.identity) == 0  # in use
    assert len(told) == 1
    assert source.is_cached(ref)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert copies.evict(ref.identity) > 0
    assert not source.is_cached(ref)
    assert copies.evict(ref.identity) == 0


def test_workers_that_want_the_same_pickle_convert_it_once(root: Path) -> None:
    as_pickle(root, MODEL, 8)
    ref, told = ref_of(make_source(root)), []

    def want() -> None:
        with make_source(root).fetch(ref, lambda *news: told.append(news)) as folder:
            assert read_weights(folder)

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1


def test_a_folder_that_changes_during_its_conversion_is_refused(root: Path) -> None:
    folder = as_pickle(root, MODEL, 8)
    source = make_source(root)
    ref = ref_of(source)

    def meanwhile(_done: int, _total: int, _note: str) -> None:
        (folder / "config.json").touch()

    with pytest.raises(EmergenceError, match="files changed"), source.fetch(ref, meanwhile):
        pass
    assert not source.is_cached(ref)
    with source.fetch(ref_of(source), silent):
        pass


def test_an_evil_pickle_is_refused_and_not_run(root: Path, tmp_path: Path) -> None:
    evil_pickle(root, MODEL, 8, tmp_path / "was-run")
    source = make_source(root)
    with pytest.raises(BrokenCheckpoint, match="other objects than tensors"), source.fetch(ref_of(source), silent):
        pass
    assert not (tmp_path / "was-run").exists()
    assert not source.is_cached(ref_of(make_source(root)))


def test_without_a_place_for_converted_copies_pickles_do_not_count(root: Path) -> None:
    ref = ref_of(make_source(root))
    as_pickle(root, MODEL, 8)
    source = make_source(root, _converted=None)
    assert "only as pickles" in why(source)
    changed = CheckpointRef(**vars(ref) | {"identity": ref_of(make_source(root)).identity})
    with pytest.raises(BrokenCheckpoint, match="only as pickles"), source.fetch(changed, silent):
        pass


@pytest.mark.parametrize("index", ["{", '{"weight_map": []}', '{"weight_map": {"a": "../../x.bin"}}', "[" * 100_000])
def test_an_odd_index_of_pickles_does_not_count(root: Path, index: str) -> None:
    folder = as_pickle(root, MODEL, 8, 2)
    (root / "x.bin").write_bytes(b"")
    (folder / "pytorch_model.bin.index.json").write_text(index)
    assert why(make_source(root))


def test_a_huge_index_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = as_pickle(root, MODEL, 8, 2) / "pytorch_model.bin.index.json"
    index.write_text(index.read_text() + " " * 1_000_000)
    monkeypatch.setattr(files_folder, "MAX_JSON_BYTES", 1_000_000)
    assert "index cannot be read" in why(make_source(root))
