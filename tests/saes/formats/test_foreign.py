"""SAEs of other libraries: an imported SAE computes the same output, and unsupported settings are refused by name."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from emergence_assets.saes.formats.folder import read_sae, write_sae
from emergence_assets.saes.formats.layouts import LAYOUTS, find_foreign_saes, read_foreign_sae
from emergence_assets.saes.model.sae import SAE
from resources.errors import EmergenceError

D_MODEL, N_LATENTS, K = 8, 40, 3
METADATA = {"model_name": "gloss", "hook_name": "blocks.3.hook_resid_post", "hf_hook_name": "gpt_neox.layers.3"}
WEIGHTS = {"sae_lens": "sae_weights.safetensors", "sparsify": "sae.safetensors"}
PEERS = Path(__file__).parents[3] / ".peers/bin/python"


def rows(n_rows=50, d_model=D_MODEL) -> Tensor:
    return torch.randn(n_rows, d_model, generator=torch.Generator().manual_seed(1)) * 3


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


class Folder:
    """Folder of an SAE whose settings and weights a test changes."""

    def __init__(self, path: Path, layout: str, sae: SAE):
        self.path, self.layout, self.weights_path = path, layout, path / WEIGHTS[layout]
        LAYOUTS[layout].write(path, sae, METADATA)

    def set(self, **changes) -> None:
        settings = json.loads((self.path / "cfg.json").read_text())
        self.write(**{name: value for name, value in {**settings, **changes}.items() if value is not ...})

    def write(self, **settings) -> None:
        (self.path / "cfg.json").write_text(json.dumps(settings))

    @property
    def weights(self) -> dict[str, Tensor]:
        return safetensors.torch.load(self.weights_path.read_bytes())

    def set_weights(self, **changes: Tensor) -> None:
        weights = {name: value for name, value in {**self.weights, **changes}.items() if value is not ...}
        self.weights_path.write_bytes(safetensors.torch.save(weights))

    def read(self, **options) -> SAE:
        return read_foreign_sae(self.path, **options)[0]


@pytest.fixture
def lens(sae: SAE, tmp_path: Path) -> Folder:
    return Folder(tmp_path / "lens", "sae_lens", sae)


@pytest.fixture
def lens_jump(threshold_sae: SAE, tmp_path: Path) -> Folder:
    return Folder(tmp_path / "lens_jump", "sae_lens", threshold_sae)


@pytest.fixture
def sparsify(sae: SAE, tmp_path: Path) -> Folder:
    return Folder(tmp_path / "layers.3", "sparsify", sae)


def dense(w: dict[str, Tensor], x_td: Tensor, *, k=None, threshold=0.0, is_rescaled=False, is_centred=True) -> Tensor:
    """Compute the output by sae_lens' names, in double precision and without our code."""
    w = {name: value.double() for name, value in w.items()}
    x_td = x_td.double()
    length_n = w["W_dec"].norm(dim=1) if is_rescaled else torch.ones(len(w["W_dec"]))
    pre_tn = ((x_td - w["b_dec"] * is_centred) @ w["W_enc"] + w["b_enc"]) * length_n
    values_tn = torch.where(pre_tn > threshold, pre_tn, 0.0).relu()
    if k is not None:
        values_tn = torch.zeros_like(pre_tn).scatter(1, pre_tn.topk(k).indices, 1.0) * pre_tn.relu()
    return values_tn / length_n @ w["W_dec"] + w["b_dec"]


def assert_same_output(sae: SAE, wanted_td: Tensor, x_td: Tensor) -> None:
    difference = (sae.reconstruct(x_td) - wanted_td).abs().max() / wanted_td.abs().max()
    assert float(difference) < 1e-5


def assert_ours(sae: SAE, tmp_path: Path) -> None:
    """Require that an imported SAE can be stored in our format."""
    write_sae(tmp_path / "kept", sae, METADATA)
    assert torch.equal(read_sae(tmp_path / "kept")[0].W_dec_nd, sae.W_dec_nd)


# Round trips.


