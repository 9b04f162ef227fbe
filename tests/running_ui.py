"""`emergence ui` as a user starts it: a real web server and a real daemon in separate processes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 180


@dataclass(frozen=True)
class UI:
    """The running web server."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]

    def ask(self, query: str, **variables: Any) -> Any:
        """Send a GraphQL request as the page does."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def is_loaded(self) -> bool:
        """Return whether it answers and has loaded the definitions."""
        query = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
        try:
            return self.ask(query)["workspaceOrError"]["locationEntries"][0]["loadStatus"] == "LOADED"
        except OSError:
            return False

    def log(self) -> str:
        """Return the output of server and daemon."""
        return (self.data / "ui.log").read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """Kill the server, the daemon, and all their child processes (SIGKILL)."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running_ui(data: Path, study: str | Path) -> Iterator[UI]:
    """Start the UI on a data folder, wait until it is up, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(study), "--data", str(data)]
    with (data / "ui.log").open("a") as log:
        process = subprocess.Popen(
            [*command, "ui", "--port", str(port)],
            stdout=log,
            stderr=log,
            env={key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"},
            process_group=0,
        )
    running = UI(f"http://127.0.0.1:{port}", data, process)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not running.is_loaded():
            assert process.poll() is None, running.log()
            assert time.monotonic() < deadline, running.log()
            time.sleep(1)
        yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                running.kill()
