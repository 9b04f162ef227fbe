"""Lock that allows one run at a time on a data folder, and removal of temporary files of killed processes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from resources.files.lease import leased
from resources.files.temporaries import sweep_temporaries


@contextlib.contextmanager
def clean_temporaries(root: Path) -> Iterator[None]:
    """Delete temporary files of killed processes before and after a run, since workers briefly outlive a killed run."""
    sweep_temporaries(root)
    yield
    sweep_temporaries(root)


@contextlib.contextmanager
def exclusive_run(path: Path) -> Iterator[None]:
    """Hold the lock of a study.

    Raises:
        EmergenceError: another process holds the lock; the message names the process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remedy = "wait for it or stop it, or give another folder with --data"
    with leased(path, wait_seconds=0, refusal="Another run is working on this data:", remedy=remedy):
        yield
