"""Imported SAEs replace the study's own, are measured in the same way, and can be evicted again."""

import json
import os
import re
from hashlib import sha256
from pathlib import Path

import pytest
import safetensors.torch
import torch

from emergence_assets.pipeline import specs_for
from emergence_assets.plan.plan import Plan
from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.formats.layouts import LAYOUTS
from emergence_assets.saes.importing import Place, import_saes
from emergence_assets.saes.model.sae import SAE
from emergence_assets.study.load import load_study
from resources.errors import EmergenceError
from resources.files.storage import Storage
from tests.conftest import TINY, copied, run_emergence, status_of


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    study = load_study(str(TINY))
    return Plan(study, Storage(tmp_path / "data", study.name), specs_for(study))


def sae_of(n_latents: int = 32, d_model: int = 16, k: int | None = 2) -> SAE:
    draw = torch.Generator().manual_seed(0)
    directions_nd = torch.nn.functional.normalize(torch.randn(n_latents, d_model, generator=draw), dim=1)
    threshold_n = None if k else torch.rand(n_latents, generator=draw)
    return SAE(directions_nd.clone(), torch.zeros(n_latents), directions_nd, torch.zeros(d_model), k, threshold_n)


def write(folder: Path, layout: str = "sparsify", hook_name: str = "blocks.1.hook_resid_post", **shape: int) -> Path:
    LAYOUTS[layout].write(folder, sae_of(**shape), {"model_name": "their-name", "hook_name": hook_name})
    return folder


def test_a_tree_is_taken_by_the_names_of_its_folders(plan: Plan, tmp_path: Path) -> None:
    write(tmp_path / "theirs/layers.0")
    write(tmp_path / "theirs/layers.1")
    taken = import_saes(plan, tmp_path / "theirs", Place("gloss-tiny", 6))
    assert [one["cell"] for one in taken] == ["gloss-tiny/step000006/L00", "gloss-tiny/step000006/L01"]
    sae, metadata = read_sae(plan.storage.imported_sae("gloss-tiny", 6, 1, 0))
    assert torch.equal(sae.W_dec_nd, sae_of().W_dec_nd)
    assert metadata["imported"]["library"] == "sparsify"


