"""The checkpoint timeline of a model: the steps that have checkpoints, and which of these are valid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, TypeAdapter

from emergence_assets.plan.cell import Cell
from resources.errors import EmergenceError
from resources.files.atomic import replacing_file
from resources.files.checked_json import STRICT, read_checked
from resources.files.storage import Storage
from resources.files.versions import per_version

Status = Literal["ok", "admitted", "expected", "unjudged", "duplicate", "outlier", "quarantined", "missing"]
"""Used are `ok`, `admitted` (named in the study file although a rule failed) and `expected` (trained here, not
validated yet). `unjudged` is from outside and not validated yet. `duplicate` shares weights with another step,
`outlier` is not on the trajectory of the others, `quarantined` failed another rule: these three are left out. `missing`
is wanted and absent or incomplete."""
USED: tuple[Status, ...] = ("ok", "admitted", "expected")
LEFT_OUT: tuple[Status, ...] = ("duplicate", "outlier", "quarantined")
MAX_BYTES = 50_000_000


@dataclass(frozen=True)
class TimelineEntry:
    """One step of a model."""

    __pydantic_config__ = STRICT
    step: NonNegativeInt
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
    """Hash that changes with every file of the checkpoint; names its measurement."""
    weights_bytes: int = 0
    weights_sha256: str = ""
    """As the source states it before anything is fetched; may be empty."""
    upstream: str = ""
    """Result of the last verification of the pin; empty when nothing changed."""


def _ascending(entries: tuple[TimelineEntry, ...]) -> tuple[TimelineEntry, ...]:
    steps = [entry.step for entry in entries]
    if steps != sorted(set(steps)):
        raise ValueError("the steps do not ascend")
    return entries


@dataclass(frozen=True)
class Timeline:
    """All steps of one model that are wanted or offered, ascending."""

    __pydantic_config__ = STRICT
    entries: Annotated[tuple[TimelineEntry, ...], AfterValidator(_ascending)]
    validated_from: Annotated[str, Field(alias="judged")] = ""
    """Hash of what the results of validation were made from: rules, measured checkpoints, names that the study
    admits."""
    format: Literal["emergence-time-axis"] = "emergence-time-axis"
    format_version: Literal[1] = 1

    def steps(self, unvalidated: bool = False) -> list[int]:
        """Steps that the study uses; include those that are not validated yet if `unvalidated` is true."""
        return [entry.step for entry in self.entries if is_used(entry.status, unvalidated)]

    @property
    def left_out(self) -> list[TimelineEntry]:
        """Checkpoints that are there and are not used."""
        return [entry for entry in self.entries if entry.status in LEFT_OUT]

    def entry(self, step: int) -> TimelineEntry | None:
        """The entry of a step."""
        return next((entry for entry in self.entries if entry.step == step), None)


_TIMELINE = TypeAdapter(Timeline)


def is_used(status: Status, unvalidated: bool = False) -> bool:
    """Whether a step of this status is on the timeline."""
    return status in USED or (unvalidated and status == "unjudged")


def entry_of(storage: Storage, cell: Cell) -> TimelineEntry | None:
    """The stored entry of a cell's model and step.

    Raises:
        EmergenceError: the stored timeline is damaged.
    """
    timeline = read_timeline(storage.timeline(str(cell.model)))
    return timeline.entry(int(cell.step or 0)) if timeline else None


def write_timeline(path: Path, timeline: Timeline) -> None:
    """Replace the file, unless it has this content already."""
    content = _TIMELINE.dump_json(timeline, indent=1, by_alias=True)
    try:
        if path.read_bytes() == content:
            return
    except OSError:
        pass
    with replacing_file(path) as temporary:
        temporary.write_bytes(content)


def read_timeline(path: Path) -> Timeline | None:
    """The checkpoint timeline in a file, read once per version of it; None without a file.

    Raises:
        EmergenceError: the file is damaged; names the field.
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
