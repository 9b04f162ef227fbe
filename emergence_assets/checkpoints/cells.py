"""Training runs and checkpoints as cells: what each is made from, where it lies, how a worker makes it."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from emergence_assets.checkpoints.inspection import CONTENT_HASHES
from emergence_assets.checkpoints.listing import measurements
from emergence_assets.durable import clear_disk_errors
from emergence_assets.errors import EmergenceError
from emergence_assets.family import TrainedHere
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Provenance, Required
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from emergence_assets.time_axis import AxisEntry, TimeAxis, is_used, read_time_axis
from resources.compute import Task
from resources.records import (
    folder_hash,
    record_of,
    record_provenance,
    required_from_json,
    required_to_json,
    write_record,
)
from resources.storage import Storage
from resources.tables import parquet_provenance, verify_table, write_table

TRAINING_RECORD = "training_run.json"
TRAINING_START = "started.json"
"""What the checkpoints in the folder are made from, written before the first of them."""
FILES = "files_sha256"
"""Key of a training run's summary: folder of a checkpoint to the hash over all its files."""


def _training_recipe(study: Study, _storage: Storage, cell: Cell) -> Mapping[str, Any]:
    from emergence_assets.wordnet import corpus

    family = study.family
    if not isinstance(family, TrainedHere) or cell.model is None:
        raise EmergenceError(f"{cell} is not trained here.", where=study.name)
    return {
        **family.models[cell.model].model_dump(exclude={"replicate_of", "seed"}),
        **family.model_dump(include={"n_steps", "batch_size", "context"}),
        **family.seeds_of(cell.model),
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


VOCABULARY = 2048
"""Of the models that are trained here, as `recipe.TrainingRecipe` has it."""
OWN_FILES_BYTES = 127_000
"""Tokenizer, configs and the header of the weights of a checkpoint that is trained here."""
RECORD_BYTES = 1000
"""Registered checkpoints."""
REGISTRY_ROW_BYTES, TABLE_BYTES = 550, 10_000
"""Of the registry table: a row, and what any small table takes."""


def _training_bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    """A GPT-NeoX in half precision per listed step."""
    shape = study.family.models[str(cell.model)]
    d, n_layers = shape.d_model, shape.n_layers
    n_params = n_layers * (12 * d * d + 13 * d) + 2 * d + 2 * VOCABULARY * d
    return len(study.listed_steps or ()) * (2 * n_params + OWN_FILES_BYTES)


TRAINING_RUN = Rule(
    name="training_run",
    stage="checkpoints",
    grid="model",
    inputs=(),
    recipe=_training_recipe,
    code=("emergence_assets.checkpoints.cells:train_model",),
    path=lambda storage, cell: storage.training_folder(str(cell.model)) / TRAINING_RECORD,
    stored=_training_provenance,
    also=lambda storage, cell: tuple(storage.training_folder(str(cell.model)).glob("step*")),
    n_bytes=_training_bytes,
)


def _checkpoint_recipe(study: Study, storage: Storage, cell: Cell) -> Mapping[str, Any] | None:
    """The checkpoint's own content: whatever follows is made from these bytes, wherever they came from."""
    from emergence_assets.checkpoints.measurement import Measurement, read_measurement

    axis = read_time_axis(storage.time_axis(str(cell.model)))
    entry = axis.entry(int(cell.step or 0)) if axis else None
    path = storage.checkpoint_measurement(entry.identity) if entry and entry.identity else None
    if path is None or not path.exists():
        return None
    measured = read_measurement(path, sample=False)
    if not isinstance(measured, Measurement):
        return None
    return {name: getattr(measured.facts, name) for name in CONTENT_HASHES}


CHECKPOINT = Rule(
    name="checkpoint",
    stage="checkpoints",
    grid="step",
    inputs=("training_run",),
    recipe=_checkpoint_recipe,
    # None: a checkpoint is its bytes. New code that measures them must not make everything behind them stale.
    code=(),
    path=lambda storage, cell: storage.checkpoint_record(str(cell.model), int(cell.step or 0)),
    stored=record_provenance,
    takes_unjudged=True,
    n_bytes=lambda _study, _cell, _counts: RECORD_BYTES,
)


def _registry_recipe(study: Study, storage: Storage, cell: Cell) -> Mapping[str, Any] | None:
    """The verdicts, also those on checkpoints that are left out and therefore no inputs."""
    axis = read_time_axis(storage.time_axis(str(cell.model)))
    if axis is None:
        return None
    said = ("step", "status", "reason", "revision", "location", "commit_sha", "upstream")
    entries = [
        # What is used is an input, by its content; of what is left out no more is known than what its source says.
        {name: getattr(entry, name) for name in said} | ({} if is_used(entry.status) else {"identity": entry.identity})
        for entry in placed(axis.entries, _place(study))
    ]
    return {"time_axis": entries, "tokens_per_step": study.family.tokens_per_step_of(str(cell.model))}


def _place(study: Study) -> str:
    """What stands for the folders of checkpoints that were trained here: the data may be moved, and nothing changed."""
    return "training in this study" if isinstance(study.family, TrainedHere) else ""


def placed(entries: Sequence[AxisEntry], place: str) -> list[AxisEntry]:
    return [replace(entry, location=place) if place and entry.location else entry for entry in entries]


CHECKPOINT_REGISTRY = Rule(
    name="checkpoint_registry",
    stage="checkpoints",
    grid="model",
    inputs=("checkpoint",),
    needs_cells=False,
    recipe=_registry_recipe,
    code=("emergence_assets.checkpoints.cells:write_registry",),
    path=lambda storage, cell: storage.model_table("checkpoint_registry", str(cell.model)),
    stored=parquet_provenance,
    verify=verify_table,
    n_bytes=lambda study, _cell, _counts: TABLE_BYTES + REGISTRY_ROW_BYTES * len(study.listed_steps or ()),
)
RULES = (TRAINING_RUN, CHECKPOINT, CHECKPOINT_REGISTRY)


def training_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One process per model, the largest first: the run ends with its slowest."""
    family = plan.study.family
    work = []
    for cell, required in sorted(due, key=lambda entry: -plan.study.models.index(str(entry[0].model))):
        arguments = {
            "folder": str(plan.storage.training_folder(str(cell.model))),
            "required": required_to_json(required),
            "lock": str(plan.storage.training_lock(str(cell.model))),
            "tokens_per_step": family.tokens_per_step_of(str(cell.model)),
        }
        work.append((Task("emergence_assets.checkpoints.cells:train_model", arguments, str(cell)), [cell]))
    return work


def train_model(folder: str, required: str, lock: str, tokens_per_step: int, report: Any) -> None:
    """Worker: train one model up to its last step, going on from the last saved state."""
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
            FILES: {f"step{step}": folder_hash(root / f"step{step}") for step in steps},
        }
        write_record(root / TRAINING_RECORD, want, summary)


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
        write_record(start, same_run, {})


def checkpoint_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per checkpoint."""
    work = []
    for cell, required in due:
        shape = plan.study.family.models[str(cell.model)]
        axis = plan.time_axis(str(cell.model))
        entry = axis.entry(int(cell.step or 0)) if axis else None
        arguments = {
            "measurement": str(plan.storage.checkpoint_measurement(entry.identity if entry else "")),
            "record": str(CHECKPOINT.path(plan.storage, cell)),
            "required": required_to_json(required),
            "declared": {"d_model": shape.d_model, "n_layers": shape.n_layers},
            "origin": {
                "tokens_seen": int(cell.step or 0) * plan.study.family.tokens_per_step_of(str(cell.model)),
                "revision": entry.revision if entry else "",
                "location": entry.location if entry else "",
                "commit_sha": entry.commit_sha if entry else "",
                "status": entry.status if entry else "",
                "reason": entry.reason if entry else "",
            },
        }
        work.append((Task("emergence_assets.checkpoints.cells:register", arguments, str(cell)), [cell]))
    return work


def register(
    measurement: str, record: str, required: str, declared: dict[str, int], origin: dict[str, Any], report: Any
) -> None:
    """Worker: note what a checkpoint is, after it was measured and judged."""
    from emergence_assets.checkpoints.measurement import Measurement, read_measurement

    measured, want = read_measurement(Path(measurement), sample=False), required_from_json(required)
    if not isinstance(measured, Measurement) or any(
        getattr(measured.facts, name) != want.recipe[name] for name in CONTENT_HASHES
    ):
        raise EmergenceError("The checkpoint changed while it was registered.", where=record, remedy="run again")
    facts = measured.facts
    for name, expected in declared.items():
        if getattr(facts, name) != expected:
            raise EmergenceError(
                f"{name} is {getattr(facts, name)} in the checkpoint and {expected} in the study.",
                where=f"{origin['location']} {origin['revision']}",
                remedy="correct the study, or put the right checkpoint there",
            )
    shown = ("n_layers", "d_model", "n_heads", "vocab_size", "n_params", "n_params_nonemb", "weights_bytes")
    summary = origin | {name: getattr(facts, name) for name in (*shown, "weights_sha256", "architecture")}
    if measured.loss is not None:
        summary["loss"] = measured.loss
    with clear_disk_errors(Path(record)):
        write_record(Path(record), want, summary)


def registry_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model."""
    work = []
    for cell, required in due:
        arguments = {
            "data": str(plan.storage.data),
            "study": plan.storage.study,
            "model": str(cell.model),
            "tokens_per_step": plan.study.family.tokens_per_step_of(str(cell.model)),
            "place": _place(plan.study),
            "path": str(CHECKPOINT_REGISTRY.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        label = f"checkpoint_registry {cell}"
        work.append((Task("emergence_assets.checkpoints.cells:write_registry", arguments, label), [cell]))
    return work


def write_registry(
    data: str, study: str, model: str, tokens_per_step: int, place: str, path: str, required: str, report: Any
) -> None:
    """Worker: all checkpoints of a model as a table, with a picture of how alike they are."""
    from emergence_assets.checkpoints.registry import registry_frame
    from emergence_assets.checkpoints.tables import REGISTRY

    storage = Storage(Path(data), study)
    axis = read_time_axis(storage.time_axis(model)) or TimeAxis(())
    frame = registry_frame(model, tokens_per_step, placed(axis.entries, place), measurements(storage, axis))
    numbers = {
        "checkpoints": len(frame),
        "on_time_axis": int(frame["on_time_axis"].sum()),
        "left_out": "; ".join(f"step {entry.step}: {entry.reason}" for entry in axis.left_out),
    }
    record = record_of(required_from_json(required), numbers)
    with clear_disk_errors(Path(path)):
        write_table(Path(path), frame, REGISTRY, record.to_json())