@pytest.mark.parametrize("layout", ["sae_lens", "sparsify"])
@pytest.mark.parametrize("normalise_decoder", [False, True])
def test_our_export_comes_back_bit_by_bit(sae: SAE, tmp_path: Path, layout: str, normalise_decoder: bool) -> None:
    LAYOUTS[layout].write(tmp_path / "layers.3", sae, METADATA)
    read, metadata = read_foreign_sae(tmp_path / "layers.3", normalise_decoder=normalise_decoder)
    for name in ("W_enc_nd", "b_enc_n", "W_dec_nd", "b_dec_d"):
        assert torch.equal(getattr(read, name), getattr(sae, name)), name
    assert (read.k, read.threshold_n) == (K, None)
    assert (metadata["library"], metadata["architecture"], metadata["folded"]) == (layout, "topk", [])


def test_exported_thresholds_come_back(threshold_sae: SAE, lens_jump: Folder) -> None:
    read = lens_jump.read()
    assert read.k is None
    assert read.threshold_n is not None
    assert torch.equal(read.threshold_n, threshold_sae.threshold_n)
    assert torch.equal(read.W_enc_nd, threshold_sae.W_enc_nd)


def test_settings_say_where_it_comes_from(lens: Folder, sparsify: Folder) -> None:
    assert read_foreign_sae(lens.path)[1] == {
        "library": "sae_lens",
        "library_version": "6.54.12",
        "architecture": "topk",
        "activation": "the 3 largest of a token",
        "folded": [],
        **METADATA,
    }
    assert read_foreign_sae(sparsify.path)[1] == {
        "library": "sparsify",
        "library_version": None,
        "architecture": "topk",
        "activation": "the 3 largest of a token",
        "hook_name": "layers.3",
        "folded": [],
    }


def test_provenance_of_another_type_is_left_out(lens: Folder) -> None:
    lens.set(
        metadata={
            "sae_lens_version": "6.1.0",
            "model_name": ["a"],
            "hook_name": "\ud800",
            "dataset_path": "x" * 10**5,
            "context_size": 10**40,
            "prepend_bos": False,
            "model_from_pretrained_kwargs": {"center_writing_weights": True},
        }
    )
    metadata = read_foreign_sae(lens.path)[1]
    assert metadata.keys() - {"library", "library_version", "architecture", "activation", "folded"} == {
        "prepend_bos",
        "center_writing_weights",
    }


@pytest.mark.parametrize(
    ("below", "wanted"),
    [("layers.3", "layers.3"), ("layers.3.mlp/seed1", "layers.3.mlp"), ("embed_tokens", "embed_tokens"), ("sae", None)],
)
def test_sparsify_names_folders_by_hook_point(sparsify: Folder, tmp_path: Path, below: str, wanted: str | None) -> None:
    shutil.copytree(sparsify.path, tmp_path / "run" / below)
    assert read_foreign_sae(tmp_path / "run" / below)[1].get("hook_name") == wanted


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["lens_jump", "sparsify"])
def test_short_floats_become_float32(request: pytest.FixtureRequest, kind: str, dtype: torch.dtype) -> None:
    folder: Folder = request.getfixturevalue(kind)
    rounded = {name: value.to(dtype) for name, value in folder.weights.items()}
    # In so few dimensions, lengths differ from 1 by more than the tolerance of top-k.
    folder.set_weights(**rounded)
    sae = folder.read(normalise_decoder=True)
    assert sae.W_dec_nd.dtype == sae.b_dec_d.dtype == torch.float32
    assert torch.equal(sae.b_dec_d, rounded["b_dec"].float())


def test_weights_do_not_stay_tied_to_the_file(sparsify: Folder) -> None:
    sae = sparsify.read()
    before = sae.W_dec_nd.clone()
    with sparsify.weights_path.open("r+b") as file:
        file.truncate(100)
    assert torch.equal(sae.W_dec_nd, before)


# Folding, against a dense formula.


def stretched(lens: Folder) -> dict[str, Tensor]:
    lens.set_weights(W_dec=lens.weights["W_dec"] * torch.linspace(0.2, 5, N_LATENTS).unsqueeze(1))
    return lens.weights


def test_rescaled_top_k_is_folded(lens: Folder, tmp_path: Path) -> None:
    weights = stretched(lens)
    lens.set(rescale_acts_by_decoder_norm=True)
    sae, metadata = read_foreign_sae(lens.path)
    assert_same_output(sae, dense(weights, rows(), k=K, is_rescaled=True), rows())
    assert metadata["folded"] == ["decoder lengths"]
    assert_ours(sae, tmp_path)


