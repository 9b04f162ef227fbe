"""Comparison of the bytes of a cell, in all its files, with the hashes recorded when they were written."""

from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.inspection import CONTENT_HASHES
from emergence_assets.checkpoints.spec import CHECKPOINT, FILES, TRAINING_RUN
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.content_hash import tables_beside
from emergence_assets.plan.disk_forecast import path_bytes, stored_bytes
from emergence_assets.plan.plan import Plan
from resources.errors import EmergenceError
from resources.files.provenance import Provenance
from resources.files.records import folder_hash
from resources.tables.parquet import table_provenance, verify_table

Problem = tuple[Path, str]
"""A file or folder, and its problem."""


def content_problems(spec: AssetSpec, plan: Plan, cell: Cell, record: Provenance) -> list[Problem]:
    """Read all files of a cell, and return the files and folders whose bytes are not those that were written."""
    path = spec.path(plan.storage, cell)
    problems = _problems(path, lambda: spec.verify(path))
    if spec.name == TRAINING_RUN.name:
        problems += _trained_files(path.parent, record)
    elif spec.name == CHECKPOINT.name:
        problems += _weights(plan, cell, record)
    else:
        for table in tables_beside(spec, plan.storage, cell):
            problems += _problems(table, lambda table=table: verify_table(table)) or _other_record(table, record)
    return problems


def content_bytes(spec: AssetSpec, plan: Plan, cell: Cell) -> int:
    """Sum the bytes of all existing files of a cell, with the weights of an external checkpoint."""
    weights = weights_folder(plan, cell) if spec.name == CHECKPOINT.name else None
    return stored_bytes(spec, plan, cell) + (path_bytes(weights) if weights else 0)


def weights_folder(plan: Plan, cell: Cell) -> Path | None:
    """Return the local folder of the weights of an external checkpoint; None where it is not on this machine."""
    timeline = plan.timeline(str(cell.model))
    entry = timeline.entry(int(cell.step or 0)) if timeline else None
    if entry is None or TRAINING_RUN.name in plan.specs:
        return None
    places = [Path(entry.location), plan.storage.checkpoint_cache() / entry.identity]
    return next((place for place in places if entry.location and (place / "config.json").is_file()), None)


def _weights(plan: Plan, cell: Cell, record: Provenance) -> list[Problem]:
    """Compare the files of a checkpoint with the hashes in its record."""
    from emergence_assets.checkpoints.files.folder import read_facts

    trained = plan.storage.checkpoint_folder(*cell.at_step)
    folder = trained if TRAINING_RUN.name in plan.specs else weights_folder(plan, cell)
    if folder is None or not folder.is_dir():
        return []
    try:
        facts = read_facts(folder, check_finite=False)
    except EmergenceError as error:
        return [(folder, f"{error.what} ({Path(error.where).name})" if error.where else error.what)]
    altered = [name for name in CONTENT_HASHES if getattr(facts, name) != record.required.recipe.get(name)]
    return [(folder, f"{', '.join(altered)}: not what was registered")] if altered else []


def _trained_files(folder: Path, record: Provenance) -> list[Problem]:
    """Compare the folders of the checkpoints of a training run with the hashes in its record."""
    written: Any = record.summary.get(FILES)
    if not isinstance(written, dict):
        return []
    problems = []
    for name, digest in written.items():
        if not (folder / name).is_dir():
            problems.append((folder / name, "the checkpoint is gone"))
        elif folder_hash(folder / name) != digest:
            problems.append((folder / name, "its files are not those that training wrote"))
    return problems


def _other_record(table: Path, record: Provenance) -> list[Problem]:
    """Check that a table that was made with a cell has the record of the cell."""
    try:
        made = Provenance.from_json(table_provenance(table) or "", table).required
    except EmergenceError as error:
        return [(table, error.what)]
    return (
        [] if made == record.required else [(table, f"it is of {made.asset} of {made.cell}, made from something else")]
    )


def _problems(path: Path, verify: Any) -> list[Problem]:
    try:
        verify()
    except EmergenceError as error:
        return [(path, error.what)]
    except OSError as error:
        return [(path, f"it cannot be read: {error.strerror}")]
    return []


def token_problems(path: Path) -> list[Problem]:
    """Compare a token file with its own fingerprint."""
    from emergence_assets.texts.tokens import read_tokens

    return _problems(path, lambda: read_tokens(path))
