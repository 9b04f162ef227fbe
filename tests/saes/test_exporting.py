"""A study's SAEs are exported for other libraries: a folder per SAE, an index, a card; a second export continues."""

import json
import shutil
from pathlib import Path

import pytest

from emergence_assets.saes.formats.folder import read_sae
from tests.conftest import run_emergence

pytestmark = pytest.mark.slow


def test_a_study_is_exported_with_an_index(finished_study: Path, tmp_path: Path) -> None:
    arguments = ("export", str(tmp_path / "out"), "--to", "sparsify", "--model", "gloss-tiny", "--json")
    done = run_emergence(finished_study, *arguments)
    assert done.returncode == 0, done.stderr
    index = json.loads((tmp_path / "out/index.json").read_text())
    assert json.loads(done.stdout) == index["saes"]
    assert len(index["saes"]) == 8
    assert all((tmp_path / "out" / entry["folder"] / "sae.safetensors").is_file() for entry in index["saes"])
    assert {entry["hf_hook_name"] for entry in index["saes"]} == {"gpt_neox.layers.0", "gpt_neox.layers.1"}
    assert "FVU" in (tmp_path / "out/README.md").read_text()

    lost = tmp_path / "out" / index["saes"][3]["folder"]
    kept = tmp_path / "out" / index["saes"][0]["folder"] / "sae.safetensors"
    shutil.rmtree(lost)
    before = kept.stat().st_mtime_ns
    assert run_emergence(finished_study, *arguments).returncode == 0
    assert (lost / "sae.safetensors").is_file()
    assert kept.stat().st_mtime_ns == before


def test_one_sae_is_exported_and_is_the_same(finished_study: Path, tmp_path: Path) -> None:
    selected = ("--model", "gloss-tiny", "--step", "6", "--layer", "1", "--seed", "0")
    done = run_emergence(finished_study, "export", str(tmp_path / "out"), "--to", "sae_lens", *selected)
    assert done.returncode == 0, done.stderr
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    ours = finished_study / "tiny/saes/model=gloss-tiny/step=000006/layer=001/seed=0"
    assert read_sae(folder)[0].W_dec_nd.equal(read_sae(ours)[0].W_dec_nd)


def test_an_untrained_sae_is_not_exported(tmp_path: Path) -> None:
    done = run_emergence(tmp_path, "export", str(tmp_path / "out"), "--to", "sae_lens")
    assert done.returncode == 1
    assert "are missing" in done.stderr
    assert not (tmp_path / "out").exists()