def test_thresholds_scale_with_decoder_lengths(lens_jump: Folder, tmp_path: Path) -> None:
    weights = stretched(lens_jump)
    sae = lens_jump.read()
    assert_same_output(sae, dense(weights, rows(), threshold=weights["threshold"].double()), rows())
    assert_ours(sae, tmp_path)


def test_thresholds_below_zero_are_zero(lens_jump: Folder) -> None:
    lens_jump.set_weights(threshold=torch.linspace(-3, 3, N_LATENTS))
    sae = lens_jump.read()
    assert sae.threshold_n is not None
    assert float(sae.threshold_n.min()) == 0
    assert_same_output(sae, dense(lens_jump.weights, rows(), threshold=lens_jump.weights["threshold"].double()), rows())


def test_a_standard_sae_is_one_with_thresholds_of_zero(lens: Folder) -> None:
    lens.set(architecture="standard", k=..., rescale_acts_by_decoder_norm=...)
    weights = stretched(lens)
    sae, metadata = read_foreign_sae(lens.path)
    assert sae.threshold_n is not None
    assert not bool(sae.threshold_n.any())
    assert_same_output(sae, dense(weights, rows()), rows())
    assert metadata["activation"] == "those above zero"


@pytest.mark.parametrize("is_rescaled", [True, False])
@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
def test_a_training_dump_with_one_threshold_is_read(lens: Folder, architecture: str, is_rescaled: bool) -> None:
    lens.set(architecture=architecture, k=2.5, rescale_acts_by_decoder_norm=is_rescaled)
    weights = stretched(lens)
    lens.set_weights(topk_threshold=torch.tensor(2.25, dtype=torch.float64))
    sae, metadata = read_foreign_sae(lens.path)
    assert_same_output(sae, dense(weights, rows(), threshold=2.25, is_rescaled=is_rescaled), rows())
    assert metadata["architecture"] == architecture


@pytest.mark.parametrize(("architecture", "is_rescaled"), [("topk", False), ("batchtopk", True)])
def test_a_setting_that_is_not_given_is_as_its_library_has_it(
    lens: Folder, architecture: str, is_rescaled: bool
) -> None:
    names = ("apply_b_dec_to_input", "normalize_activations", "reshape_activations", "rescale_acts_by_decoder_norm")
    lens.set(architecture=architecture, **dict.fromkeys(names, ...))
    if architecture == "batchtopk":
        stretched(lens)
        lens.set_weights(topk_threshold=torch.tensor(2.25))
    k, threshold = (K, 0.0) if architecture == "topk" else (None, 2.25)
    wanted = dense(lens.weights, rows(), k=k, threshold=threshold, is_rescaled=is_rescaled)
    assert_same_output(lens.read(), wanted, rows())


@pytest.mark.parametrize("kind", ["lens", "lens_jump"])
def test_an_input_with_b_dec_is_folded(request: pytest.FixtureRequest, kind: str) -> None:
    folder: Folder = request.getfixturevalue(kind)
    folder.set(apply_b_dec_to_input=False)
    sae, metadata = read_foreign_sae(folder.path)
    threshold = folder.weights["threshold"].double() if kind == "lens_jump" else 0.0
    assert_same_output(sae, dense(folder.weights, rows(), k=sae.k, threshold=threshold, is_centred=False), rows())
    assert metadata["folded"] == ["input without b_dec"]


def test_both_foldings_at_once(lens: Folder) -> None:
    weights = stretched(lens)
    lens.set(apply_b_dec_to_input=False, rescale_acts_by_decoder_norm=True)
    wanted = dense(weights, rows(), k=K, is_rescaled=True, is_centred=False)
    assert_same_output(lens.read(), wanted, rows())


def test_rows_of_a_top_k_sae_are_normalised_on_request(sparsify: Folder) -> None:
    sparsify.set_weights(W_dec=sparsify.weights["W_dec"] * torch.linspace(1, 1.03, N_LATENTS).unsqueeze(1))
    sae, metadata = read_foreign_sae(sparsify.path, normalise_decoder=True)
    assert metadata["folded"] == ["decoder rows of lengths 1 to 1.03 normalised"]
    assert torch.equal(sae.W_enc_nd, sparsify.weights["encoder.weight"])
    assert torch.allclose(sae.W_dec_nd.norm(dim=1), torch.ones(N_LATENTS))


