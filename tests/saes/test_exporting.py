"""A study's SAEs are exported for other libraries: a folder per SAE, an index, a card; a second export continues."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.formats.layouts import LAYOUTS
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


def test_an_export_replaces_other_weights_and_names_all_that_is_there(finished_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def export(*selected: str, to: str = "sparsify") -> Any:
        return run_emergence(finished_study, "export", str(out), "--to", to, "--model", "gloss-tiny", *selected)

    assert export("--step", "6", "--layer", "1").returncode == 0
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    weights = folder / "sae.safetensors"
    right = weights.read_bytes()
    weights.write_bytes(right[:-4] + b"\0\0\0\1")
    assert export("--step", "6").returncode == 0
    assert weights.read_bytes() == right
    assert export("--step", "3").returncode == 0
    listed = {entry["folder"] for entry in json.loads((out / "index.json").read_text())["saes"]}
    assert listed == {path.name for path in out.iterdir() if path.is_dir()}
    assert len(listed) == 4
    done = export("--step", "6", to="sae_lens")
    assert done.returncode == 1
    assert "holds an export for sparsify" in done.stderr
    assert weights.read_bytes() == right
    (folder / "notes.txt").write_text("mine")
    weights.write_bytes(right[:-4] + b"\0\0\0\1")
    done = export("--step", "6")
    assert done.returncode == 1
    assert "There is something else" in done.stderr
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_later_export_adds_to_the_index(finished_study: Path, tmp_path: Path, layout: str) -> None:
    for step in ("3", "6"):
        selected = ("--to", layout, "--model", "gloss-tiny", "--layer", "1", "--step", step)
        assert run_emergence(finished_study, "export", str(tmp_path / "out"), *selected).returncode == 0
    listed = {entry["folder"] for entry in json.loads((tmp_path / "out/index.json").read_text())["saes"]}
    assert listed == {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert len(listed) == 2


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
