"""SAEs that sparsify wrote (`SparseCoder.save_to_disk`): `cfg.json` and `sae.safetensors` in a folder per hook point.

Its `encode` takes b_dec from the input, and the k largest of what is positive. So also with `multi_topk`, which adds
the loss of the 4 k largest in training; its `forward` then returns the output of those, which is not what is read here.
"""

import re
from pathlib import Path
from typing import Any

from emergence_assets.saes.formats.folding import ForeignSAE
from emergence_assets.saes.formats.foreign_files import (
    one_of,
    positive_integer,
    read_settings,
    read_tensors,
    refused,
    shown,
)

CONFIG_NAME = "cfg.json"
WEIGHTS_NAME = "sae.safetensors"
_ONLY_ITSELF = "choose an SAE that reconstructs its own input; transcoders are not read"


def read_sparsify(folder: Path) -> tuple[ForeignSAE, dict[str, Any]]:
    """The SAE as sparsify computes it, and what its settings and the folder's name say.

    Raises:
        EmergenceError: anything that is damaged or not supported, naming file and setting.
    """
    path = folder / CONFIG_NAME
    settings = read_settings(path)
    one_of(settings, "activation", "topk", ("topk",), path, "choose an SAE that was trained with activation topk")
    one_of(settings, "transcode", False, (False,), path, _ONLY_ITSELF)
    one_of(settings, "skip_connection", False, (False,), path, _ONLY_ITSELF)
    # Of its first releases: the k largest by absolute value. Later ones drop the setting and read another SAE.
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
        "library_version": None,  # it does not say
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
    """Name of the module whose output it takes: its trainer names folders so, and below them `seed1` where several."""
    folder = folder.absolute()
    name = folder.parent.name if re.fullmatch(r"seed\d+", folder.name) else folder.name
    return {"hook_name": name} if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+|embed_\w+", name, re.ASCII) else {}