# Before version 6.


def old(**changes) -> dict:
    """Make settings as version 5 wrote them, with the names of earlier versions in `changes`."""
    return {
        "architecture": "standard",
        "d_in": D_MODEL,
        "d_sae": N_LATENTS,
        "activation_fn_str": "relu",
        "activation_fn_kwargs": {},
        "apply_b_dec_to_input": True,
        "finetuning_scaling_factor": False,
        "model_name": "gloss",
        "hook_name": "blocks.3.hook_resid_post",
        "hook_layer": 3,
        "hook_head_index": None,
        "prepend_bos": True,
        "dtype": "torch.float32",
        "normalize_activations": "none",
        "sae_lens_training_version": "3.22.0",
        **changes,
    }


def test_an_old_folder_is_read(lens: Folder) -> None:
    weights = stretched(lens)
    lens.write(**old())
    sae, metadata = read_foreign_sae(lens.path)
    assert_same_output(sae, dense(weights, rows()), rows())
    assert metadata["library_version"] is None
    assert metadata["hook_name"] == "blocks.3.hook_resid_post"


@pytest.mark.parametrize("architecture", ["standard", "topk"])
def test_an_old_top_k_is_recognised_by_its_activation(lens: Folder, architecture: str) -> None:
    lens.write(**old(architecture=architecture, activation_fn_str="topk", activation_fn_kwargs={"k": 4}))
    assert_same_output(lens.read(), dense(lens.weights, rows(), k=4), rows())


def test_the_oldest_names_are_known(lens: Folder) -> None:
    lens.write(d_in=D_MODEL, d_sae=N_LATENTS, hook_point="blocks.3.hook_resid_pre", normalize_activations=False)
    lens.set_weights(scaling_factor=torch.ones(N_LATENTS))
    sae, metadata = read_foreign_sae(lens.path)
    assert_same_output(sae, dense(lens.weights, rows()), rows())
    assert metadata["hook_name"] == "blocks.3.hook_resid_pre"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_fn_str": "tanh-relu"}, "activation_fn is 'tanh-relu'"),
        ({"activation_fn_str": "topk"}, "k is None"),
        ({"activation_fn_str": "topk", "activation_fn_kwargs": [4]}, "k is None"),
        ({"activation_fn_str": "topk", "architecture": "jumprelu"}, "architecture is 'jumprelu'"),
        ({"architecture": "gated"}, "architecture is 'gated'"),
        ({"normalize_activations": True}, "normalize_activations is 'expected_average_only_in'"),
        ({"hook_name": "blocks.3.attn.hook_z"}, "reshape_activations is 'hook_z'"),
        ({"sae_lens_version": "new"}, "sae_lens_version is 'new'"),
        ({"sae_lens_version": 6}, "sae_lens_version is 6"),
        ({"metadata": 6}, "metadata is 6"),
    ],
)
def test_an_old_folder_of_another_sae_is_refused(lens: Folder, changes: dict, message: str) -> None:
    lens.write(**old(**changes))
    with pytest.raises(EmergenceError, match=message):
        lens.read()


def test_fine_tuned_scales_are_refused(lens: Folder) -> None:
    lens.write(**old(finetuning_scaling_factor=True))
    lens.set_weights(scaling_factor=torch.linspace(1, 2, N_LATENTS))
    with pytest.raises(EmergenceError, match="scaling_factor other than one"):
        lens.read()


