"""A Ctrl-C that Python drops is sent again."""

import os
import signal
import sys
import time

import dagster as dg
import pytest
from dagster._utils.interrupts import raise_interrupts_as

from emergence_assets.orchestration.instance.interruption import interruptions_kept


class Interrupting:
    """An object that is interrupted during its finalisation."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
def test_an_interruption_inside_a_finaliser_arrives_after_it(kind: type[BaseException]) -> None:
    before = sys.unraisablehook
    began = time.monotonic()
    with pytest.raises(kind), raise_interrupts_as(kind), interruptions_kept():  # noqa: PT012
        one = Interrupting()
        del one
        time.sleep(60)
    assert time.monotonic() - began < 30
    assert sys.unraisablehook is before


def test_other_dropped_errors_are_shown_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __del__(self):
            raise ValueError("broken finaliser")

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: seen.append(str(dropped.exc_value)))
    with interruptions_kept():
        one = Failing()
        del one
    assert seen == ["broken finaliser"]
