"""Patterns that map names of revisions to training steps, such as `stage1-step{step}-tokens{any}B`."""

import re
from collections.abc import Iterable

from emergence_assets.study.strict import MOST
from resources.errors import EmergenceError


class RevisionPattern:
    """Pattern with one `{step}`, which matches digits, and any number of `{any}`, which matches all but slashes."""

    def __init__(self, pattern: str, offset: int = 0):
        """Compile the pattern.

        Args:
            pattern: pattern of the names.
            offset: number to add to the number in the name.

        Raises:
            ValueError: the pattern does not have exactly one {step}.
        """
        if pattern.count("{step}") != 1:
            raise ValueError(f"{pattern!r} must contain {{step}} exactly once")
        parts = re.split(r"(\{step\}|\{any\})", pattern)
        known = {"{step}": r"([0-9]{1,12})", "{any}": r"[^/]*"}
        self._expression = re.compile("".join(known.get(part, re.escape(part)) for part in parts))
        self.pattern, self.offset = pattern, offset

    def step_of(self, revision: str) -> int | None:
        """Return the step of a revision, with or without leading zeros; None if the name does not match."""
        match = self._expression.fullmatch(revision)
        return int(match[1]) + self.offset if match else None

    def steps(self, revisions: Iterable[str], where: object = "") -> dict[int, str]:
        """Map steps to revisions, sorted by step.

        Raises:
            EmergenceError: two revisions have the same step, or a step is larger than tables can hold.
        """
        found: dict[int, str] = {}
        for revision in sorted(revisions):
            step = self.step_of(revision)
            if step is None:
                continue
            if step > MOST:
                raise EmergenceError(
                    f"{revision:.100} is step {step}, larger than {MOST}.",
                    where=where,
                    remedy=f"make the pattern {self.pattern!r} of the study file narrower, to match steps alone",
                )
            if step in found:
                raise EmergenceError(
                    f"{found[step]} and {revision} are both step {step}.",
                    where=where,
                    remedy=f"remove one of the two, or make the pattern {self.pattern!r} of the study file narrower",
                )
            found[step] = revision
        return dict(sorted(found.items()))
