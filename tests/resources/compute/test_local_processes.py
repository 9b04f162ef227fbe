"""Worker processes return every result, also when other tasks, a worker or the parent fail."""

import contextlib
import dataclasses
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.compute.local_processes import MAX_LOSSES, LocalProcesses
from resources.compute.task import Fetch, Task
from resources.compute.worker_environment import WORKER_ENVIRONMENT
from resources.compute.workers import default_workers
from resources.errors import EmergenceError
from tests.resources.compute.compute_tasks import is_alive
from tests.resources.compute.device_files import devices

TASKS = "tests.resources.compute.compute_tasks"


def task(function: str, label: str = "", **arguments: Any) -> Task:
    return Task(f"{TASKS}:{function}", arguments, label or function)


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalProcesses]:
    """Two workers, shared by the tests that do not end them."""
    with LocalProcesses(2) as pool:
        yield pool


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def imports(pool: LocalProcesses) -> dict[int, set[int]]:
    """Process id of every worker → times at which it imported the module of the tasks."""
    seen: dict[int, set[int]] = {}

    def look() -> bool:
        for _, facts in pool.run([task("worker", f"{i}") for i in range(2 * pool.n_workers)]):
            seen.setdefault(facts["pid"], set()).add(facts["imported"])
        return len(seen) >= pool.n_workers  # on a busy machine one may do the work of all

    assert wait_until(look)
    return seen


def pids(pool: LocalProcesses) -> set[int]:
    return set(imports(pool))


# Results and failures


def test_every_result_arrives_with_its_task(workers: LocalProcesses) -> None:
    tasks = [task("double", f"cell {number}", number=number) for number in range(20)]
    results = list(workers.run(tasks))
    assert sorted(done.label for done, _ in results) == sorted(one.label for one in tasks)
    assert all(result == 2 * done.arguments["number"] for done, result in results)


def test_nothing_to_do_is_nothing_done(workers: LocalProcesses) -> None:
    assert list(workers.run([])) == []


def failing(workers: LocalProcesses, *bad: Task) -> tuple[list[int], EmergenceError]:
    """Run bad tasks with good ones; return the results and the exception."""
    arrived: list[int] = []
    good = [task("slowly_double", f"good {number}", number=number) for number in range(4)]
    with pytest.raises(EmergenceError) as caught:
        arrived.extend(result for _, result in workers.run([*bad, *good]))
    return sorted(arrived), caught.value


def test_a_failure_names_its_cell_and_the_other_cells_still_finish(workers: LocalProcesses) -> None:
    arrived, error = failing(workers, task("fail", "m/step000008/L01", kind="emergence"))
    assert arrived == [0, 2, 4, 6]
    assert error.what == "m/step000008/L01: The disk is full."
    assert (error.where, error.remedy) == ("/data/x.h5", "free some space")


def test_a_fault_of_the_program_is_reported_as_such(workers: LocalProcesses) -> None:
    arrived, error = failing(workers, task("fail", "m/L01", kind="value"))
    assert arrived == [0, 2, 4, 6]
    assert error.what == "m/L01: ValueError: odd"
    assert error.where == f"{TASKS}:fail"
    assert "report it" in error.remedy
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize(
    ("number", "what", "remedy"),
    [
        (errno.EACCES, "Permission denied.", "--data"),
        (errno.ENOSPC, "The disk is full.", "free some space"),
        (errno.ESTALE, "Stale file handle.", "network folder"),
    ],
    ids=["rights", "full", "network"],
)
def test_an_error_of_the_disk_is_no_fault_of_the_program(
    workers: LocalProcesses, number: int, what: str, remedy: str
) -> None:
    with pytest.raises(EmergenceError) as caught:
        list(workers.run([task("disk_error", number=number)]))
    assert caught.value.what == f"disk_error: {what}"
    assert str(caught.value.where) == "/some/file"
    assert remedy in caught.value.remedy


