"""Provenance records of results that are folders or small JSON files, with the hash of the files of the folder."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from resources.environment import environment
from resources.errors import EmergenceError
from resources.files.atomic import replacing_file
from resources.files.provenance import Provenance, Required

RECORD_NAME = "provenance.json"
CONTENT = "content_sha256"
"""Field of the summary with the hash of the files of a folder."""
MAX_RECORD_BYTES = 10_000_000


def now() -> str:
    """Return the UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def folder_hash(folder: Path) -> str:
    """Compute the SHA-256 over names and contents of all files except the record itself."""
    digest = sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / RECORD_NAME:
            with path.open("rb") as file:  # in chunks: the weights of an SAE may be larger than memory
                content = file_digest(file, "sha256").digest()
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()


def record_of(required: Required, summary: Mapping[str, Any]) -> Provenance:
    """Make the record of a result of this process, with environment and time."""
    return Provenance(required, summary, environment(), now())


def write_folder_record(folder: Path, required: Required, summary: Mapping[str, Any]) -> None:
    """Write the record of a folder whose other files are finished."""
    record = record_of(required, {**summary, CONTENT: folder_hash(folder)})
    (folder / RECORD_NAME).write_text(record.to_json() + "\n", encoding="utf-8")


def folder_provenance(folder: Path) -> Provenance | None:
    """Read the provenance of a folder; None without a folder or a record."""
    return record_provenance(folder / RECORD_NAME)


def verify_folder(folder: Path) -> None:
    """Compare the files of a folder with the hash in its record.

    Raises:
        EmergenceError: a file was altered, added or lost.
    """
    stored = folder_provenance(folder)
    if stored is None or stored.summary.get(CONTENT) != folder_hash(folder):
        raise EmergenceError(
            "The files of this folder are not those that were written.", where=folder, remedy="delete it and run again"
        )


def write_record(path: Path, required: Required, summary: Mapping[str, Any]) -> None:
    """Write a result that consists of its record only."""
    with replacing_file(path) as temporary:
        temporary.write_text(record_of(required, summary).to_json() + "\n", encoding="utf-8")


def record_provenance(path: Path) -> Provenance | None:
    """Read the provenance in a JSON file; None without a file.

    Raises:
        EmergenceError: the file is not a provenance record.
    """
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise EmergenceError("The record is too large.", where=path, remedy="delete it and run again")
        return Provenance.from_json(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise EmergenceError("The record is not text.", where=path, remedy="delete it and run again") from None
    except OSError as error:
        raise EmergenceError(
            f"The record cannot be read: {error.strerror}.", where=path, remedy="check its rights, or delete it"
        ) from None


def required_to_json(required: Required) -> str:
    """Write required provenance as text for a worker."""
    return json.dumps(
        [required.asset, required.cell, dict(required.recipe), dict(required.inputs), required.code_version]
    )


def required_from_json(text: str) -> Required:
    """Read the text of `required_to_json`."""
    return Required(*json.loads(text))
