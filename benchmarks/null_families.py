"""Families without features, as folders of checkpoints and probe sets that a study reads like any other.

* reinitialised: every parameter of every checkpoint drawn anew with its mean and deviation, so that norms grow as in
  training.
* permuted labels: a trained network, and labels permuted among documents of equal length.
* shuffled corpus: a network trained on the corpus with all its tokens in random order.
* Gaussian rows: a trained network, with rows of equal mean and covariance for its activations (`gaussian_rows.py`).
* trained: the network and its true labels, for comparison.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch
import yaml
from transformers import GPTNeoXForCausalLM

from emergence_assets.checkpoints.files.folder import step_folder_name
from emergence_assets.checkpoints.training import training
from emergence_assets.checkpoints.training.settings import ModelShape, TrainingRecipe, corpus_windows
from emergence_assets.emergence.controls.reinitialised_model import reinitialise
from emergence_assets.texts.probe_set import wordnet_probes

MODEL, SHAPE = "null", ModelShape(32, 2, 2)
STEPS = (0, 16, 64, 128, 200, 300, 400, 500, 600)
LEVELS = ("subject", "area", "domain")
GAUSSIAN = "Gaussian rows"
MEASUREMENT: dict[str, Any] = {
    "activations": {"training_texts": 2500},
    "sae": {"n_latents": 512, "k": 4, "n_steps": 100, "batch_size": 512, "learning_rate": 1e-2, "seeds": [0, 1]},
    "statistics": {"n_bootstrap": 200, "n_shuffles": 2, "n_random_encoders": 8},
    "fixed_expansion": False,
}
"""Settings as in the default study, with a smaller dictionary."""


def null_studies(
    folder: Path, seed: int, variants: tuple[str, ...] = ("topk", "batchtopk")
) -> Iterator[tuple[str, Path]]:
    """Make the families of a seed; yield for each the kind of family and the file of its study, by SAE variant.

    Args:
        folder: empty or holding the same families.
        seed: seed of initial weights, order of the data and permutations.
        variants: variants of the SAEs.
    """
    recipe = TrainingRecipe(SHAPE, learning_rate=6e-3, n_steps=STEPS[-1], seed=seed, data_seed=seed)
    training.train(recipe, folder / "trained" / MODEL, STEPS)
    with patch.object(training, "corpus_windows", _shuffled_windows):
        training.train(recipe, folder / "shuffled corpus" / MODEL, STEPS)
    _reinitialise_all(folder / "trained", folder / "reinitialised", seed)
    true, permuted = folder / "texts.parquet", folder / "permuted.parquet"
    texts = wordnet_probes(200, seed=0).texts.select("text", *LEVELS, document=pl.col("unit").cast(pl.String))
    texts.write_parquet(true)
    permuted_by_document(texts, seed).write_parquet(permuted)
    for kind in ("trained", "reinitialised", "shuffled corpus", "permuted labels", GAUSSIAN):
        labelled = permuted if kind == "permuted labels" else true
        source = "trained" if kind in ("permuted labels", GAUSSIAN) else kind
        for variant in variants:
            yield f"{kind}, {variant}", _study(folder, kind, variant, folder / source, labelled)


def permuted_by_document(texts: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Exchange the labels of whole documents: each receives those of another document with as many texts.

    Args:
        texts: columns document and `LEVELS`; a document whose length no other has keeps its labels.
        seed: seed of the permutation.
    """
    order = texts.with_row_index("row").with_columns(size=pl.len().over("document")).sort("size", "document", "row")
    labels = order.select(LEVELS)
    position = np.arange(len(order))
    for (size,), part in order.with_columns(position=position).group_by("size", maintain_order=True):
        rows = part["position"].to_numpy().reshape(-1, int(size))
        position[rows] = np.random.default_rng([seed, int(size)]).permutation(rows)
    return order.with_columns(labels[position]).sort("row").drop("row", "size")


def _shuffled_windows(split: Any, context: int) -> np.ndarray:
    windows = corpus_windows(split, context)
    return np.random.default_rng(0).permutation(windows.ravel()).reshape(windows.shape)


def _reinitialise_all(source: Path, target: Path, seed: int) -> None:
    for position, step in enumerate(STEPS):
        from_step, to_step = (root / MODEL / step_folder_name(step) for root in (source, target))
        if not to_step.exists():
            model = GPTNeoXForCausalLM.from_pretrained(from_step, dtype=torch.float32)
            reinitialise(model, 1000 * seed + position, keep_embedding=False)
            shutil.copytree(from_step, to_step, ignore=shutil.ignore_patterns("*.safetensors", "training.json"))
            model.half().save_pretrained(to_step)


def _study(folder: Path, kind: str, variant: str, root: Path, texts: Path) -> Path:
    name = f"{kind}-{variant}".lower().replace(" ", "-")
    family = {
        "source": "local",
        "root": str(root),
        "settle_seconds": 0.0,
        "tokens_per_step": 512,
        "context": 64,
        "models": {MODEL: {"d_model": SHAPE.d_model, "n_layers": SHAPE.n_layers}},
    }
    probes = {"source": "table", "path": str(texts), "levels": list(LEVELS), "document_column": "document"}
    study = {"name": name, "family": family, "steps": list(STEPS), "probe_set": probes | {"template": "{text}"}}
    if kind == "reinitialised":  # unrelated networks are no training run
        study["admit"] = [f"{MODEL}/step{step}" for step in STEPS]
    measurement = MEASUREMENT | {"sae": MEASUREMENT["sae"] | {"variant": variant}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(study | measurement, sort_keys=False), encoding="utf-8")
    return path
