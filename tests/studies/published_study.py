"""Study files over small checkpoints from a hub or a folder, for tests of whole studies."""

from pathlib import Path
from typing import Any

import yaml

from tests.family import MODELS

SMALL: dict[str, Any] = {
    "probe_set": {"source": "wordnet", "texts_per_category": 40, "min_texts_per_category": 40},
    "activations": {"training_texts": 600},
    "sae": {"n_latents": 32, "k": 4, "n_steps": 10, "batch_size": 128},
    "statistics": {"n_bootstrap": 20, "n_shuffles": 4},
}
"""Settings of measurements that take seconds."""


def write_study(path: Path, family: dict[str, Any], **study: Any) -> Path:
    """Write a study over the models of `tests/family.py` from a source; returns its path."""
    shapes = {name: {"d_model": shape.d_model, "n_layers": shape.n_layers} for name, shape in MODELS.items()}
    family = {"models": shapes, "tokens_per_step": 64, "context": 32} | family
    declared = {"name": path.stem, "family": family, "steps": "all"} | SMALL | study
    path.write_text(yaml.safe_dump(declared, sort_keys=False), encoding="utf-8")
    return path


def hub_family(**more: Any) -> dict[str, Any]:
    """Declare a family on the hub, repository `project/{model}`."""
    return {"source": "hub", "repository": "project/{model}", **more}


def local_family(root: Path, **more: Any) -> dict[str, Any]:
    """Declare a family in a folder, whose checkpoints count as soon as they are complete."""
    return {"source": "local", "root": str(root), "settle_seconds": 0.0, **more}
