"""Error of a run whose tasks failed."""

from collections.abc import Sequence

from resources.compute.task import Task
from resources.errors import EmergenceError
from resources.files.atomic import explained


def failure_of(failures: Sequence[tuple[Task, BaseException]]) -> EmergenceError:
    """Return the error of a run: that of the first failed task, with its label and the number of others."""
    task, error = failures[0][0], _explained(failures[0][1])
    others = f" ({len(failures) - 1} more cells failed)" if len(failures) > 1 else ""
    if isinstance(error, EmergenceError):
        failed = EmergenceError(f"{task.label}: {error.what}{others}", where=error.where, remedy=error.remedy)
    else:
        failed = EmergenceError(
            f"{task.label}: {type(error).__name__}: {error}{others}",
            where=task.function,
            remedy="this is a fault of the program: run again with --debug and report it",
        )
    failed.__cause__ = error
    return failed


def _explained(error: BaseException) -> BaseException:
    """Return an error of the operating system, of a disk for example, as EmergenceError; any other error as it is."""
    return explained(error) if isinstance(error, OSError) and error.errno is not None else error
