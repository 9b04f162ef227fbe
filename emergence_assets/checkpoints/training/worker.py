"""Worker function that trains a model of the embedded family. Imports torch."""

import shutil
from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.spec import FILES, TRAINING_RECORD, TRAINING_START
from emergence_assets.checkpoints.training.settings import ModelShape, TrainingRecipe
from emergence_assets.checkpoints.training.training import train
from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors
from resources.files.lease import leased
from resources.files.provenance import Required
from resources.files.records import folder_hash, record_provenance, required_from_json, write_record


def train_model(folder: str, required: str, lock: str, report: Any) -> None:
    """Train one model up to its last step, resuming from the last saved state."""
    want, root = required_from_json(required), Path(folder)
    settings = dict(want.recipe)
    steps = settings["steps"]
    shape = ModelShape(**{name: settings[name] for name in ("d_model", "n_layers", "n_heads")})
    named = ("learning_rate", "n_steps", "batch_size", "context", "seed", "data_seed")
    recipe = TrainingRecipe(shape, **{name: settings[name] for name in named})
    with clear_disk_errors(root), leased(Path(lock)):
        _clear_superseded(root, want)
        outcome = train(recipe, root, steps, report)
        losses = outcome.validation_losses
        summary = {
            "final_validation_loss": losses[steps[-1]],
            "initial_validation_loss": losses[steps[0]],
            "checkpoints": len(steps),
            "tokens_seen": steps[-1] * recipe.tokens_per_step,
            "tokens_per_second": outcome.tokens_per_second,
            "resumed_from": -1 if outcome.resumed_from is None else outcome.resumed_from,
            "validation_losses": {str(step): loss for step, loss in losses.items()},
            FILES: {f"step{step}": folder_hash(root / f"step{step}") for step in steps},
        }
        write_record(root / TRAINING_RECORD, want, summary)


def _clear_superseded(root: Path, want: Required) -> None:
    """Remove checkpoints of other settings or other code; a run with more steps keeps its existing checkpoints."""
    start = root / TRAINING_START
    same_run = Required(want.asset, want.cell, {**want.recipe, "steps": []}, want.inputs, want.code_version)
    try:
        begun = record_provenance(start)
    except EmergenceError:
        begun = None
    if begun is None or begun.fingerprint != same_run.fingerprint:
        shutil.rmtree(root, ignore_errors=True)
        write_record(start, same_run, {})
