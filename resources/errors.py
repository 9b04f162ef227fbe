"""Exceptions for problems that a user can solve. Programming errors keep their own types."""

from collections.abc import Iterable

MAX_CHARACTERS = 20_000
"""Most characters of a problem; the rest is left out, since a value from outside may have any length."""


class EmergenceError(Exception):
    """An error with problem, place and remedy; the command line prints it without a traceback."""

    def __init__(self, what: str, *, where: object = "", remedy: str = ""):
        what = what if len(what) <= MAX_CHARACTERS else f"{what[:MAX_CHARACTERS]}…"
        super().__init__(what, str(where), remedy)
        self.what = what
        """One sentence: the problem, with the offending value."""
        self.where = str(where)
        """File, field or cell of the problem; empty when `what` names it."""
        self.remedy = remedy
        """Next step of the user."""

    def __reduce__(self):
        # Exceptions cross process borders by pickle, which replays positional arguments only.
        return _rebuild, (type(self), self.what, self.where, self.remedy)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.remedy:
            lines.append(f"  what to do: {self.remedy}")
        return "\n".join(lines)


class BrokenCheckpoint(EmergenceError):
    """A problem of the checkpoint itself: it is damaged, unsafe, or differs from its pin."""

    @property
    def reason(self) -> str:
        """Problem in one line for a table, with the name of the file."""
        what, name = self.what.removeprefix("broken checkpoint: "), self.where.rsplit("/", 1)[-1]
        return f"{what} ({name})" if name and name not in what else what


class UnsupportedModel(BrokenCheckpoint):
    """A checkpoint, intact for all that is known, of a model that has no residual stream that can be studied."""


class SourceUnreachable(EmergenceError):
    """A source does not answer at present; no problem of its checkpoints is known."""


def require_known(kind: str, names: Iterable[object], known: Iterable[object]) -> None:
    """Refuse unknown names.

    Args:
        kind: kind of the names for the message, such as "stage".
        names: typed names.
        known: existing names.

    Raises:
        EmergenceError: the first unknown name, with the known names.
    """
    choices = list(known)
    if unknown := [name for name in names if name not in choices]:
        raise EmergenceError(
            f"There is no {kind} {unknown[0]!r}.", remedy=f"choose from {', '.join(map(str, choices))}"
        )


def _rebuild(kind: type[EmergenceError], what: str, where: str, remedy: str) -> EmergenceError:
    return kind(what, where=where, remedy=remedy)
