"""A folder is fetched as listed or not at all: any change to it makes another checkpoint."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from emergence_assets.checkpoints.sources import local
from resources.errors import BrokenCheckpoint, EmergenceError
from tests.checkpoints.sources.hub_family import MODEL, silent
from tests.checkpoints.sources.local_family import make_source, ref_of, steps
from tests.family import step_folder


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
@pytest.mark.parametrize("change", ["rewritten", "touched", "replaced", "gone"])
def test_a_checkpoint_is_another_one_when_a_file_changes(root: Path, name: str, change: str) -> None:
    source = make_source(root)
    ref, other = ref_of(source), ref_of(source, 64)
    assert source.verify(ref) == ""
    path = step_folder(root, MODEL, 8) / name
    status = path.stat()
    if change == "rewritten":  # in place: as long, and its times set back
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "touched":
        path.touch()
    elif change == "replaced":
        shutil.copy2(path, root / "copy")
        (root / "copy").replace(path)
    else:
        path.unlink()
    assert "changed since it was listed" in source.verify(ref)
    assert source.verify(other) == ""
    with (
        pytest.raises(EmergenceError, match="gloss-tiny step 8: its files changed") as caught,
        source.fetch(ref, silent),
    ):
        pass
    assert not isinstance(caught.value, BrokenCheckpoint)  # no fault: it has to be listed again
    if change != "gone":
        assert ref_of(source).identity != ref.identity
        with source.fetch(ref_of(source), silent):
            pass


def test_files_that_say_nothing_of_the_model_do_not_matter(root: Path) -> None:
    source = make_source(root)
    before = ref_of(source).identity
    for name in ("optimizer.pt", "README.md", "trainer_state.json", "log.txt"):
        (step_folder(root, MODEL, 8) / name).write_text("x")
    assert ref_of(source).identity == before


def test_weights_are_counted_once_and_headers_read_once_per_version(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = step_folder(root, MODEL, 8)
    (folder / "training_args.bin").write_bytes(b"x" * 1000)
    source = make_source(root)
    assert ref_of(source).weights_bytes == (folder / "model.safetensors").stat().st_size
    monkeypatch.setattr(local, "check_whole", lambda folder: pytest.fail(f"{folder} is looked at again"))
    assert steps(source) == [0, 8, 64]


def test_a_missing_folder_is_named(root: Path) -> None:
    source = make_source(root)
    ref = ref_of(source)
    shutil.rmtree(step_folder(root, MODEL, 8))
    assert source.verify(ref) == "its folder is gone"
    with pytest.raises(EmergenceError, match="is gone"), source.fetch(ref, silent):
        pass


def test_a_folder_with_safetensors_is_used_as_it_is(root: Path) -> None:
    source = make_source(root)
    ref = ref_of(source)
    assert source.is_cached(ref)
    with source.fetch(ref, silent) as folder:
        assert folder == step_folder(root, MODEL, 8)
    assert steps(source) == [0, 8, 64]
    assert not (root.parent / "data").exists()


def test_a_fetched_checkpoint_is_a_model(root: Path) -> None:
    source = make_source(root)
    with source.fetch(ref_of(source), silent) as folder:
        model = source.load(ref_of(source), folder, "cpu", torch.float32)
    assert model.config.hidden_size == json.loads((folder / "config.json").read_text())["hidden_size"]
