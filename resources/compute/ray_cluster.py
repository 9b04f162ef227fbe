"""Workers of a Ray cluster, on one machine or many. The only module that imports Ray, and only when it is chosen.

A task is sent as plain values and called by the name of its function: the project is installed on every machine, and no
code travels. A worker returns an error as a value, so that whatever Ray raises is a lost process or machine.
"""

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from resources.compute.code_digest import installed
from resources.compute.failures import failure_of
from resources.compute.ray_worker import Expected, perform, processor, refuse_other_worker
from resources.compute.task import Report, Task
from resources.compute.worker_environment import worker_environment
from resources.errors import EmergenceError

EXTRA = "pip install 'emergence-assets[ray]'"
MOST_IN_FLIGHT = 500
"""Tasks that Ray has at a time; 30,000 at once take its head gigabytes."""
CALLS = 3
"""Number of calls of a task whose process or machine is lost each time."""
LOOK_SECONDS, SILENT_SECONDS = 2.0, 20.0
"""Time between two looks whether the head answers, and time after which it counts as gone."""
LOOK_TIMEOUT = 120.0
"""Time in seconds for the first word of a machine, which imports torch meanwhile."""
FRACTION_VARIABLE = "EMERGENCE_GPU_FRACTION"
"""Part of a GPU that a task takes, for models so small that several share one."""
HANDED_ON = ("EMERGENCE_DEVICE", "EMERGENCE_SPREAD_MEMORY", "EMERGENCE_PORTABLE", "HF_ENDPOINT", "HF_HUB_OFFLINE")
"""Variables of the driver that decide what a task does. Secrets are not among them: everybody can read them there."""


