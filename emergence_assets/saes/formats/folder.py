"""An SAE on disk: a folder that sae-lens 6 loads as it is.

    cfg.json                  what it is: architecture "topk" with k, or "jumprelu"; d_in, d_sae, and "metadata" about
                              where it comes from
    sae_weights.safetensors   float32: W_enc [d_in, d_sae], b_enc [d_sae], W_dec [d_sae, d_in], b_dec [d_in],
                              and of jumprelu threshold [d_sae]

The names d_in and d_sae are sae-lens', ours are d_model and n_latents; W_enc is the transpose of ours.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from emergence_assets.saes.model.sae import SAE
from resources.errors import EmergenceError
from resources.files.atomic import replacing_folder

CONFIG_NAME = "cfg.json"
WEIGHTS_NAME = "sae_weights.safetensors"
SAE_LENS_VERSION = "6.54.12"
"""The release whose loader was tried on these folders. Without a version >= 6 in them it assumes an older layout."""
_MAX_CONFIG_BYTES = 2**20
_MAX_HEADER_BYTES = 2**16
# What these settings say is built into SAE.encode; a folder that says otherwise would be read as a wrong SAE.
_FIXED_CONFIG = {
    "dtype": "float32",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "reshape_activations": "none",
    "rescale_acts_by_decoder_norm": False,
}


def write_sae(folder: Path, sae: SAE, metadata: Mapping[str, Any]) -> None:
    """Write an SAE so that the folder appears complete or not at all.

    Args:
        folder: must not exist; folders are replaced by removing them first, never edited.
        sae: to write.
        metadata: JSON values; `model_name` and `hook_name` are asked for by sae-lens, any others are kept.

    Raises:
        EmergenceError: the folder exists, or there is no room for it.
        ValueError: metadata without the two names, or not JSON.
    """
    missing = {"model_name", "hook_name"} - metadata.keys()
    if missing:
        raise ValueError(f"SAE metadata lacks {sorted(missing)}")
    if folder.exists():
        raise EmergenceError("SAE folder exists already", where=folder, remedy="remove it to write another")
    config = {
        **({"architecture": "topk", "k": sae.k} if sae.k is not None else {"architecture": "jumprelu"}),
        "d_in": sae.d_model,
        "d_sae": sae.n_latents,
        "device": "cpu",
        **_FIXED_CONFIG,
        "metadata": {**metadata, "sae_lens_version": SAE_LENS_VERSION},
    }
    contents = {
        CONFIG_NAME: json.dumps(config, indent=2, allow_nan=False).encode(),
        WEIGHTS_NAME: safetensors.torch.save(
            {
                "W_enc": sae.W_enc_nd.t().contiguous().cpu(),
                "b_enc": sae.b_enc_n.contiguous().cpu(),
                "W_dec": sae.W_dec_nd.contiguous().cpu(),
                "b_dec": sae.b_dec_d.contiguous().cpu(),
                **({} if sae.threshold_n is None else {"threshold": sae.threshold_n.contiguous().cpu()}),
            }
        ),
    }
    try:
        with replacing_folder(folder) as temporary:
            for name, content in contents.items():
                (temporary / name).write_bytes(content)
    except OSError as error:
        n_bytes = sum(map(len, contents.values()))
        raise EmergenceError(
            f"SAE of {n_bytes:,} bytes could not be written: {error}", where=folder, remedy="make room or give access"
        ) from error


def read_sae(folder: Path) -> tuple[SAE, dict[str, Any]]:
    """SAE and metadata of a folder, checked: file sizes, settings, shapes, types, finite values, unit decoder rows.

    Thresholds below zero are refused: what they would let through, no SAE here does.

    Raises:
        EmergenceError: anything that is not an SAE as `write_sae` writes it, naming the file.
    """
    config = _read_config(folder / CONFIG_NAME)
    d_model, n_latents = config["d_in"], config["d_sae"]
    shapes = {
        "W_enc": (d_model, n_latents),
        "b_enc": (n_latents,),
        "W_dec": (n_latents, d_model),
        "b_dec": (d_model,),
    }
    if config["architecture"] == "jumprelu":
        shapes["threshold"] = (n_latents,)
    weights = _read_weights(folder / WEIGHTS_NAME, shapes)
    sae = SAE(
        W_enc_nd=weights["W_enc"].t().contiguous(),
        b_enc_n=weights["b_enc"],
        W_dec_nd=weights["W_dec"],
        b_dec_d=weights["b_dec"],
        k=config.get("k"),
        threshold_n=weights.get("threshold"),
    )
    return sae, config["metadata"]


def _read_config(path: Path) -> dict[str, Any]:
    try:
        n_bytes = path.stat().st_size
        if n_bytes > _MAX_CONFIG_BYTES:
            raise _refused(path, f"{n_bytes:,} bytes are too many for settings")
        config = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except OSError as error:
        raise _refused(path, f"cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise _refused(path, "does not hold settings but a bare value")
    for name, wanted in _FIXED_CONFIG.items():
        # 1 == True in Python, not in JSON.
        if type(config.get(name)) is not type(wanted) or config[name] != wanted:
            raise _refused(path, f"{name} is {config.get(name)!r:.80}, only {wanted!r} is supported")
    if config.get("architecture") not in ("topk", "jumprelu"):
        raise _refused(path, f"architecture is {config.get('architecture')!r:.80}, must be topk or jumprelu")
    is_top_k = config["architecture"] == "topk"
    if not is_top_k and "k" in config:
        raise _refused(path, "has both k and thresholds")
    for name in ("d_in", "d_sae", *(["k"] if is_top_k else [])):
        if type(config.get(name)) is not int or config[name] < 1:
            raise _refused(path, f"{name} is {config.get(name)!r:.80}, must be a positive integer")
    if is_top_k and config["k"] > config["d_sae"]:
        raise _refused(path, f"k={config['k']} exceeds the {config['d_sae']} latents")
    if not isinstance(config.get("metadata"), dict):
        raise _refused(path, "has no metadata")
    return config


def _read_weights(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    n_expected = 4 * sum(math.prod(shape) for shape in shapes.values())
    try:
        n_bytes = path.stat().st_size
        # Before reading: a wrong size is the sign of a truncated copy, and bounds the memory that a read can take.
        if not n_expected < n_bytes <= n_expected + _MAX_HEADER_BYTES:
            raise _refused(path, f"has {n_bytes:,} bytes, the settings ask for {n_expected:,} and a header")
        weights = safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise _refused(path, f"cannot be read: {error}") from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise _refused(path, f"is not a safetensors file: {error}") from error
    if weights.keys() != shapes.keys():
        raise _refused(path, f"holds {sorted(weights)!s:.200}, must hold {sorted(shapes)}")
    for name, shape in shapes.items():
        value = weights[name]
        if tuple(value.shape) != shape or value.dtype != torch.float32:
            raise _refused(path, f"{name} is {value.dtype} {tuple(value.shape)}, must be torch.float32 {shape}")
        if not bool(torch.isfinite(value).all()):
            raise _refused(path, f"{name} holds NaN or infinity")
    if "threshold" in weights and bool((weights["threshold"] < 0).any()):
        raise _refused(path, "has thresholds below zero")
    norms_n = torch.linalg.vector_norm(weights["W_dec"], dim=1)
    if not bool(((norms_n - 1).abs() < 1e-3).all()):
        raise _refused(path, "rows of W_dec are not of unit length")
    return weights


def _refused(path: Path, what: str) -> EmergenceError:
    return EmergenceError(
        f"{path.name} {what}", where=path, remedy="remove the SAE folder and materialise the SAE again"
    )


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
