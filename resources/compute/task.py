"""Task: a call of a function by name; and the interface of the compute that runs tasks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Report = Callable[[str, int, int, str], None]
"""Called with the task's label, units done, units in all, and a note such as the loss."""


@dataclass(frozen=True)
class Fetch:
    """Call that brings an input of a task to this machine; made while earlier tasks run, it saves the task a wait.

    The task itself fetches what is still missing, so that the call may fail, be stopped, or be left out.
    """

    function: str
    """`package.module:function`; called with the arguments and `report`."""
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """Call of a function by name, so that only plain values are sent to the worker."""

    function: str
    """`package.module:function`; called with the arguments and `report`."""
    arguments: Mapping[str, Any]
    label: str
    """Name of the task in progress and errors, usually its cell."""
    on_accelerator: bool = True
    """Whether the task uses a GPU where one exists; other tasks are spread over the cores."""
    run_metadata: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of the run, for the records that the task writes; no result depends on it."""
    fetch: Fetch | None = None
    """What brings the task's input from a slow place, such as a hub; None if the input is at hand."""


class Compute(Protocol):
    """Runs tasks on workers."""

    n_accelerators: int
    """Number of GPUs of the workers; 0 if tasks run on cores alone."""

    def run(self, tasks: Sequence[Task], report: Report) -> Iterator[tuple[Task, Any]]:
        """Yield every task with its result as it finishes; raise the first failure after all other tasks."""
        ...
