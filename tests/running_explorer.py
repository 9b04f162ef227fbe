"""`emergence explore` as a user starts it: a real server in a process of its own."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE_SECONDS = 90


def listens(port: int) -> bool:
    """Return whether a server of this machine takes connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@contextlib.contextmanager
def running_explorer(data: Path, study: Path, *options: str, folder: Path | None = None) -> Iterator[str]:
    """Start the explorer without a browser, in a working directory; yields its address with the password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = data / "explorer.log"
    command = [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(study), "--data", str(data)]
    with log.open("wb") as file:
        server = subprocess.Popen(
            [*command, "explore", "--headless", "--port", str(port), *options],
            stdout=file,
            stderr=file,
            start_new_session=True,
            cwd=folder,
        )
    try:
        began = time.monotonic()
        # The address is printed a moment before the server listens.
        while not (
            (found := re.search(r"http://\S+access_token=\S+", log.read_text("utf-8", errors="replace")))
            and listens(port)
        ):
            assert server.poll() is None, log.read_text("utf-8", errors="replace")
            assert time.monotonic() - began < PATIENCE_SECONDS, log.read_text("utf-8", errors="replace")
            time.sleep(0.2)
        yield found[0].replace("localhost", "127.0.0.1")
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
