"""Checkpoint timeline of a model: its steps, and the status of the checkpoint of every step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, TypeAdapter

from emergence_assets.plan.cell import Cell
from resources.errors import EmergenceError
from resources.files.atomic import replacing_file
from resources.files.checked_json import STRICT, ascending_steps, read_checked
from resources.files.storage import Storage
from resources.files.versions import per_version

Status = Literal["ok", "admitted", "expected", "unjudged", "duplicate", "outlier", "quarantined", "missing"]
"""Status of a checkpoint.

Used: `ok`; `admitted`, which fails a rule and is named in the study file; `expected`, which is trained here and not
validated yet. Left out: `duplicate`, which shares weights with another step; `outlier`, which is not on the trajectory
of the other steps; `quarantined`, which fails another rule. Neither: `unjudged`, which is external and not validated
yet; `missing`, which is wanted and absent or incomplete.
"""
USED: tuple[Status, ...] = ("ok", "admitted", "expected")
LEFT_OUT: tuple[Status, ...] = ("duplicate", "outlier", "quarantined")
MADE_HERE = "made here from the config"
"""Location of an untrained step 0 that the study made for a model without one; see `family.untrained`."""
MAX_BYTES = 50_000_000


@dataclass(frozen=True)
class TimelineEntry:
    """One step of a model."""

    __pydantic_config__ = STRICT
    step: NonNegativeInt
    status: Status
    reason: str = ""
    """Why the checkpoint is not used, or was admitted; empty without a problem."""
    failed: tuple[str, ...] = ()
    """Names of the failed identity rules."""
    dup_of_step: int | None = None
    """Step with the same weights."""
    revision: str = ""
    """Name of the checkpoint at its source."""
    location: str = ""
    """Repository or folder."""
    commit_sha: str = ""
    """Commit of the pin; empty for sources without commits."""
    identity: str = ""
    """Hash that changes with every file of the checkpoint; also the name of its measurement."""
    weights_bytes: int = 0
    weights_sha256: str = ""
    """SHA-256 of the weights as the source states it before a download; may be empty."""
    upstream: str = ""
    """Change at the source since the checkpoint was listed, such as a moved branch; empty when nothing changed."""


@dataclass(frozen=True)
class Timeline:
    """All steps of one model that the study lists or the source offers, ascending."""

    __pydantic_config__ = STRICT
    entries: Annotated[tuple[TimelineEntry, ...], AfterValidator(ascending_steps)]
    validated_from: Annotated[str, Field(alias="judged")] = ""
    """Hash of the inputs of the validation: rules, measured checkpoints, and admitted steps of the study."""
    found_instead: str = ""
    """Where the source has no checkpoint of the model: what it has instead; otherwise empty."""
    format: Literal["emergence-time-axis"] = "emergence-time-axis"
    format_version: Literal[1] = 1

    def steps(self, unvalidated: bool = False) -> list[int]:
        """Return the steps that the study uses, with steps that are not validated yet if `unvalidated` is true."""
        return [entry.step for entry in self.entries if is_used(entry.status, unvalidated)]

    @property
    def left_out(self) -> list[TimelineEntry]:
        """Entries of the existing checkpoints that are left out."""
        return [entry for entry in self.entries if entry.status in LEFT_OUT]

    def entry(self, step: int) -> TimelineEntry | None:
        """Return the entry of a step; None if the timeline does not have it."""
        return next((entry for entry in self.entries if entry.step == step), None)


_TIMELINE = TypeAdapter(Timeline)


def is_used(status: Status, unvalidated: bool = False) -> bool:
    """Return whether a step of this status is used."""
    return status in USED or (unvalidated and status == "unjudged")


def entry_of(storage: Storage, cell: Cell) -> TimelineEntry | None:
    """Return the stored entry of the model and step of a cell; None without one.

    Raises:
        EmergenceError: the stored timeline is damaged.
    """
    timeline = read_timeline(storage.timeline(str(cell.model)))
    return timeline.entry(int(cell.step or 0)) if timeline else None


def write_timeline(path: Path, timeline: Timeline) -> None:
    """Write a timeline; a file with equal content is not replaced."""
    content = _TIMELINE.dump_json(timeline, indent=1, by_alias=True)
    try:
        if path.read_bytes() == content:
            return
    except OSError:
        pass
    with replacing_file(path) as temporary:
        temporary.write_bytes(content)


def read_timeline(path: Path) -> Timeline | None:
    """Read the checkpoint timeline in a file, once per version of the file; None without a file.

    Raises:
        EmergenceError: the file is damaged; the message names the field.
    """
    return per_version(path, _read)


def _read(path: Path) -> Timeline | None:
    try:
        return read_checked(path, _TIMELINE, MAX_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EmergenceError(
            f"The checkpoint timeline cannot be read: {error}.",
            where=path,
            remedy="delete it; it is made again from the checkpoints",
        ) from None
