"""OpenLineage events of a run, sent to a receiver: the inputs of each asset, and its start, success or failure.

A separate thread sends the events, so that a slow or absent receiver does not delay the run. Off without an address.
`openlineage-dagster` is not used: its last release wants dagster 1.6.
"""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.listeners import CellProgress
from emergence_assets.plan.plan import Plan, upstream
from resources.errors import EmergenceError

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent


ADDRESS_VARIABLE = "OPENLINEAGE_URL"
PRODUCER = "urn:emergence-assets"
TIMEOUT_SECONDS = 5.0
"""Time-out of one event."""
CLOSING_SECONDS = 2.0
"""Time for which the end of a run waits for unsent events."""
MAX_WAITING = 10_000
"""Maximum number of events in the queue; further events are dropped."""


def openlineage_address(wanted: str | None) -> str | None:
    """Return the address of the receiver: the typed one, else OPENLINEAGE_URL; None without an address.

    Raises:
        EmergenceError: the address is not that of a web server.
    """
    address = wanted or os.environ.get(ADDRESS_VARIABLE) or None
    if address and not address.startswith(("http://", "https://")):
        raise EmergenceError(
            f"{address!r} is no address of an OpenLineage receiver.", remedy="give an address such as http://host:port"
        )
    return address


class OpenLineageSender:
    """Sends the events of a run to a receiver. A context manager: its exit waits CLOSING_SECONDS for queued events."""

    def __init__(self, address: str, plan: Plan):
        self._address, self._plan = address, plan
        self._waiting: queue.Queue[RunEvent | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._send, name="openlineage", daemon=True)
        self.sent = 0
        """Number of events that the receiver accepted."""
        self.lost = 0
        """Number of events that were dropped, refused or still queued at the end."""
        self.problem = ""
        """Last error of the receiver or of the connection."""

    def __enter__(self) -> "OpenLineageSender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(CLOSING_SECONDS)
        self.lost += sum(event is not None for event in list(self._waiting.queue))

    def planned(self, due: dict[str, int], total: dict[str, int], notes: Sequence[str] = ()) -> None:
        """See `Listener`; OpenLineage has no event for it."""

    def changed(self, progress: CellProgress, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> None:
        """Send the start, success or failure of some cells of an asset."""
        state = {"began": "START", "ended": "COMPLETE", "failed": "FAIL"}[progress]
        try:
            self._waiting.put_nowait(self._event(state, run_id, spec, cells))
        except queue.Full:
            self.lost += 1

    def _event(self, state: str, run_id: str, spec: AssetSpec, cells: Sequence[Cell]) -> "RunEvent":
        from openlineage.client import set_producer
        from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
        from openlineage.client.facet_v2 import job_type_job, parent_run, processing_engine_run

        set_producer(PRODUCER)
        models = list(dict.fromkeys(cell.model for cell in cells))
        specs = list(self._plan.specs.values())
        sources = dict.fromkeys(one for model in models for one in upstream(self._plan.study, specs, spec, model))
        space = f"emergence/{self._plan.study.name}"
        parent = parent_run.ParentRunFacet(parent_run.Run(run_id), parent_run.Job(space, "run"))
        engine = processing_engine_run.ProcessingEngineRunFacet(version("dagster"), "dagster")
        kind = job_type_job.JobTypeJobFacet("BATCH", "DAGSTER", "ASSET")
        return RunEvent(
            eventTime=datetime.now(UTC).isoformat(timespec="milliseconds"),
            eventType=RunState[state],
            run=Run(
                str(uuid5(UUID(run_id), f"{spec.name} {', '.join(map(str, models))}")),
                {"parent": parent, "processing_engine": engine},
            ),
            job=Job(space, spec.name if len(models) > 1 else _name(spec, models[0]), {"jobType": kind}),
            inputs=[InputDataset(space, _name(source, model)) for source, model in sources],
            outputs=[OutputDataset(space, _name(spec, model)) for model in models],
            producer=PRODUCER,
        )

    def _send(self) -> None:
        from openlineage.client import OpenLineageClient
        from openlineage.client.transport.http import HttpConfig, HttpTransport

        # An absent receiver is reported once, at the end.
        logging.getLogger("openlineage").setLevel(logging.CRITICAL)
        once: dict[str, Any] = {"total": 0}
        transport = HttpTransport(HttpConfig(url=self._address, timeout=TIMEOUT_SECONDS, retry=once))
        client = OpenLineageClient(transport=transport)
        while (event := self._waiting.get()) is not None:
            try:
                client.emit(event)
                self.sent += 1
            except Exception as error:  # the run continues after any error
                self.lost += 1
                self.problem = f"{type(error).__name__}: {error}"


def _name(spec: AssetSpec, model: str | None) -> str:
    return f"{model}/{spec.name}" if model else spec.name
