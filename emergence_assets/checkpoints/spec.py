"""Specifications of the assets `training_run`, `checkpoint` and `checkpoint_registry`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.checkpoints.checks import CHECKPOINT_CHECKS, REGISTRY_CHECKS, TRAINING_CHECKS
from emergence_assets.checkpoints.inspection import CONTENT_HASHES, measurement_tasks
from emergence_assets.checkpoints.listing import refresh_timeline
from emergence_assets.checkpoints.table import REGISTRY, rule_frame
from emergence_assets.plan.asset_spec import AssetSpec, Due, Job, Validation
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.table_spec import TableSpec
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.plan.timeline import entry_of, is_used, read_timeline
from emergence_assets.study.study import Study
from resources.files.provenance import Provenance
from resources.files.records import record_provenance, required_to_json
from resources.files.storage import Storage
from resources.tables.parquet import parquet_provenance, read_tables, verify_table

TRAINING_RECORD = "training_run.json"
TRAINING_START = "started.json"
"""Name of the record of a training run's settings, written before its first checkpoint."""
FILES = "files_sha256"
"""Key in the summary of a training run: maps each checkpoint folder to the hash of all its files."""


def _training_recipe(study: Study, _storage: Storage, cell: Cell) -> Mapping[str, Any]:
    from emergence_assets.texts.wordnet import corpus

    return {
        **study.family.training_of(str(cell.model)),
        "steps": list(study.steps),
        "corpus_sha256": corpus.corpus_sha256(),
        "tokenizer_sha256": corpus.tokenizer_sha256(),
    }


def _training_provenance(path: Path) -> Provenance | None:
    """Read the provenance of a finished training run; None if it lacks a checkpoint, so that it is trained again."""
    stored = record_provenance(path)
    if stored is None:
        return None
    folders = [path.parent / f"step{step}" for step in stored.required.recipe["steps"]]
    return stored if all(folder.is_dir() for folder in folders) else None


VOCABULARY = 2048
"""Vocabulary size of the models that are trained here, equal to `settings.TrainingRecipe.vocab_size`."""
OWN_FILES_BYTES = 127_000
"""Bytes of tokenizer, configs and weights header of a checkpoint that is trained here."""
RECORD_BYTES = 1000
"""Bytes of the record of a checkpoint."""


def _training_bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    """Compute the size of one GPT-NeoX in half precision per listed step."""
    shape = study.family.models[str(cell.model)]
    d, n_layers = shape.d_model, shape.n_layers
    n_params = n_layers * (12 * d * d + 13 * d) + 2 * d + 2 * VOCABULARY * d
    return len(study.listed_steps or ()) * (2 * n_params + OWN_FILES_BYTES)


def _checkpoint_recipe(study: Study, storage: Storage, cell: Cell) -> Mapping[str, Any] | None:
    """Return the content hashes of a checkpoint from any source; None if it is not measured or invalid."""
    from emergence_assets.checkpoints.identity.measurement import Measurement, read_measurement

    entry = entry_of(storage, cell)
    path = storage.checkpoint_measurement(entry.identity) if entry and entry.identity else None
    if path is None or not path.exists():
        return None
    measured = read_measurement(path, sample=False)
    if not isinstance(measured, Measurement):
        return None
    return {name: getattr(measured.facts, name) for name in CONTENT_HASHES}


def _registry_recipe(study: Study, storage: Storage, cell: Cell) -> Mapping[str, Any] | None:
    """Return all timeline entries, those of checkpoints that are left out included: they are not inputs."""
    timeline = read_timeline(storage.timeline(str(cell.model)))
    if timeline is None:
        return None
    names = ("step", "status", "reason", "revision", "location", "commit_sha", "upstream")
    entries = [
        # A used checkpoint is an input, identified by its content; any other one only by its identity at the source.
        {name: getattr(entry, name) for name in names} | ({} if is_used(entry.status) else {"identity": entry.identity})
        for entry in timeline.entries
    ]
    return {"time_axis": entries, "tokens_per_step": study.family.tokens_per_step_of(str(cell.model))}


def _training_jobs(plan: Plan, due: Due) -> list[Job]:
    """List one job per model, largest first, because the slowest job decides when the run ends."""
    jobs = []
    for cell, required in sorted(due, key=lambda entry: -plan.study.models.index(str(entry[0].model))):
        arguments = {
            "folder": str(plan.storage.training_folder(str(cell.model))),
            "required": required_to_json(required),
            "lock": str(plan.storage.training_lock(str(cell.model))),
        }
        jobs.append(Job(arguments, (cell,), str(cell)))
    return jobs


