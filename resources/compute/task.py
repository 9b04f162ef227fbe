"""A call of a function by name, and the interface of what runs it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Report = Callable[[str, int, int, str], None]
"""Called with the task's label, units done, units in all, and a note such as the loss."""


@dataclass(frozen=True)
class Task:
    """A call of a module's function, by name, so that nothing but plain values crosses to the worker."""

    function: str
    """`package.module:function`; called with the arguments and `report`."""
    arguments: Mapping[str, Any]
    label: str
    """The cell it belongs to; stands in progress and errors."""
    on_accelerator: bool = True
    """Whether it computes on a GPU where there is one. Others are spread over the cores."""
    run_metadata: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of the run, for the records that the task writes; no result depends on it."""


class Compute(Protocol):
    """Runs tasks somewhere."""

    def run(self, tasks: Sequence[Task], report: Report) -> Iterator[tuple[Task, Any]]:
        """Yield every task with its result as it finishes; after all others, raise what failed."""
        ...
