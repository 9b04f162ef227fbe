"""What looking at a checkpoint costs beside its forward pass over the texts of the default study."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from emergence_assets.activations.forward.worker import capture_layers
from emergence_assets.activations.spec import ACTIVATIONS
from emergence_assets.checkpoints.identity.measurement import measure_checkpoint
from emergence_assets.checkpoints.identity.worker import measure, register
from emergence_assets.checkpoints.inspection import measurement_tasks
from emergence_assets.checkpoints.listing import refresh_time_axis
from emergence_assets.checkpoints.spec import CHECKPOINT, TRAINING_RUN
from emergence_assets.checkpoints.training.worker import train_model
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import load_study
from emergence_assets.study.study import Study
from resources.files.storage import Storage

ROUNDS = 3


def measure_identity_cost() -> dict[str, float]:
    """Alternate both workers on one untrained checkpoint of every size, one thread, medians."""
    torch.set_num_threads(1)
    declared = load_study("default")
    study = declared.model_copy(update={"steps": [0]})
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as data:
        storage = Storage(Path(data), study.name)
        for model in study.models:
            looks, passes, hashes = _alternate(study, storage, model)
            figures[f"{model}: look, s"] = looks
            figures[f"{model}: of it reading every weight, s"] = hashes
            figures[f"{model}: forward pass, s"] = passes
            figures[f"{model}: ratio (aim: 0.1 at most)"] = looks / passes
    return figures


def _alternate(study: Study, storage: Storage, model: str) -> tuple[float, float, float]:
    cell, specs = Cell(model, 0), specs_for(study)
    plan = Plan(study, storage, specs)
    for job in TRAINING_RUN.jobs(plan, [(Cell(model), plan.demand_inputs(TRAINING_RUN, Cell(model)))]):
        train_model(**job.arguments, report=_silent)
    looks, passes, reads = [], [], []
    for _ in range(ROUNDS + 1):  # the first one warms up: it makes the tokens
        shutil.rmtree(storage.activation_file(model, 0, 0).parent, ignore_errors=True)
        shutil.rmtree(storage.checkpoint_measurement("x").parent, ignore_errors=True)
        refresh_time_axis(study, storage, model)
        (task,) = measurement_tasks(study, storage, [cell])
        looks.append(_seconds(lambda task=task: measure(**task.arguments, report=_silent)))
        refresh_time_axis(study, storage, model)
        plan = Plan(study, storage, specs)
        for job in CHECKPOINT.jobs(plan, [(cell, plan.demand_inputs(CHECKPOINT, cell))]):
            register(**job.arguments, report=_silent)
        plan = Plan(study, storage, specs)
        layers = [Cell(model, 0, layer) for layer in study.layers_of(model)]
        (job,) = ACTIVATIONS.jobs(plan, [(one, plan.demand_inputs(ACTIVATIONS, one)) for one in layers])
        passes.append(_seconds(lambda job=job: capture_layers(**job.arguments, report=_silent)))
        reads.append(_seconds(lambda: measure_checkpoint(storage.checkpoint_folder(model, 0))))
    return tuple(statistics.median(taken[1:]) for taken in (looks, passes, reads))


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _silent(*_: object) -> None:
    """Progress that nobody looks at."""
