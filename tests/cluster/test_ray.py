"""Workers of a Ray cluster return every result, also when other tasks, workers, machines or the head fail."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.nodes import ROOT, Cluster, cluster

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
TASKS = "tests.resources.compute.compute_tasks"
PRELUDE = f"""
import json, os, sys, time, threading
from pathlib import Path
from resources.compute.choice import chosen_compute
from resources.compute.task import Task
from resources.errors import EmergenceError
data = Path(sys.argv[1])
def task(function, label="", **arguments):
    return Task("{TASKS}:" + function, arguments, label or function)
def failing(pool, *bad):
    good, arrived = [task("double", f"good {{n}}", number=n) for n in range(4)], []
    try:
        arrived.extend(result for _, result in pool.run([*bad, *good]))
    except EmergenceError as error:
        return [sorted(arrived), error.what, error.where, error.remedy]
    return [sorted(arrived)]
def answer(value):
    print(json.dumps(value), flush=True)
"""


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    with cluster(2) as made:
        yield made


def driver(made: Cluster, data: Path, program: str, **environment: str) -> subprocess.Popen[str]:
    """Start a driver: a process that has joined the cluster as `pool`."""
    body = textwrap.indent(textwrap.dedent(program), "    ")
    code = f"{PRELUDE}\nwith chosen_compute(data) as pool:\n    print('joined', flush=True)\n{body}"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(data)],
        env=made.environment | {"EMERGENCE_COMPUTE": f"ray:{made.address}"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def answers(process: subprocess.Popen[str], seconds: float = 240) -> list[Any]:
    """Wait for a driver; return what it answered."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, out + err
    return [json.loads(line) for line in out.splitlines() if line != "joined"]


def test_results_and_failures_are_those_of_one_machine(two_nodes: Cluster, tmp_path: Path) -> None:
    found = answers(
        driver(
            two_nodes,
            tmp_path,
            """
            answer([pool.n_accelerators, list(pool.run([]))])
            tasks = [task("double", f"cell {number}", number=number) for number in range(20)]
            answer(sorted((done.label, result) for done, result in pool.run(tasks)))
            answer(failing(pool, task("fail", "m/step000008/L01", kind="emergence")))
            answer(failing(pool, *(task("fail", f"bad {n}", kind="value") for n in range(3))))
            answer(failing(pool, task("fail", kind="unsendable")))
            answer(failing(pool, task("double", number=threading.Lock())))
            answer(failing(pool, task("double", wrong=1)))
            answer(failing(pool, Task("tests.resources.no_module:f", {}, "x")))
            facts = [facts for _, facts in pool.run([task("worker", f"{n}", seconds=1.0) for n in range(4)])]
            answer([len({one["pid"] for one in facts}), facts[0]["environment"]["POLARS_MAX_THREADS"]])
            events = []
            [(_, steps)] = pool.run([task("tell", "told", steps=3)], lambda *event: events.append(event))
            answer([steps, events])
            def broken(*_):
                raise ValueError("the display is gone")
            answer([result for _, result in pool.run([task("tell", steps=2)], broken)])
            """,
        )
    )
    assert found[0] == [0, []]
    assert found[1] == sorted([f"cell {number}", 2 * number] for number in range(20))
    good = [0, 2, 4, 6]
    assert found[2] == [good, "m/step000008/L01: The disk is full.", "/data/x.h5", "free some space"]
    assert found[3][0] == good
    assert "(2 more cells failed)" in found[3][1]
    for answer, said in zip(found[4:8], ("Unsendable: no answer", "pickle", "TypeError", "no_module"), strict=True):
        assert answer[0] == good
        assert said in answer[1]
    assert found[8] == [2, "1"], "both nodes work, with one thread"
    assert found[9][0] == 3
    assert found[9][1][-1] == ["told", 3, 3, "note"]
    assert found[10] == [2]


def test_a_lost_worker_is_replaced_and_one_that_always_dies_is_given_up(two_nodes: Cluster, tmp_path: Path) -> None:
    program = f"""
    answer([result for _, result in pool.run([task("die_once", marker="{tmp_path}/marker")])])
    answer(failing(pool, task("die", "m/step8", counter="{tmp_path}/counter")))
    """
    first, second = answers(driver(two_nodes, tmp_path, program))
    assert first == ["alive"]
    assert second[0] == [0, 2, 4, 6]
    assert second[1] == "m/step8: Its process or machine was lost 3 times."
    assert (tmp_path / "counter").read_text() == "xxx"


