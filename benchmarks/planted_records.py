"""A data folder as large as a real study, with real records, files and events, and next to nothing in them."""

import json
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import h5py
import numpy as np
import polars as pl

from benchmarks.activation_files import stored_rows, write_file
from emergence_assets.checkpoints.identity.measurement import measure_checkpoint, write_measurement
from emergence_assets.checkpoints.spec import FILES, TRAINING_RECORD
from emergence_assets.checkpoints.training.settings import ModelShape, TrainingRecipe
from emergence_assets.checkpoints.training.training import train
from emergence_assets.orchestration.instance.partitions import asset_key, partition_key
from emergence_assets.pipeline import TABLES, specs_for
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.content_hash import CREATED_TAG, SEAL_TAG, moment, seal
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import Timeline, TimelineEntry, write_timeline
from emergence_assets.study.load import parse_study
from emergence_assets.study.study import Study
from resources.files import atomic as durable
from resources.files.records import record_of, write_folder_record, write_record
from resources.files.storage import Storage
from resources.hdf5.hdf5 import write_attrs
from resources.tables.parquet import write_table

N_CATEGORIES, N_REPLICATES = 50, 20


@dataclass(frozen=True)
class Size:
    """How large the folder is."""

    n_models: int
    n_steps: int
    n_layers: int
    activation_bytes: int = 4096
    sae_bytes: int = 1024
    n_models_with_files: int = 1
    """Models whose cells have files; the event log has the cells of all. A trace reads files of one model."""

    @property
    def n_cells(self) -> int:
        """Cells of one asset."""
        return self.n_models * self.n_steps * self.n_layers


def planted_study(size: Size) -> Study:
    """The study that the folder is of."""
    model = {"d_model": 8, "n_layers": size.n_layers, "n_heads": 2, "learning_rate": 1e-2}
    return parse_study(
        {
            "name": "planted",
            "family": {
                "source": "trained-here",
                "n_steps": size.n_steps,
                "batch_size": 2,
                "context": 32,
                "models": {f"m{number}": model for number in range(size.n_models)},
            },
            "steps": list(range(size.n_steps)),
            "probe_set": {"source": "wordnet", "texts_per_category": 40, "min_texts_per_category": 40},
            "activations": {"training_texts": 600},
            "sae": {"n_latents": 32, "k": 4, "n_steps": 10, "batch_size": 128},
        }
    )


def plant(data: Path, size: Size) -> Plan:
    """Write the files of some models and of the study, and every event."""
    study = planted_study(size)
    storage = Storage(data, study.name)
    _checkpoints(study, storage, size)
    plan = Plan(study, storage, specs_for(study))
    template = data / "template.h5"
    write_file(template, stored_rows(size.activation_bytes, 8, "float16"), "float16")
    with patch.object(durable, "sync"):  # a benchmark need not outlive a power cut
        for spec in plan.specs.values():
            for cell in plan.cells(spec):
                if _has_files(cell, size):
                    _write(spec, cell, plan, template, size)
    template.unlink()
    _events(plan, data / "dagster", size)
    return plan


def _checkpoints(study: Study, storage: Storage, size: Size) -> None:
    """One trained network stands for all checkpoints."""
    folder = storage.data / "trained"
    shape = ModelShape(8, size.n_layers, 2)
    train(TrainingRecipe(shape, learning_rate=1e-2, n_steps=1, batch_size=2, context=32), folder, [0])
    write_measurement(storage.checkpoint_measurement("a" * 32), measure_checkpoint(folder / "step0"))
    shutil.rmtree(folder)
    for model in study.models:
        entries = [TimelineEntry(step, "ok", revision=f"step{step}", identity="a" * 32) for step in range(size.n_steps)]
        write_timeline(storage.timeline(model), Timeline(tuple(entries)))


