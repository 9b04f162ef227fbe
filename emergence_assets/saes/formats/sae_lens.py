"""Reader of SAEs of sae_lens, up to version 6: `cfg.json` and `sae_weights.safetensors`.

It reads topk, jumprelu and standard, saved for inference or as training checkpoints, and training checkpoints of
batchtopk and matryoshka_batchtopk. The latter hold one threshold for all latents, which sae_lens writes into a jumprelu
when it saves them for inference.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from emergence_assets.saes.formats.files import (
    CONFIG_NAME,
    one_of,
    positive_integer,
    read_settings,
    read_tensors,
    refused,
    shown,
)
from emergence_assets.saes.formats.folding import ForeignSAE

WEIGHTS_NAME = "sae_weights.safetensors"


class _Architecture(NamedTuple):
    activation: str
    """Description of the active latents of a token."""
    threshold: str | None = None
    """Name of the tensor of thresholds; None for thresholds of 0, or for top-k."""
    is_shared: bool = False
    """Whether all latents have one threshold."""
    rescales: bool | None = None
    """Default of `rescale_acts_by_decoder_norm`; None if the architecture ignores that setting."""


_ONE_THRESHOLD = _Architecture("those above one threshold for all latents", "topk_threshold", True, True)
_ARCHITECTURES = {
    "topk": _Architecture("the {k} largest of a token", rescales=False),
    "jumprelu": _Architecture("those above a threshold per latent", "threshold"),
    "standard": _Architecture("those above zero"),
    "batchtopk": _ONE_THRESHOLD,
    "matryoshka_batchtopk": _ONE_THRESHOLD,
}
_OLD_NAMES = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
# Settings about the origin of the SAE that are kept, with their types.
_PROVENANCE = {
    "model_name": str,
    "hook_name": str,
    "hf_hook_name": str,
    "hook_head_index": int,
    "prepend_bos": bool,
    "context_size": int,
    "dataset_path": str,
    "training_architecture": str,
}


def read_sae_lens(folder: Path) -> tuple[ForeignSAE, dict[str, Any]]:
    """Read an SAE as sae_lens computes it at inference, and the provenance in its settings.

    Raises:
        EmergenceError: the SAE is damaged or not supported; names file and setting.
    """
    path = folder / CONFIG_NAME
    settings = read_settings(path)
    about = settings.get("metadata", {})
    if not isinstance(about, dict):
        raise refused(path, f"metadata is {shown(about)}, must be an object")
    version = settings.get("sae_lens_version") or about.get("sae_lens_version")
    if not _is_from_6_on(version, path):
        settings = about = _renewed(settings, path)
    name = one_of(
        settings, "architecture", None, tuple(_ARCHITECTURES), path, "choose an SAE of one of these architectures"
    )
    architecture = _ARCHITECTURES[name]
    _check_input(settings, path)
    d_model, n_latents = positive_integer(settings, "d_in", path), positive_integer(settings, "d_sae", path)
    k = None
    if name == "topk":
        k = positive_integer(settings, "k", path)
        if k > n_latents:
            raise refused(path, f"k={k} exceeds the {n_latents} latents")
    is_centred = one_of(settings, "apply_b_dec_to_input", True, (True, False), path, "write true or false")
    is_rescaled = architecture.rescales is not None and one_of(
        settings, "rescale_acts_by_decoder_norm", architecture.rescales, (True, False), path, "write true or false"
    )
    weights = _read_weights(folder / WEIGHTS_NAME, architecture, d_model, n_latents)
    threshold_n = weights[architecture.threshold] if architecture.threshold else weights["b_enc"].new_zeros(())
    sae = ForeignSAE(
        weights.pop("W_enc").t().contiguous(),
        weights["b_enc"],
        weights["W_dec"],
        weights["b_dec"],
        k,
        None if k else threshold_n.expand(n_latents).clone(),
        is_rescaled=is_rescaled,
        is_centred=is_centred,
    )
    metadata = {
        "library": "sae_lens",
        "library_version": version,
        "architecture": name,
        "activation": architecture.activation.format(k=k),
        **_provenance(about),
    }
    return sae, metadata


def _is_from_6_on(version: Any, path: Path) -> bool:
    if version is None:
        return False
    match = re.match(r"(\d{1,4})\.", version) if isinstance(version, str) else None
    if match is None:
        raise refused(path, f"sae_lens_version is {shown(version)}, must be a version")
    return int(match[1]) >= 6


def _renewed(old: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return settings of versions before 6 under their new names, with the defaults of their version."""
    settings = {_OLD_NAMES.get(name, name): value for name, value in old.items()}
    remedy = "choose an SAE that uses relu or topk"
    # sae_lens replaces any other function by relu, which gives another SAE.
    function = one_of(settings, "activation_fn", "relu", ("relu", "topk"), path, remedy)
    settings.setdefault("architecture", "standard")
    if function == "topk" or settings["architecture"] == "topk":
        one_of(settings, "architecture", None, ("standard", "topk"), path, "choose an SAE of one architecture")
        arguments = settings.get("activation_fn_kwargs")
        if isinstance(arguments, dict) and "k" in arguments:
            settings["k"] = arguments["k"]
        settings["architecture"] = "topk"
    scaling = settings.get("normalize_activations")
    if scaling is None or isinstance(scaling, bool):
        settings["normalize_activations"] = "expected_average_only_in" if scaling else "none"
    if "hook_z" in str(settings.get("hook_name")):
        settings.setdefault("reshape_activations", "hook_z")
    return settings


def _check_input(settings: dict[str, Any], path: Path) -> None:
    """Raise EmergenceError if the input is changed before encoding."""
    remedies = {
        "normalize_activations": "fold an average scale into the weights with sae_lens "
        "(fold_activation_norm_scaling_factor) and save it again; a scale per token (layer_norm, "
        "constant_norm_rescale) cannot be folded, choose another SAE",
        "reshape_activations": "choose an SAE of the residual stream; this one takes outputs of attention heads",
    }
    for name, remedy in remedies.items():
        one_of(settings, name, "none", ("none",), path, remedy)


def _read_weights(path: Path, architecture: _Architecture, d_model: int, n_latents: int) -> dict[str, Tensor]:
    shapes = {"W_enc": (d_model, n_latents), "b_enc": (n_latents,), "W_dec": (n_latents, d_model), "b_dec": (d_model,)}
    if architecture.threshold:
        shapes[architecture.threshold] = () if architecture.is_shared else (n_latents,)
    weights = read_tensors(path, shapes, {"scaling_factor": (n_latents,)})
    # Old releases always wrote it; other values than one are from fine-tuning, which sae_lens no longer reads either.
    if not bool((weights.pop("scaling_factor", weights["b_enc"].new_ones(1)) == 1).all()):
        raise refused(path, "holds a scaling_factor other than one", "choose an SAE without fine-tuned scales")
    return weights


def _provenance(about: dict[str, Any]) -> dict[str, Any]:
    """Return settings about the origin of the SAE that have the right type and a limited size."""
    found = {name: about[name] for name, kind in _PROVENANCE.items() if type(about.get(name)) is kind}
    loading = about.get("model_from_pretrained_kwargs")
    # Whether TransformerLens centred what the model writes to the residual stream.
    if isinstance(loading, dict) and isinstance(loading.get("center_writing_weights"), bool):
        found["center_writing_weights"] = loading["center_writing_weights"]
    return {
        name: value
        for name, value in found.items()
        if (len(value) <= 200 and value.isprintable() if isinstance(value, str) else abs(value) < 2**31)
    }
