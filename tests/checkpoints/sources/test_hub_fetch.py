"""A fetched checkpoint equals its pin, is fetched once, and contains no file that would run."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from emergence_assets.checkpoints.files.folder import check_whole, read_facts
from emergence_assets.checkpoints.sources.hub import HubSource
from resources.errors import BrokenCheckpoint, EmergenceError
from tests.checkpoints.sources.hub_family import MODEL, REPOSITORY, make_source, publish, ref_of, silent
from tests.family import (
    as_pickle,
    duplicate_step,
    evil_pickle,
    read_weights,
    shard,
    step_folder,
    with_remote_code,
    wrong_offsets,
)
from tests.hub.server import HubServer


def pinned_source(hub: HubServer, family: Path, folder: Path, *steps: int, **options: object) -> HubSource:
    """Make a source of a published family with all pins, and an empty request log."""
    publish(hub, family, *steps)
    source = make_source(hub, folder, **options)  # pyright: ignore[reportArgumentType]
    source.refresh()
    hub.reset_log()
    return source


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def downloads(hub: HubServer) -> list[str]:
    return [request.path for request in hub.requests if "/resolve/" in request.path]


@pytest.mark.parametrize("redirects", [False, True])
def test_a_fetched_checkpoint_equals_the_published_one(family: Path, tmp_path: Path, redirects: bool) -> None:
    with HubServer(redirects=redirects, page_size=2) as hub:
        source = pinned_source(hub, family, tmp_path, 8)
        ref = ref_of(source, 8)
        with source.fetch(ref, silent) as folder:
            published = contents(step_folder(family, MODEL, 8))
            assert contents(folder) == {name: published[name] for name in contents(folder)}
            assert set(contents(folder)) == {
                "config.json",
                "model.safetensors",
                "tokenizer.json",
                "tokenizer_config.json",
            }
            assert read_facts(folder).weights_sha256 == ref.weights_sha256
        assert hub.bytes_sent("weights") == ref.weights_bytes + len("{}") * redirects
        assert source.is_cached(ref)


def test_files_are_requested_by_commit_and_never_by_branch(hub: HubServer, family: Path, tmp_path: Path) -> None:
    old = publish(hub, family, 8)[8]
    source = make_source(hub, tmp_path)
    source.refresh()
    hub.move_branch(REPOSITORY, "step8", step_folder(family, MODEL, 16))
    hub.reset_log()
    with source.fetch(ref_of(source, 8), silent) as folder:
        assert contents(folder)["model.safetensors"] == contents(step_folder(family, MODEL, 8))["model.safetensors"]
    assert {path.rpartition("/")[0] for path in downloads(hub)} == {f"/{REPOSITORY}/resolve/{old}"}
    assert len(downloads(hub)) == len(hub.requests) == 4


def test_a_fetched_checkpoint_is_not_fetched_again(hub: HubServer, family: Path, tmp_path: Path) -> None:
    source = pinned_source(hub, family, tmp_path, 8)
    with source.fetch(ref_of(source, 8), silent) as folder:
        first = contents(folder)
    hub.unreachable()
    for again in (source, make_source(hub, tmp_path), make_source(hub, tmp_path, offline=True)):
        with again.fetch(ref_of(again, 8), silent) as folder:
            assert contents(folder) == first
    assert len(downloads(hub)) == 4


def test_steps_of_one_content_are_fetched_once(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    duplicate_step(family_copy, MODEL, 64, 8)
    source = pinned_source(hub, family_copy, tmp_path, 8, 64)
    for step in (8, 64):
        with source.fetch(ref_of(source, step), silent):
            pass
    assert len(downloads(hub)) == 4


def test_offline_a_checkpoint_outside_the_cache_is_not_requested(hub: HubServer, family: Path, tmp_path: Path) -> None:
    pinned_source(hub, family, tmp_path, 8)
    source = make_source(hub, tmp_path, offline=True)
    with (
        pytest.raises(EmergenceError, match="gloss-tiny step 8 is not in the cache"),
        source.fetch(ref_of(source, 8), silent),
    ):
        pass
    assert hub.requests == []
    assert not source.is_cached(ref_of(source, 8))


@pytest.mark.parametrize("n", [1, 2])
def test_pickles_arrive_as_safetensors(hub: HubServer, family: Path, family_copy: Path, tmp_path: Path, n: int) -> None:
    as_pickle(family_copy, MODEL, 8, n)
    source = pinned_source(hub, family_copy, tmp_path, 8)
    with source.fetch(ref_of(source, 8), silent) as folder:
        assert not [name for name in contents(folder) if ".bin" in name]
        fetched, published = read_weights(folder), read_weights(step_folder(family, MODEL, 8))
        assert fetched.keys() == published.keys()
        assert all(np.array_equal(fetched[name], published[name]) for name in published)
    with source.fetch(ref_of(source, 8), silent):
        pass
    assert sum(path.endswith(".bin") for path in downloads(hub)) == n


def test_only_one_format_is_downloaded(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    weights = read_weights(step_folder(family_copy, MODEL, 8))
    folder = shard(family_copy, MODEL, 8, 3)
    torch.save({name: torch.from_numpy(weight) for name, weight in weights.items()}, folder / "pytorch_model.bin")
    source = pinned_source(hub, family_copy, tmp_path, 8)
    with source.fetch(ref_of(source, 8), silent) as folder:
        check_whole(folder)
        assert read_facts(folder).weights_sha256 == ref_of(source, 8).weights_sha256
    assert not [path for path in downloads(hub) if ".bin" in path]
    assert sum("-of-00003" in path for path in downloads(hub)) == 3


def test_an_evil_pickle_is_refused_and_not_run(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    evil_pickle(family_copy, MODEL, 8, tmp_path / "was-run")
    source = pinned_source(hub, family_copy, tmp_path, 8)
    for _ in range(2):
        with pytest.raises(BrokenCheckpoint, match="other objects"), source.fetch(ref_of(source, 8), silent):
            pass
    assert not (tmp_path / "was-run").exists()
    assert not source.is_cached(ref_of(source, 8))
    assert sum(path.endswith(".bin") for path in downloads(hub)) == 1


def test_code_of_a_model_that_is_not_trusted_stays_where_it_is(
    hub: HubServer, family_copy: Path, tmp_path: Path
) -> None:
    with_remote_code(family_copy, MODEL, 8, tmp_path / "was-run")
    source = pinned_source(hub, family_copy, tmp_path, 8)
    with pytest.raises(BrokenCheckpoint, match="requires running Python code"), source.fetch(ref_of(source, 8), silent):
        pass
    assert not [path for path in downloads(hub) if path.endswith((".py", ".safetensors"))]
    assert not source.is_cached(ref_of(source, 8))

    # The remedy of the message suffices: no new pin is needed.
    hub.reset_log()
    trusting = make_source(hub, tmp_path, trust_remote_code=[MODEL])
    with trusting.fetch(ref_of(trusting, 8), silent) as folder:
        assert "modeling_evil.py" in contents(folder)
        with contextlib.suppress(BrokenCheckpoint):  # that code calls the head otherwise than the weights do
            trusting.load(ref_of(trusting, 8), folder, "cpu", torch.float32)
    assert (tmp_path / "was-run").exists()

    # Without trust, code that was fetched before is not used.
    with pytest.raises(BrokenCheckpoint, match="requires running Python code"), source.fetch(ref_of(source, 8), silent):
        pass


def test_trust_in_one_model_is_no_trust_in_another(hub: HubServer, family: Path, tmp_path: Path) -> None:
    repositories = {MODEL: REPOSITORY, "gloss-tinier": "someone/gloss-tinier"}
    publish(hub, family, 8, model="gloss-tinier")
    source = pinned_source(hub, family, tmp_path, 8, repositories=repositories, trust_remote_code=["gloss-tinier"])
    with source.fetch(ref_of(source, 8), silent) as folder:
        # Also for code that enters the cache after all checks.
        copy = step_folder(tmp_path, MODEL, 8)
        shutil.copytree(folder, copy)
        with_remote_code(tmp_path, MODEL, 8, tmp_path / "was-run")
        shutil.copytree(copy, folder, dirs_exist_ok=True)
        assert "auto_map" in json.loads((folder / "config.json").read_text())
        source.load(ref_of(source, 8), folder, "cpu", torch.float32)
    assert not (tmp_path / "was-run").exists()


def test_wrong_offsets_are_found_before_weights_are_read(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    wrong_offsets(family_copy, MODEL, 8)
    source = pinned_source(hub, family_copy, tmp_path, 8)
    with source.fetch(ref_of(source, 8), silent) as folder:  # it equals the pin, and is not read
        with pytest.raises(BrokenCheckpoint, match=r"overlap or leave a gap|header describes"):
            check_whole(folder)  # a measurement begins with this
        with pytest.raises(BrokenCheckpoint):
            source.load(ref_of(source, 8), folder, "cpu", torch.float32)


def test_an_index_that_leads_out_of_the_folder_is_refused(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    folder = shard(family_copy, MODEL, 8, 2)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00002-of-00002", "../model-00002-of-00002"))
    source = pinned_source(hub, family_copy, tmp_path, 8)
    with source.fetch(ref_of(source, 8), silent) as folder, pytest.raises(BrokenCheckpoint, match="invalid file name"):
        check_whole(folder)


@pytest.mark.parametrize("change", ["moved", "edited"])
def test_a_lock_that_changed_since_it_was_listed_is_not_mixed_up(
    hub: HubServer, family: Path, tmp_path: Path, change: str
) -> None:
    source = pinned_source(hub, family, tmp_path, 8)
    ref = ref_of(source, 8)
    if change == "moved":
        hub.move_branch(REPOSITORY, "step8", step_folder(family, MODEL, 16))
        source.refresh(accept_moved=True)
    else:
        source.lock.write_text(source.lock.read_text().replace(ref.weights_sha256, "0" * 64))
    with pytest.raises(EmergenceError, match="step 8 is not pinned at"), source.fetch(ref, silent):
        pass
    assert downloads(hub) == []


def test_a_fetched_checkpoint_is_a_model(hub: HubServer, family: Path, tmp_path: Path) -> None:
    source = pinned_source(hub, family, tmp_path, 8)
    with source.fetch(ref_of(source, 8), silent) as folder:
        model = source.load(ref_of(source, 8), folder, "cpu", torch.float32)
    assert type(model).__name__ == "GPTNeoXForCausalLM"
    assert not model.training


def test_an_evicted_checkpoint_can_be_fetched_again(hub: HubServer, family: Path, tmp_path: Path) -> None:
    source = pinned_source(hub, family, tmp_path, 8)
    ref = ref_of(source, 8)
    assert source.cache.evict(ref.identity) == 0  # before anything was fetched
    with source.fetch(ref, silent):
        assert source.cache.evict(ref.identity) == 0
    assert source.cache.evict(ref.identity) >= ref.weights_bytes
    assert not source.is_cached(ref)
    with source.fetch(ref, silent):
        assert len(downloads(hub)) == 8


def test_a_checkpoint_larger_than_the_cache_is_not_begun(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    as_pickle(family_copy, MODEL, 8)
    source = pinned_source(hub, family_copy, tmp_path, 8)
    ref = ref_of(source, 8)
    small = make_source(hub, tmp_path, limit_bytes=2 * ref.weights_bytes)  # the pickle, what it becomes, and no config
    with pytest.raises(EmergenceError, match="does not fit into a cache"), small.fetch(ref, silent):
        pass
    assert downloads(hub) == []


def test_a_checkpoint_fetched_ahead_is_there_for_its_task(hub: HubServer, family: Path, tmp_path: Path) -> None:
    source = pinned_source(hub, family, tmp_path)
    source.fetch_ahead(ref_of(source, 8), silent)
    n_requests = len(downloads(hub))
    hub.unreachable()
    source.fetch_ahead(ref_of(source, 8), silent)
    with source.fetch(ref_of(source, 8), silent) as folder:
        assert contents(folder)["config.json"] == contents(step_folder(family, MODEL, 8))["config.json"]
    assert len(downloads(hub)) == n_requests


def test_nothing_is_fetched_ahead_into_a_cache_in_use(hub: HubServer, family: Path, tmp_path: Path) -> None:
    size = sum(len(content) for content in contents(step_folder(family, MODEL, 8)).values())
    source = pinned_source(hub, family, tmp_path, limit_bytes=int(1.5 * size))
    source.cache.wait_seconds = 3600
    with source.fetch(ref_of(source, 0), silent):
        hub.reset_log()
        with pytest.raises(EmergenceError, match="No room"):
            source.fetch_ahead(ref_of(source, 8), silent)
        assert downloads(hub) == []
        assert source.is_cached(ref_of(source, 0))
    source.fetch_ahead(ref_of(source, 8), silent)
    assert source.is_cached(ref_of(source, 8))


def test_pickled_weights_are_not_converted_ahead(hub: HubServer, family_copy: Path, tmp_path: Path) -> None:
    as_pickle(family_copy, MODEL, 8)
    source = pinned_source(hub, family_copy, tmp_path, 8)
    source.fetch_ahead(ref_of(source, 8), silent)
    assert downloads(hub) == []
    assert not source.is_cached(ref_of(source, 8))
