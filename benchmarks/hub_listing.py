"""Pinning 154 revisions of five models against a hub on loopback: seconds and requests, without and with latency."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emergence_assets.checkpoints.sources.cache import CheckpointCache
from emergence_assets.checkpoints.sources.hub import HubSource
from emergence_assets.checkpoints.sources.revision import RevisionPattern
from resources.hub.client import HubClient
from tests.hub.server import HubServer

MODELS = ("pythia-14m", "pythia-31m", "pythia-70m", "pythia-160m", "pythia-410m")
STEPS = (0, *(2**power for power in range(10)), *range(1000, 143_001, 1000))
LATENCY_SECONDS = 0.05
"""Of one answer, about that of a hub on another continent."""


def measure_hub_listing() -> dict[str, Any]:
    """Pin everything, ask again when nothing is new, and pin one new revision."""
    figures: dict[str, Any] = {"revisions": len(MODELS) * len(STEPS)}
    for name, latency in (("", 0.0), (f", {LATENCY_SECONDS * 1000:.0f} ms per answer", LATENCY_SECONDS)):
        with _hub() as (hub, revision), tempfile.TemporaryDirectory() as folder:
            hub.latency_seconds = latency
            source = HubSource(
                {model: f"project/{model}" for model in MODELS},
                RevisionPattern("step{step}"),
                Path(folder) / "lock.json",
                CheckpointCache(Path(folder), 1),
                client=HubClient(hub.endpoint, patience_seconds=10),
            )
            figures |= _timed(f"pin all{name}", hub, source)
            figures |= _timed(f"nothing new{name}", hub, source)
            hub.add_revision(f"project/{MODELS[0]}", "step144000", revision)
            figures |= _timed(f"one new revision{name}", hub, source)
            assert hub.bytes_sent("files") == 0
    return figures


def _timed(name: str, hub: HubServer, source: HubSource) -> dict[str, Any]:
    hub.reset_log()
    began = time.perf_counter()
    source.refresh()
    return {f"{name}, s": time.perf_counter() - began, f"{name}, requests": len(hub.requests)}


@contextmanager
def _hub() -> Iterator[tuple[HubServer, Path]]:
    """A hub with a small checkpoint per revision, all different, and a folder to publish one more from."""
    with HubServer() as hub, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text("{}")
        (folder / "tokenizer.json").write_text("{}")
        for model in MODELS:
            for step in STEPS:
                (folder / "model.safetensors").write_text(f"{model} {step}")
                hub.add_revision(f"project/{model}", f"step{step}", folder)
        yield hub, folder
