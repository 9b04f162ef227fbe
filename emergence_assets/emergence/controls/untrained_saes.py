"""Controls of a trained SAE: SAEs with a random encoder or decoder, and Gaussian rows with the same covariance.

arXiv 2602.14111: dictionaries with a frozen random encoder or decoder come near trained dictionaries in
interpretability scores and probing. A result that they reach too is no effect of training.

Shape suffixes: t tokens (rows), d d_model.
"""

import numpy as np
import torch

from emergence_assets.activations.files.reading import Rows
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.model.stack import fold_input_scale
from emergence_assets.saes.training.batches import SAEJob, batches_of
from emergence_assets.saes.training.initialisation import initial_parameters
from emergence_assets.saes.training.options import TrainingOptions
from emergence_assets.saes.training.training import train_saes
from emergence_assets.study.sae import SAESettings


def random_encoder(job: SAEJob, settings: SAESettings, device: torch.device | str) -> SAE:
    """Make the control `dict_frozen_encoder`: random directions, the input's mean and scale, and TopK, untrained.

    Codes depend on the encoder alone, so that training the decoder would not change them. The k of the settings holds
    for every SAE variant, so that sparsity is equal.
    """
    batches = batches_of(job, settings.batch_size, device)
    parameters = initial_parameters(settings.model_copy(update={"variant": "topk"}), job, batches)
    return fold_input_scale(parameters, batches.mean_d, batches.scale, settings.k)


def frozen_decoder(job: SAEJob, settings: SAESettings, device: torch.device | str) -> SAE:
    """Make the control `dict_frozen_decoder`: encoder and biases are trained, the decoder keeps random directions."""
    return train_saes([job], settings, device, options=TrainingOptions(frozen_decoder=True))[0].sae


def gaussian_rows(rows: Rows, seed: int) -> np.ndarray:
    """Make the control `act_gauss`: as many Gaussian rows, float32, with the mean and covariance of the given rows.

    Args:
        rows: rows × d_model.
        seed: seed of the numbers.
    """
    n_rows, d_model = rows.array.shape
    total_d, product_dd = np.zeros(d_model), np.zeros((d_model, d_model))
    for start in range(0, n_rows, 4096):
        block = rows.float32(start, start + 4096).astype(np.float64)
        total_d += block.sum(axis=0)
        product_dd += block.T @ block
    mean_d = total_d / n_rows
    variance_d, direction_dd = np.linalg.eigh(product_dd / n_rows - np.outer(mean_d, mean_d))
    root_dd = (direction_dd * np.sqrt(np.maximum(variance_d, 0))).T.astype(np.float32)
    numbers = np.random.default_rng(seed).standard_normal((n_rows, d_model), dtype=np.float32)
    return numbers @ root_dd + mean_d.astype(np.float32)
