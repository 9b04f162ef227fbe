"""Read-outs of a cell and their SAE codes, in the form for the statistics.

Shape suffixes: p texts, d d_model, k active latents.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emergence_assets.activations.files.reading import open_rows, read_stats
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.saes.model.random_encoder import random_encoder
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.seeds import derived_seed


def stored_read_outs(activation_file: Path) -> NDArray[np.float32]:
    """Read the read-outs of all probe texts, texts × d_model, with their hash verified.

    Raises:
        EmergenceError: see `activations.files.reading.open_rows`.
    """
    return np.ascontiguousarray(open_rows(activation_file, "read_out", verify=True).float32())


def encoded(sae: SAE, read_out_pd: NDArray[np.float32] | Tensor) -> Codes:
    """Encode all texts on the device of the SAE; the codes are on the CPU.

    Args:
        sae: the SAE.
        read_out_pd: texts × d_model, float32.
    """
    x_pd = torch.from_numpy(read_out_pd) if isinstance(read_out_pd, np.ndarray) else read_out_pd
    values_pk, indices_pk = sae.encode(x_pd.to(sae.device)).padded()
    return Codes(values_pk.cpu().numpy(), indices_pk.cpu().numpy().astype(np.int32), sae.n_latents)


def random_encoders(
    activation_file: Path, layer: int, n_latents: int, settings: Mapping[str, Any], n_draws: int
) -> list[SAE]:
    """Draw the random encoders of a cell: as many latents as an SAE, centred at the mean of the training rows.

    Their directions are the same at every step of a layer, as the SAEs of a seed start from the same directions.

    Args:
        activation_file: activations of the cell.
        layer: layer of the cell.
        n_latents: dictionary size.
        settings: sections statistics and sae of the study.
        n_draws: number of encoders.
    """
    mean_d = torch.from_numpy(read_stats(activation_file)["mean"].astype(np.float32))
    seeds = [derived_seed("random_encoder", settings["statistics"]["seed"], layer, draw) for draw in range(n_draws)]
    return [random_encoder(mean_d, n_latents, settings["sae"]["k"], seed) for seed in seeds]
