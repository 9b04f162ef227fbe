"""Train SAEs on a language model with one library, for `language_model_peers.py`.

Runs in `.peers` as `python peers_stream.py SYSTEM FOLDER`. Imports nothing of this project; `language_model_peers.py`
uses `Settings` and `fvu` too, so that all are measured alike.

Shape suffixes: b contexts · t positions or rows · d d_model.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Settings:
    """Settings of all trainings."""

    model: str
    """Folder of the model."""
    layers: tuple[int, ...]
    seeds: tuple[int, ...]
    n_latents: int
    k: int
    learning_rate: float
    batch_size: int
    """Tokens of a step, first tokens of contexts included."""
    n_steps: int

    @classmethod
    def read(cls, folder: Path) -> "Settings":
        """Read the folder that `language_model_peers.py` fills."""
        read = json.loads((folder / "settings.json").read_text())
        return cls(**read | {name: tuple(read[name]) for name in ("layers", "seeds")})


def first_position_ids(ids_bt: Tensor) -> list[int]:
    """Return the token that begins every context and stands nowhere else, which no SAE learns."""
    (first,) = ids_bt[:, 0].unique().tolist()
    assert not bool((ids_bt[:, 1:] == first).any())
    return [first]


@torch.no_grad()
def fvu(reconstruct: Callable[[Tensor], Tensor], x_td: Tensor) -> float:
    """Compute the fraction of variance that a reconstruction of rows leaves unexplained."""
    error = (x_td - reconstruct(x_td)).double().square().sum()
    return float(error / (x_td - x_td.mean(0)).double().square().sum())


def main() -> None:
    """Train, then print CPU seconds, and FVU by layer/seed."""
    system, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    from transformers import AutoModelForCausalLM

    settings = Settings.read(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32).eval()
    ids_bt = torch.from_numpy(np.load(folder / "ids.npy").astype(np.int64))
    train = importlib.import_module(f"peers_stream_{system}").train
    began = time.process_time()
    saes = train(model, ids_bt, settings, folder / system)
    cpu_s = time.process_time() - began
    held_out = {layer: torch.from_numpy(np.load(folder / f"held_out_{layer}.npy")) for layer in settings.layers}
    found = {name: fvu(sae, held_out[int(name.partition("/")[0])]) for name, sae in saes.items()}
    print(json.dumps({"cpu_s": cpu_s, "fvu": found}))


if __name__ == "__main__":
    main()