def test_the_number_of_other_failures_is_reported(workers: LocalProcesses) -> None:
    arrived, error = failing(workers, *(task("fail", f"bad {i}", kind="value") for i in range(3)))
    assert arrived == [0, 2, 4, 6]
    assert "(2 more cells failed)" in error.what


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (task("fail", kind="unsendable"), "Unsendable: no answer"),
        (task("unsendable_result"), "local object"),
        (task("double", number=threading.Lock()), "pickle"),
        (task("absent"), "AttributeError"),
        (Task("tests.resources.no_module:f", {}, "x"), "ModuleNotFoundError"),
        (task("double", wrong=1), "TypeError"),
    ],
    ids=["exception", "result", "argument", "function", "module", "signature"],
)
def test_an_unsendable_task_is_a_failure_and_not_a_lost_worker(workers: LocalProcesses, bad: Task, said: str) -> None:
    before = pids(workers)
    arrived, error = failing(workers, bad)
    assert arrived == [0, 2, 4, 6]
    assert said in error.what
    assert pids(workers) == before


# Workers


def test_workers_outlive_a_run_and_import_once(workers: LocalProcesses) -> None:
    first, second = imports(workers), imports(workers)
    assert first == second
    assert len(first) == 2
    assert all(len(times) == 1 for times in first.values())


def test_workers_have_one_thread_and_keep_freed_memory(workers: LocalProcesses) -> None:
    before = dict(os.environ)
    results = [facts["environment"] for _, facts in workers.run([task("worker", f"{i}") for i in range(2)])]
    for environment in results:
        assert WORKER_ENVIRONMENT.items() <= environment.items()
        assert environment["OMP_NUM_THREADS"] == "1"
        assert int(environment["MALLOC_MMAP_THRESHOLD_"]) > 1 << 30
    assert dict(os.environ) == before
    assert [threads for _, threads in workers.run([task("count_threads")])] == [1]


