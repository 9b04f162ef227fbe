"""The declaration of a family becomes its source, here and in a worker."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from emergence_assets.checkpoints.sources.hub import HubSource
from emergence_assets.checkpoints.sources.local import LocalSource
from emergence_assets.checkpoints.sources.of_family import source_arguments, source_from, source_of
from emergence_assets.study.family import Family
from resources.files.storage import Storage
from tests.family import STEPS

SHAPES = {"gloss-tiny": {"d_model": 16, "n_layers": 2}}
PUBLISHED: dict[str, Any] = {"models": SHAPES, "tokens_per_step": 64, "trust_remote_code": ["gloss-tiny"]}
HUB: dict[str, Any] = PUBLISHED | {"source": "hub", "repository": "project/{model}"}
TRAINED: dict[str, Any] = {
    "source": "trained-here",
    "models": {"gloss-tiny": {"d_model": 16, "n_layers": 2, "n_heads": 2, "learning_rate": 0.01}},
    "n_steps": 64,
}
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*OFFLINE, "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def family_of(declared: dict[str, Any]) -> Family:
    return TypeAdapter(Family).validate_python(declared)


def hub_source(tmp_path: Path, **more: Any) -> HubSource:
    source = source_of(family_of(HUB | more), Storage(tmp_path, "study"))
    assert isinstance(source, HubSource)
    return source


def test_a_hub_family_is_on_the_hub(tmp_path: Path) -> None:
    source = hub_source(tmp_path, revision="ckpt_{step}", cache_gb=1.5)
    assert source.repositories == {"gloss-tiny": "project/gloss-tiny"}
    assert source.pattern.pattern == "ckpt_{step}"
    assert source.lock == Storage(tmp_path, "study").checkpoint_lock_file()
    assert source.cache.root == tmp_path / "checkpoint-cache" / "hub"
    assert source.cache.limit_bytes == 1_500_000_000
    assert source.trusted == {"gloss-tiny"}
    assert source.can_refresh


def test_a_lock_can_lie_where_version_control_sees_it(tmp_path: Path) -> None:
    assert hub_source(tmp_path, lock="pins/lock.json").lock == Path("pins/lock.json")


@pytest.mark.parametrize("name", OFFLINE)
@pytest.mark.parametrize("stated", ["1", "true", "True", "TRUE", "yes", "on", "0", "", "false", "no"])
def test_environment_and_study_can_forbid_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, stated: str
) -> None:
    from huggingface_hub.constants import _is_true  # whatever makes the client refuse, we have to see before it

    monkeypatch.setenv(name, stated)
    assert hub_source(tmp_path).can_refresh is not _is_true(stated)
    assert not hub_source(tmp_path, offline=True).can_refresh


def test_a_local_family_is_in_its_folder(tmp_path: Path) -> None:
    declared = PUBLISHED | {"source": "local", "root": str(tmp_path / "in"), "marker": "DONE", "blocks": "model.layers"}
    source = source_of(family_of(declared), Storage(tmp_path, "study"))
    assert type(source) is LocalSource
    assert (source.root, source.pattern) == (tmp_path / "in", "{model}/step{step}")
    assert (source.marker, source.settle_seconds) == ("DONE", 10.0)
    assert source.trusted == {"gloss-tiny"}


def test_a_trained_family_is_where_it_is_trained(tmp_path: Path, family: Path) -> None:
    storage = Storage(tmp_path, "study")
    source = source_of(family_of(TRAINED), storage)
    assert source.list("gloss-tiny").checkpoints == ()  # nothing was trained yet
    shutil.copytree(family / "gloss-tiny", storage.training_folder("gloss-tiny"))
    assert [ref.step for ref in source.list("gloss-tiny").checkpoints] == list(STEPS)  # they need not settle


@pytest.mark.parametrize(
    "declared",
    [
        TRAINED,
        HUB | {"offline": True, "revision": "stage1-step{step}-tokens{any}B", "lock": "pins.json"},
        PUBLISHED | {"source": "local", "root": "incoming", "folder": "{model}/ckpt-{step}", "marker": "DONE"},
        {"source": "hub", "preset": "pythia", "models": ["pythia-70m"]},
    ],
)
def test_a_worker_makes_the_same_source_from_plain_values(tmp_path: Path, declared: dict[str, Any]) -> None:
    family, storage = family_of(declared), Storage(tmp_path, "study")
    sent = json.loads(json.dumps(source_arguments(family, storage)))
    here, there = source_of(family, storage), source_from(sent)
    assert type(here) is type(there)

    def values(source: Any) -> dict[str, Any]:
        kinds = (str, int, float, bool, Path, dict, frozenset, type(None))
        return {name: value for name, value in vars(source).items() if isinstance(value, kinds)}

    assert values(here) == values(there)
    assert len(values(here)) >= 4
    if isinstance(here, HubSource):
        assert isinstance(there, HubSource)
        assert here.pattern.pattern == there.pattern.pattern
        assert vars(here.cache) == vars(there.cache)