class RayCluster:
    """Workers of a Ray cluster that runs already; with the address `local`, of one that lives as long as this."""

    def __init__(self, data: Path, address: str = "auto"):
        """Join a cluster, and check that its machines have what the driver has.

        Args:
            data: data folder, which all machines see under this path.
            address: `HOST:PORT` of the head; `auto` for RAY_ADDRESS or the cluster of this machine; `local`.

        Raises:
            EmergenceError: Ray is not installed, no cluster answers, or a machine has another environment or does not
                see the data folder.
        """
        self._ray = _imported()
        self._opened = contextlib.ExitStack()
        self._gone = threading.Event()
        self._is_told = True
        _join(self._ray, address)
        self._opened.callback(self._ray.shutdown)
        try:
            self.n_accelerators = int(self._ray.cluster_resources().get("GPU", 0))
            self._expected = self._expectation(data)
            self._refuse_other_machines()
            self._progress = self._start_progress()
            self._slots = self._slots_of_machines()
            self._calls = {True: self._call_on_gpu(), False: self._ray.remote(perform).options(**self._common())}
            threading.Thread(target=self._watch, name="head of the cluster", daemon=True).start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "RayCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster; tasks of this driver end."""
        self._gone.set()
        self._opened.close()

    def run(self, tasks: Sequence[Task], report: Report = lambda *_: None) -> Iterator[tuple[Task, Any]]:
        """Yield every task with its result as it finishes; see `Compute`.

        Raises:
            EmergenceError: the first failed task, with its label and machine; or the head of the cluster is gone.
        """
        waiting, running = deque(tasks), dict[Any, Task]()
        failures: list[tuple[Task, BaseException]] = []
        try:
            while waiting or running:
                while waiting and len(running) < MOST_IN_FLIGHT:
                    task = waiting.popleft()
                    try:
                        running[self._submitted(task)] = task
                    except (TypeError, AttributeError) as error:  # its arguments cannot be sent
                        failures.append((task, error))
                finished = self._ray.wait(list(running), num_returns=1, timeout=0.5)[0] if running else []
                self._refuse_silence()
                self._tell(report)
                for reference in finished:
                    task = running.pop(reference)
                    result, error = self._result(reference, task)
                    if error is not None:
                        failures.append((task, error))
                    else:
                        yield task, result
            self._tell(report)
        except BaseException:
            with contextlib.suppress(Exception):
                for reference in running:
                    self._ray.cancel(reference, force=True)
            raise
        if failures:
            raise failure_of(failures)

    def _submitted(self, task: Task) -> Any:
        on_gpu = task.on_accelerator and self.n_accelerators > 0
        return self._calls[on_gpu].remote(task, self._expected, self._slots[on_gpu], self._progress)

    def _result(self, reference: Any, task: Task) -> tuple[Any, BaseException | None]:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.OutOfMemoryError as error:
            return None, EmergenceError(
                f"The task was ended {CALLS} times because its machine ran out of memory.",
                where=_first_line(error),
                remedy="use fewer processes per machine (ray start --num-cpus), or machines with more memory",
            )
        except self._ray.exceptions.RayTaskError as error:  # before our own code began
            return None, EmergenceError(
                f"A worker could not begin: {_first_line(error)}", where=task.function, remedy=_SAME_INSTALLATION
            )
        except self._ray.exceptions.RayError as error:
            self._refuse_silence()
            return None, EmergenceError(
                f"Its process or machine was lost {CALLS} times.",
                where=_first_line(error),
                remedy="look at that machine, then run again; finished cells are kept",
            )

    # Joining

    def _expectation(self, data: Path) -> Expected:
        probe = f".seen-from-{socket.gethostname()}-{secrets.token_hex(4)}.tmp"
        data.mkdir(parents=True, exist_ok=True)
        (data / probe).write_bytes(b"")
        self._opened.callback((data / probe).unlink, missing_ok=True)
        return Expected(installed(), None, str(data), probe)

    def _refuse_other_machines(self) -> None:
        """Ask every machine before any work, and take the processor of the first as that of the run."""
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        there = [strategy(node_id=node["NodeID"], soft=False) for node in nodes]
        processors = self._look_at(there)
        if os.environ.get("EMERGENCE_MIXED") == "1":
            return
        kinds = {name for node in nodes for name in node["Resources"] if name.startswith("accelerator_type:")}
        if len(kinds) > 1:
            raise EmergenceError(
                f"The machines have different GPUs, {', '.join(sorted(kinds))}: results would differ in the last bits.",
                remedy="take machines out of the cluster, or set EMERGENCE_MIXED=1 to allow that",
            )
        self._expected = self._expected._replace(processor=processors[0])
        self._look_at(there)

    def _look_at(self, there: Sequence[Any]) -> list[dict[str, str]]:
        look = self._ray.remote(_look)
        begun = [
            look.options(max_retries=0, num_cpus=0, scheduling_strategy=one).remote(self._expected) for one in there
        ]
        exceptions, found = self._ray.exceptions, []
        for reference in begun:
            try:
                facts, refusal = self._ray.get(reference, timeout=LOOK_TIMEOUT)
            except (exceptions.TaskUnschedulableError, exceptions.NodeDiedError):
                continue  # it has left the cluster
            except exceptions.RayError as error:
                raise EmergenceError(
                    f"A machine of the cluster cannot begin work: {_first_line(error)}", remedy=_SAME_INSTALLATION
                ) from error
            if refusal is not None:
                raise refusal
            found.append(facts)
        if not found:
            raise EmergenceError("No machine of the Ray cluster has a core.", remedy="start one with `ray start`")
        return found

    def _start_progress(self) -> Any:
        node = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            self._ray.get_runtime_context().get_node_id(), soft=True
        )
        actor = self._ray.remote(_LastWords).options(num_cpus=0, max_restarts=-1, scheduling_strategy=node).remote()
        self._words = actor
        return _Telling(actor)

    def _slots_of_machines(self) -> dict[bool, int]:
        """Return the most tasks at once on one machine, for GPUs and for cores: they share its memory."""
        resources = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        cores = max(int(one.get("CPU", 1)) for one in resources)
        gpus = max(int(one.get("GPU", 0) / _fraction()) for one in resources)
        return {True: max(1, gpus), False: max(1, cores)}

    def _call_on_gpu(self) -> Any:
        # A process of its own per task: a process in use keeps memory of its GPU, and stays on the GPU it began with.
        decorated = self._ray.remote(num_gpus=_fraction(), max_calls=1)(perform)
        return decorated.options(**self._common())

    def _common(self) -> dict[str, Any]:
        return {
            "max_retries": CALLS - 1,
            "scheduling_strategy": "SPREAD",  # the default fills the first machine
        }

    # While it runs

    def _tell(self, report: Report) -> None:
        """Report the last word of every task; a cluster that is busy may answer late, and is not waited for."""
        try:
            events = self._ray.get(self._words.take.remote(), timeout=1)
        except self._ray.exceptions.RayError:
            return
        try:
            for event in events if self._is_told else ():
                report(*event)
        except Exception:
            self._is_told = False
            logging.getLogger(__name__).exception("progress is not shown any more")

    def _watch(self) -> None:
        """Notice that the head is gone: Ray itself ends this process without an exception, a minute later."""
        host, _, port = self._ray.get_runtime_context().gcs_address.rpartition(":")
        answered = time.monotonic()
        while not self._gone.wait(LOOK_SECONDS):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=LOOK_SECONDS):
                answered = time.monotonic()
            if time.monotonic() - answered > SILENT_SECONDS:
                self._gone.set()

    def _refuse_silence(self) -> None:
        if self._gone.is_set():
            raise EmergenceError(
                "The head of the Ray cluster does not answer any more.",
                remedy="start the cluster again, then run again; finished cells are kept",
            )


