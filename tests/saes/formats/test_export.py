"""Exported SAEs equal ours, by the content of the folders and by the libraries that read them."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.formats.layouts import LAYOUTS
from emergence_assets.saes.model.sae import SAE
from resources.errors import EmergenceError

D_MODEL, N_LATENTS, K = 24, 96, 5
METADATA = {"model_name": "gloss", "hook_name": "blocks.3.hook_resid_post", "hf_hook_name": "gpt_neox.layers.3"}
PEERS = Path(__file__).parents[3] / ".peers/bin/python"


@pytest.fixture
def sae() -> SAE:
    draw = torch.Generator().manual_seed(0)
    return SAE(
        torch.randn(N_LATENTS, D_MODEL, generator=draw),
        torch.randn(N_LATENTS, generator=draw) * 0.1,
        F.normalize(torch.randn(N_LATENTS, D_MODEL, generator=draw), dim=1),
        torch.randn(D_MODEL, generator=draw),
        K,
    )


@pytest.fixture
def threshold_sae(sae: SAE) -> SAE:
    return replace(sae, k=None, threshold_n=torch.linspace(0, 6, N_LATENTS))


def test_a_sparsify_folder_holds_the_parameters(sae: SAE, tmp_path: Path) -> None:
    LAYOUTS["sparsify"].write(tmp_path / "sae", sae, METADATA)
    weights = safetensors.torch.load((tmp_path / "sae/sae.safetensors").read_bytes())
    assert torch.equal(weights["encoder.weight"], sae.W_enc_nd)
    assert torch.equal(weights["W_dec"], sae.W_dec_nd)
    config = json.loads((tmp_path / "sae/cfg.json").read_text())
    assert (config["d_in"], config["num_latents"], config["k"]) == (D_MODEL, N_LATENTS, K)


def test_a_dictionary_learning_folder_holds_the_parameters_and_no_code(sae: SAE, tmp_path: Path) -> None:
    LAYOUTS["dictionary_learning"].write(tmp_path / "sae", sae, METADATA)
    weights = torch.load(tmp_path / "sae/ae.pt", weights_only=True)
    assert torch.equal(weights["decoder.weight"], sae.W_dec_nd.T)
    assert int(weights["k"]) == K
    trainer = json.loads((tmp_path / "sae/config.json").read_text())["trainer"]
    assert (trainer["layer"], trainer["submodule_name"]) == ("3", "gpt_neox.layers.3")


def test_a_sae_lens_folder_is_ours(sae: SAE, tmp_path: Path) -> None:
    LAYOUTS["sae_lens"].write(tmp_path / "sae", sae, METADATA)
    assert torch.equal(read_sae(tmp_path / "sae")[0].W_enc_nd, sae.W_enc_nd)


def test_thresholds_are_kept_where_the_library_knows_them(threshold_sae: SAE, tmp_path: Path) -> None:
    LAYOUTS["sae_lens"].write(tmp_path / "sae", threshold_sae, METADATA)
    read = read_sae(tmp_path / "sae")[0]
    assert read.threshold_n is not None
    assert torch.equal(read.threshold_n, torch.linspace(0, 6, N_LATENTS))
    with pytest.raises(EmergenceError, match="export for sae_lens"):
        LAYOUTS["sparsify"].write(tmp_path / "no", threshold_sae, METADATA)


READERS = {
    "sae_lens": "import sae_lens; out = sae_lens.SAE.load_from_disk(folder)(x)",
    "sparsify": "from sparsify import SparseCoder; out = SparseCoder.load_from_disk(folder, device='cpu')(x).sae_out",
    # The library's own class; the package around it imports a tracing library that loading does not need.
    "dictionary_learning": (
        "import importlib.util, types; package = types.ModuleType('dictionary_learning'); "
        "package.__path__ = importlib.util.find_spec('dictionary_learning').submodule_search_locations; "
        "sys.modules['dictionary_learning'] = package; "
        "from dictionary_learning.trainers.top_k import AutoEncoderTopK; "
        "from dictionary_learning.dictionary import JumpReluAutoEncoder; "
        "import json; name = json.load(open(folder + '/config.json'))['trainer']['dict_class']; "
        "is_top_k = name == 'AutoEncoderTopK'; "
        "out = AutoEncoderTopK.from_pretrained(folder + '/ae.pt', k=None, device='cpu')(x) if is_top_k "
        "else JumpReluAutoEncoder.from_pretrained(folder + '/ae.pt')(x)"
    ),
}


@pytest.mark.peers
@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        ("sae", "sae_lens"),
        ("sae", "sparsify"),
        ("sae", "dictionary_learning"),
        ("threshold_sae", "sae_lens"),
        ("threshold_sae", "dictionary_learning"),
    ],
)
def test_its_library_loads_the_folder_and_gives_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, layout: str
) -> None:
    sae: SAE = request.getfixturevalue(kind)
    assert PEERS.exists(), "type `make peers`"
    x_td = torch.randn(50, D_MODEL, generator=torch.Generator().manual_seed(1)) * 3
    LAYOUTS[layout].write(tmp_path / "sae", sae, METADATA)
    np.save(tmp_path / "x.npy", x_td.numpy())
    program = (
        "import sys, numpy as np, torch\n"
        "folder, x = sys.argv[1], torch.from_numpy(np.load(sys.argv[2]))\n"
        f"{READERS[layout]}\n"
        "np.save(sys.argv[3], out.detach().numpy())\n"
    )
    arguments = [str(tmp_path / "sae"), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    # Triton kernels are for GPUs; without this setting sparsify tries them on a CPU.
    environment = {"SPARSIFY_DISABLE_TRITON": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run([str(PEERS), "-c", program, *arguments], check=True, timeout=300, env=environment)
    expected_td = sae.reconstruct(x_td).numpy()
    # Relative to the largest value: with thresholds, some forty latents add up to thirty.
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected_td, rtol=0, atol=1e-5 * np.abs(expected_td).max())
