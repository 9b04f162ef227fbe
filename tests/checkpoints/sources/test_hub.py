"""Revisions are pinned with one request each and no download, and stay pinned until the user updates the pin."""

from pathlib import Path

import pytest

from emergence_assets.checkpoints.files.folder import read_facts
from emergence_assets.checkpoints.sources.lock_file import Lock, LockDifference, read_lock
from resources.errors import EmergenceError, SourceUnreachable
from tests.checkpoints.sources.hub_family import MODEL, REPOSITORY, STEPS, make_source, publish, ref_of
from tests.family import missing_file, step_folder
from tests.hub.server import HubServer

TWO_MODELS = {"repositories": {MODEL: REPOSITORY, "gloss-tinier": "someone/gloss-tinier"}}


def paths(hub: HubServer) -> list[str]:
    return sorted(request.path.removeprefix("/api/models/") for request in hub.requests)


def test_pinning_makes_one_request_per_revision_and_one_for_the_list(
    hub: HubServer, family: Path, tmp_path: Path
) -> None:
    shas = publish(hub, family)
    hub.add_revision(REPOSITORY, "main", step_folder(family, MODEL, 64))
    make_source(hub, tmp_path).refresh()
    assert paths(hub) == sorted([f"{REPOSITORY}/refs", *(f"{REPOSITORY}/tree/{sha}" for sha in shas.values())])
    assert hub.bytes_sent("files") == 0


def test_a_checkpoint_is_known_before_it_is_fetched(hub: HubServer, family: Path, tmp_path: Path) -> None:
    shas = publish(hub, family)
    source = make_source(hub, tmp_path)
    assert not source.is_pinned(MODEL)
    source.refresh()
    hub.unreachable()  # from here on the lock suffices
    assert source.is_pinned(MODEL)
    listing = source.list(MODEL)
    assert [ref.step for ref in listing.checkpoints] == list(STEPS)
    assert listing.incomplete == {}
    for ref in listing.checkpoints:
        facts = read_facts(step_folder(family, MODEL, ref.step))
        assert (ref.revision, ref.location, ref.commit_sha) == (f"step{ref.step}", REPOSITORY, shas[ref.step])
        assert (ref.weights_bytes, ref.weights_sha256) == (facts.weights_bytes, facts.weights_sha256)
        assert not source.is_cached(ref)
    assert len({ref.identity for ref in listing.checkpoints}) == len(STEPS)


def test_pinning_again_requests_branches_alone_and_changes_nothing(
    hub: HubServer, family: Path, tmp_path: Path
) -> None:
    publish(hub, family)
    source = make_source(hub, tmp_path)
    assert len(source.refresh().added) == len(STEPS)
    before = source.lock.read_bytes(), source.lock.stat().st_ino
    hub.reset_log()
    assert source.refresh() == LockDifference([], [], [])
    assert paths(hub) == [f"{REPOSITORY}/refs"]
    assert (source.lock.read_bytes(), source.lock.stat().st_ino) == before


def test_a_new_revision_costs_one_request_more(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family)
    source = make_source(hub, tmp_path)
    source.refresh()
    kept = source.list(MODEL).checkpoints
    hub.reset_log()
    (sha,) = publish(hub, family, 16).values()
    assert source.refresh().added == [f"{MODEL} step16 at {sha[:12]}"]
    assert paths(hub) == [f"{REPOSITORY}/refs", f"{REPOSITORY}/tree/{sha}"]
    assert [ref for ref in source.list(MODEL).checkpoints if ref.step != 16] == list(kept)


