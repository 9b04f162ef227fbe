"""Counts of a study's cells: each counted once, with the reasons why it is stale or missing."""

from pathlib import Path

import pytest

from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.status import AssetStatus, study_status
from resources.files.storage import Storage
from tests.pipeline_by_hand import SPECS, make_all, small_study

STUDY = small_study()
TOTALS = {"weights": 6, "codes": 18, "curves": 2, "summary": 1}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path, STUDY.name)


def status(storage: Storage, *failed: tuple[str, str]) -> dict[str, AssetStatus]:
    found = study_status(Plan(STUDY, storage, SPECS), frozenset(failed))
    assert {one.asset: one.total for one in found} == TOTALS
    assert [(one.asset, one.stage) for one in found] == [(spec.name, spec.stage) for spec in SPECS]
    return {one.asset: one for one in found}


def counts(one: AssetStatus) -> tuple[int, int, int, int]:
    return one.done, one.stale, one.missing, one.failed


def weights_file(storage: Storage) -> Path:
    return SPECS[0].path(storage, Cell("gloss-25k", 8))


def test_at_first_everything_is_missing(storage: Storage) -> None:
    for name, one in status(storage).items():
        assert (counts(one), one.reasons) == ((0, 0, TOTALS[name], 0), ())


def test_at_the_end_everything_is_done(storage: Storage) -> None:
    make_all(STUDY, storage)
    for name, one in status(storage).items():
        assert (counts(one), one.reasons) == ((TOTALS[name], 0, 0, 0), ())


def test_a_deleted_input_is_missing_and_its_descendants_are_stale_with_the_reason(storage: Storage) -> None:
    make_all(STUDY, storage)
    weights_file(storage).unlink()
    found = status(storage)
    assert {name: counts(one) for name, one in found.items()} == {
        "weights": (5, 0, 1, 0),
        "codes": (16, 2, 0, 0),
        "curves": (1, 1, 0, 0),
        "summary": (0, 1, 0, 0),
    }
    # Two layers are stale for one reason: it is listed once.
    assert found["codes"].reasons == ("its input weights of gloss-25k/step000008 is missing",)


def test_a_cell_whose_last_attempt_failed_is_failed_until_it_is_made(storage: Storage) -> None:
    failed = ("weights", "gloss-25k/step000008")
    assert counts(status(storage, failed)["weights"]) == (0, 0, 5, 1)
    assert counts(status(storage, failed)["codes"]) == (0, 0, 18, 0)
    make_all(STUDY, storage)
    assert counts(status(storage, failed)["weights"]) == (6, 0, 0, 0)


def test_a_damaged_cell_is_failed_and_named(storage: Storage) -> None:
    make_all(STUDY, storage)
    weights_file(storage).write_text("{}")
    found = status(storage)
    assert counts(found["weights"]) == (5, 0, 0, 1)
    assert str(weights_file(storage)) in found["weights"].reasons[0]
    assert counts(found["codes"])[0] == 16