def test_the_recorded_hash_is_of_the_file_that_was_read(plan: Plan, tmp_path: Path) -> None:
    folder = write(tmp_path / "layers.1")
    (folder / "a.safetensors").write_bytes(b"of something else")
    os.mkfifo(folder / "b.safetensors")
    (taken,) = import_saes(plan, folder, Place("gloss-tiny", 6))
    assert taken["weights_sha256"] == sha256((folder / "sae.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(("hook_name", "layer"), [("blocks.1.hook_resid_post", 1), ("blocks.1.hook_resid_pre", 0)])
def test_the_layer_is_read_from_the_hook_point(plan: Plan, tmp_path: Path, hook_name: str, layer: int) -> None:
    folder = write(tmp_path / "sae", "sae_lens", hook_name)
    (taken,) = import_saes(plan, folder, Place("gloss-tiny", 0))
    assert taken["cell"] == f"gloss-tiny/step000000/L{layer:02d}"
    assert "centres it by default" in taken["notes"][0]


@pytest.mark.parametrize(
    ("shape", "place", "message"),
    [
        ({"n_latents": 64}, Place("gloss-tiny", 6, 1), "set sae.n_latents of the study to 64"),
        ({"k": 5}, Place("gloss-tiny", 6, 1), "set sae.k of the study to 5"),
        ({"d_model": 8}, Place("gloss-tiny", 6, 1), "choose the model that it was trained on"),
        ({}, Place("gloss-tiny", 5, 1), "no cell gloss-tiny/step000005/L01"),
        ({}, Place("gloss-tiny", 6, 2), "no cell gloss-tiny/step000006/L02"),
        ({}, Place("gloss-tiny", 6, 1, 7), "no SAE seed 7"),
        ({}, Place("gloss-tiny", 6), "not known to be the output of a block"),
    ],
)
def test_an_sae_that_does_not_fit_is_refused(
    plan: Plan, tmp_path: Path, shape: dict[str, int], place: Place, message: str
) -> None:
    folder = write(tmp_path / "sae", **shape)
    with pytest.raises(EmergenceError, match=re.escape(message)):
        import_saes(plan, folder, place)
    assert not plan.storage.root.exists()


@pytest.mark.parametrize("name", ["layers.3.mlp", "blocks.3.hook_mlp_out", "gpt_neox.layers.3.attention"])
def test_other_places_than_the_residual_stream_are_refused(plan: Plan, tmp_path: Path, name: str) -> None:
    with pytest.raises(EmergenceError, match="cannot be imported"):
        import_saes(plan, write(tmp_path / name), Place("gloss-tiny", 6))


def test_thresholds_do_not_go_into_a_study_of_top_k(plan: Plan, tmp_path: Path) -> None:
    LAYOUTS["sae_lens"].write(
        tmp_path / "sae", sae_of(k=None), {"model_name": "m", "hook_name": "blocks.1.hook_resid_post"}
    )
    with pytest.raises(EmergenceError, match="its variant is jumprelu"):
        import_saes(plan, tmp_path / "sae", Place("gloss-tiny", 6))


def test_one_of_several_that_does_not_fit_keeps_all_out(plan: Plan, tmp_path: Path) -> None:
    write(tmp_path / "theirs/layers.0")
    write(tmp_path / "theirs/layers.1", k=3)
    with pytest.raises(EmergenceError):
        import_saes(plan, tmp_path / "theirs", Place("gloss-tiny", 6))
    assert not plan.storage.root.exists()


def test_an_empty_folder_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(EmergenceError, match="no SAE here"):
        import_saes(plan, tmp_path, Place("gloss-tiny", 6))


@pytest.mark.slow
def test_a_study_goes_on_with_imported_saes_and_back(finished_study: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    copied(finished_study, data)
    write(tmp_path / "theirs/layers.1")
    where = ("--model", "gloss-tiny", "--step", "6")
    done = run_emergence(data, "import", str(tmp_path / "theirs"), *where, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["seed"] == 0
    # The cell and its dependants.
    assert {name: one["stale"] for name, one in status_of(data).items() if one["stale"]} == {
        "sae": 1,
        "latent_stats": 1,
        "latent_examples": 1,
        "sae_metrics": 1,
        "category_presence": 1,
        "sparse_presence": 1,
        "emergence_over_time": 1,
        "emergence_over_space": 1,
        "reactivation": 1,
        "feature_counts": 1,
        "categorical_features": 1,
        "reactivation_mechanism": 1,
        "feature_use": 1,
        "feature_lineage": 1,
        "lineage_nodes": 1,
        "lineage_stability": 1,
        "latent_carry": 1,
        "size_lineage": 1,
        "category_controls": 1,
        "expansion_presence": 1,
        "emergence_over_scale": 1,
        "cost_utility": 1,
        "claims": 1,
        "emergence_hazard": 2,  # of every model: claims are of the whole study
        "report": 1,
    }
    done = run_emergence(data, "run")
    folder = data / "tiny/saes/model=gloss-tiny/step=000006/layer=001"
    # A random SAE is worse than the mean: it is measured like ours, with a warning.
    assert "sae_beats_mean_baseline" in done.stderr
    assert torch.equal(read_sae(folder / "seed=0")[0].W_enc_nd, sae_of().W_enc_nd)
    (metrics,) = json.loads((folder / "metrics.json").read_text())["seeds"]
    assert (metrics["start"], metrics["train_tokens"]) == ("imported", None)

    assert run_emergence(data, "import", "--remove", *where).stdout.startswith("1 imported")
    assert run_emergence(data, "run").returncode == 0
    ours = finished_study / "tiny/saes/model=gloss-tiny/step=000006/layer=001/seed=0/sae_weights.safetensors"
    assert (folder / "seed=0/sae_weights.safetensors").read_bytes() == ours.read_bytes()


def test_an_sae_in_double_precision_is_read(plan: Plan, tmp_path: Path) -> None:
    folder = write(tmp_path / "layers.1")
    weights = folder / "sae.safetensors"
    tensors = {name: tensor.double() for name, tensor in safetensors.torch.load_file(weights).items()}
    safetensors.torch.save_file(tensors, weights)
    import_saes(plan, folder, Place("gloss-tiny", 6))
    sae, _ = read_sae(plan.storage.imported_sae("gloss-tiny", 6, 1, 0))
    assert torch.equal(sae.W_dec_nd, sae_of().W_dec_nd)