_SAME_INSTALLATION = "install the same version of the project on all machines, then start Ray there again"


class _LastWords:
    """Actor that keeps the last word of every task until the driver takes it."""

    def __init__(self) -> None:
        self.events: dict[str, tuple[str, int, int, str]] = {}

    def put(self, label: str, done: int, total: int, note: str) -> None:
        self.events[label] = (label, done, total, note)

    def take(self) -> list[tuple[str, int, int, str]]:
        taken, self.events = list(self.events.values()), {}
        return taken


class _Telling:
    """Sends progress to the actor, without waiting for it."""

    def __init__(self, actor: Any):
        self.actor = actor

    def __call__(self, label: str, done: int, total: int, note: str) -> None:
        with contextlib.suppress(Exception):  # progress is no reason to fail
            self.actor.put.remote(label, done, total, note)


def _look(expected: Expected) -> tuple[dict[str, str], Exception | None]:
    try:
        refuse_other_worker(expected, socket.gethostname())
        return processor(), None
    except EmergenceError as error:
        return {}, error


def _imported() -> Any:
    # Read while Ray is imported. Without a limit, a task that needs too much memory is called again for ever.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(CALLS - 1))
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise EmergenceError("Ray is not installed.", remedy=EXTRA) from None
    # Ray prints messages about lost processes to the standard output, between the lines of `--json`. The errors of the
    # tasks have them.
    ray._private.worker.print_to_stdstream = _to_log  # pyright: ignore[reportAttributeAccessIssue]
    return ray


def _to_log(data: Any, ignore_prefix: bool = False) -> None:
    logging.getLogger(__name__).debug("%s", data.get("lines"))


def _join(ray: Any, address: str) -> None:
    variables = worker_environment() | {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    variables["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"  # a task without a GPU sees none
    where = {} if address == "local" else {"address": address}
    try:
        _refuse_silent_head(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
        ray.init(
            **where,
            runtime_env={"env_vars": variables},
            namespace="emergence",
            log_to_driver=False,
            logging_level="warning",
            **({"include_dashboard": False} if address == "local" else {}),
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise EmergenceError(
            f"No Ray cluster answers at {address!r}: {_first_line(error)}",
            remedy="start one with `ray start --head`, name it with --on ray:HOST:PORT, or leave --on out",
        ) from error


def _refuse_silent_head(address: str) -> None:
    """Try whether anybody listens at `HOST:PORT`: where nobody does, Ray ends this process without an exception."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=SILENT_SECONDS).close()


def _fraction() -> float:
    stated = os.environ.get(FRACTION_VARIABLE, "1")
    try:
        fraction = float(stated)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise EmergenceError(f"{FRACTION_VARIABLE} is {stated!r}.", remedy="set it to a number above 0, at most 1")
    return fraction


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