# Refused folders.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "gated"}, "architecture is 'gated', only \"topk\""),
        ({"architecture": "transcoder"}, "architecture is 'transcoder'"),
        ({"architecture": ["topk"]}, r'architecture is \["topk"\]'),
        ({"architecture": ...}, "architecture is None"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations is 'layer_norm'"),
        ({"normalize_activations": "expected_average_only_in"}, "fold_activation_norm_scaling_factor"),
        ({"reshape_activations": "hook_z"}, "reshape_activations is 'hook_z'"),
        ({"apply_b_dec_to_input": 1}, "apply_b_dec_to_input is 1"),
        ({"rescale_acts_by_decoder_norm": "true"}, "rescale_acts_by_decoder_norm is 'true'"),
        ({"k": 0}, "k is 0"),
        ({"k": True}, "k is True"),
        ({"k": 3.0}, "k is 3.0"),
        ({"k": N_LATENTS + 1}, "k=41 exceeds the 40 latents"),
        ({"d_in": None}, "d_in is None"),
        ({"d_in": 10**4000, "d_sae": 10**4000}, "d_in is 1000"),
        ({"d_sae": 2 * N_LATENTS}, r"W_dec is F32 \(40, 8\)"),
        ({"d_sae": 10**6}, r"sae_weights\.safetensors has .* bytes"),
        ({"d_sae": N_LATENTS // 2}, "must be F64, F32, F16 or BF16"),
        ({"architecture": "jumprelu"}, "must hold"),
        ({"architecture": "batchtopk"}, "must hold"),
    ],
)
def test_settings_of_another_sae_are_refused(lens: Folder, changes: dict, message: str) -> None:
    lens.set(**changes)
    with pytest.raises(EmergenceError, match=message) as caught:
        lens.read()
    assert caught.value.remedy
    assert caught.value.where.startswith(str(lens.path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "groupmax"}, "activation is 'groupmax'"),
        ({"transcode": True}, "transcode is True"),
        ({"skip_connection": True}, "skip_connection is True"),
        ({"signed": True}, "signed is True"),
        ({"k": ...}, "k is None"),
        ({"k": N_LATENTS + 1}, "k=41 exceeds"),
        ({"num_latents": -1}, "num_latents is -1"),
        ({"num_latents": 0, "expansion_factor": ...}, "expansion_factor is None"),
        ({"d_in": "8"}, "d_in is '8'"),
    ],
)
def test_settings_of_another_sparse_coder_are_refused(sparsify: Folder, changes: dict, message: str) -> None:
    sparsify.set(**changes)
    with pytest.raises(EmergenceError, match=message):
        sparsify.read()


@pytest.mark.parametrize("changes", [{}, {"num_latents": 0}, {"num_latents": ...}, {"multi_topk": True}])
def test_the_number_of_latents_may_be_a_factor(sparsify: Folder, changes: dict) -> None:
    sparsify.set(expansion_factor=N_LATENTS // D_MODEL, **changes)
    assert sparsify.read().n_latents == N_LATENTS


@pytest.mark.parametrize("text", ["", "{", "[" * 10**5, '{"d_in": NaN}', '{"d_in": Infinity}', "\xff", "[]", "3"])
@pytest.mark.parametrize("kind", ["lens", "sparsify"])
def test_settings_that_are_not_a_json_object_are_refused(request: pytest.FixtureRequest, kind: str, text: str) -> None:
    folder: Folder = request.getfixturevalue(kind)
    (folder.path / "cfg.json").write_text(text, encoding="latin-1")
    with pytest.raises(EmergenceError, match=r"cfg\.json"):
        folder.read()


@pytest.mark.parametrize("kind", ["lens", "sparsify"])
def test_a_constant_that_is_not_json_is_refused_anywhere(request: pytest.FixtureRequest, kind: str) -> None:
    folder: Folder = request.getfixturevalue(kind)
    folder.set(dead_feature_threshold=float("inf"))
    with pytest.raises(EmergenceError, match="Infinity is no JSON number"):
        folder.read()


def test_settings_of_absurd_size_are_refused(lens: Folder) -> None:
    (lens.path / "cfg.json").write_text(" " * (2**20 + 1))
    with pytest.raises(EmergenceError, match="too many for settings"):
        lens.read()


@pytest.mark.parametrize("name", ["cfg.json", "sae.safetensors"])
def test_a_pipe_is_not_waited_for(sparsify: Folder, name: str) -> None:
    (sparsify.path / name).unlink()
    os.mkfifo(sparsify.path / name)
    with pytest.raises(EmergenceError, match=f"{name} is not a file"):
        sparsify.read()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("b_dec", ..., "must hold"),
        ("threshold", torch.zeros(N_LATENTS), "must hold"),
        ("W_enc", torch.zeros(N_LATENTS, D_MODEL), r"W_enc is F32 \(40, 8\)"),
        ("b_enc", torch.zeros(N_LATENTS, dtype=torch.int32), "b_enc is I32"),
        ("b_dec", torch.zeros(D_MODEL, dtype=torch.int32), "b_dec is I32"),
        ("b_dec", torch.full((D_MODEL,), torch.nan), "b_dec holds NaN or infinity"),
        ("W_enc", torch.full((D_MODEL, N_LATENTS), -torch.inf), "W_enc holds NaN or infinity"),
        ("W_dec", torch.full((N_LATENTS, D_MODEL), 2.0), "rows that are not of unit length"),
        ("extra", torch.zeros(2**20), "bytes, the settings require"),
    ],
)
def test_wrong_weights_are_refused(lens: Folder, name: str, value: Tensor, message: str) -> None:
    lens.set_weights(**{name: value})
    with pytest.raises(EmergenceError, match=message):
        lens.read()


