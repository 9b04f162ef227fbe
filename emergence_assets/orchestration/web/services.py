"""The two services of the UI: web server and daemon, started, watched and ended together."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

DEFINITIONS = ("-m", "emergence_assets.definitions")
CLOSING_SECONDS = 20
"""Time that a service has to end by itself."""


def serve(host: str, port: int) -> int:
    """Run web server and daemon until one ends or the process is interrupted; returns the exit code."""
    commands = (
        ["emergence_assets.orchestration.web", "--host", host, "--port", str(port), *DEFINITIONS],
        ["dagster._daemon", "run", *DEFINITIONS],
    )
    before = signal.signal(signal.SIGTERM, _interrupt)
    services: list[subprocess.Popen[bytes]] = []
    try:
        services += [subprocess.Popen([sys.executable, "-m", *command]) for command in commands]
        while all(service.poll() is None for service in services):
            time.sleep(0.5)
        return next(service.returncode or 1 for service in services if service.returncode is not None)
    except KeyboardInterrupt:
        return 0
    finally:
        _end(services)
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(services: Sequence[subprocess.Popen[bytes]]) -> None:
    for service in services:
        if service.poll() is None:
            service.send_signal(signal.SIGINT)
    for service in services:
        try:
            service.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            service.kill()
