"""Names of revisions and the training steps that they stand for, as in `stage1-step{step}-tokens{any}B`."""

import re
from collections.abc import Iterable

from resources.errors import EmergenceError


class RevisionPattern:
    """A pattern with one `{step}`, which are digits, and any number of `{any}`, which is anything but a slash."""

    def __init__(self, pattern: str, offset: int = 0):
        """Read the pattern.

        Args:
            pattern: of names.
            offset: added to the number in the name.

        Raises:
            ValueError: it does not have exactly one {step}.
        """
        if pattern.count("{step}") != 1:
            raise ValueError(f"{pattern!r} has to name {{step}} exactly once")
        parts = re.split(r"(\{step\}|\{any\})", pattern)
        known = {"{step}": r"([0-9]{1,12})", "{any}": r"[^/]*"}
        self._expression = re.compile("".join(known.get(part, re.escape(part)) for part in parts))
        self.pattern, self.offset = pattern, offset

    def step_of(self, revision: str) -> int | None:
        """Step of a revision, leading zeros or not; None when the name is another one."""
        match = self._expression.fullmatch(revision)
        return int(match[1]) + self.offset if match else None

    def steps(self, revisions: Iterable[str], where: object = "") -> dict[int, str]:
        """Step to revision, by step.

        Raises:
            EmergenceError: two revisions are the same step.
        """
        found: dict[int, str] = {}
        for revision in sorted(revisions):
            step = self.step_of(revision)
            if step is None:
                continue
            if step in found:
                raise EmergenceError(
                    f"{found[step]} and {revision} are both step {step}.",
                    where=where,
                    remedy=f"remove one of them, or make the pattern {self.pattern!r} of the study file narrower",
                )
            found[step] = revision
        return dict(sorted(found.items()))