def test_rows_that_are_not_of_unit_length_are_named(sparsify: Folder) -> None:
    W_dec = sparsify.weights["W_dec"]
    W_dec[7] *= 1.01
    sparsify.set_weights(W_dec=W_dec)
    with pytest.raises(EmergenceError, match=r"row 7 of 1\.01") as caught:
        sparsify.read()
    assert "sparsify does before each step" in caught.value.remedy


@pytest.mark.parametrize(("factor", "length"), [(0.0, "0"), (1e32, r"1e\+32")])
@pytest.mark.parametrize("kind", ["lens", "lens_jump"])
def test_a_row_of_no_sane_length_is_refused(
    request: pytest.FixtureRequest, kind: str, factor: float, length: str
) -> None:
    folder: Folder = request.getfixturevalue(kind)
    W_dec = folder.weights["W_dec"]
    W_dec[7] *= factor
    folder.set_weights(W_dec=W_dec)
    with pytest.raises(EmergenceError, match=f"cannot be made of unit length, first row 7 of {length}\n"):
        folder.read(normalise_decoder=True)


def test_folding_into_infinity_is_refused(lens_jump: Folder) -> None:
    lens_jump.set_weights(W_dec=torch.full((N_LATENTS, D_MODEL), 1e29), W_enc=torch.full((D_MODEL, N_LATENTS), 1e30))
    with pytest.raises(EmergenceError, match="W_enc becomes infinite"):
        lens_jump.read()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.6, 0.999])
@pytest.mark.parametrize("kind", ["lens", "sparsify"])
def test_truncated_weights_are_refused(request: pytest.FixtureRequest, kind: str, share: float) -> None:
    folder: Folder = request.getfixturevalue(kind)
    content = folder.weights_path.read_bytes()
    folder.weights_path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(EmergenceError, match=folder.weights_path.name):
        folder.read()


def test_a_pickle_under_the_name_of_the_weights_is_refused(sparsify: Folder) -> None:
    n_bytes = sparsify.weights_path.stat().st_size
    sparsify.weights_path.write_bytes(b"\x80\x04".ljust(n_bytes, b"."))
    with pytest.raises(EmergenceError, match="not a safetensors file"):
        sparsify.read()


@pytest.mark.parametrize("name", ["ae.pt", "pytorch_model.bin", "sae.pkl"])
def test_pickles_are_not_opened(lens: Folder, name: str) -> None:
    lens.weights_path.rename(lens.path / name)
    with pytest.raises(EmergenceError, match=f"pickles, which can run any code when opened: {name}"):
        lens.read()


def test_a_dictionary_learning_folder_is_refused(sae: SAE, tmp_path: Path) -> None:
    LAYOUTS["dictionary_learning"].write(tmp_path / "sae", sae, METADATA)
    with pytest.raises(EmergenceError, match="pickles"):
        read_foreign_sae(tmp_path / "sae")


# Detection of formats.


def test_a_folder_of_two_layouts_is_read_as_named(lens: Folder, sparsify: Folder) -> None:
    shutil.copy(sparsify.weights_path, lens.path)
    with pytest.raises(EmergenceError, match="several layouts: sae_lens, sparsify"):
        lens.read()
    assert lens.read(layout="sae_lens").k == K
    with pytest.raises(EmergenceError, match="'npz' is not a readable SAE layout"):
        lens.read(layout="npz")
    sparsify.weights_path.unlink()
    with pytest.raises(EmergenceError, match=r"sae\.safetensors cannot be read"):
        sparsify.read(layout="sparsify")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmergenceError, match="not an SAE folder"):
        read_foreign_sae(tmp_path)
    with pytest.raises(EmergenceError, match="cannot be read"):
        read_foreign_sae(tmp_path / "nowhere")


