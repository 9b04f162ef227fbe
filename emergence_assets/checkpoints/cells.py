"""Training runs and checkpoints as cells: what each is made from, where it lies, how a worker makes it."""

import functools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from emergence_assets.durable import clear_disk_errors
from emergence_assets.errors import EmergenceError
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Provenance, Required
from emergence_assets.study import Study, TrainedHere
from resources.compute import Task
from resources.records import (
    record_provenance,
    required_from_json,
    required_to_json,
    write_record,
)
from resources.storage import Storage

TRAINING_RECORD = "training_run.json"
TRAINING_START = "started.json"
"""What the checkpoints in the folder are made from, written before the first of them."""


def _training_recipe(study: Study, _storage: Storage, cell: Cell) -> Mapping[str, Any]:
    from emergence_assets.wordnet import corpus

    family = study.family
    if not isinstance(family, TrainedHere) or cell.model is None:
        raise EmergenceError(f"{cell} is not trained here.", where=study.name)
    return {
        **family.models[cell.model].model_dump(),
        **family.model_dump(include={"n_steps", "batch_size", "context", "seed", "data_seed"}),
        "steps": list(study.steps),
        "corpus_sha256": corpus.corpus_sha256(),
        "tokenizer_sha256": corpus.tokenizer_sha256(),
    }


def _training_provenance(path: Path) -> Provenance | None:
    """Provenance of a finished training run; None also when a checkpoint of it is gone, so that it is trained again."""
    stored = record_provenance(path)
    if stored is None:
        return None
    folders = [path.parent / f"step{step}" for step in stored.required.recipe["steps"]]
    return stored if all(folder.is_dir() for folder in folders) else None


TRAINING_RUN = Rule(
    name="training_run",
    stage="checkpoints",
    grid="model",
    inputs=(),
    recipe=_training_recipe,
    code=("emergence_assets.checkpoints.training",),
    path=lambda storage, cell: storage.training_folder(str(cell.model)) / TRAINING_RECORD,
    stored=_training_provenance,
)


def _checkpoint_recipe(study: Study, storage: Storage, cell: Cell) -> Mapping[str, Any] | None:
    """The checkpoint's own content: whatever follows is made from these bytes, wherever they came from."""
    if not isinstance(study.family, TrainedHere):
        raise EmergenceError(
            f"Checkpoints of {cell.model} come from a hub, which this version does not fetch.",
            where=f"family.source of study {study.name}",
            remedy="choose a study whose family is trained here, for example `default`",
        )
    folder = storage.checkpoint_folder(str(cell.model), int(cell.step or 0))
    if not folder.is_dir():
        return None
    version = tuple((path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.iterdir()))
    return _identity(folder, version)


@functools.lru_cache(maxsize=4096)
def _identity(folder: Path, _version: tuple[tuple[str, int, int], ...]) -> dict[str, str]:
    """Hashes of a checkpoint's files, worked out once per version of the folder."""
    from emergence_assets.checkpoints.folder import read_facts

    facts = read_facts(folder, check_finite=False)
    return {
        "weights_sha256": facts.weights_sha256,
        "config_sha256": facts.config_sha256,
        "tokenizer_sha256": facts.tokenizer_sha256,
    }


CHECKPOINT = Rule(
    name="checkpoint",
    stage="checkpoints",
    grid="step",
    inputs=("training_run",),
    recipe=_checkpoint_recipe,
    code=("emergence_assets.checkpoints.folder",),
    path=lambda storage, cell: storage.checkpoint_record(str(cell.model), int(cell.step or 0)),
    stored=record_provenance,
)
RULES = (TRAINING_RUN, CHECKPOINT)


