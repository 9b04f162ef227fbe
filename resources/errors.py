"""Exceptions for problems that a user can solve. Programming errors keep their own types."""


class EmergenceError(Exception):
    """A problem with what, where and what to do about it; the command line prints it without a traceback."""

    def __init__(self, what: str, *, where: object = "", remedy: str = ""):
        super().__init__(what, str(where), remedy)
        self.what = what
        """One sentence: what is wrong, with the offending value."""
        self.where = str(where)
        """File, field or cell that it concerns; empty when `what` says it."""
        self.remedy = remedy
        """What the user does next."""

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
    """What is wrong lies in the checkpoint itself: it is damaged, unsafe, or not what it was pinned as."""

    @property
    def reason(self) -> str:
        """What is wrong in one line for a table, with the name of the file."""
        what, name = self.what.removeprefix("broken checkpoint: "), self.where.rsplit("/", 1)[-1]
        return f"{what} ({name})" if name and name not in what else what


class SourceUnreachable(EmergenceError):
    """A source does not answer for now; nothing is known to be wrong with what it holds."""


def _rebuild(kind: type[EmergenceError], what: str, where: str, remedy: str) -> EmergenceError:
    return kind(what, where=where, remedy=remedy)