def test_a_branch_that_moves_keeps_its_pin_until_it_is_accepted(hub: HubServer, family: Path, tmp_path: Path) -> None:
    old = publish(hub, family)[8]
    source = make_source(hub, tmp_path)
    source.refresh()
    assert source.verify(ref_of(source, 8)) == ""
    new = hub.move_branch(REPOSITORY, "step8", step_folder(family, MODEL, 16))
    source = make_source(hub, tmp_path)
    before = source.lock.read_bytes()
    said = source.verify(ref_of(source, 8))
    assert f"moved upstream from {old[:12]} to {new[:12]}" in said
    assert source.verify(ref_of(source, 64)) == ""
    assert source.refresh().moved == [f"{MODEL} step8 from {old[:12]} to {new[:12]}"]
    assert source.lock.read_bytes() == before
    source.refresh(accept_moved=True)
    assert ref_of(source, 8).commit_sha == new
    assert make_source(hub, tmp_path).verify(ref_of(source, 8)) == ""


def test_a_branch_that_is_gone_keeps_its_pin_until_it_is_accepted(hub: HubServer, family: Path, tmp_path: Path) -> None:
    old = publish(hub, family)[8]
    source = make_source(hub, tmp_path)
    source.refresh()
    hub.remove_branch(REPOSITORY, "step8")
    assert "step8 is gone upstream" in source.verify(ref_of(source, 8))
    assert source.refresh().removed == [f"{MODEL} step8 at {old[:12]}"]
    assert ref_of(source, 8).commit_sha == old
    source.refresh(accept_moved=True)
    assert [ref.step for ref in source.list(MODEL).checkpoints] == [0, 64]


