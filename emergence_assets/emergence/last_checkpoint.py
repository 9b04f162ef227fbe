"""The last checkpoint of a model with its SAEs and chosen latents, for workers that run the model again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from emergence_assets.features.statistics.labels import Labels, text_weights
from emergence_assets.features.statistics.probe_labels import cell_labels
from emergence_assets.features.table import PRESENCE_CELLS
from emergence_assets.plan.table_worker import read_cells
from emergence_assets.saes.spec import seed_folder

if TYPE_CHECKING:
    from emergence_assets.saes.model.sae import SAE


class LastCheckpoint:
    """Inputs of the last checkpoint of a model: run metadata, files, labels and text weights.

    Args:
        cells: layers of all checkpoints of the model, see `input_cells`.
        origins: run metadata of checkpoints by step, see `origins.origins`.
        probes: JSON of the probe set.
        settings: sections sae and statistics of the study.
        fingerprint: fingerprint of the table to make.
    """

    def __init__(
        self,
        cells: Sequence[Mapping[str, Any]],
        origins: Mapping[int, Mapping[str, Any]],
        probes: str,
        settings: Mapping[str, Any],
        fingerprint: str,
    ):
        step = max(origins)
        self.origin = origins[step]
        self.cells = [cell for cell in cells if cell["step"] == step and cell["layer"] >= 0]
        self.files: dict[int, dict[str, str]] = {cell["layer"]: cell["files"] for cell in self.cells}
        keys = ("model", "n_params_nonemb", "step", "tokens_seen", "n_layers")
        self.keys: dict[str, Any] = {name: self.cells[0][name] for name in keys} | {"data_version": fingerprint}
        self.levels: tuple[Labels, ...] = cell_labels(probes, Path(self.origin["tokens_file"]))
        self.level = self.levels[0]
        self.score = self.level.rows(select=False)
        self.weights_pb = text_weights(
            self.level, settings["statistics"]["n_bootstrap"], settings["statistics"]["seed"]
        )
        self.seeds: list[int] = settings["sae"]["seeds"]

    def chosen_latents(self) -> pl.DataFrame:
        """Return the rows of `presence_cells` of the primary level, without controls and replicates."""
        return self.best_latents().filter(control_id="none", category_level=self.level.level)

    def best_latents(self) -> pl.DataFrame:
        """Return the rows of `presence_cells`, without replicates."""
        return read_cells(self.cells, PRESENCE_CELLS).drop("replicates")

    def saes(self, layer: int, device: Any) -> "dict[int, SAE]":
        """Return the SAEs of a layer by seed."""
        from emergence_assets.saes.formats.folder import read_sae

        folder = Path(self.files[layer]["sae"])
        return {seed: read_sae(seed_folder(folder, seed))[0].to(device) for seed in self.seeds}
