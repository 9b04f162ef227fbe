"""Activation files with Gaussian rows: mean and covariance of the real rows, and no text in them."""

from pathlib import Path

import numpy as np

from emergence_assets.activations.files.layout import RESERVED_ATTRS, ROW_DATASETS
from emergence_assets.activations.files.reading import open_rows, read_attrs, read_spec
from emergence_assets.activations.files.writing import ActivationWriter

LARGEST = 6e4
"""Largest magnitude of a value; float16 ends at 65,504."""


def replace_rows(study_folder: Path, seed: int) -> int:
    """Draw the rows of every activation file of a study anew; returns the number of files.

    Shapes, provenance and tokens stay, so that the study goes on from these files.

    Args:
        study_folder: folder of the study with finished activations.
        seed: seed of the rows.
    """
    paths = sorted((study_folder / "activations").rglob("*.h5"))
    for number, path in enumerate(paths):
        draw = np.random.default_rng([seed, number])
        attrs = {name: value for name, value in read_attrs(path).items() if name not in RESERVED_ATTRS}
        with ActivationWriter(path, read_spec(path), attrs) as writer:
            for name in ROW_DATASETS:
                writer.append(name, gaussian_like(open_rows(path, name).float32(), draw))
            writer.commit()
    return len(paths)


def gaussian_like(rows_td: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Draw as many Gaussian rows with the same mean and covariance, float32."""
    mean_d = rows_td.mean(axis=0, dtype=np.float64)
    variance_d, direction_dd = np.linalg.eigh(np.cov(rows_td.T.astype(np.float64)))
    scaled_dd = direction_dd * np.sqrt(np.maximum(variance_d, 0))
    drawn_td = draw.normal(size=rows_td.shape) @ scaled_dd.T + mean_d
    return np.clip(drawn_td, -LARGEST, LARGEST).astype(np.float32)
