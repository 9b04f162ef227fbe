"""OpenLineage events over real HTTP: their content, and that an unavailable or slow receiver costs a run nothing."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from emergence_assets.orchestration.runs.openlineage import CLOSING_SECONDS, OpenLineageSender, openlineage_address
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import load_study
from resources.errors import EmergenceError
from resources.files.storage import Storage
from tests.conftest import TINY, copied, run_emergence


class Receiver:
    """A receiver of events on the loopback interface."""

    def __init__(self, status: int = 201, seconds: float = 0.0):
        self.events: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                time.sleep(seconds)
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.events.append(body | {"path": self.path})
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def receivers() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(**options: Any) -> Receiver:
        made.append(Receiver(**options))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()


@pytest.fixture(scope="module")
def plan() -> Plan:
    study = load_study(str(TINY))
    return Plan(study, Storage(Path("nowhere"), study.name), specs_for(study))


def tell(sender: OpenLineageSender, plan: Plan, n_runs: int = 1, fails: bool = False) -> list[str]:
    """Send the events of runs that make one cell; return their ids."""
    run_ids, spec, cells = [str(uuid4()) for _ in range(n_runs)], plan.specs["sae"], [Cell("gloss-tiny", 3, 1)]
    for run_id in run_ids:
        sender.changed("began", run_id, spec, cells)
        sender.changed("failed" if fails else "ended", run_id, spec, cells)
    return run_ids


def test_a_receiver_gets_inputs_and_outputs(receivers: Callable[..., Receiver], plan: Plan) -> None:
    receiver = receivers()
    with OpenLineageSender(receiver.address, plan) as sender:
        [run_id] = tell(sender, plan)
        tell(sender, plan, fails=True)
    assert (sender.sent, sender.lost) == (4, 0)
    assert [one["eventType"] for one in receiver.events] == ["START", "COMPLETE", "START", "FAIL"]
    first, second, third, _ = receiver.events
    assert first["path"] == "/api/v1/lineage"
    assert (first["job"]["namespace"], first["job"]["name"]) == ("emergence/tiny", "gloss-tiny/sae")
    assert {one["name"] for one in first["inputs"]} == {"gloss-tiny/checkpoint", "gloss-tiny/activations"}
    assert [one["name"] for one in first["outputs"]] == ["gloss-tiny/sae"]
    assert first["run"]["facets"]["parent"]["run"]["runId"] == run_id
    assert first["run"]["runId"] == second["run"]["runId"] != third["run"]["runId"]
    assert UUID(first["run"]["runId"])
    assert first["eventTime"] <= second["eventTime"] <= datetime.now(UTC).isoformat(timespec="milliseconds")
    assert first["producer"] == first["run"]["facets"]["parent"]["_producer"] == "urn:emergence-assets"


def test_a_receiver_that_is_down_costs_no_time(plan: Plan) -> None:
    with OpenLineageSender("http://127.0.0.1:9", plan) as sender:
        tell(sender, plan, n_runs=3)
        began = time.monotonic()
    assert time.monotonic() - began < CLOSING_SECONDS + 1
    assert (sender.sent, sender.lost) == (0, 6)
    assert sender.problem


def test_a_slow_receiver_is_not_waited_for(receivers: Callable[..., Receiver], plan: Plan) -> None:
    receiver = receivers(seconds=1.5)
    with OpenLineageSender(receiver.address, plan) as sender:
        tell(sender, plan, n_runs=10)
        began = time.monotonic()
    assert time.monotonic() - began < CLOSING_SECONDS + 1
    assert sender.lost + sender.sent >= 19  # one may be in transit
    assert sender.lost > sender.sent


def test_a_receiver_that_refuses_is_named(receivers: Callable[..., Receiver], plan: Plan) -> None:
    with OpenLineageSender(receivers(status=500).address, plan) as sender:
        tell(sender, plan)
    assert (sender.sent, sender.lost) == (0, 2)
    assert "500" in sender.problem


def test_nothing_is_sent_unless_an_address_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENLINEAGE_URL", raising=False)
    assert openlineage_address(None) is None
    monkeypatch.setenv("OPENLINEAGE_URL", "http://there:5000")
    assert openlineage_address(None) == "http://there:5000"
    assert openlineage_address("https://here") == "https://here"
    with pytest.raises(EmergenceError, match="no address"):
        openlineage_address("file:///etc/passwd")


@pytest.mark.slow
def test_a_run_sends_events_to_its_receiver(
    finished_study: Path, tmp_path: Path, receivers: Callable[..., Receiver]
) -> None:
    data = copied(finished_study, tmp_path / "data")
    (data / "tiny" / "tables" / "claims.parquet").unlink()
    receiver = receivers()
    ended = run_emergence(data, "run", "--openlineage", receiver.address)
    assert ended.returncode == 0, ended.stderr
    told = [(one["eventType"], one["job"]["name"]) for one in receiver.events]
    assert [one for one in told if one[1] == "claims"] == [("START", "claims"), ("COMPLETE", "claims")]
    shutil.rmtree(data / "tiny" / "report")
    down = run_emergence(data, "run", OPENLINEAGE_URL="http://127.0.0.1:9")
    assert down.returncode == 0, down.stderr
    assert "OpenLineage events were not received" in down.stdout