def _write(spec: AssetSpec, cell: Cell, plan: Plan, template: Path, size: Size) -> None:
    required = plan.required(spec, cell)
    if required is None:
        raise RuntimeError(f"{spec.name} of {cell} cannot be told")
    path = spec.path(plan.storage, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = record_of(required, {})
    if path.name == TRAINING_RECORD:
        for step in range(size.n_steps):
            plan.storage.checkpoint_folder(str(cell.model), step).mkdir(parents=True)
        write_record(path, required, {FILES: {}})
    elif path.suffix == ".json":
        write_record(path, required, {"n_params_nonemb": 1000, "tokens_seen": int(cell.step or 0)})
    elif path.suffix == ".h5":
        shutil.copyfile(template, path)
        with h5py.File(path, "r+") as file:
            write_attrs(
                file,
                {
                    "provenance": record.to_json(),
                    "expected_d_model": 8,
                    "tokens_file": "none.h5",
                    "tokens_fingerprint": "",
                },
            )
    elif path.suffix == ".parquet":
        write_table(path, _frame(spec.name, cell, plan, size), TABLES[spec.name], record.to_json())
    else:
        path.mkdir(parents=True)
        (path / "sae_weights.safetensors").write_bytes(np.random.default_rng(0).bytes(size.sae_bytes))
        write_folder_record(path, required, {})


def _frame(name: str, cell: Cell, plan: Plan, size: Size) -> pl.DataFrame:
    """Rows where a trace looks for one, with the columns that it needs; no rows elsewhere."""
    schema = TABLES[name].schema
    if name == "category_presence":
        layers = plan.study.layers_of(str(cell.model))
        grid = [(step, layer) for step in range(size.n_steps) for layer in layers]
        n_rows = len(grid) * N_CATEGORIES
        rows: dict[str, Any] = {
            "model": [cell.model] * n_rows,
            "step": np.repeat([step for step, _ in grid], N_CATEGORIES),
            "layer": np.repeat([layer for _, layer in grid], N_CATEGORIES),
            "control_id": ["none"] * n_rows,
            "category_level": ["subject"] * n_rows,
            "category": [f"category {number}" for number in range(N_CATEGORIES)] * len(grid),
            "replicates": np.random.default_rng(0).random((n_rows, N_REPLICATES), np.float32),
        }
    elif name == "claims":
        inputs = [[f"category_presence {model}", f"emergence_over_time {model}"] for model in plan.study.models]
        rows = {"claim_id": range(1, len(inputs) + 1), "model": list(plan.study.models), "inputs": inputs}
    else:
        return schema.to_frame()
    frame = pl.DataFrame(rows)
    filled = [
        (pl.col(column) if column in rows else pl.lit(None)).cast(kind).alias(column) for column, kind in schema.items()
    ]
    return frame.select(filled)


def _has_files(cell: Cell, size: Size) -> bool:
    return cell.model is None or int(cell.model.removeprefix("m")) < size.n_models_with_files


def _events(plan: Plan, home: Path, size: Size) -> None:
    """One event per cell: the first by Dagster, the others like it, since Dagster itself writes sixty a second."""
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    cells = [(spec, cell) for spec in plan.specs.values() for cell in plan.cells(spec)]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        event = dg.AssetMaterialization("first", tags={"dagster/data_version": "0"})
        instance.report_runless_asset_event(event)
        instance.dispose()
    connection = sqlite3.connect(home / "history/runs/index.db")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(event_logs)")]
    first = dict(zip(columns, connection.execute("SELECT * FROM event_logs").fetchone(), strict=True))
    connection.executemany(
        f"INSERT INTO event_logs ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        (_event(first, number + 2, spec, cell, plan, size) for number, (spec, cell) in enumerate(cells)),
    )
    connection.commit()
    connection.close()


def _event(first: dict[str, Any], number: int, spec: AssetSpec, cell: Cell, plan: Plan, size: Size) -> tuple[Any, ...]:
    entry = json.loads(first["event"])
    told = {"dagster/data_version": "f" * 32, SEAL_TAG: "e" * 32, CREATED_TAG: "2026-01-01"}
    stored = spec.stored(spec.path(plan.storage, cell)) if _has_files(cell, size) else None
    if stored is not None:
        told = {"dagster/data_version": stored.fingerprint, SEAL_TAG: seal(spec, plan.storage, cell)}
        told |= {CREATED_TAG: moment(stored.created)}
    entry["dagster_event"]["event_specific_data"]["materialization"]["tags"] = told
    key = asset_key(plan.study, cell.model, spec.name).to_string()
    own = {"id": number, "event": json.dumps(entry), "asset_key": key}
    own |= {"partition": partition_key(cell) if cell.step is not None else None}
    return tuple((first | own).values())
