"""Our SAE folder: reading returns what was written. Hostile files of the same layout are in `test_foreign.py`."""

import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from emergence_assets.saes.formats.folder import CONFIG_NAME, WEIGHTS_NAME, read_sae, write_sae
from emergence_assets.saes.model.sae import SAE
from resources.errors import EmergenceError

METADATA = {"model_name": "tiny", "hook_name": "blocks.3.hook_resid_post", "training_step": 512, "probes": ["a", 1.5]}


def random_sae(d_model=6, n_latents=20, k=3) -> SAE:
    generator = torch.Generator().manual_seed(0)
    return SAE(
        W_enc_nd=torch.randn(n_latents, d_model, generator=generator),
        b_enc_n=torch.randn(n_latents, generator=generator),
        W_dec_nd=F.normalize(torch.randn(n_latents, d_model, generator=generator), dim=1),
        b_dec_d=torch.randn(d_model, generator=generator),
        k=k,
    )


@pytest.fixture
def folder(tmp_path):
    write_sae(tmp_path / "sae", random_sae(), METADATA)
    return tmp_path / "sae"


def change_config(folder, **changes):
    config = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps({**config, **changes}))


def change_weights(folder, change):
    weights = safetensors.torch.load((folder / WEIGHTS_NAME).read_bytes())
    change(weights)
    (folder / WEIGHTS_NAME).write_bytes(safetensors.torch.save(weights))


def test_round_trip_keeps_every_bit(folder):
    sae, metadata = read_sae(folder)
    for name in ("W_enc_nd", "b_enc_n", "W_dec_nd", "b_dec_d"):
        assert torch.equal(getattr(sae, name), getattr(random_sae(), name)), name
    assert sae.k == 3
    assert sae.W_enc_nd.is_contiguous()
    assert metadata == {**METADATA, "sae_lens_version": "6.54.12"}


def test_layout_is_that_of_sae_lens(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["cfg.json", "sae_weights.safetensors"]
    assert json.loads((folder / "cfg.json").read_text()) == {
        "architecture": "topk",
        "d_in": 6,
        "d_sae": 20,
        "k": 3,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": {**METADATA, "sae_lens_version": "6.54.12"},
    }
    weights = safetensors.torch.load((folder / "sae_weights.safetensors").read_bytes())
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    assert shapes == {"W_enc": (6, 20), "b_enc": (20,), "W_dec": (20, 6), "b_dec": (6,)}
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert torch.equal(weights["W_enc"], random_sae().W_enc_nd.T)


def test_equal_saes_give_equal_bytes(folder, tmp_path):
    write_sae(tmp_path / "again", random_sae(), METADATA)
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_nothing_temporary_is_left(folder):
    assert [path.name for path in folder.parent.iterdir()] == ["sae"]


def test_an_existing_folder_is_not_touched(folder):
    before = (folder / WEIGHTS_NAME).read_bytes()
    with pytest.raises(EmergenceError, match="exists already"):
        write_sae(folder, random_sae(k=5), METADATA)
    assert (folder / WEIGHTS_NAME).read_bytes() == before


def test_missing_parents_are_made(tmp_path):
    write_sae(tmp_path / "a" / "b" / "sae", random_sae(), METADATA)
    assert read_sae(tmp_path / "a" / "b" / "sae")[0].n_latents == 20


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmergenceError, match="cannot be written"):
        write_sae(tmp_path / "file" / "sae", random_sae(), METADATA)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("metadata", [{}, {"model_name": "tiny"}, {**METADATA, "loss": float("nan")}])
def test_metadata_that_sae_lens_could_not_read_are_refused(tmp_path, metadata):
    with pytest.raises(ValueError, match=r"lacks|JSON"):
        write_sae(tmp_path / "sae", random_sae(), metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [CONFIG_NAME, WEIGHTS_NAME])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(EmergenceError, match=f"{name} cannot be read"):
        read_sae(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "jumprelu"},
        {"apply_b_dec_to_input": False},
        {"apply_b_dec_to_input": 1},
        {"normalize_activations": "layer_norm"},
        {"rescale_acts_by_decoder_norm": True},
        {"k": 21},
        {"k": 0},
        {"k": True},
        {"k": 3.0},
        {"d_in": "6"},
        {"d_in": None},
        {"d_sae": -20},
        {"d_sae": 10**30},
        {"metadata": None},
    ],
)
def test_settings_of_another_sae_are_refused(folder, changes):
    change_config(folder, **changes)
    with pytest.raises(EmergenceError):
        read_sae(folder)


def test_k_above_the_number_of_latents_names_the_file(folder):
    change_config(folder, k=21)
    with pytest.raises(EmergenceError, match=r"cfg\.json k=21 exceeds the 20 latents"):
        read_sae(folder)


def test_decoder_rows_of_another_length_are_refused(folder):
    change_weights(folder, lambda weights: weights["W_dec"].mul_(2))
    with pytest.raises(EmergenceError, match="unit length"):
        read_sae(folder)


@pytest.mark.parametrize("position", [0, 8, 20, 100])
def test_a_damaged_header_is_refused(folder, position):
    content = bytearray((folder / WEIGHTS_NAME).read_bytes())
    content[position] ^= 0xFF
    (folder / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(EmergenceError, match=WEIGHTS_NAME):
        read_sae(folder)


@pytest.fixture
def threshold_folder(tmp_path):
    sae = replace(random_sae(), k=None, threshold_n=torch.linspace(0, 2, 20))
    write_sae(tmp_path / "jump", sae, METADATA)
    return tmp_path / "jump"


def test_thresholds_come_back(threshold_folder):
    sae, _ = read_sae(threshold_folder)
    assert sae.threshold_n is not None
    assert torch.equal(sae.threshold_n, torch.linspace(0, 2, 20))
    assert sae.k is None
    config = json.loads((threshold_folder / "cfg.json").read_text())
    assert config["architecture"] == "jumprelu"
    assert "k" not in config


def test_thresholds_below_zero_are_refused(threshold_folder):
    change_weights(threshold_folder, lambda weights: weights["threshold"].sub_(0.5))
    with pytest.raises(EmergenceError, match="thresholds below zero"):
        read_sae(threshold_folder)


def test_a_top_k_folder_with_thresholds_is_refused(threshold_folder):
    change_config(threshold_folder, architecture="topk", k=3)
    with pytest.raises(EmergenceError, match=r"bytes|must hold"):
        read_sae(threshold_folder)
