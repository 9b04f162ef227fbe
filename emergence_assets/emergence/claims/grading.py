"""How much a statement may be trusted: what its controls said, and the grade that follows (policy `claims_v1`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

POLICY = "claims_v1"
Grade = Literal["A", "B", "C", "reject"]
GRADES: tuple[Grade, ...] = ("A", "B", "C", "reject")
GRANTED: tuple[Grade, ...] = ("A", "B")
"""Only statements with these grades may be repeated without a reservation, in the report or anywhere else."""


@dataclass(frozen=True)
class Control:
    """One way in which a statement could have been wrong, and what came of it."""

    name: str
    """As in the column `control_id` where the control is one of that column."""
    passed: bool | None
    """None: it was not measured."""
    must: bool = True
    """Whether a statement falls with it. One that need not pass only keeps a statement from grade A."""


ONE_RUN = Control("model_seed", None, must=False)
"""Of statements that were measured in one training run of each model alone: whether others agree is not known."""


def grade(passes_gate: bool | None, controls: Sequence[Control]) -> Grade:
    """The grade of a statement.

    * reject: its gate is not passed, or a control that must pass is measured and fails.
    * C: the gate is passed and nothing that must pass fails, but some of it was not measured.
    * B: all that must pass was measured and passes; of the others some fail or were not measured.
    * A: every control was measured and passes.

    Args:
        passes_gate: Whether the statement's own numbers allow it; None (not computable) is no.
        controls: Everything that was set out beforehand, measured or not.
    """
    must = [control.passed for control in controls if control.must]
    if not passes_gate or False in must:
        return "reject"
    if None in must:
        return "C"
    return "A" if all(control.passed for control in controls) else "B"
