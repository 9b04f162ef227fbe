"""The checkpoint timeline of a model over a hub: moved branches, and batches of checkpoints that fit into the cache."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emergence_assets.checkpoints.listing import (
    CACHE_SHARE,
    N_BATCHES,
    SMALLEST_BATCH_BYTES,
    cache_batches,
    pin_new_models,
    refresh_timeline,
    verify_pins,
)
from emergence_assets.checkpoints.sources.of_family import source_of
from emergence_assets.pipeline import SPECS
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import Timeline, TimelineEntry, write_timeline
from emergence_assets.study.load import load_study
from resources.files.storage import Storage
from tests.family import step_folder
from tests.hub.server import HubServer
from tests.studies.published_study import hub_family, local_family, write_study

MODEL = "gloss-tiny"


def statuses(axis: Timeline) -> dict[int, str]:
    return {entry.step: entry.status for entry in axis.entries}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server
        close_session()


def test_a_moved_branch_is_noted_until_it_is_pinned_anew_and_changes_nothing_else(
    hub: HubServer, family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over_hub = hub_family(models={MODEL: {"d_model": 16, "n_layers": 2}})
    study = load_study(str(write_study(tmp_path / "listed.yaml", over_hub)))
    storage = Storage(tmp_path, "listed")
    for step in (0, 8, 16):
        hub.add_revision(f"project/{MODEL}", f"step{step}", step_folder(family, MODEL, step))
    pin_new_models(study, storage)
    before = refresh_timeline(study, storage, MODEL)
    assert statuses(before) == dict.fromkeys((0, 8, 16), "unjudged")
    assert verify_pins(study, storage, MODEL) == []

    hub.move_branch(f"project/{MODEL}", "step8", step_folder(family, MODEL, 64))
    (noted,) = verify_pins(study, storage, MODEL)
    assert noted.step == 8
    assert "moved upstream" in noted.upstream
    after = refresh_timeline(study, storage, MODEL)
    assert after.entry(8) == noted  # the note stays
    assert [replace(entry, upstream="") for entry in after.entries] == list(before.entries)
    # The same files again, at another commit.
    hub.move_branch(f"project/{MODEL}", "step8", step_folder(family, MODEL, 8))
    (noted_again,) = verify_pins(study, storage, MODEL)
    assert noted_again == replace(noted, upstream=noted_again.upstream)
    assert noted_again.upstream != noted.upstream
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert verify_pins(study, storage, MODEL) == [noted_again], "what was noted stays when nobody can be asked"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    source_of(study.family, storage).refresh([MODEL], accept_moved=True)
    assert verify_pins(study, storage, MODEL) == []
    assert statuses(refresh_timeline(study, storage, MODEL)) == statuses(before)


@given(sizes=st.lists(st.integers(0, 10**9), max_size=12), cache_gb=st.floats(0.1, 20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_portions_fit_into_the_cache_and_keep_every_checkpoint_in_order(
    tmp_path: Path, sizes: list[int], cache_gb: float
) -> None:
    storage = Storage(tmp_path, "listed")
    axis = Timeline(tuple(TimelineEntry(step, "unjudged", weights_bytes=size) for step, size in enumerate(sizes)))
    write_timeline(storage.timeline(MODEL), axis)
    wanted = [Cell(MODEL, step) for step in range(len(sizes))]

    def portions_of(family: dict[str, Any]) -> list[list[Cell]]:
        study = load_study(str(write_study(tmp_path / "listed.yaml", family)))
        return cache_batches(study, Plan(study, storage, SPECS), wanted)

    portions = portions_of(hub_family(cache_gb=cache_gb))
    assert [cell for portion in portions for cell in portion] == wanted
    assert all(portions)
    limit = min(cache_gb * 1e9 * CACHE_SHARE, max(sum(sizes) / N_BATCHES, SMALLEST_BATCH_BYTES))
    sizes_of = [[sizes[int(cell.step or 0)] for cell in portion] for portion in portions]
    assert all(sum(portion) <= limit or len(portion) == 1 for portion in sizes_of)
    # No batch ends too early.
    assert all(sum(portion) + following[0] > limit for portion, following in pairwise(sizes_of))
    assert portions_of(local_family(tmp_path)) == ([wanted] if wanted else [])