def test_all_saes_below_a_root_are_found(sae: SAE, tmp_path: Path) -> None:
    for name in ("b/layers.3", "a/layers.1/seed0"):
        LAYOUTS["sparsify"].write(tmp_path / name, sae, METADATA)
    LAYOUTS["sae_lens"].write(tmp_path / "a/final", sae, METADATA)
    LAYOUTS["dictionary_learning"].write(tmp_path / "c", sae, METADATA)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/cfg.json").write_text("{}")
    (tmp_path / "d/loop").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in find_foreign_saes(tmp_path)]
    assert found == ["a/final", "a/layers.1/seed0", "b/layers.3"]
    assert find_foreign_saes(tmp_path / "a/final") == [tmp_path / "a/final"]
    assert find_foreign_saes(tmp_path / "d") == []
    with pytest.raises(EmergenceError, match="cannot be read"):
        find_foreign_saes(tmp_path / "nowhere")


# Folders written by the libraries.

WRITER = r"""
import json, sys, warnings
from pathlib import Path
import numpy as np, safetensors.torch, torch
import sae_lens as sl
from sparsify import SparseCoder, SparseCoderConfig

torch.set_num_threads(1)
torch.manual_seed(0)
root, d, n, k = Path(sys.argv[1]), 24, 96, 5
x = torch.from_numpy(np.load(root / "x.npy"))

def fill(sae, *, is_unit=False):
    with torch.no_grad():
        for name, value in sae.named_parameters():
            value.copy_(torch.randn_like(value) * (0.3 if "bias" in name or name.startswith("b_") else 1.0))
        sae.W_dec.mul_(torch.rand(n, 1) * 2 + 0.2)
        if is_unit:
            sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
    return sae

def done(name, out):
    np.save(root / name / "out.npy", out.detach().numpy())

def save(name, sae):
    sae.save_model(root / name)
    done(name, sl.SAE.load_from_disk(root / name)(x))

def metadata():
    return sl.saes.sae.SAEMetadata(model_name="gloss", hook_name="blocks.3.hook_resid_post")

same = dict(d_in=d, d_sae=n)
save("topk", fill(sl.TopKSAE(sl.TopKSAEConfig(**same, k=k, metadata=metadata())), is_unit=True))
save("topk_rescaled", fill(sl.TopKSAE(sl.TopKSAEConfig(**same, k=k, rescale_acts_by_decoder_norm=True))))
for is_centred in (True, False):
    suffix = "" if is_centred else "_plain_input"
    same["apply_b_dec_to_input"] = is_centred
    # Random thresholds, half of them below zero.
    save("jumprelu" + suffix, fill(sl.JumpReLUSAE(sl.JumpReLUSAEConfig(**same))))
    save("standard" + suffix, fill(sl.StandardSAE(sl.StandardSAEConfig(**same))))
    save("topk_rescaled_again" + suffix,
         fill(sl.TopKSAE(sl.TopKSAEConfig(**same, k=k, rescale_acts_by_decoder_norm=True))))
same["apply_b_dec_to_input"] = True

# What training writes: as it is, and for use.
for name, kind, config in (
    ("topk", sl.TopKTrainingSAE, sl.TopKTrainingSAEConfig(**same, k=k)),
    ("jumprelu", sl.JumpReLUTrainingSAE, sl.JumpReLUTrainingSAEConfig(**same)),
    ("standard", sl.StandardTrainingSAE, sl.StandardTrainingSAEConfig(**same)),
    ("batchtopk", sl.BatchTopKTrainingSAE, sl.BatchTopKTrainingSAEConfig(**same, k=k)),
    ("batchtopk_unscaled", sl.BatchTopKTrainingSAE,
     sl.BatchTopKTrainingSAEConfig(**same, k=k, rescale_acts_by_decoder_norm=False)),
    ("matryoshka", sl.MatryoshkaBatchTopKTrainingSAE,
     sl.MatryoshkaBatchTopKTrainingSAEConfig(**same, k=k, matryoshka_widths=[32, 96])),
):
    sae = fill(kind(config))
    if "batchtopk" in name or name == "matryoshka":
        sae.topk_threshold.fill_(3.7)
    if name == "jumprelu":
        sae.threshold.data.clamp_(min=0)
    sae.save_model(root / f"dump_{name}")
    sae.save_inference_model(root / f"trained_{name}")
    out = sl.SAE.load_from_disk(root / f"trained_{name}")(x)
    done(f"dump_{name}", out)
    done(f"trained_{name}", out)

# Settings from before version 6, read by what converts them.
def save_old(name, **settings):
    (root / name).mkdir()
    sae = fill(sl.StandardSAE(sl.StandardSAEConfig(**same)), is_unit=True)
    safetensors.torch.save_file(sae.state_dict(), root / name / "sae_weights.safetensors")
    (root / name / "cfg.json").write_text(json.dumps({**same, "dtype": "torch.float32", **settings}))
    done(name, sl.SAE.load_from_disk(root / name)(x))

save_old("old_topk", architecture="standard", activation_fn_str="topk", activation_fn_kwargs={"k": k},
         finetuning_scaling_factor=False, normalize_activations="none", hook_name="blocks.3.hook_resid_post")
save_old("oldest", hook_point="blocks.3.hook_resid_post", normalize_activations=False)

# The folder that sae_lens reads as bfloat16 holds these numbers.
half = fill(sl.StandardSAE(sl.StandardSAEConfig(**same, dtype="bfloat16")))
half.save_model(root / "bfloat16")
done("bfloat16", sl.SAE.load_from_disk(root / "bfloat16", dtype="float32")(x))

for name, config in (
    ("sparsify/layers.3", SparseCoderConfig(num_latents=n, k=k)),
    ("sparsify/layers.4", SparseCoderConfig(expansion_factor=n // d, k=k, multi_topk=True)),
    ("sparsify/layers.5/seed1", SparseCoderConfig(num_latents=n, k=k, normalize_decoder=False)),
):
    coder = fill(SparseCoder(d, config), is_unit=True)
    coder.save_to_disk(root / name)
    # Not its forward: with multi_topk that returns what the 4 k largest give.
    read = SparseCoder.load_from_disk(root / name)
    top_acts, top_indices, _ = read.encode(x)
    done(name, read.decode(top_acts, top_indices))
"""


