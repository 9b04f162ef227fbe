"""Findings of an audit, as plain data."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["altered", "missing", "stale", "orphaned", "forked", "unrecorded"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANING: dict[Kind, str] = {
    "altered": "the bytes are not those that were written",
    "missing": "it should be there and is not",
    "stale": "it was made from something else than the study, its inputs and the code are now",
    "orphaned": "it belongs to no cell of the study",
    "forked": "the event log has another result than the file: made elsewhere, or from something else",
    "unrecorded": "its event is missing",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    asset: str
    """Empty for what belongs to none."""
    cell: str
    path: str
    reason: str
    because: str = ""
    """The asset and cell that is the cause, where this one only follows from it; empty for causes themselves."""
    run: str = ""
    """Run that recorded it, where there is one."""


@dataclass
class Audit:
    """What was verified, what was found, and what could not be known."""

    study: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the audit cannot decide, and why."""
    n_cells: int = 0
    n_bytes: int = 0
    """Bytes of the files that were hashed."""
    seconds: float = 0.0

    @property
    def causes(self) -> list[Finding]:
        """Findings that follow from no other."""
        return [finding for finding in self.findings if not finding.because]

    def of_asset(self, asset: str, model: str | None) -> list[Finding]:
        """Findings about the cells of one asset of a model, or of the study."""
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
        """Plain values."""
        return asdict(self) | {"counts": self.counts, "clean": not self.findings}