def test_the_parents_own_threads_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with LocalProcesses(1) as pool:
        [(_, facts)] = pool.run([task("worker")])
    assert facts["environment"]["OMP_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_closing_ends_the_workers_and_a_later_run_starts_new_ones() -> None:
    with LocalProcesses(2) as pool:
        first = pids(pool)
        pool.close()
        assert wait_until(lambda: not any(map(is_alive, first)))
        second = pids(pool)
        assert not first & second
    assert wait_until(lambda: not any(map(is_alive, second)))
    pool.close()  # again, which is no error


# Workers that are lost


def test_a_killed_worker_is_noticed_and_its_cells_are_done_again(tmp_path: Path) -> None:
    tasks = [task("die_once", "killer", marker=str(tmp_path / "marker"))]
    tasks += [task("slowly_double", f"{number}", number=number) for number in range(6)]
    with LocalProcesses(2) as pool:
        results = {done.label: result for done, result in pool.run(tasks)}
    assert results == {"killer": "alive"} | {f"{number}": 2 * number for number in range(6)}


def test_a_task_that_always_kills_its_worker_ends_with_an_explanation(tmp_path: Path) -> None:
    counter = tmp_path / "calls"
    with LocalProcesses(1) as pool:
        with pytest.raises(EmergenceError, match="A worker process was lost 3 times") as caught:
            list(pool.run([task("die", "m/step000008/L01", counter=str(counter))]))
        assert "m/step000008/L01" in caught.value.where
        assert "EMERGENCE_WORKERS" in caught.value.remedy
        assert len(counter.read_text()) == MAX_LOSSES
        # The pool is of use again.
        assert [result for _, result in pool.run([task("double", number=4)])] == [8]


def test_a_worker_that_dies_between_runs_is_replaced() -> None:
    with LocalProcesses(1) as pool:
        [idle] = pids(pool)
        os.kill(idle, signal.SIGKILL)
        assert wait_until(lambda: not is_alive(idle))
        assert [result for _, result in pool.run([task("double", number=4)])] == [8]


def test_a_run_that_is_given_up_ends_its_workers() -> None:
    with LocalProcesses(2) as pool:
        before = pids(pool)
        for _ in pool.run([task("double", number=1), task("worker", seconds=60)]):
            break
        assert wait_until(lambda: not any(map(is_alive, before)))


PARENT = f"""
import signal, sys
# Background jobs of scripts inherit these as ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
from resources.compute.local_processes import LocalProcesses; from resources.compute.task import Fetch, Task
if __name__ == "__main__":
    tasks = [Task("{TASKS}:start_and_stay", {{"folder": sys.argv[1]}}, str(i)) for i in range(2)]
    list(LocalProcesses(2).run(tasks))
"""


IMPORTS = f"""
from resources.compute.local_processes import LocalProcesses; from resources.compute.task import Fetch, Task
if __name__ == "__main__":
    seen = {{}}
    with LocalProcesses(2) as pool:
        while len(seen) < 2:
            for _, facts in pool.run([Task("{TASKS}:worker", {{}}, str(i)) for i in range(4)]):
                seen[facts["pid"]] = facts["imported"]
    print(len(set(seen.values())))
"""


def test_workers_share_the_imports_of_the_first_task(tmp_path: Path) -> None:
    script = tmp_path / "imports.py"
    script.write_text(IMPORTS)
    root = {"PYTHONPATH": str(Path(__file__).parents[3]), "EMERGENCE_DEVICE": "cpu"}
    finished = subprocess.run(
        [sys.executable, str(script)], env=os.environ | root, capture_output=True, text=True, check=False, timeout=120
    )
    assert finished.stdout == "1\n", finished.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_die_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    script, started = tmp_path / "parent.py", tmp_path / "started"
    script.write_text(PARENT)
    started.mkdir()
    root = str(Path(__file__).parents[3])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(started)], env=os.environ | {"PYTHONPATH": root}, stderr=subprocess.DEVNULL
    )
    assert wait_until(lambda: len(list(started.iterdir())) == 2)
    children = [int(path.name) for path in started.iterdir()]
    assert all(map(is_alive, children))
    parent.send_signal(how)
    assert wait_until(lambda: not any(map(is_alive, children)))
    assert parent.wait(60) != 0


# Progress


def test_progress_arrives_in_order_with_label_and_note(workers: LocalProcesses) -> None:
    events: list[tuple[str, int, int, str]] = []
    tasks = [task("tell", label, steps=5, note=f"loss of {label}") for label in ("a", "b")]
    assert len(list(workers.run(tasks, lambda *event: events.append(event)))) == 2
    assert wait_until(lambda: len(events) == 10)
    for label in ("a", "b"):
        assert [event for event in events if event[0] == label] == [
            (label, done, 5, f"loss of {label}") for done in range(1, 6)
        ]


def test_much_progress_from_several_workers_is_not_mixed_up(workers: LocalProcesses) -> None:
    events: list[tuple[str, int, int, str]] = []
    tasks = [task("tell", label, steps=3000, note=label * 3000) for label in ("a", "b")]
    list(workers.run(tasks, lambda *event: events.append(event)))
    assert wait_until(lambda: len(events) == 6000)
    assert all(note == label * 3000 for label, _, _, note in events)


def test_a_note_that_is_too_long_is_left_out(workers: LocalProcesses) -> None:
    events: list[Any] = []
    assert list(workers.run([task("tell", steps=3, note="x" * 100_000)], lambda *event: events.append(event)))
    assert events == []


