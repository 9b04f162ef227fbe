"""Cursor of the sensor of one model: the requested checkpoints, and the time of the next request to the source."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, ValidationError

from emergence_assets.study.strict import StrictModel

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3600.0


def pause_seconds(n_failures: int) -> float:
    """Return the pause after a number of consecutive failures: 60 s, doubled each time, at most 3600 s."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(n_failures - 1, 30), LONGEST_PAUSE_SECONDS)


class RequestedRun(StrictModel):
    """A checkpoint for which a run was requested."""

    identity: str
    """Hash of the files of the checkpoint."""
    n_runs: int = Field(ge=1)
    """Number of runs requested in all, also for earlier identities; makes run keys unique."""
    asked: float
    """Time of the last request, in seconds since 1970."""


class Overdue(StrictModel):
    """A stale table whose inputs all exist."""

    fingerprint: str
    """Required fingerprint of the table."""
    since: float
    """Time of the first tick that found the table, in seconds since 1970."""


class Cursor(StrictModel):
    """State of one sensor between ticks; Dagster stores it as text."""

    version: Literal[1] = 1
    requested: Mapping[int, RequestedRun] = {}
    """Step to its request."""
    overdue: Mapping[str, Overdue] = {}
    """Name of a table to its state."""
    settled: str = ""
    """Hash of the checkpoint timeline for which all tables are up to date."""
    n_failures: int = Field(default=0, ge=0)
    """Number of consecutive ticks in which the source could not be read."""
    silent_until: float = 0.0
    """Time before which the source is not read again, in seconds since 1970."""

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return self.model_dump_json()

    @staticmethod
    def from_json(text: str | None) -> "Cursor":
        """Read the text of `to_json`; any other text gives an empty cursor, whose extra runs change nothing."""
        try:
            return Cursor.model_validate_json(text or "")
        except ValidationError:
            return Cursor()
