"""Locks name their holder, wait for one that is well, and are not held for ever by one that is gone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from resources.errors import EmergenceError
from resources.files import lease
from resources.files.lease import LOST_SECONDS, holder_file, leased
from resources.files.temporaries import machine_id

PROGRAM = """
import sys
from pathlib import Path
from resources.files import lease
lease.RENEW_SECONDS = 0.1
with lease.leased(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""
ELSEWHERE = {"host": "gpu7", "machine": "00000000", "pid": 1}


@contextmanager
def other_process(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the lock."""
    command = [sys.executable, "-c", PROGRAM, str(lock)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_whoever_may_not_wait_is_told_the_holder(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with other_process(lock) as process, pytest.raises(EmergenceError) as caught, leased(lock, wait_seconds=0):
        pass
    assert f"held by process {process.pid} on " in str(caught.value)
    assert caught.value.where == str(lock)


def test_a_lock_is_free_as_soon_as_its_process_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with other_process(lock) as process:
        process.kill()
        process.wait()
        assert holder_file(lock).exists()
        with leased(lock, wait_seconds=0):
            assert json.loads(holder_file(lock).read_text())["pid"] == os.getpid()
    assert not holder_file(lock).exists()


def test_one_waits_for_a_holder_that_is_well(tmp_path: Path) -> None:
    lock, order = tmp_path / "x.lock", []
    with other_process(lock) as process:
        age(holder_file(lock), LOST_SECONDS + 60)  # renewed at once
        time.sleep(1)

        def wait() -> None:
            with leased(lock):
                order.append("mine")

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.5)
        order.append("theirs")
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        waiting.join(30)
    assert order == ["theirs", "mine"]


def test_a_stopped_process_of_this_machine_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with other_process(lock) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        age(holder_file(lock), LOST_SECONDS + 60)
        with pytest.raises(EmergenceError, match="has not moved for 5 minutes") as caught, leased(lock):
            pass
        assert f"kill -CONT {process.pid}" in caught.value.remedy


def test_a_lock_that_a_server_keeps_for_a_machine_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with FileLock(lock):  # the server's part
        holder_file(lock).write_text(json.dumps(ELSEWHERE))
        with pytest.raises(EmergenceError, match="process 1 on gpu7"), leased(lock, wait_seconds=0):
            pass
        age(holder_file(lock), LOST_SECONDS + 60)
        with leased(lock, wait_seconds=5):
            assert json.loads(holder_file(lock).read_text())["pid"] == os.getpid()
            with pytest.raises(EmergenceError, match=f"process {os.getpid()}"), leased(lock, wait_seconds=0):
                pass


def test_where_locks_hold_within_one_machine_only_the_holder_decides(tmp_path: Path, monkeypatch) -> None:
    lock = tmp_path / "x.lock"
    holder_file(lock).write_text(json.dumps(ELSEWHERE))
    with leased(lock, wait_seconds=0):  # a local disk: the lock of the system is enough
        pass
    holder_file(lock).write_text(json.dumps(ELSEWHERE))
    monkeypatch.setattr(lease, "is_on_network", lambda _: True)
    with pytest.raises(EmergenceError, match="process 1 on gpu7"), leased(lock, wait_seconds=0):
        pass
    age(holder_file(lock), LOST_SECONDS + 60)
    with leased(lock, wait_seconds=0):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}', "process 1 on elsewhere"])
def test_a_holder_that_cannot_be_read_is_another_process(tmp_path: Path, content: str) -> None:
    lock = tmp_path / "x.lock"
    with FileLock(lock):
        holder_file(lock).write_text(content)
        with pytest.raises(EmergenceError, match="held by another process"), leased(lock, wait_seconds=0):
            pass


def test_the_name_that_a_killed_process_left_is_not_that_of_the_next_holder(tmp_path: Path) -> None:
    """Between taking the lock and writing one's name another may look."""
    lock = tmp_path / "x.lock"
    with other_process(lock) as process:
        process.kill()
        process.wait()
    age(holder_file(lock), LOST_SECONDS + 60)
    with (
        FileLock(lock),  # taken, not yet named
        pytest.raises(EmergenceError, match="held by process"),
        leased(lock, wait_seconds=1),
    ):
        pass


def test_a_lock_that_was_just_taken_from_a_machine_that_is_gone_is_not_taken_again(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    holder_file(lock).write_text(json.dumps(ELSEWHERE))
    age(holder_file(lock), LOST_SECONDS + 60)
    with FileLock(lock):
        mine = {"host": "here", "machine": machine_id(), "pid": os.getpid()}
        threading.Timer(0.3, lambda: holder_file(lock).write_text(json.dumps(mine))).start()
        with pytest.raises(EmergenceError, match=f"process {os.getpid()} on here"), leased(lock, wait_seconds=2):
            pass


def test_a_holder_that_was_taken_for_gone_leaves_the_name_of_the_next(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with leased(lock):
        holder_file(lock).write_text(json.dumps(ELSEWHERE))
    assert json.loads(holder_file(lock).read_text()) == ELSEWHERE