def test_tasks_end_with_their_driver(two_nodes: Cluster, tmp_path: Path) -> None:
    stay = f"list(pool.run([task('start_and_stay', folder='{tmp_path}')]))"
    for how, code in ((signal.SIGINT, (1, 130, -2)), (signal.SIGKILL, (-9,))):
        process = driver(two_nodes, tmp_path, stay)
        deadline = time.monotonic() + 90
        while not (begun := [path for path in tmp_path.iterdir() if path.name.isdecimal()]):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(how)
        process.communicate(timeout=60)
        assert process.returncode in code
        deadline = time.monotonic() + 20
        while Path(f"/proc/{begun[0].name}").exists():
            assert time.monotonic() < deadline, "the task goes on without its driver"
            time.sleep(0.1)
        begun[0].unlink()


def elsewhere(mount: str, *arguments: str) -> tuple[str, ...]:
    """Return a command that runs another one where the file system is another; skips the test if that is forbidden."""
    command = ("unshare", "--mount", "sh", "-c", f'{mount} && shift {len(arguments)} && exec "$@"', "sh", *arguments)
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount")
    return command


def test_a_machine_with_other_code_is_refused_by_name(two_nodes: Cluster, tmp_path: Path) -> None:
    changed = tmp_path / "progress.py"
    changed.write_text((ROOT / "resources/progress.py").read_text() + "\nCHANGED = 1\n")
    bind = elsewhere('mount --bind "$1" "$2"', str(changed), str(ROOT / "resources/progress.py"))
    two_nodes.start("other", within=bind)
    try:
        process = driver(two_nodes, tmp_path, "answer(1)")
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1
        assert f"{socket.gethostname()} has another environment: code of the project" in err
    finally:
        two_nodes.kill("other")


def test_a_data_folder_that_a_machine_does_not_see_is_refused(two_nodes: Cluster, tmp_path: Path) -> None:
    """The driver has a file system of its own there."""
    program = f"{PRELUDE}\nwith chosen_compute(data) as pool: answer(1)"
    refused = subprocess.run(
        [*elsewhere('mount -t tmpfs none "$1"', str(tmp_path)), sys.executable, "-c", program, str(tmp_path)],
        env=two_nodes.environment | {"EMERGENCE_COMPUTE": f"ray:{two_nodes.address}"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert refused.returncode == 1
    assert f"{socket.gethostname()} does not see the data folder" in refused.stderr
    assert str(tmp_path) in refused.stderr


def test_no_cluster_and_no_such_compute_are_explained(tmp_path: Path) -> None:
    for compute, said in (("ray:127.0.0.1:1", "No Ray cluster answers"), ("slurm", "EMERGENCE_COMPUTE is 'slurm'")):
        environment = os.environ | {"EMERGENCE_COMPUTE": compute}
        code = f"{PRELUDE}\nwith chosen_compute(data): pass"
        refused = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            timeout=120,
        )
        assert refused.returncode == 1
        assert said in refused.stderr
        assert "what to do:" in refused.stderr


def test_without_a_head_a_run_ends_with_an_explanation(tmp_path: Path) -> None:
    with cluster(1) as made:
        process = driver(made, tmp_path, f"list(pool.run([task('start_and_stay', folder='{tmp_path}')]))")
        deadline = time.monotonic() + 90
        while not [path for path in tmp_path.iterdir() if path.name.isdecimal()]:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        made.kill("head")
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "The head of the Ray cluster does not answer any more." in err


def test_a_lost_machine_loses_no_result(tmp_path: Path) -> None:
    with cluster(2) as made:
        name = secrets.token_hex(4)
        program = f"""
        tasks = [task("slow_append", f"{{n}}", file="{tmp_path}/{name}-{{}}".format(n), seconds=2.0) for n in range(8)]
        answer(sorted(result for _, result in pool.run(tasks)))
        """
        process = driver(made, tmp_path, program)
        assert process.stdout is not None
        assert process.stdout.readline() == "joined\n"
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(f"{name}-*")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        made.kill("node2")
        assert answers(process) == [sorted(f"{n}" for n in range(8))]
        begun = {path.name: len(path.read_text()) for path in tmp_path.glob(f"{name}-*")}
        assert len(begun) == 8
        assert sum(begun.values()) <= 9, "only what the lost machine had begun is repeated"
