"""Our own SAE folder, which sae_lens 6 loads unchanged.

    cfg.json                  settings: architecture "topk" with k, or "jumprelu"; d_in, d_sae; and "metadata" with the
                              provenance
    sae_weights.safetensors   float32: W_enc [d_in, d_sae], b_enc [d_sae], W_dec [d_sae, d_in], b_dec [d_in],
                              and for jumprelu threshold [d_sae]

sae_lens names our d_model d_in and our n_latents d_sae; its W_enc is the transpose of ours.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from emergence_assets.saes.formats.files import CONFIG_NAME, read_settings, refused, settings_file, write_files
from emergence_assets.saes.formats.folding import require_unit_length
from emergence_assets.saes.formats.sae_lens import WEIGHTS_NAME, read_sae_lens
from emergence_assets.saes.model.sae import SAE

SAE_LENS_VERSION = "6.54.12"
"""Release whose loader was tested on these folders. Without a version >= 6 the loader assumes an older layout."""


def write_sae(folder: Path, sae: SAE, metadata: Mapping[str, Any]) -> None:
    """Write the folder of an SAE atomically.

    Args:
        folder: folder to write; must not exist. To replace a folder, remove it first.
        sae: SAE to write.
        metadata: JSON values; sae_lens requires `model_name` and `hook_name`, other values are kept.

    Raises:
        EmergenceError: the folder exists or cannot be written.
        ValueError: metadata lacks one of the two names, or is not JSON.
    """
    missing = {"model_name", "hook_name"} - metadata.keys()
    if missing:
        raise ValueError(f"SAE metadata lacks {sorted(missing)}")
    config = {
        "architecture": sae.architecture,
        **({} if sae.k is None else {"k": sae.k}),
        "d_in": sae.d_model,
        "d_sae": sae.n_latents,
        "device": "cpu",
        "dtype": "float32",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": {**metadata, "sae_lens_version": SAE_LENS_VERSION},
    }
    weights = {
        "W_enc": sae.W_enc_nd.t().contiguous().cpu(),
        "b_enc": sae.b_enc_n.contiguous().cpu(),
        "W_dec": sae.W_dec_nd.contiguous().cpu(),
        "b_dec": sae.b_dec_d.contiguous().cpu(),
        **({} if sae.threshold_n is None else {"threshold": sae.threshold_n.contiguous().cpu()}),
    }
    write_files(folder, {CONFIG_NAME: settings_file(config), WEIGHTS_NAME: safetensors.torch.save(weights)})


def read_sae(folder: Path) -> tuple[SAE, dict[str, Any]]:
    """Read an SAE and its metadata; check file sizes, settings, shapes, types, finite values and unit decoder rows.

    Raises:
        EmergenceError: the folder differs from those of `write_sae`; names the file.
    """
    path = folder / CONFIG_NAME
    foreign, _ = read_sae_lens(folder)
    metadata = read_settings(path).get("metadata")
    if metadata is None:
        raise refused(path, "has no metadata")
    if foreign.is_rescaled or not foreign.is_centred:
        raise refused(path, "is of an SAE with other conventions", "import it with `emergence import`")
    require_unit_length(torch.linalg.vector_norm(foreign.W_dec_nd, dim=1), folder / WEIGHTS_NAME)
    if foreign.threshold_n is not None and bool((foreign.threshold_n < 0).any()):
        raise refused(folder / WEIGHTS_NAME, "has thresholds below zero")
    own = (foreign.W_enc_nd, foreign.b_enc_n, foreign.W_dec_nd, foreign.b_dec_d, foreign.k, foreign.threshold_n)
    return SAE(*own), metadata
