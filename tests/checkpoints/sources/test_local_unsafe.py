"""What leads out of the family's folder, never ends, or would run is refused before it is opened."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from resources.errors import BrokenCheckpoint
from tests.checkpoints.sources.hub_family import MODEL, silent
from tests.checkpoints.sources.local_family import make_source, ref_of, why
from tests.family import step_folder, with_remote_code


@pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd"])
def test_links_out_of_the_root_are_not_even_read(root: Path, target: str) -> None:
    config = step_folder(root, MODEL, 8) / "config.json"
    config.unlink()
    config.symlink_to(target)
    assert "config.json is a link to" in why(make_source(root))  # and reading /dev/zero would not end


def test_pipes_are_not_opened(root: Path) -> None:
    config = step_folder(root, MODEL, 8) / "config.json"
    config.unlink()
    os.mkfifo(config)
    assert "config.json is not a file" in why(make_source(root))


def test_a_folder_that_is_a_link_out_of_the_root_does_not_count(family: Path, root: Path) -> None:
    shutil.rmtree(step_folder(root, MODEL, 8))
    step_folder(root, MODEL, 8).symlink_to(step_folder(family, MODEL, 8))
    assert "is a link to" in why(make_source(root))
    (root / "away").symlink_to(family / MODEL)
    assert make_source(root).list("away").checkpoints == ()


def test_links_inside_the_root_are_followed(root: Path) -> None:
    (root / "blobs").mkdir()
    weights = step_folder(root, MODEL, 8) / "model.safetensors"
    weights.rename(root / "blobs" / "x")
    weights.symlink_to(root / "blobs" / "x")
    source = make_source(root)
    with source.fetch(ref_of(source), silent) as folder:
        assert folder == step_folder(root, MODEL, 8)
    identity = ref_of(source).identity
    (root / "blobs" / "x").touch()
    assert ref_of(source).identity != identity


def test_a_link_that_comes_after_the_listing_is_refused(root: Path) -> None:
    source = make_source(root)
    ref = ref_of(source)
    (step_folder(root, MODEL, 8) / "notes").symlink_to("/etc/passwd")
    with pytest.raises(BrokenCheckpoint, match="notes is a link"), source.fetch(ref, silent):
        pass


def test_remote_code_is_refused_unless_it_is_trusted(root: Path, tmp_path: Path) -> None:
    with_remote_code(root, MODEL, 8, tmp_path / "was-run")
    source = make_source(root)
    with pytest.raises(BrokenCheckpoint, match="requires running Python code"), source.fetch(ref_of(source), silent):
        pass
    trusting = make_source(root, trusted=[MODEL])
    with trusting.fetch(ref_of(trusting), silent) as folder:
        assert not (tmp_path / "was-run").exists()
        assert folder == step_folder(root, MODEL, 8)


def test_trust_in_one_model_is_no_trust_in_another(root: Path, tmp_path: Path) -> None:
    """A folder `custom_generate` is run without being named in the config, where remote code is allowed."""
    code = step_folder(root, MODEL, 8) / "custom_generate"
    code.mkdir()
    (code / "generate.py").write_text(
        f"import os\nos.makedirs({str(tmp_path / 'was-run')!r}, exist_ok=True)\ndef generate(model, **kwargs): pass\n"
    )
    for trusted, was_run in (["another"], False), ([MODEL], True):
        source = make_source(root, trusted=trusted)
        with source.fetch(ref_of(source), silent) as folder:
            source.load(ref_of(source), folder, "cpu", torch.float32)
        assert (tmp_path / "was-run").exists() == was_run
