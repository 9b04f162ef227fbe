"""Worker functions that measure, register and compare checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.files.folder import check_whole
from emergence_assets.checkpoints.identity.measurement import (
    InvalidCheckpoint,
    Measurement,
    conditions_of_loading,
    measure_checkpoint,
    read_measurement,
    write_measurement,
)
from emergence_assets.checkpoints.inspection import CONTENT_HASHES
from emergence_assets.checkpoints.sources.source import CheckpointRef
from emergence_assets.plan.timeline import Timeline, read_timeline
from resources.errors import BrokenCheckpoint, EmergenceError, UnsupportedModel
from resources.files.atomic import clear_disk_errors
from resources.files.records import record_of, required_from_json, write_record
from resources.files.storage import Storage
from resources.tables.parquet import write_table


def register(
    measurement: str, record: str, required: str, declared: dict[str, int], origin: dict[str, Any], report: Any
) -> None:
    """Write the record of a measured and validated checkpoint."""
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
                remedy="correct the study, or replace the checkpoint",
            )
    shown = ("n_layers", "d_model", "n_heads", "vocab_size", "n_params", "n_params_nonemb", "weights_bytes")
    summary = origin | {name: getattr(facts, name) for name in (*shown, "weights_sha256", "architecture")}
    if measured.loss is not None:
        summary["loss"] = measured.loss
    with clear_disk_errors(Path(record)):
        write_record(Path(record), want, summary)


def write_registry(
    data: str, study: str, model: str, tokens_per_step: int, path: str, required: str, report: Any
) -> None:
    """Write the table of all checkpoints of a model."""
    from emergence_assets.checkpoints.identity.registry import registry_frame
    from emergence_assets.checkpoints.table import REGISTRY

    storage = Storage(Path(data), study)
    timeline = read_timeline(storage.timeline(model)) or Timeline(())
    frame = registry_frame(model, tokens_per_step, timeline.entries, measurements(storage, timeline))
    numbers = {
        "checkpoints": len(frame),
        "on_time_axis": int(frame["on_time_axis"].sum()),
        "left_out": "; ".join(f"step {entry.step}: {entry.reason}" for entry in timeline.left_out),
    }
    record = record_of(required_from_json(required), numbers)
    with clear_disk_errors(Path(path)):
        write_table(Path(path), frame, REGISTRY, record.to_json())


def measure(
    source: dict[str, Any], checkpoint: dict[str, Any], path: str, left_out_if_broken: bool, report: Any
) -> None:
    """Fetch one checkpoint, read every weight once, and write its measurement.

    With `left_out_if_broken` the reason for a broken checkpoint is stored, and the checkpoint is left out. Otherwise it
    is an error: a checkpoint that was trained here can be trained again.
    """
    import torch

    from emergence_assets.checkpoints.models.facts import embedding_norm, model_facts
    from emergence_assets.checkpoints.models.fixed_text import fixed_text_loss
    from emergence_assets.checkpoints.models.loading import is_causal
    from emergence_assets.checkpoints.models.support import require_supported
    from emergence_assets.checkpoints.sources.of_family import source_from
    from resources.compute.accelerator import choose_accelerator

    accelerator, origin, ref = choose_accelerator(), source_from(source), CheckpointRef(**checkpoint)
    blocks = source["family"].get("blocks")
    try:
        with origin.fetch(ref, report) as folder:
            check_whole(folder)
            report(0, 3, "loading the model")
            model = origin.load(ref, folder, accelerator.device, torch.float32)
            facts = model_facts(model, blocks)
            report(1, 3, "reading the weights")
            measured = measure_checkpoint(folder, facts, embedding_norm(model))
            report(2, 3, "running the model")
            require_supported(model, folder / "tokenizer.json", blocks)
            if is_causal(model):
                measured = replace(measured, loss=fixed_text_loss(model, folder / "tokenizer.json"))
            report(3, 3, "")
    except BrokenCheckpoint as error:
        # An error of the disk or the network may be temporary.
        if not left_out_if_broken or getattr(error.__cause__, "errno", None) is not None:
            raise
        rule = "model_is_supported" if isinstance(error, UnsupportedModel) else "files_are_whole"
        measured = InvalidCheckpoint(error.reason, rule, conditions_of_loading(ref.model in origin.trusted, blocks))
    with clear_disk_errors(Path(path)):
        write_measurement(Path(path), measured)


def compare_content(source: dict[str, Any], checkpoint: dict[str, Any], path: str, report: Any) -> str:
    """Hash a checkpoint again and return its differences from the measurement, empty if there are none."""
    from emergence_assets.checkpoints.files.folder import read_facts
    from emergence_assets.checkpoints.sources.of_family import source_from

    measured = read_measurement(Path(path), sample=False)
    if not isinstance(measured, Measurement):
        return ""
    try:
        with source_from(source).fetch(CheckpointRef(**checkpoint), report) as folder:
            facts = read_facts(folder, check_finite=False)
    except BrokenCheckpoint as error:
        return f"{error.what} ({error.where})"
    altered = [name for name in CONTENT_HASHES if getattr(facts, name) != getattr(measured.facts, name)]
    return f"{', '.join(altered)} differ from the measurement: the files were altered" if altered else ""


def measurements(storage: Storage, timeline: Timeline) -> dict[int, Measurement]:
    """Read the measurements of a timeline with their samples of weights, by step; invalid checkpoints are left out."""
    read = {
        entry.step: read_measurement(storage.checkpoint_measurement(entry.identity), sample=True)
        for entry in timeline.entries
        if entry.identity and storage.checkpoint_measurement(entry.identity).exists()
    }
    return {step: found for step, found in read.items() if isinstance(found, Measurement)}
