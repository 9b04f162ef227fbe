"""SAEs in the folder layouts that other libraries load: sae_lens, sparsify, dictionary_learning.

Ours is that of sae_lens already. Names of tensors and settings are theirs; sparsify and dictionary_learning keep the
encoder as we do, latents in rows.
"""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from emergence_assets.saes.formats.folder import write_sae
from emergence_assets.saes.model.sae import SAE
from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors, replacing_folder


def export_for_sparsify(folder: Path, sae: SAE, _metadata: Mapping[str, Any]) -> None:
    """Write what `sparsify.SparseCoder.load_from_disk` takes.

    Raises:
        EmergenceError: the SAE selects by thresholds, which sparsify does not know; or the disk is full.
    """
    if sae.k is None:
        raise EmergenceError(
            "sparsify has no SAEs that select by thresholds (BatchTopK, JumpReLU).",
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
    _write(folder, {"cfg.json": _json(config), "sae.safetensors": safetensors.torch.save(weights)})


def export_for_dictionary_learning(folder: Path, sae: SAE, metadata: Mapping[str, Any]) -> None:
    """Write what `dictionary_learning.utils.load_dictionary` takes; `ae.pt` holds tensors only.

    Raises:
        EmergenceError: the disk is full.
    """
    selection, weights = _top_k_tensors(sae) if sae.k is not None else _threshold_tensors(sae)
    config = {
        "trainer": {
            **selection,
            "activation_dim": sae.d_model,
            "dict_size": sae.n_latents,
            "layer": str(metadata["hook_name"]).split(".")[1],
            "lm_name": metadata["model_name"],
            "submodule_name": metadata.get("hf_hook_name", metadata["hook_name"]),
        },
        "buffer": {},
    }
    content = io.BytesIO()
    torch.save(weights, content)
    _write(folder, {"config.json": _json(config), "ae.pt": content.getvalue()})


def _top_k_tensors(sae: SAE) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return {"dict_class": "AutoEncoderTopK", "trainer_class": "TopKTrainer", "k": sae.k}, {
        "encoder.weight": sae.W_enc_nd.cpu(),
        "encoder.bias": sae.b_enc_n.cpu(),
        "decoder.weight": sae.W_dec_nd.t().contiguous().cpu(),
        "b_dec": sae.b_dec_d.cpu(),
        "k": torch.tensor(sae.k),
        "threshold": torch.tensor(-1.0),  # of its batch-wise variant: not set
    }


def _threshold_tensors(sae: SAE) -> tuple[dict[str, Any], dict[str, Tensor]]:
    assert sae.threshold_n is not None
    return {"dict_class": "JumpReluAutoEncoder", "trainer_class": "JumpReluTrainer"}, {
        "W_enc": sae.W_enc_nd.t().contiguous().cpu(),
        # Its encoder sees the input as it is; ours the input without b_dec.
        "b_enc": (sae.b_enc_n - sae.W_enc_nd @ sae.b_dec_d).cpu(),
        "W_dec": sae.W_dec_nd.cpu(),
        "b_dec": sae.b_dec_d.cpu(),
        "threshold": sae.threshold_n.cpu(),
    }


LAYOUTS: dict[str, Callable[[Path, SAE, Mapping[str, Any]], None]] = {
    "sae_lens": write_sae,
    "sparsify": export_for_sparsify,
    "dictionary_learning": export_for_dictionary_learning,
}
"""Name of the library to what writes for it."""


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    with clear_disk_errors(folder), replacing_folder(folder) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
