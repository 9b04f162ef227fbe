"""Grade of a statement from the results of its controls (policy `claims_v4`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

POLICY = "claims_v4"
"""The estimate of emergence is net growth; the shape of a curve decides timing alone; every deciding control is
corrected for the number of categories; words and the dense probe are findings and no controls; use is a statement of
its own."""
Grade = Literal["A", "B", "C", "reject"]
GRADES: tuple[Grade, ...] = ("A", "B", "C", "reject")
SUPPORTED: tuple[Grade, ...] = ("A", "B")
"""Only statements with these grades may be repeated; B together with the controls that it failed or lacks."""


@dataclass(frozen=True)
class Control:
    """One way in which a statement could be wrong, and the result of testing it."""

    name: str
    """Value of the column `control_id` if the control has one there."""
    passed: bool | None
    """None: the control was not measured."""
    must: bool = True
    """Whether failure rejects the statement. Any other control only keeps the statement from grade A."""


ONE_RUN = Control("model_seed", None, must=False)
"""Control of a statement measured in one training run per model: agreement with other runs is unknown."""


def grade(passes_gate: bool | None, controls: Sequence[Control]) -> Grade:
    """Return the grade of a statement.

    * reject: the criteria of its table are not met, or a control that must pass is measured and fails.
    * C: the criteria are met and no control that must pass fails, but at least one of these was not measured.
    * B: every control that must pass was measured and passes; of the other controls some fail or were not measured.
    * A: every control was measured and passes.

    Args:
        passes_gate: whether the statement's own numbers meet the criteria; None (not computable) counts as no.
        controls: every control set out beforehand, measured or not.
    """
    must = [control.passed for control in controls if control.must]
    if not passes_gate or False in must:
        return "reject"
    if None in must:
        return "C"
    return "A" if all(control.passed for control in controls) else "B"
