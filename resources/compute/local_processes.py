"""Worker processes of a run: one per core or GPU, with one thread each. They are independent of the kind of work.

A cluster can replace this module with the same `Compute.run`.
"""

import contextlib
import itertools
import logging
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from resources.compute.accelerator import is_spread
from resources.compute.failures import failure_of
from resources.compute.gpus import Gpus, granted_gpus, hold_gpu
from resources.compute.task import Report, Task
from resources.compute.worker_environment import worker_environment
from resources.compute.worker_process import begin_worker, call_task
from resources.compute.workers import default_workers
from resources.environment import environment_variables
from resources.errors import EmergenceError

MAX_LOSSES = 3
"""Number of lost workers after which `run` stops, because the work itself seems to kill them."""


class LocalProcesses:
    """Worker processes on this machine that outlive single calls of `run`, so that heavy imports happen once.

    With GPUs there are two pools: for tasks that use a GPU a worker per GPU, which sees this GPU alone, and for other
    tasks a worker per core. Without GPUs one pool runs all tasks.
    """

    def __init__(self, n_workers: int | None = None):
        self.n_workers = n_workers or default_workers()
        n_on_cores = n_workers or default_workers(on_accelerator=False)
        gpus = granted_gpus()
        self.n_accelerators = len(gpus)
        # A process that has asked for the GPUs cannot be forked, and libraries ask while they are imported.
        method = "spawn" if gpus else "forkserver"
        self._on_accelerators = _Pool(self.n_workers, method, None if is_spread() else gpus)
        is_one_pool = not gpus and n_on_cores == self.n_workers
        self._on_cores = self._on_accelerators if is_one_pool else _Pool(n_on_cores, "forkserver")

    def __enter__(self) -> "LocalProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers at once; their writes are atomic, so that no partial file is left."""
        self._on_accelerators.close()
        self._on_cores.close()

    def run(self, tasks: Sequence[Task], report: Report = lambda *_: None) -> Iterator[tuple[Task, Any]]:
        """Yield every task with its result as it finishes; see `Compute`.

        Raises:
            EmergenceError: the first failed task, with its label; or workers were lost MAX_LOSSES times.
        """
        self._on_accelerators.report = self._on_cores.report = report
        failures: list[tuple[Task, BaseException]] = []
        waiting, losses = list(tasks), itertools.count(1)
        while waiting:
            running, waiting = waiting, []
            futures: dict[Future[Any], Task] = {}
            try:
                futures = self._submit(running)
                for future in _as_completed(futures):
                    task = futures.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        waiting.append(task)
                    except Exception as error:
                        failures.append((task, error))
                    else:
                        yield task, result
            except BrokenProcessPool:  # while tasks were being submitted
                waiting = running
            except BaseException:
                self.close()
                raise
            if waiting:
                self.close()
                if next(losses) >= MAX_LOSSES:
                    raise EmergenceError(
                        f"A worker process was lost {MAX_LOSSES} times, last among {len(waiting)} unfinished tasks.",
                        where=", ".join(task.label for task in waiting[: self.n_workers]),
                        remedy="it was killed from outside or ran out of memory: set EMERGENCE_WORKERS lower",
                    )
        if failures:
            raise failure_of(failures)

    def _submit(self, tasks: Sequence[Task]) -> dict[Future[Any], Task]:
        by_pool: dict[_Pool, list[Task]] = {}
        for task in tasks:
            by_pool.setdefault(self._on_accelerators if task.on_accelerator else self._on_cores, []).append(task)
        with environment_variables(worker_environment()):
            return {
                # While a worker runs a task, the tasks before `later` are taken by the other workers.
                pool.submit(task, later): task
                for pool, queue in by_pool.items()
                for task, later in itertools.zip_longest(queue, queue[pool.n_workers :])
            }


class _Pool:
    """Processes for one kind of task, started with the first task."""

    def __init__(self, n_workers: int, start_method: str, gpus: Gpus | None = None):
        self.n_workers = n_workers
        self._gpus = gpus
        self._context = get_context(start_method)
        self._executor: ProcessPoolExecutor | None = None
        self._opened = contextlib.ExitStack()
        self.report: Report = _no_report

    def submit(self, task: Task, later: Task | None) -> Future[Any]:
        """Submit a task to the workers, with a later task whose input is fetched meanwhile.

        Raises:
            BrokenProcessPool: a worker was lost.
        """
        return self._start(task).submit(call_task, task, later)

    def close(self) -> None:
        """End the workers at once; a later task starts new workers."""
        self._opened.close()
        self._executor = None

    def _start(self, task: Task) -> ProcessPoolExecutor:
        if self._executor is None:
            if self._context.get_start_method() == "forkserver":
                _start_server(task)
            # Only this process has the writing end: when it closes the pipe or dies, the workers exit.
            leash, writing_end = self._context.Pipe(duplex=False)
            # A pipe and not a queue: a worker killed with the lock of a queue would block all other workers.
            events, progress = self._context.Pipe(duplex=False)
            hold = None
            if self._gpus:
                # Locks of this executor alone: a process of the one before may take a moment to end.
                locks = self._opened.enter_context(tempfile.TemporaryDirectory(prefix="emergence-gpus-"))
                hold = partial(hold_gpu, Path(locks), self._gpus, self.n_workers)
            self._executor = ProcessPoolExecutor(
                self.n_workers, self._context, initializer=begin_worker, initargs=(leash, progress, hold)
            )
            # Closed in reverse order. When the ends of the workers are closed too, the listening thread ends.
            self._opened.callback(progress.close)
            self._opened.callback(self._executor.shutdown, wait=True, cancel_futures=True)
            self._opened.callback(writing_end.close)
            threading.Thread(target=self._listen, args=(events,), daemon=True).start()
        return self._executor

    def _listen(self, events: Connection) -> None:
        with contextlib.suppress(EOFError, OSError), events:
            while True:
                event = events.recv()
                try:
                    self.report(*event)
                except Exception:
                    # Continue reading: a full pipe would stop the workers.
                    self.report = _no_report
                    logging.getLogger(__name__).exception("progress is not shown any more")


def _start_server(task: Task) -> None:
    """Start the process that workers are forked from, with the imports of a task; once per process of the user.

    The imports of a training run take 8 s, once and not in every worker, and the workers share their memory.
    """
    module, _, _ = task.function.partition(":")
    forkserver.set_forkserver_preload([module])
    # Ctrl-C reaches the whole process group and would interrupt the imports.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _no_report(_label: str, _done: int, _total: int, _note: str) -> None:
    return None


def _as_completed(futures: Mapping[Future[Any], Task]) -> Iterator[Future[Any]]:
    """Yield futures like `concurrent.futures.as_completed`, over a mapping that the caller empties."""
    while futures:
        finished, _ = wait(futures, return_when=FIRST_COMPLETED)
        yield from finished
