"""Read-outs of a cell and their SAE codes, in the form for the statistics.

Shape suffixes: p texts, d d_model, k active latents.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emergence_assets.activations.files.reading import open_rows
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.saes.model.sae import SAE


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
