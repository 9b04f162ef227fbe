"""Findings of an audit, as plain data."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["altered", "missing", "failed", "stale", "orphaned", "forked", "unrecorded"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANING: dict[Kind, str] = {
    "altered": "the bytes are not those that were written",
    "missing": "it is required and does not exist",
    "failed": "a blocking check does not pass, so that nothing is made from it",
    "stale": "the study, its inputs or the code have changed since it was made",
    "orphaned": "it belongs to no cell of the study",
    "forked": "the event log records another result than the file: made elsewhere, or from other inputs",
    "unrecorded": "its event is missing",
}


@dataclass(frozen=True)
class Finding:
    """One problem of a file, cell or event."""

    kind: Kind
    asset: str
    """Empty for files of no asset."""
    cell: str
    path: str
    reason: str
    because: str = ""
    """Asset and cell of the cause, where this problem only follows from it; empty for causes."""
    run: str = ""
    """Run that recorded the cell; empty without an event."""


@dataclass
class Audit:
    """Result of an audit: extent, findings and notes."""

    study: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Questions that the audit cannot decide, with the reasons."""
    n_cells: int = 0
    n_bytes: int = 0
    """Bytes of the hashed files."""
    seconds: float = 0.0

    @property
    def causes(self) -> list[Finding]:
        """Findings that do not follow from other findings."""
        return [finding for finding in self.findings if not finding.because]

    def of_asset(self, asset: str, model: str | None) -> list[Finding]:
        """Return the findings about the cells of one asset of a model, or of the study."""
        named = model or "all models"
        return [one for one in self.findings if one.asset == asset and one.cell.partition("/")[0] == named]

    @property
    def counts(self) -> dict[Kind, int]:
        """Number of findings by kind."""
        return {kind: sum(one.kind == kind for one in self.findings) for kind in KINDS}

    @property
    def counted(self) -> str:
        """Number of findings by kind as text; kinds without findings are left out."""
        return ", ".join(f"{number} {kind}" for kind, number in self.counts.items() if number)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"counts": self.counts, "clean": not self.findings}
