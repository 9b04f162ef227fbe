"""Checkpoints measured for the identity rules: all weights, and the loss on the fixed text."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from emergence_assets.checkpoints.files.folder import check_whole
from emergence_assets.checkpoints.identity.measurement import InvalidCheckpoint, Measurement, measure_checkpoint
from emergence_assets.checkpoints.identity.validation import validate_checkpoints
from emergence_assets.checkpoints.models.facts import embedding_norm, model_facts
from emergence_assets.checkpoints.models.fixed_text import fixed_text_loss
from emergence_assets.checkpoints.models.loading import is_causal, load_model
from resources.errors import BrokenCheckpoint
from tests.family import step_folder

Measured = dict[int, Measurement | InvalidCheckpoint]


def weights_measured(checkpoint: Path) -> Measurement:
    """Measure the weights of a checkpoint, without the loss on the fixed text."""
    model = load_model(checkpoint)
    return measure_checkpoint(checkpoint, model_facts(model), embedding_norm(model))


def measured(checkpoint: Path) -> Measurement | InvalidCheckpoint:
    """Measure a checkpoint from outside as a worker does, on one thread."""
    torch.set_num_threads(1)
    try:
        check_whole(checkpoint)
        found, model = weights_measured(checkpoint), load_model(checkpoint)
        loss = fixed_text_loss(model, checkpoint / "tokenizer.json") if is_causal(model) else None
        return replace(found, loss=loss)
    except BrokenCheckpoint as error:
        return InvalidCheckpoint(error.reason, "files_are_whole", "")


def measured_steps(family: Path, model: str, steps: Sequence[int]) -> Measured:
    """Measure several steps of a model."""
    return {step: measured(step_folder(family, model, step)) for step in steps}


def blamed(measurements: Mapping[int, Measurement | InvalidCheckpoint]) -> dict[int, str]:
    """Return the steps that the rules leave out, with the reason."""
    return {
        step: verdict.reason for step, verdict in validate_checkpoints(measurements).items() if verdict.status != "ok"
    }
