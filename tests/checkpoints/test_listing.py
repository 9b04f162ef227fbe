"""The checkpoint timeline of a model over a folder of real checkpoints, measured as by workers."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from emergence_assets.checkpoints import inspection
from emergence_assets.checkpoints.identity import worker
from emergence_assets.checkpoints.listing import forget_lost, refresh_timeline
from emergence_assets.checkpoints.sources.source import reference
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.timeline import Timeline, read_timeline, write_timeline
from emergence_assets.study.load import load_study, parse_study
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.storage import Storage
from tests.architectures import save, tiny_model
from tests.family import (
    MODELS,
    STEPS,
    duplicate_step,
    missing_file,
    other_seed,
    step_folder,
    trained_family,
    with_nan,
)
from tests.studies.published_study import SMALL, local_family, write_study

MODEL = "gloss-tiny"


@dataclass
class Listed:
    """A model in a folder, as a study lists it."""

    root: Path
    storage: Storage

    def study(self, **more: Any) -> Study:
        declared = write_study(self.storage.data / "listed.yaml", local_family(self.root), **more)
        return load_study(str(declared))

    def refresh(self, **more: Any) -> Timeline:
        return refresh_timeline(self.study(**more), self.storage, MODEL)

    def measure(self) -> int:
        """Measure all unmeasured checkpoints as workers do; return their number."""
        self.refresh()
        return self.measure_listed()

    def measure_listed(self) -> int:
        """Measure all checkpoints of an earlier listing."""
        torch.set_num_threads(1)
        tasks = inspection.measurement_tasks(self.study(), self.storage, [Cell(MODEL, step) for step in STEPS])
        for task in tasks:
            worker.measure(**task.arguments, report=lambda *_: None)
        return len(tasks)

    def measurement(self, step: int) -> Path:
        entry = self.refresh().entry(step)
        assert entry is not None
        return self.storage.checkpoint_measurement(entry.identity)


@pytest.fixture
def listed(family_copy: Path, tmp_path: Path) -> Listed:
    (tmp_path / "data").mkdir()
    return Listed(family_copy, Storage(tmp_path / "data", "listed"))


@pytest.fixture(scope="module")
def measured_before(family: Path, tmp_path_factory: pytest.TempPathFactory) -> Listed:
    """The clean family, measured and validated; tests change its timeline and restore it."""
    found = Listed(family, Storage(tmp_path_factory.mktemp("measured"), "listed"))
    assert found.measure() == len(STEPS)
    found.refresh()
    return found


def statuses(axis: Timeline) -> dict[int, str]:
    return {entry.step: entry.status for entry in axis.entries}


def test_what_nobody_looked_at_is_unjudged_and_what_is_not_whole_is_missing(listed: Listed) -> None:
    missing_file(listed.root, MODEL, 8, "tokenizer.json")
    axis = listed.refresh()
    assert statuses(axis) == {step: "missing" if step == 8 else "unjudged" for step in STEPS}
    entry = axis.entry(8)
    assert entry is not None
    assert "tokenizer.json" in entry.reason
    assert reference(MODEL, axis.entry(8)) is None
    ref = reference(MODEL, axis.entry(16))
    assert ref is not None
    assert (ref.step, ref.revision, ref.location) == (16, "step16", str(step_folder(listed.root, MODEL, 16)))
    assert axis == read_timeline(listed.storage.timeline(MODEL))


def test_listed_steps_alone_are_wanted_and_reported_as_missing_if_absent(listed: Listed) -> None:
    axis = listed.refresh(steps=[0, 8, 48])
    assert statuses(axis) == {0: "unjudged", 8: "unjudged", 48: "missing"}
    assert axis.entries[-1].reason == "the source has no such step"


def test_measured_checkpoints_are_validated_and_faults_found_by_name(listed: Listed) -> None:
    duplicate_step(listed.root, MODEL, 64, 4)
    with_nan(listed.root, MODEL, 2)
    other_seed(listed.root, MODEL, 16)
    assert listed.measure() == len(STEPS)
    axis = listed.refresh()
    found = {entry.step: (entry.status, entry.dup_of_step) for entry in axis.left_out}
    assert found == {2: ("quarantined", None), 4: ("duplicate", 64), 16: ("outlier", None)}
    assert axis.steps() == [0, 1, 8, 32, 64]
    assert listed.measure() == 0  # a refusal is stored like a measurement
    assert sorted(worker.measurements(listed.storage, axis)) == [step for step in STEPS if step != 2]
    admitting = listed.refresh(admit=[f"{MODEL}/step4", f"{MODEL}/step2"])
    assert statuses(admitting)[4] == "admitted"
    assert statuses(admitting)[2] == "quarantined"
    assert listed.refresh() == axis


def test_nothing_is_validated_or_written_again_without_a_change(measured_before: Listed) -> None:
    path, axis = measured_before.storage.timeline(MODEL), measured_before.refresh()
    before = path.stat()
    assert measured_before.refresh() == axis
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # A stored result is used as long as its inputs are the same.
    said = tuple(replace(entry, status="outlier", reason="said before") for entry in axis.entries)
    write_timeline(path, replace(axis, entries=said))
    assert set(statuses(measured_before.refresh()).values()) == {"outlier"}
    write_timeline(path, Timeline(said, validated_from="other rules"))
    assert measured_before.refresh() == axis


def test_a_changed_file_makes_its_checkpoint_unjudged_and_the_others_judged_again(listed: Listed) -> None:
    duplicate_step(listed.root, MODEL, 64, 4)
    listed.measure()
    assert [entry.step for entry in listed.refresh().left_out] == [4]
    os.utime(step_folder(listed.root, MODEL, 64) / "model.safetensors")
    found = statuses(listed.refresh())
    assert (found[64], found[4]) == ("unjudged", "outlier")  # for now it is no duplicate
    assert listed.measure() == 1
    assert statuses(listed.refresh()) == {step: "duplicate" if step == 4 else "ok" for step in STEPS}


def test_steps_that_arrive_in_order_are_never_left_out_for_a_time(measured_before: Listed, tmp_path: Path) -> None:
    arriving = Listed(tmp_path / "arriving", measured_before.storage)
    for n, step in enumerate(STEPS[:4], start=1):
        shutil.copytree(step_folder(measured_before.root, MODEL, step), step_folder(arriving.root, MODEL, step))
        assert statuses(arriving.refresh())[step] == "unjudged"
        assert arriving.measure() == 1
        assert statuses(arriving.refresh()) == dict.fromkeys(STEPS[:n], "ok")


@pytest.mark.parametrize("place", [10, 200, -100])
def test_a_damaged_measurement_is_made_again(listed: Listed, place: int) -> None:
    listed.measure()
    axis = listed.refresh()
    path = listed.measurement(8)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    # A sample is read only if there is something to validate.
    axis_file = listed.storage.timeline(MODEL)
    write_timeline(axis_file, replace(axis, validated_from="other rules"))
    damaged = listed.refresh()
    assert statuses(damaged) == {step: "unjudged" if step == 8 else "ok" for step in STEPS}
    assert not path.exists()
    assert listed.measure_listed() == 1
    assert listed.refresh() == axis


def test_a_trained_checkpoint_is_expected_and_its_damage_is_an_error(tmp_path: Path) -> None:
    shape = {"d_model": 16, "n_layers": 2} | {"n_heads": 2, "learning_rate": 1e-2}
    family = {"source": "trained-here", "models": {MODEL: shape}, "n_steps": 2}
    study = parse_study({"name": "own", "family": family, "steps": [0, 1, 2]} | SMALL)
    storage = Storage(tmp_path, "own")
    assert statuses(refresh_timeline(study, storage, MODEL)) == dict.fromkeys((0, 1, 2), "expected")
    trained_family(storage.training_folder(MODEL).parent, (0, 1, 2), {MODEL: MODELS[MODEL]})
    axis = refresh_timeline(study, storage, MODEL)
    assert statuses(axis) == dict.fromkeys((0, 1, 2), "expected")
    assert all(entry.identity for entry in axis.entries)
    (storage.checkpoint_folder(MODEL, 1) / "config.json").unlink()
    with pytest.raises(EmergenceError, match=r"trained here is damaged.*config\.json") as refused:
        refresh_timeline(study, storage, MODEL)
    assert "delete step1 and run again" in refused.value.remedy
    assert read_timeline(storage.timeline(MODEL)) == axis


def test_a_refusal_is_looked_at_again_under_other_conditions(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    config = step_folder(listed.root, MODEL, STEPS[2]) / "config.json"
    sound = config.read_text()
    (config.parent / "own.py").write_text("")  # code that nobody trusts is refused
    config.write_text(sound.replace("{", '{"auto_map": {"AutoConfig": "own.OwnConfig"},', 1))
    listed.measure()
    entry = listed.refresh().entry(STEPS[2])
    assert entry is not None
    assert entry.status == "quarantined"
    assert listed.measure() == 0
    monkeypatch.setattr("emergence_assets.checkpoints.identity.measurement.version", lambda name: "of another day")
    entry = listed.refresh().entry(STEPS[2])
    assert entry is not None
    assert entry.status == "unjudged"
    assert listed.measure() == 1


def test_a_model_that_is_not_supported_is_left_out_with_the_reason_and_tried_again_with_other_blocks(
    listed: Listed,
) -> None:
    folder = step_folder(listed.root, MODEL, STEPS[2])
    shutil.rmtree(folder)
    save(tiny_model("T5ForConditionalGeneration"), folder)
    assert listed.measure() == len(STEPS)
    for axis in (listed.refresh(), listed.refresh(admit=[f"{MODEL}/step{STEPS[2]}"])):
        (entry,) = axis.left_out
        assert (entry.step, entry.status, entry.failed) == (STEPS[2], "quarantined", ("model_is_supported",))
        assert entry.reason.startswith("not supported: T5ForConditionalGeneration is an encoder-decoder")
    assert listed.measure() == 0
    named = local_family(listed.root) | {"blocks": "gpt_neox.layers"}
    study = load_study(str(write_study(listed.storage.data / "named.yaml", named)))
    assert statuses(refresh_timeline(study, listed.storage, MODEL))[STEPS[2]] == "unjudged"


def test_weights_of_another_shape_are_left_out_as_damaged(listed: Listed) -> None:
    config = step_folder(listed.root, MODEL, STEPS[2]) / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    listed.measure()
    (entry,) = listed.refresh().left_out
    assert (entry.step, entry.failed) == (STEPS[2], ("files_are_whole",))
    assert "gpt_neox.layers.2." in entry.reason


def test_verification_looks_at_a_refusal_again(listed: Listed) -> None:
    with_nan(listed.root, MODEL, STEPS[2])
    listed.measure()
    assert listed.measure() == 0
    cells = [Cell(MODEL, step) for step in STEPS]
    inspection.forget_refusals(listed.study(), listed.storage, cells)
    assert listed.measure() == 1


def test_a_measured_checkpoint_whose_files_are_gone_still_counts_until_it_is_forgotten(listed: Listed) -> None:
    listed.measure()
    before = statuses(listed.refresh())
    kept = listed.root.parent / "elsewhere"
    shutil.move(step_folder(listed.root, MODEL, 8), kept)
    (step_folder(listed.root, MODEL, 16) / "config.json").unlink()
    axis = listed.refresh()
    assert statuses(axis) == before == statuses(listed.refresh())
    changes = {entry.step: entry.upstream for entry in axis.entries if entry.upstream}
    assert changes == {8: "its folder is gone", 16: "its files changed since it was listed"}
    assert listed.measure() == 0
    shutil.move(kept, step_folder(listed.root, MODEL, 8))
    listed.measure()  # a moved folder is another one until its weights are hashed
    back = listed.refresh()
    assert statuses(back) == before
    assert [entry.step for entry in back.entries if entry.upstream] == [16]
    lines = forget_lost(listed.study(), listed.storage, [MODEL])
    assert lines == [f"{MODEL} step 16: {step_folder(listed.root, MODEL, 16)}"]
    assert statuses(listed.refresh()) == before | {16: "missing"}
    assert forget_lost(listed.study(), listed.storage, [MODEL]) == []


def test_a_mount_that_is_away_takes_no_finished_step_with_it(listed: Listed) -> None:
    listed.measure()
    before = statuses(listed.refresh())
    away = listed.root.rename(listed.root.parent / "away")
    with pytest.raises(EmergenceError, match="does not exist"):
        listed.refresh()
    listed.root.mkdir()  # the point where it is mounted
    assert statuses(listed.refresh()) == before
    shutil.rmtree(listed.root)
    away.rename(listed.root)
    assert statuses(listed.refresh()) == before


def test_checkpoints_of_another_folder_are_not_taken_for_lost_ones(listed: Listed, tmp_path: Path) -> None:
    listed.measure()
    listed.refresh()
    other = Listed(tmp_path / "other", listed.storage)
    shutil.copytree(step_folder(listed.root, MODEL, 8), step_folder(other.root, MODEL, 8))
    assert statuses(other.refresh()) == {8: "unjudged"}


def test_a_checkpoint_that_was_left_out_is_not_kept_when_it_is_gone(listed: Listed) -> None:
    with_nan(listed.root, MODEL, 2)
    listed.measure()
    assert statuses(listed.refresh())[2] == "quarantined"
    shutil.rmtree(step_folder(listed.root, MODEL, 2))
    assert 2 not in statuses(listed.refresh())
