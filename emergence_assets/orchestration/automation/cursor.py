"""Cursor of the sensor of one model: checkpoints that were requested, and when to ask the source again."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, ValidationError

from emergence_assets.study.strict import StrictModel

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3600.0


def pause_seconds(n_failures: int) -> float:
    """How long to wait after so many failures in a row: a minute, then twice as long each time, an hour at most."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(n_failures - 1, 30), LONGEST_PAUSE_SECONDS)


class RequestedRun(StrictModel):
    """A checkpoint for which a run was requested."""

    identity: str
    """Hash of its files."""
    n_runs: int = Field(ge=1)
    """Runs that were requested in all, also for earlier identities: it makes run keys differ."""
    asked: float
    """When the last one was, in seconds since 1970."""


class Overdue(StrictModel):
    """A table that is stale although all its inputs are there."""

    fingerprint: str
    """The one that it should have."""
    since: float
    """Tick that saw it first, in seconds since 1970."""


class Cursor(StrictModel):
    """One sensor's memory; Dagster keeps it as text."""

    version: Literal[1] = 1
    requested: Mapping[int, RequestedRun] = {}
    """By step."""
    overdue: Mapping[str, Overdue] = {}
    """By name of the table."""
    settled: str = ""
    """Checkpoint timeline, as a hash, for which all tables are up to date."""
    n_failures: int = Field(default=0, ge=0)
    """Ticks in a row in which the source could not be read."""
    silent_until: float = 0.0
    """Seconds since 1970 before which the source is not asked again."""

    def to_json(self) -> str:
        """Text that `from_json` reads."""
        return self.model_dump_json()

    @staticmethod
    def from_json(text: str | None) -> "Cursor":
        """What `to_json` wrote; from anything else an empty cursor, which only asks for runs that change nothing."""
        try:
            return Cursor.model_validate_json(text or "")
        except ValidationError:
            return Cursor()
