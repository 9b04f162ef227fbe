"""Reader and writer of SAEs of sparsify (`SparseCoder`): `cfg.json` and `sae.safetensors`, a folder per hook point.

Its `encode` subtracts b_dec from the input and keeps the k largest positive pre-activations, also with `multi_topk`,
which adds the loss of the 4 k largest in training. With `multi_topk`, `forward` returns the output of the 4 k largest,
which is not read here.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from emergence_assets.saes.formats.files import (
    CONFIG_NAME,
    one_of,
    positive_integer,
    read_settings,
    read_tensors,
    refused,
    settings_file,
    shown,
    write_files,
)
from emergence_assets.saes.formats.folding import ForeignSAE
from emergence_assets.saes.model.sae import SAE
from resources.errors import EmergenceError

WEIGHTS_NAME = "sae.safetensors"
_ONLY_ITSELF = "choose an SAE that reconstructs its own input; transcoders are not read"


def write_sparsify(folder: Path, sae: SAE, _metadata: Mapping[str, Any]) -> None:
    """Write a folder for `sparsify.SparseCoder.load_from_disk`.

    Raises:
        EmergenceError: the SAE has thresholds, which sparsify does not support; the folder exists or cannot be written.
    """
    if sae.k is None:
        raise EmergenceError(
            "sparsify does not support SAEs with thresholds (BatchTopK, JumpReLU).",
            where=folder,
            remedy="export for sae_lens or dictionary_learning",
        )
    config = {
        "activation": "topk",
        "expansion_factor": max(1, sae.n_latents // sae.d_model),
        "normalize_decoder": True,
        "num_latents": sae.n_latents,
        "k": sae.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": sae.d_model,
    }
    weights = {
        "encoder.weight": sae.W_enc_nd.cpu().contiguous(),
        "encoder.bias": sae.b_enc_n.cpu().contiguous(),
        "W_dec": sae.W_dec_nd.cpu().contiguous(),
        "b_dec": sae.b_dec_d.cpu().contiguous(),
    }
    write_files(folder, {CONFIG_NAME: settings_file(config), WEIGHTS_NAME: safetensors.torch.save(weights)})


def read_sparsify(folder: Path) -> tuple[ForeignSAE, dict[str, Any]]:
    """Read an SAE as sparsify computes it, and its provenance in settings and folder name.

    Raises:
        EmergenceError: the SAE is damaged or not supported; names file and setting.
    """
    path = folder / CONFIG_NAME
    settings = read_settings(path)
    one_of(settings, "activation", "topk", ("topk",), path, "choose an SAE that was trained with activation topk")
    one_of(settings, "transcode", False, (False,), path, _ONLY_ITSELF)
    one_of(settings, "skip_connection", False, (False,), path, _ONLY_ITSELF)
    # In the first releases: the k largest by absolute value. Later releases ignore it, which gives another SAE.
    one_of(settings, "signed", False, (False,), path, "choose an SAE whose latents are not negative")
    d_model, k = positive_integer(settings, "d_in", path), positive_integer(settings, "k", path)
    n_latents = _n_latents(settings, d_model, path)
    if k > n_latents:
        raise refused(path, f"k={k} exceeds the {n_latents} latents")
    weights = read_tensors(
        folder / WEIGHTS_NAME,
        {
            "encoder.weight": (n_latents, d_model),
            "encoder.bias": (n_latents,),
            "W_dec": (n_latents, d_model),
            "b_dec": (d_model,),
        },
    )
    sae = ForeignSAE(weights["encoder.weight"], weights["encoder.bias"], weights["W_dec"], weights["b_dec"], k)
    metadata = {
        "library": "sparsify",
        "library_version": None,  # it writes none
        "architecture": "topk",
        "activation": f"the {k} largest of a token",
        **_hook_point(folder),
    }
    return sae, metadata


def _n_latents(settings: dict[str, Any], d_model: int, path: Path) -> int:
    n_latents = settings.get("num_latents", 0)
    if type(n_latents) is not int or n_latents < 0:
        raise refused(path, f"num_latents is {shown(n_latents)}, must be an integer that is not negative")
    if n_latents:
        return positive_integer(settings, "num_latents", path)
    return d_model * positive_integer(settings, "expansion_factor", path)


def _hook_point(folder: Path) -> dict[str, str]:
    """Return the module of the hook point by the folder name; with several seeds it is the parent of `seed1`."""
    folder = folder.absolute()
    name = folder.parent.name if re.fullmatch(r"seed\d+", folder.name) else folder.name
    return {"hook_name": name} if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+|embed_\w+", name, re.ASCII) else {}
