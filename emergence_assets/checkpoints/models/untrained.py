"""Make the untrained checkpoint of a model: the architecture of its config with random weights. Imports torch."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers.utils.logging import disable_progress_bar

from emergence_assets.checkpoints.files.folder import weights_files
from emergence_assets.checkpoints.models.loading import loader_of
from emergence_assets.checkpoints.models.size import require_size

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def write_untrained(trained: Path, folder: Path, seed: int, *, trusted: bool = False) -> None:
    """Write a checkpoint with the weights that the library gives the architecture before any training.

    Equal configs and seeds give equal bytes with one version of torch and transformers.

    Args:
        trained: folder of a checkpoint of the same model in Hugging Face layout, with weights as safetensors.
        folder: existing folder of the new checkpoint.
        seed: seed of the weights.
        trusted: run Python code of the checkpoint, if its config requires it.

    Raises:
        BrokenCheckpoint: the config and the weights of `trained` do not fit each other.
        UnsupportedModel: transformers does not know the class as a language model or an encoder of texts.
    """
    config, automatic = loader_of(trained, trusted=trusted)
    require_size(automatic, config, trained, trusted=trusted)
    is_class = hasattr(automatic, "_from_config")
    build = automatic._from_config if is_class else automatic.from_config
    options: dict[str, Any] = {} if is_class else {"trust_remote_code": trusted}
    disable_progress_bar()  # of writing weights: it would disturb our own progress bar
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(config, dtype=_stored_dtype(trained), **options)
    model.save_pretrained(folder)
    for path in trained.iterdir():  # the config too: what the library writes differs from what was published
        if path.suffix in (".json", ".py") and not path.name.endswith(".index.json") and path.is_file():
            shutil.copyfile(path, folder / path.name)


def _stored_dtype(folder: Path) -> torch.dtype:
    """Return the data type of most weights, in which a published step 0 would be stored."""
    counts: dict[torch.dtype, int] = {}
    for file in weights_files(folder):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118, it is no mapping
                part = tensors.get_slice(name)
                dtype = _DTYPES.get(part.get_dtype())
                if dtype is not None:
                    counts[dtype] = counts.get(dtype, 0) + len(part.get_shape())
    return max(counts, key=lambda dtype: counts[dtype], default=torch.float32)