def training_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One process per model, the largest first: the run ends with its slowest."""
    family = plan.study.family
    work = []
    for cell, required in sorted(due, key=lambda entry: -plan.study.models.index(str(entry[0].model))):
        arguments = {
            "folder": str(plan.storage.training_folder(str(cell.model))),
            "required": required_to_json(required),
            "lock": str(plan.storage.training_lock(str(cell.model))),
            "tokens_per_step": family.batch_size * family.context if isinstance(family, TrainedHere) else 0,
        }
        work.append((Task("emergence_assets.checkpoints.cells:train_model", arguments, str(cell)), [cell]))
    return work


def train_model(folder: str, required: str, lock: str, tokens_per_step: int, report: Any) -> None:
    """Worker: train one model up to its last step, going on from the last saved state."""
    from emergence_assets.checkpoints.environment import environment
    from emergence_assets.checkpoints.training import ModelShape, TrainingRecipe, train

    want, root = required_from_json(required), Path(folder)
    settings = dict(want.recipe)
    steps = settings["steps"]
    shape = ModelShape(settings["d_model"], settings["n_layers"], settings["n_heads"])
    named = ("learning_rate", "n_steps", "batch_size", "context", "seed", "data_seed")
    recipe = TrainingRecipe(shape=shape, **{name: settings[name] for name in named})
    Path(lock).parent.mkdir(parents=True, exist_ok=True)
    with clear_disk_errors(root), FileLock(lock):
        _clear_superseded(root, want)
        outcome = train(recipe, root, steps, report)
        losses = outcome.validation_losses
        summary = {
            "final_validation_loss": losses[steps[-1]],
            "initial_validation_loss": losses[steps[0]],
            "checkpoints": len(steps),
            "tokens_seen": steps[-1] * tokens_per_step,
            "tokens_per_second": outcome.tokens_per_second,
            "resumed_from": -1 if outcome.resumed_from is None else outcome.resumed_from,
            "validation_losses": {str(step): loss for step, loss in losses.items()},
        }
        write_record(root / TRAINING_RECORD, want, summary, dict(environment()))


def _clear_superseded(root: Path, want: Required) -> None:
    """Remove checkpoints of another recipe or other code; further steps of the same run may join what is there."""
    start = root / TRAINING_START
    same_run = Required(want.asset, want.cell, {**want.recipe, "steps": []}, want.inputs, want.code_version)
    try:
        begun = record_provenance(start)
    except EmergenceError:
        begun = None
    if begun is None or begun.fingerprint != same_run.fingerprint:
        shutil.rmtree(root, ignore_errors=True)
        write_record(start, same_run, {}, {})


def checkpoint_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per checkpoint."""
    work = []
    for cell, required in due:
        shape = plan.study.family.models[str(cell.model)]
        arguments = {
            "folder": str(plan.storage.checkpoint_folder(str(cell.model), int(cell.step or 0))),
            "record": str(CHECKPOINT.path(plan.storage, cell)),
            "required": required_to_json(required),
            "declared": {"d_model": shape.d_model, "n_layers": shape.n_layers},
            "tokens_seen": int(cell.step or 0) * plan.study.family.tokens_per_step,
        }
        work.append((Task("emergence_assets.checkpoints.cells:register_checkpoint", arguments, str(cell)), [cell]))
    return work


def register_checkpoint(
    folder: str, record: str, required: str, declared: dict[str, int], tokens_seen: int, report: Any
) -> None:
    """Worker: check one checkpoint whole and note what it is."""
    from emergence_assets.checkpoints.folder import read_facts

    facts = read_facts(Path(folder))
    for name, expected in declared.items():
        if getattr(facts, name) != expected:
            raise EmergenceError(
                f"{name} is {getattr(facts, name)} in the checkpoint and {expected} in the study.",
                where=Path(folder) / "config.json",
                remedy="correct the study, or put the right checkpoint there",
            )
    want = required_from_json(required)
    for name in ("weights_sha256", "config_sha256", "tokenizer_sha256"):
        if getattr(facts, name) != want.recipe[name]:
            raise EmergenceError("The checkpoint changed while it was registered.", where=folder, remedy="run again")
    summary = {
        "tokens_seen": tokens_seen,
        "n_layers": facts.n_layers,
        "d_model": facts.d_model,
        "n_heads": facts.n_heads,
        "vocab_size": facts.vocab_size,
        "n_params": facts.n_params,
        "n_params_nonemb": facts.n_params_nonemb,
        "weights_bytes": facts.weights_bytes,
        "weights_sha256": facts.weights_sha256,
        "architecture": facts.architecture,
    }
    with clear_disk_errors(Path(record)):
        write_record(Path(record), want, summary, {})
