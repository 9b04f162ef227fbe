"""A real Dagster web server and daemon on the finished tiny study, and a real Chromium."""

import json
import os
import shutil
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

import pytest

from tests.conftest import TINY


@dataclass(frozen=True)
class UI:
    """The running web server."""

    url: str
    data: Path

    def ask(self, query: str, **variables: Any) -> Any:
        """Send a GraphQL request as the page does."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]


@pytest.fixture(scope="session")
def ui(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UI]:
    data = tmp_path_factory.mktemp("ui") / "data"
    shutil.copytree(finished_study, data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    log = (data / "ui.log").open("w")
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "emergence_assets.cli",
            "--study",
            str(TINY),
            "--data",
            str(data),
            "ui",
            "--port",
            str(port),
        ],
        stdout=log,
        stderr=log,
        env=environment,
        process_group=0,
    )
    running = UI(f"http://127.0.0.1:{port}", data)
    try:
        deadline = time.monotonic() + 180
        while True:
            assert server.poll() is None, (data / "ui.log").read_text()
            try:
                locations = running.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
                if locations["workspaceOrError"]["locationEntries"][0]["loadStatus"] == "LOADED":
                    break
            except OSError:
                pass
            assert time.monotonic() < deadline, (data / "ui.log").read_text()
            time.sleep(1)
        running.ask("mutation { setNuxSeen }")
        yield running
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        log.close()
