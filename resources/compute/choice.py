"""Choice of what runs the tasks: worker processes of this machine, or a Ray cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.compute.local_processes import LocalProcesses
from resources.compute.task import Compute
from resources.errors import EmergenceError

COMPUTE_VARIABLE = "EMERGENCE_COMPUTE"
LOCAL, RAY = "local", "ray"


@contextmanager
def chosen_compute(data: Path) -> Iterator[Compute]:
    """Open the compute that EMERGENCE_COMPUTE names: `local` (the default), `ray`, or `ray:ADDRESS`.

    Args:
        data: data folder, which all machines of a cluster must see under this path.

    Raises:
        EmergenceError: the value is none of these, or the cluster cannot be used; see `RayCluster`.
    """
    wanted = os.environ.get(COMPUTE_VARIABLE) or LOCAL
    kind, _, address = wanted.partition(":")
    if wanted == LOCAL:
        with LocalProcesses() as workers:
            yield workers
    elif kind == RAY:
        from resources.compute.ray_cluster import RayCluster  # with the extra `ray` only

        with RayCluster(data, address or "auto") as cluster:
            yield cluster
    else:
        raise EmergenceError(
            f"{COMPUTE_VARIABLE} is {wanted!r}.", remedy="set it to local, ray, or ray:HOST:PORT, or use --on"
        )
