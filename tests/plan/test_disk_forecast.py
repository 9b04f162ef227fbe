"""The disk space of a study is predicted, and a study that does not fit is not started."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from emergence_assets.checkpoints.overview import list_new_models
from emergence_assets.features.spec import expected_pairs
from emergence_assets.orchestration.runs.batching import disk_batches
from emergence_assets.pipeline import specs_for
from emergence_assets.plan import disk_forecast as forecasting
from emergence_assets.plan.disk_forecast import by_asset, forecast, format_bytes, require_room, room
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import load_study, parse_study
from emergence_assets.study.study import Study
from emergence_assets.texts.counting import text_counts
from resources.errors import EmergenceError
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from tests.conftest import TINY
from tests.family import STEPS
from tests.studies.published_study import local_family, write_study


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def tiny(**activations: Any) -> Study:
    declared = dict(read_yaml(TINY))
    declared["activations"] = declared["activations"] | activations
    return parse_study(declared)


def plan_of(study: Study, data: Path) -> Plan:
    return Plan(study, Storage(data, study.name), specs_for(study))


def predicted(study: Study, data: Path) -> dict[str, int]:
    plan = plan_of(study, data)
    return {one.asset: one.bytes_finished for one in by_asset(forecast(plan, text_counts(study, plan.storage)))}


def test_a_study_is_counted_before_anything_is_made(tmp_path: Path) -> None:
    study = tiny()
    plan = plan_of(study, tmp_path)
    assets = {one.asset: one for one in by_asset(forecast(plan, text_counts(study, plan.storage)))}
    assert assets["activations"].n_cells == assets["sae"].n_cells == 12
    assert assets["activations"].bytes_to_come == assets["activations"].bytes_finished > 0
    assert all(one.n_done == one.bytes_now == 0 for one in assets.values())
    assert list(tmp_path.iterdir()) == []


def test_rows_that_go_are_not_counted(tmp_path: Path) -> None:
    sizes = {
        retention: predicted(tiny(retention=retention), tmp_path)["activations"]
        for retention in ("keep", "drop-after-sae", "stream")
    }
    assert sizes["keep"] > sizes["drop-after-sae"] == sizes["stream"]
    rows = 600 * 2 * sum(4 * n_layers * d for n_layers, d in ((2, 16), (1, 8)))
    assert sizes["keep"] - sizes["stream"] == pytest.approx(rows, rel=0.5)  # some texts are too long
    assert predicted(tiny(dtype="float32"), tmp_path)["activations"] > sizes["keep"]


def test_checkpoints_that_nobody_looked_at_are_counted(family: Path, tmp_path: Path) -> None:
    declared = write_study(tmp_path / "all.yaml", local_family(family))
    plan = plan_of(load_study(str(declared)), tmp_path)
    counts = text_counts(plan.study, plan.storage)
    assert list_new_models(plan) == {}
    cells = {asset.asset: asset for asset in forecast(plan, counts) if asset.model == "gloss-tiny"}
    assert cells["activations"].n_cells == 2 * len(STEPS)
    assert cells["activations"].bytes_to_come > 0


def test_models_without_a_known_checkpoint_are_named(family: Path, tmp_path: Path) -> None:
    declared = write_study(tmp_path / "all.yaml", local_family(family, folder="{model}/checkpoint-{step}"))
    plan = plan_of(load_study(str(declared)), tmp_path)
    unlisted = list_new_models(plan)
    assert unlisted.keys() == {"gloss-tiny", "gloss-tinier"}
    assert "'checkpoint-{step}'; its folders are step0" in unlisted["gloss-tiny"]


def test_a_limit_of_training_rows_is_predicted_and_kept(tmp_path: Path) -> None:
    study = tiny(training_tokens=1000, positions="all")
    counts = text_counts(study, Storage(tmp_path, study.name))
    assert 1000 - 32 < counts.n_rows <= 1000
    assert counts.is_exact


def test_a_disk_that_is_too_small_is_reported_with_settings_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny(training_texts=3000, positions="all", dtype="float32")
    plan = plan_of(study, tmp_path)
    counts = text_counts(study, plan.storage)
    needed = room(plan, forecast(plan, counts), counts).needed
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Disk(0, 0, needed))
    require_room(plan, counts)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Disk(0, 0, needed - 1))
    with pytest.raises(EmergenceError, match="are free") as caught:
        require_room(plan, counts)
    assert "stream (" in caught.value.remedy
    assert "drop-after-sae (" in caught.value.remedy
    require_room(plan, counts, stages=["report"])


def test_streamed_rows_need_space_for_one_checkpoint(tmp_path: Path) -> None:
    study = tiny(retention="drop-after-sae")
    plan = plan_of(study, tmp_path)
    counts = text_counts(study, plan.storage)
    passing = room(plan, forecast(plan, counts), counts).passing
    assert passing == pytest.approx(2 * counts.n_rows * 16 * 2)
    kept = plan_of(tiny(), tmp_path)
    assert room(kept, forecast(kept, counts), counts).passing == 0


def test_a_full_disk_cuts_a_run_into_batches_of_whole_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny(retention="drop-after-sae")
    plan = plan_of(study, tmp_path)
    counts = text_counts(study, plan.storage)
    spec = plan.specs["activations"]
    cells = plan.cells(spec, "gloss-tiny", expected=True)
    one_checkpoint = round(forecasting.checkpoint_rows_bytes(plan, "gloss-tiny", counts))
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Disk(0, 0, 4 * one_checkpoint))
    batches = disk_batches(plan, spec, cells, lambda: counts)
    assert [len(batch) for batch in batches] == [4, 4]
    assert [cell for batch in batches for cell in batch] == cells
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Disk(0, 0, 10**12))
    assert len(disk_batches(plan, spec, cells, lambda: counts)) == 1
    kept = plan_of(tiny(), tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Disk(0, 0, 1))
    assert len(disk_batches(kept, spec, cells, lambda: counts)) == 1


def test_more_texts_and_more_active_latents_give_more_pairs() -> None:
    few = expected_pairs((50, 50), 512, 16)
    assert 0 < few < expected_pairs((100, 100), 512, 16) < expected_pairs((100, 100), 512, 32) < 2 * 512


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_600, "100 kB"), (1.26e9, "1.3 GB"), (2.5e15, "2.5 PB")],
)
def test_bytes_are_formatted_with_units(n_bytes: float, words: str) -> None:
    assert format_bytes(n_bytes) == words


def test_constants_that_are_repeated_for_a_fast_start_are_equal() -> None:
    """Commands and specs repeat these constants, because they must not import torch or a tokenizer."""
    from emergence_assets.activations.files import export as rows
    from emergence_assets.checkpoints import spec as cells
    from emergence_assets.checkpoints.training import settings as recipe
    from emergence_assets.cli import export as export_command
    from emergence_assets.cli import storage as storage_commands
    from emergence_assets.saes.formats import layouts as saes

    assert tuple(saes.LAYOUTS) == export_command.LAYOUT_NAMES
    assert tuple(rows.LAYOUTS) == storage_commands.LAYOUT_NAMES
    assert recipe.TrainingRecipe.vocab_size == cells.VOCABULARY


@pytest.mark.slow
def test_the_prediction_equals_the_bytes_of_a_run(finished_study: Path) -> None:
    study = tiny()
    plan = plan_of(study, finished_study)
    for one in by_asset(forecast(plan, text_counts(study, plan.storage))):
        assert one.n_done == one.n_cells
        assert one.bytes_to_come == 0
        if one.asset in ("training_run", "activations"):
            assert one.bytes_finished == pytest.approx(one.bytes_now, rel=0.05)