def _checkpoint_jobs(plan: Plan, due: Due) -> list[Job]:
    """List one job per checkpoint."""
    names = ("revision", "location", "commit_sha", "status", "reason")
    jobs = []
    for cell, required in due:
        shape = plan.study.family.models[str(cell.model)]
        entry = entry_of(plan.storage, cell)
        arguments = {
            "measurement": str(plan.storage.checkpoint_measurement(entry.identity if entry else "")),
            "record": str(CHECKPOINT.path(plan.storage, cell)),
            "required": required_to_json(required),
            "declared": {"d_model": shape.d_model, "n_layers": shape.n_layers},
            "origin": {
                "tokens_seen": int(cell.step or 0) * plan.study.family.tokens_per_step_of(str(cell.model)),
                **{name: getattr(entry, name, "") for name in names},
            },
        }
        jobs.append(Job(arguments, (cell,), str(cell)))
    return jobs


def _registry_jobs(plan: Plan, due: Due) -> list[Job]:
    """List one job per model."""
    jobs = []
    for cell, required in due:
        arguments = {
            "data": str(plan.storage.data),
            "study": plan.storage.study,
            "model": str(cell.model),
            "tokens_per_step": plan.study.family.tokens_per_step_of(str(cell.model)),
            "path": str(CHECKPOINT_REGISTRY.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        jobs.append(Job(arguments, (cell,), f"checkpoint_registry {cell}"))
    return jobs


def _registry_rows(plan: Plan, cells: Sequence[Cell]) -> pl.DataFrame:
    """Return the registry with one column per identity rule, true where the step passes."""
    table = read_tables([CHECKPOINT_REGISTRY.path(plan.storage, cell) for cell in cells], REGISTRY)
    return rule_frame(table)


TRAINING_RUN = AssetSpec(
    name="training_run",
    stage="checkpoints",
    description="Trains the model on the WordNet glosses and writes a checkpoint at every step of the study.",
    grid="model",
    inputs=(),
    make="emergence_assets.checkpoints.training.worker:train_model",
    jobs=_training_jobs,
    recipe=_training_recipe,
    path=lambda storage, cell: storage.training_folder(str(cell.model)) / TRAINING_RECORD,
    also=lambda storage, cell: tuple(storage.training_folder(str(cell.model)).glob("step*")),
    stored=_training_provenance,
    checks=TRAINING_CHECKS,
    n_bytes=_training_bytes,
    kinds=frozenset({"pytorch"}),
    on_accelerator=True,
    wanted=lambda study: study.family.trained_here,
)
CHECKPOINT = AssetSpec(
    name="checkpoint",
    stage="checkpoints",
    description="A checkpoint that passes the identity rules: complete, finite, on the trajectory of the other steps; "
    "identified by the hash of its files. Any other checkpoint has no partition, only a row of checkpoint_registry.",
    grid="step",
    inputs=("training_run",),
    make="emergence_assets.checkpoints.identity.worker:register",
    # A checkpoint is its bytes: a change of the measuring code must not make all downstream assets stale.
    functions=(),
    jobs=_checkpoint_jobs,
    recipe=_checkpoint_recipe,
    path=lambda storage, cell: storage.checkpoint_record(*cell.at_step),
    stored=record_provenance,
    checks=CHECKPOINT_CHECKS,
    takes_unvalidated=True,
    n_bytes=lambda _study, _cell, _counts: RECORD_BYTES,
    kinds=frozenset({"huggingface", "safetensors"}),
    cells_per_run="all",
    validation=Validation(refresh_timeline, measurement_tasks),
)
CHECKPOINT_REGISTRY = TableSpec(
    name=REGISTRY.name,
    stage="checkpoints",
    description=REGISTRY.description,
    grid="model",
    inputs=("checkpoint",),
    make="emergence_assets.checkpoints.identity.worker:write_registry",
    jobs=_registry_jobs,
    recipe=_registry_recipe,
    path=lambda storage, cell: storage.model_table("checkpoint_registry", str(cell.model)),
    stored=parquet_provenance,
    verify=verify_table,
    checks=REGISTRY_CHECKS,
    tables=(REGISTRY,),
    frame=_registry_rows,
    needs_cells=False,
)
SPECS = (TRAINING_RUN, CHECKPOINT, CHECKPOINT_REGISTRY)