@pytest.fixture(scope="module")
def written_by_peers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that the libraries initialised, filled with random numbers and saved; beside each its output."""
    assert PEERS.exists(), "type `make peers`"
    root = tmp_path_factory.mktemp("peers")
    np.save(root / "x.npy", rows(d_model=24).numpy())
    environment = {"SPARSIFY_DISABLE_TRITON": "1", "PATH": "/usr/bin:/bin", "HOME": str(root)}
    subprocess.run([str(PEERS), "-c", WRITER, str(root)], check=True, timeout=300, env=environment)
    return root


@pytest.mark.peers
@pytest.mark.parametrize(
    "name",
    [
        "topk",
        "topk_rescaled",
        "topk_rescaled_again_plain_input",
        "jumprelu",
        "jumprelu_plain_input",
        "standard",
        "standard_plain_input",
        "bfloat16",
        "dump_topk",
        "dump_jumprelu",
        "dump_standard",
        "dump_batchtopk",
        "dump_batchtopk_unscaled",
        "dump_matryoshka",
        "trained_topk",
        "trained_jumprelu",
        "trained_standard",
        "trained_batchtopk",
        "trained_batchtopk_unscaled",
        "trained_matryoshka",
        "old_topk",
        "oldest",
        "sparsify/layers.3",
        "sparsify/layers.4",
        "sparsify/layers.5/seed1",
    ],
)
def test_an_sae_saved_by_a_library_computes_its_output(written_by_peers: Path, tmp_path: Path, name: str) -> None:
    folder = written_by_peers / name
    assert folder in find_foreign_saes(written_by_peers)
    sae, metadata = read_foreign_sae(folder)
    x_td, wanted_td = (torch.from_numpy(np.load(path)) for path in (written_by_peers / "x.npy", folder / "out.npy"))
    assert_same_output(sae, wanted_td, x_td)
    assert_ours(sae, tmp_path)
    assert metadata["library"] == ("sparsify" if name.startswith("sparsify") else "sae_lens")
