"""Controls of a trained SAE: an SAE whose decoder stays random, and Gaussian rows with the covariance of the rows.

arXiv 2602.14111: SAEs with a frozen random decoder come near trained ones in interpretability scores and in probing. A
result that they reach too is no effect of a trained decoder.

Shape suffixes: t tokens (rows), d d_model.
"""

from collections.abc import Sequence

import numpy as np
import torch

from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.training.batches import SAEJob
from emergence_assets.saes.training.options import TrainingOptions
from emergence_assets.saes.training.training import train_saes
from emergence_assets.study.sae import SAESettings


def frozen_decoder(jobs: Sequence[SAEJob], settings: SAESettings, device: torch.device | str) -> list[SAE]:
    """Make the control `dict_frozen_decoder`: encoder and biases are trained, the decoder keeps random directions."""
    trained = train_saes(jobs, settings, device, options=TrainingOptions(frozen_decoder=True))
    return [one.sae for one in trained]


def gaussian_rows(rows_td: np.ndarray, seed: int) -> np.ndarray:
    """Make the training rows of the control `dict_gauss`: Gaussian, with the mean and covariance of the given rows.

    A dictionary that is trained on them knows scales and directions of variance, and no clusters. The control encodes
    the real read-outs with it.

    Args:
        rows_td: rows × d_model, float32.
        seed: seed of the numbers.

    Returns:
        As many rows, float32.
    """
    n_rows, d_model = rows_td.shape
    total_d, product_dd = np.zeros(d_model), np.zeros((d_model, d_model))
    for start in range(0, n_rows, 4096):
        block = rows_td[start : start + 4096].astype(np.float64)
        total_d += block.sum(axis=0)
        product_dd += block.T @ block
    mean_d = total_d / n_rows
    variance_d, direction_dd = np.linalg.eigh(product_dd / n_rows - np.outer(mean_d, mean_d))
    root_dd = (direction_dd * np.sqrt(np.maximum(variance_d, 0))).T.astype(np.float32)
    numbers = np.random.default_rng(seed).standard_normal((n_rows, d_model), dtype=np.float32)
    return numbers @ root_dd + mean_d.astype(np.float32)
