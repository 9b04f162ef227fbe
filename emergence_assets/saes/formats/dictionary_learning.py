"""Writer of SAEs for dictionary_learning: `config.json` and `ae.pt`, which holds tensors only."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emergence_assets.saes.formats.files import settings_file, write_files
from emergence_assets.saes.model.sae import SAE


def write_dictionary_learning(folder: Path, sae: SAE, metadata: Mapping[str, Any]) -> None:
    """Write a folder for `dictionary_learning.utils.load_dictionary`.

    Raises:
        EmergenceError: the folder exists or cannot be written.
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
    write_files(folder, {"config.json": settings_file(config), "ae.pt": content.getvalue()})


def _top_k_tensors(sae: SAE) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return {"dict_class": "AutoEncoderTopK", "trainer_class": "TopKTrainer", "k": sae.k}, {
        "encoder.weight": sae.W_enc_nd.cpu(),
        "encoder.bias": sae.b_enc_n.cpu(),
        "decoder.weight": sae.W_dec_nd.t().contiguous().cpu(),
        "b_dec": sae.b_dec_d.cpu(),
        "k": torch.tensor(sae.k),
        "threshold": torch.tensor(-1.0),  # threshold of the batch-wise variant: not set
    }


def _threshold_tensors(sae: SAE) -> tuple[dict[str, Any], dict[str, Tensor]]:
    assert sae.threshold_n is not None
    return {"dict_class": "JumpReluAutoEncoder", "trainer_class": "JumpReluTrainer"}, {
        "W_enc": sae.W_enc_nd.t().contiguous().cpu(),
        # Its encoder takes the raw input; ours the input minus b_dec.
        "b_enc": (sae.b_enc_n - sae.W_enc_nd @ sae.b_dec_d).cpu(),
        "W_dec": sae.W_dec_nd.cpu(),
        "b_dec": sae.b_dec_d.cpu(),
        "threshold": sae.threshold_n.cpu(),
    }