def test_a_listener_that_fails_does_not_stop_the_work(
    workers: LocalProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("the display is gone")

    # More than a pipe holds: the workers would wait for ever if nobody read.
    [(_, steps)] = workers.run([task("tell", steps=5000)], broken)
    assert steps == 5000
    assert wait_until(lambda: "the display is gone" in caplog.text)


def test_workers_that_report_without_a_pause_can_be_ended() -> None:
    # They may be ended at any point of their writing.
    for _ in range(3):
        with LocalProcesses(2) as pool:
            for _ in pool.run([task("double", number=1), task("tell_for_ever", "a"), task("tell_for_ever", "b")]):
                break


# How many


def test_the_environment_sets_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERGENCE_WORKERS", "3")
    assert default_workers() == 3
    assert LocalProcesses().n_workers == 3
    assert LocalProcesses(5).n_workers == 5


def test_work_that_needs_no_gpu_is_spread_over_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMERGENCE_WORKERS", raising=False)
    monkeypatch.delenv("EMERGENCE_DEVICE", raising=False)
    monkeypatch.setattr("resources.compute.gpus.DEVICES", devices(tmp_path, 1))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    with LocalProcesses() as pool:
        assert pool.n_workers == 1
        on_gpu = {facts["pid"] for _, facts in pool.run([task("worker") for _ in range(4)])}
        assert len(on_gpu) == 1
        on_cores: set[int] = set()

        def look() -> bool:
            tasks = [dataclasses.replace(task("worker"), on_accelerator=False) for _ in range(4)]
            on_cores.update(facts["pid"] for _, facts in pool.run(tasks))
            return len(on_cores) == 2

        assert wait_until(look)
        assert not on_cores & on_gpu
    assert wait_until(lambda: not any(is_alive(pid) for pid in on_cores | on_gpu))


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "1.5", "", " ", "1e3"])
def test_an_impossible_number_of_workers_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setenv("EMERGENCE_WORKERS", wanted)
    with pytest.raises(EmergenceError) as caught:
        default_workers()
    assert repr(wanted) in caught.value.what
    assert "number of worker processes" in caught.value.remedy


def test_by_default_there_is_one_worker_per_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMERGENCE_WORKERS", raising=False)
    monkeypatch.setenv("EMERGENCE_DEVICE", "cpu")
    assert default_workers() == len(os.sched_getaffinity(0))


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=4))
def test_any_text_is_a_positive_number_or_refused(wanted: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMERGENCE_WORKERS", wanted)
        with contextlib.suppress(EmergenceError):
            assert default_workers() > 0


def taking(file: Path, label: str) -> Task:
    """Make a task that needs a file, with the call that brings it."""
    return Task(f"{TASKS}:take", {"file": str(file)}, label, fetch=Fetch(f"{TASKS}:bring", {"file": str(file)}))


def test_inputs_are_fetched_while_earlier_tasks_run(tmp_path: Path) -> None:
    tasks, events = [taking(tmp_path / str(n), f"task {n}") for n in range(6)], []
    with LocalProcesses(2) as pool:
        found = {task.label: there for task, there in pool.run(tasks, lambda *event: events.append(event))}
    assert found == {f"task {n}": n >= 2 for n in range(6)}  # nobody had time to fetch for the first two
    assert {event[0] for event in events} == {f"task {n}" for n in range(2, 6)}
    assert os.getpid() not in {int(file.read_text()) for file in tmp_path.iterdir()}


def test_a_fetch_that_fails_harms_no_task(tmp_path: Path) -> None:
    tasks = [taking(tmp_path / "no folder" / str(n), f"task {n}") for n in range(4)]
    with LocalProcesses(1) as pool:
        assert [there for _, there in pool.run(tasks)] == [False] * 4


def test_workers_end_in_the_middle_of_a_fetch(tmp_path: Path) -> None:
    fetch = Fetch(f"{TASKS}:start_and_stay", {"folder": str(tmp_path)})
    tasks = [Task(f"{TASKS}:slowly_double", {"number": n}, f"{n}", fetch=fetch) for n in range(2)]
    with LocalProcesses(1) as pool:
        assert sorted(result for _, result in pool.run(tasks)) == [0, 2]
    (fetching,) = [int(file.name) for file in tmp_path.iterdir()]
    assert not is_alive(fetching)
