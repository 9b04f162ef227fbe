"""The one exception for problems that a user can solve. Programming errors keep their own types."""


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
        return _rebuild, (self.what, self.where, self.remedy)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.remedy:
            lines.append(f"  what to do: {self.remedy}")
        return "\n".join(lines)


def _rebuild(what: str, where: str, remedy: str) -> EmergenceError:
    return EmergenceError(what, where=where, remedy=remedy)
