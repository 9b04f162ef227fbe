"""The checkpoint timeline of a model: the steps that have checkpoints, and which of these are valid."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from resources.errors import EmergenceError
from resources.files.atomic import replacing_file
from resources.files.versions import per_version

Status = Literal["ok", "admitted", "expected", "unjudged", "duplicate", "outlier", "quarantined", "missing"]
"""Used are `ok`, `admitted` (named in the study file although a check failed) and `expected` (trained here, and not
judged yet). `unjudged` came from outside and was not looked at yet. `duplicate` shares weights with another step,
`outlier` does not lie on the trajectory of the others, `quarantined` failed another check: these three are left out.
`missing` is wanted and not there, or not whole yet."""
USED: tuple[Status, ...] = ("ok", "admitted", "expected")
LEFT_OUT: tuple[Status, ...] = ("duplicate", "outlier", "quarantined")
FORMAT = "emergence-time-axis"
FORMAT_VERSION = 1
MAX_BYTES = 50_000_000


@dataclass(frozen=True)
class TimelineEntry:
    """One step of a model."""

    step: int
    status: Status
    reason: str = ""
    """Why it is not used, or was admitted; empty when nothing is wrong."""
    failed: tuple[str, ...] = ()
    """Names of the identity rules that it fails."""
    dup_of_step: int | None = None
    """Step whose weights it repeats."""
    revision: str = ""
    """Name of the checkpoint at its source."""
    location: str = ""
    """Repository or folder."""
    commit_sha: str = ""
    """Commit it is pinned to; empty where there are none."""
    identity: str = ""
    """Changes whenever a file of the checkpoint does; names its measurement."""
    weights_bytes: int = 0
    weights_sha256: str = ""
    """As the source states it before anything is fetched; may be empty."""
    upstream: str = ""
    """What the last verification of the pin found, in words; empty when nothing."""


@dataclass(frozen=True)
class Timeline:
    """All steps of one model that are wanted or offered, ascending."""

    entries: tuple[TimelineEntry, ...]
    judged: str = ""
    """What the verdicts were made from: rules, measured checkpoints, names that the study admits."""

    def steps(self, unjudged: bool = False) -> list[int]:
        """Steps that the study uses; with those that nobody looked at yet, if asked for."""
        return [entry.step for entry in self.entries if is_used(entry.status, unjudged)]

    @property
    def left_out(self) -> list[TimelineEntry]:
        """Checkpoints that are there and are not used."""
        return [entry for entry in self.entries if entry.status in LEFT_OUT]

    def entry(self, step: int) -> TimelineEntry | None:
        """What is known of a step."""
        return next((entry for entry in self.entries if entry.step == step), None)


def is_used(status: Status, unjudged: bool = False) -> bool:
    """Whether a step of this status is on the axis."""
    return status in USED or (unjudged and status == "unjudged")


def placed(entries: Sequence[TimelineEntry], place: str) -> list[TimelineEntry]:
    """Put a text in the place of the folders of checkpoints; an empty text leaves them."""
    return [replace(entry, location=place) if place and entry.location else entry for entry in entries]


def write_timeline(path: Path, axis: Timeline) -> None:
    """Replace the file; nothing is written when it says the same already."""
    lines = ",\n".join(json.dumps(asdict(entry), ensure_ascii=True) for entry in axis.entries)
    head = json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, "judged": axis.judged})
    text = f'{head[:-1]}, "entries": [\n{lines}\n]}}\n'
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (OSError, UnicodeDecodeError):
        pass
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_timeline(path: Path) -> Timeline | None:
    """The checkpoint timeline in a file, read once per version of it; None without a file.

    Raises:
        EmergenceError: the file is not such a record.
    """
    return per_version(path, _read)


def _read(path: Path) -> Timeline | None:
    try:
        if (n_bytes := path.stat().st_size) > MAX_BYTES:
            raise _damaged(path, f"it has {n_bytes} bytes")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None
    return _parse(text, path)


def _parse(text: str, path: Path) -> Timeline:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(path, "it is not JSON") from None
    match record:
        case {"format": str(name), "format_version": int(version), "judged": str(judged), "entries": list(entries)} if (
            name == FORMAT and version == FORMAT_VERSION
        ):
            parsed = [_entry(entry, path) for entry in entries]
        case _:
            raise _damaged(path, f"it is no {FORMAT} of version {FORMAT_VERSION}")
    if [entry.step for entry in parsed] != sorted({entry.step for entry in parsed}):
        raise _damaged(path, "its steps do not ascend")
    return Timeline(tuple(parsed), judged)


_KINDS: dict[str, type | tuple[type, ...]] = {"step": int, "weights_bytes": int, "failed": list}


def _entry(record: Any, path: Path) -> TimelineEntry:
    names = [field.name for field in fields(TimelineEntry)]
    if not isinstance(record, dict) or set(record) != set(names):
        raise _damaged(path, "an entry has other fields than it should")
    for name, value in record.items():
        kind = (int, type(None)) if name == "dup_of_step" else _KINDS.get(name, str)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _damaged(path, f"{name} is {value!r}")
    if record["status"] not in get_args(Status) or record["step"] < 0:
        raise _damaged(path, f"step {record['step']} is {record['status']!r}")
    if not all(isinstance(name, str) for name in record["failed"]):
        raise _damaged(path, f"failed is {record['failed']!r}")
    fields_of_entry: dict[str, Any] = record | {"failed": tuple(record["failed"])}
    return TimelineEntry(**fields_of_entry)


def _damaged(path: Path, what: str) -> EmergenceError:
    return EmergenceError(
        f"The checkpoint timeline cannot be read: {what}.",
        where=path,
        remedy="delete it; it is made anew from the checkpoints",
    )