def test_verifying_makes_one_request_for_all_checkpoints_of_a_model(
    hub: HubServer, family: Path, tmp_path: Path
) -> None:
    publish(hub, family)
    source = make_source(hub, tmp_path)
    source.refresh()
    hub.reset_log()
    assert [source.verify(ref) for ref in source.list(MODEL).checkpoints] == [""] * len(STEPS)
    assert paths(hub) == [f"{REPOSITORY}/refs"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_revision_that_lacks_a_file_is_no_checkpoint_and_has_a_reason(
    hub: HubServer, family_copy: Path, tmp_path: Path, name: str
) -> None:
    missing_file(family_copy, MODEL, 8, name)
    publish(hub, family_copy)
    source = make_source(hub, tmp_path)
    source.refresh()
    listing = source.list(MODEL)
    assert [ref.step for ref in listing.checkpoints] == [0, 64]
    assert list(listing.incomplete) == [8]
    assert listing.incomplete[8].startswith(f"{name} is missing")


def test_a_revision_that_was_not_whole_is_pinned_when_it_becomes_so(
    hub: HubServer, family: Path, family_copy: Path, tmp_path: Path
) -> None:
    missing_file(family_copy, MODEL, 8, "tokenizer.json")
    publish(hub, family_copy)
    source = make_source(hub, tmp_path)
    source.refresh()
    new = hub.move_branch(REPOSITORY, "step8", step_folder(family, MODEL, 8))
    hub.reset_log()
    source.refresh()
    assert paths(hub) == [f"{REPOSITORY}/refs", f"{REPOSITORY}/tree/{new}"]
    assert ref_of(source, 8).commit_sha == new
    assert source.list(MODEL).incomplete == {}


def test_models_of_a_family_share_a_lock_and_nothing_else(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family)
    publish(hub, family, 0, 1, model="gloss-tinier")
    source = make_source(hub, tmp_path, **TWO_MODELS)
    source.refresh([MODEL])
    assert (source.is_pinned(MODEL), source.is_pinned("gloss-tinier")) == (True, False)
    kept = source.list(MODEL)
    source.refresh(["gloss-tinier"])
    assert source.list(MODEL) == kept
    assert [ref.step for ref in source.list("gloss-tinier").checkpoints] == [0, 1]


def test_pins_from_before_a_failure_are_kept(hub: HubServer, family: Path, tmp_path: Path) -> None:
    shas = publish(hub, family)
    source = make_source(hub, tmp_path, retry_seconds=0.1, **TWO_MODELS)
    with pytest.raises(EmergenceError, match="no repository someone/gloss-tinier"):
        source.refresh()
    before = source.lock.read_bytes()
    assert len(source.list(MODEL).checkpoints) == len(shas)
    (sha,) = publish(hub, family, 16).values()
    publish(hub, family, 32)
    hub.fail(500, path_contains=f"tree/{sha}")
    with pytest.raises(SourceUnreachable):
        source.refresh([MODEL])
    assert source.lock.read_bytes() == before  # half a family would look like a whole one
    hub.heal()
    assert len(source.refresh([MODEL]).added) == 2


@pytest.mark.parametrize("change", ["repository", "pattern"])
def test_pins_under_another_name_are_not_those_of_the_study(
    hub: HubServer, family: Path, tmp_path: Path, change: str
) -> None:
    publish(hub, family)
    make_source(hub, tmp_path).refresh()
    hub.add_revision(REPOSITORY, "stage2-step8", step_folder(family, MODEL, 16))
    hub.add_revision("someone/other", "step8", step_folder(family, MODEL, 16))
    other = (
        make_source(hub, tmp_path, pattern="stage2-step{step}")
        if change == "pattern"
        else make_source(hub, tmp_path, repositories={MODEL: "someone/other"})
    )
    assert not other.is_pinned(MODEL)
    assert other.list(MODEL).checkpoints == ()
    other.refresh()
    (ref,) = other.list(MODEL).checkpoints
    assert ref.weights_sha256 == read_facts(step_folder(family, MODEL, 16)).weights_sha256


def test_names_that_are_one_step_or_no_step_are_refused(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family)
    with pytest.raises(EmergenceError, match=r"No branch or tag of someone/gloss-tiny .*'ckpt_\{step\}'") as caught:
        make_source(hub, tmp_path, pattern="ckpt_{step}").refresh()
    assert "step0, step64, step8" in caught.value.where
    hub.add_revision(REPOSITORY, "step08", step_folder(family, MODEL, 8))
    with pytest.raises(EmergenceError, match="step08 and step8 are both step 8"):
        make_source(hub, tmp_path).refresh()
    assert read_lock(tmp_path / "lock.json") == Lock({})


def test_offline_no_request_is_made(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family)
    make_source(hub, tmp_path).refresh()
    hub.remove_branch(REPOSITORY, "step8")
    hub.reset_log()
    source = make_source(hub, tmp_path, offline=True)
    assert [source.verify(ref) for ref in source.list(MODEL).checkpoints] == [None] * len(STEPS)
    with pytest.raises(EmergenceError, match="cannot be pinned offline"):
        source.refresh()
    assert hub.requests == []


def test_a_lock_that_cannot_be_written_gives_a_clear_error(hub: HubServer, family: Path, tmp_path: Path) -> None:
    publish(hub, family)
    (tmp_path / "pins").symlink_to("nowhere")
    with pytest.raises(EmergenceError, match="cannot be written"):
        make_source(hub, tmp_path / "pins").refresh()


def test_tags_are_revisions_too_and_the_first_number_may_be_no_step_0(
    hub: HubServer, family: Path, tmp_path: Path
) -> None:
    published = publish(hub, family)
    for step, name in ((8, "ckpt_000"), (64, "ckpt_001")):
        hub.add_tag(REPOSITORY, name, f"step{step}")
    source = make_source(hub, tmp_path, pattern="ckpt_{step}", step_offset=1)
    source.refresh()
    listed = source.list(MODEL).checkpoints
    assert [(ref.step, ref.revision, ref.commit_sha) for ref in listed] == [
        (1, "ckpt_000", published[8]),
        (2, "ckpt_001", published[64]),
    ]
    hub.move_branch(REPOSITORY, "step8", step_folder(family, MODEL, 16))
    assert source.verify(listed[0]) == "", "a tag stays where it is"
    hub.add_revision(REPOSITORY, "ckpt_000", step_folder(family, MODEL, 16))
    assert "moved upstream" in make_source(hub, tmp_path, pattern="ckpt_{step}", step_offset=1).verify(listed[0])
