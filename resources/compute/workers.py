"""Number of workers of this machine, and the memory that each of them may use."""

import os

from resources.compute.accelerator import is_spread
from resources.compute.gpus import granted_gpus
from resources.compute.machine import available_memory, n_cores
from resources.errors import EmergenceError

MEMORY_VARIABLE = "EMERGENCE_WORKER_MEMORY"
"""Environment variable of a worker whose scheduler has given it a share of a machine: its bytes."""


def default_workers(on_accelerator: bool = True) -> int:
    """Return the number of workers: EMERGENCE_WORKERS, else one per GPU, without GPUs one per core.

    One for models that are spread over all devices.

    Args:
        on_accelerator: whether the workers use GPUs; the number of other workers never depends on GPUs.

    Raises:
        EmergenceError: EMERGENCE_WORKERS is not a positive number.
    """
    wanted = os.environ.get("EMERGENCE_WORKERS")
    if wanted is not None:
        if not wanted.isdecimal() or int(wanted) == 0:
            raise EmergenceError(f"EMERGENCE_WORKERS is {wanted!r}.", remedy="set it to the number of worker processes")
        return int(wanted)
    if on_accelerator and is_spread():
        return 1  # a model takes the whole machine
    return (len(granted_gpus()) if on_accelerator else 0) or n_cores()


def memory_share() -> int:
    """Return the bytes that this worker may fill with rows: its own share, else half of what is left, by workers.

    The other half is for models, SAEs and what reads the rows.

    Raises:
        EmergenceError: EMERGENCE_WORKERS or EMERGENCE_WORKER_MEMORY is not a positive number.
    """
    stated = os.environ.get(MEMORY_VARIABLE)
    if stated is None:
        return available_memory() // 2 // default_workers()
    if not stated.isdecimal() or int(stated) == 0:
        raise EmergenceError(f"{MEMORY_VARIABLE} is {stated!r}.", remedy="set it to the bytes of memory of a worker")
    return int(stated) // 2
