"""Paths of all files; no other module spells a path."""

import os
from dataclasses import dataclass
from pathlib import Path

from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors
from resources.files.temporaries import temporary_beside

INSTANCE, PROBE_SETS, MEASUREMENTS, CHECKPOINT_CACHE = "dagster", "probe-sets", "measurements", "checkpoint-cache"
CORPORA = "corpora"
SHARED_FOLDERS = (INSTANCE, PROBE_SETS, CORPORA, MEASUREMENTS, CHECKPOINT_CACHE)
"""Folders that all studies of a data folder share; no study may have their names."""


def path_of(text: str) -> Path:
    """Return the path that a user wrote; `~` is the home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return Path(text)


def data_folder() -> Path:
    """Return the root of all data: EMERGENCE_DATA, or `data` in the working directory.

    Raises:
        EmergenceError: the working directory was removed.
    """
    try:
        return path_of(os.environ.get("EMERGENCE_DATA") or "data").absolute()
    except FileNotFoundError:
        raise EmergenceError("The working directory was removed.", remedy="change to a folder that exists") from None


def instance_home(data: Path) -> Path:
    """Return the home of the Dagster instance: DAGSTER_HOME, or a folder inside the data."""
    return path_of(os.environ.get("DAGSTER_HOME") or str(data / INSTANCE))


def fetched_probe_set(name: str) -> Path:
    """Return the folder of a downloaded probe set, shared by all studies."""
    return data_folder() / PROBE_SETS / name


def fetched_corpus(name: str) -> Path:
    """Return the folder of the shards of a corpus from a hub, shared by all studies."""
    return data_folder() / CORPORA / name


@dataclass(frozen=True)
class Storage:
    """Paths of the data of one study."""

    data: Path
    study: str

    @property
    def root(self) -> Path:
        """Folder of the study."""
        return self.data / self.study

    def run_lock(self) -> Path:
        """Lock held while `emergence run` works on the study."""
        return self.root / "locks" / "run.lock"

    def training_lock(self, model: str) -> Path:
        """Lock held while one model is trained."""
        return self.root / "locks" / f"{model}-training.lock"

    def checkpoint_lock(self, model: str, step: int) -> Path:
        """Lock held while the layers of one checkpoint are captured."""
        return self.root / "locks" / f"{model}-step{step}.lock"

    def verdicts(self, asset: str) -> Path:
        """Verdicts of the blocking checks of one asset."""
        return self.root / "verdicts" / f"{asset}.jsonl"

    @property
    def training_root(self) -> Path:
        """Folder of all models that are trained here."""
        return self.root / "checkpoints"

    def training_folder(self, model: str) -> Path:
        """Folder of the checkpoints of one model, in the layout `step512/` of local sources."""
        return self.training_root / model

    def checkpoint_folder(self, model: str, step: int) -> Path:
        """Folder of one checkpoint: config.json, model.safetensors, tokenizer.json."""
        return self.training_folder(model) / f"step{step}"

    def checkpoint_record(self, model: str, step: int) -> Path:
        """Record of a registered checkpoint."""
        return self.root / "registry" / f"model={model}" / f"step={step:06d}.json"

    @property
    def measurements_folder(self) -> Path:
        """Folder of the measurements of the checkpoints of all studies."""
        return self.data / MEASUREMENTS

    def checkpoint_measurement(self, identity: str) -> Path:
        """Measurement of the weights of one checkpoint; named by the hash of its files, shared by all studies."""
        return self.measurements_folder / f"{identity}.safetensors"

    def corpus_hash(self, version: str) -> Path:
        """Hash of one file of a training corpus; named by a hash of its path, size and times, shared by all studies."""
        return self.measurements_folder / "corpus" / f"{version}.sha256"

    def timeline(self, model: str) -> Path:
        """Checkpoint timeline of a model."""
        return self.root / "registry" / f"model={model}" / "time_axis.json"

    def timeline_lock(self, model: str) -> Path:
        """Lock held while the checkpoints of a model are listed and validated."""
        return self.root / "locks" / f"{model}-time-axis.lock"

    def checkpoint_lock_file(self) -> Path:
        """Pins of a published family, if the study names no other file."""
        return self.root / "checkpoints.lock.json"

    def checkpoint_cache(self) -> Path:
        """Folder of downloaded and converted checkpoints, shared by all studies."""
        return self.data / CHECKPOINT_CACHE

    @property
    def tokens_folder(self) -> Path:
        """Folder of all token files of the study."""
        return self.root / "tokens"

    def tokens_file(self, fingerprint: str) -> Path:
        """Token file shared by all layers of all checkpoints with one tokenizer."""
        return self.tokens_folder / f"{fingerprint}.h5"

    def activation_file(self, model: str, step: int, layer: int) -> Path:
        """File of the residual stream of one layer of one checkpoint."""
        return self.root / "activations" / _cell_path(model, step, layer, ".h5")

    def sae_folder(self, model: str, step: int, layer: int) -> Path:
        """Folder of the SAEs of one cell, with a folder per seed."""
        return self.root / "saes" / _cell_path(model, step, layer, "")

    def sae_training_state(self, model: str, step: int, layer: int) -> Path:
        """State from which the SAE training of a cell continues after a kill; deleted at the end of training."""
        return self.root / "saes" / _cell_path(model, step, layer, ".training.safetensors")

    @property
    def imported_saes_folder(self) -> Path:
        """Folder of all imported SAEs; a cell names the SAEs that it uses by their hash."""
        return self.root / "imported_saes"

    def imported_sae(self, model: str, step: int, layer: int, seed: int) -> Path:
        """Folder of an imported SAE, which replaces the SAE of the study."""
        return self.imported_saes_folder / _cell_path(model, step, layer, "") / f"seed={seed}"

    def cell_table(self, table: str, model: str, step: int, layer: int) -> Path:
        """Part of a table for one cell."""
        return self.root / "tables" / table / _cell_path(model, step, layer, ".parquet")

    def model_table(self, table: str, model: str) -> Path:
        """Part of a table for one model."""
        return self.root / "tables" / table / f"model={model}.parquet"

    def control_parts(self, model: str) -> Path:
        """Folder with a file per control of one model; the table of controls is made from these files."""
        return self.root / "tables" / "control_parts" / f"model={model}"

    def study_table(self, table: str) -> Path:
        """A table over all models."""
        return self.root / "tables" / f"{table}.parquet"

    def report_folder(self) -> Path:
        """Folder of the report: its page and charts."""
        return self.root / "report"


def _cell_path(model: str, step: int, layer: int, ending: str) -> Path:
    layer_name = "embed" if layer < 0 else f"{layer:03d}"
    return Path(f"model={model}") / f"step={step:06d}" / f"layer={layer_name}{ending}"


def existing_folder(path: Path) -> Path:
    """Return the nearest existing folder of a path, itself or a parent: it is on the disk of the path."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def is_writable(path: Path) -> bool:
    """Return whether files can be written into a folder, or into the nearest existing one above it."""
    return os.access(existing_folder(path), os.W_OK)


def prepare_folder(folder: Path) -> None:
    """Create a folder and check that it can be written.

    Raises:
        EmergenceError: the folder cannot be created or written.
    """
    with clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = temporary_beside(folder / "writable")
        try:
            probe.write_bytes(b"x")
        finally:
            probe.unlink(missing_ok=True)
