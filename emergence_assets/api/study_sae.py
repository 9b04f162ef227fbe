"""One SAE of a study, with the functions that notebooks expect."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emergence_assets.plan.cell import Cell
from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.model.sae import SAE, input_rows
from emergence_assets.saes.spec import SAE as SAE_SPEC
from emergence_assets.saes.spec import seed_folder
from resources.errors import EmergenceError
from resources.files.storage import Storage


@dataclass(frozen=True, eq=False)
class StudySAE:
    """A trained sparse autoencoder of one layer of one checkpoint.

    Shapes: t rows (tokens), d d_model, n latents.
    """

    model: str
    step: int
    layer: int
    seed: int
    metadata: Mapping[str, Any]
    """What its folder records: hook point, settings, and the identity of what it was trained on."""
    folder: Path
    sae: SAE
    """The parameters, with sparse encoding: `sae.encode` returns active latents alone."""

    @property
    def W_enc(self) -> Tensor:
        """Encoder [n, d], float32; a row per latent."""
        return self.sae.W_enc_nd

    @property
    def W_dec(self) -> Tensor:
        """Decoder directions [n, d], float32, of unit length; a row per latent."""
        return self.sae.W_dec_nd

    @property
    def b_enc(self) -> Tensor:
        """Encoder bias [n], in the units of the residual stream."""
        return self.sae.b_enc_n

    @property
    def b_dec(self) -> Tensor:
        """Decoder bias [d], in the units of the residual stream."""
        return self.sae.b_dec_d

    @property
    def n_latents(self) -> int:
        """Dictionary size."""
        return self.sae.n_latents

    def encode(self, rows: Tensor | np.ndarray) -> Tensor:
        """Return the activations of all latents on rows of the residual stream.

        Args:
            rows: [t, d], any float type, as captured: not scaled or centred.

        Returns:
            [t, n] float32, in the units of the residual stream; 0 for a latent that is not active.

        Raises:
            EmergenceError: not two-dimensional, or not floats.
        """
        return self.sae.encode(input_rows(rows)).dense(self.sae.n_latents)

    def decode(self, activations: Tensor) -> Tensor:
        """Return the reconstruction [t, d] of activations [t, n]."""
        return activations @ self.sae.W_dec_nd + self.sae.b_dec_d

    def to_sae_lens(self) -> Any:
        """Return the SAE as a `sae_lens.SAE`; SAELens has to be installed (`pip install sae-lens`).

        Raises:
            EmergenceError: SAELens is not installed.
        """
        try:
            sae_lens: Any = importlib.import_module("sae_lens")
        except ImportError as error:
            raise EmergenceError("SAELens is not installed.", remedy="type `pip install sae-lens`") from error
        return sae_lens.SAE.load_from_disk(self.folder, device="cpu")


def study_sae(storage: Storage, cell: Cell, seed: int) -> StudySAE:
    """Load the SAE of a cell; see `StudyResults.sae`."""
    folder = seed_folder(SAE_SPEC.path(storage, cell), seed)
    if not folder.is_dir():
        raise EmergenceError(
            f"The SAE of {cell}, seed {seed}, is not trained yet.",
            where=folder,
            remedy=f"type `emergence --study {storage.study} run --stage saes`",
        )
    with torch.no_grad():
        sae, metadata = read_sae(folder)
    return StudySAE(*cell.at_layer, seed, metadata, folder, sae)
