"""The frame for the checks of activation files, of a finished study and of a tampered study."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from emergence_assets.activations.check_frame import jump
from emergence_assets.activations.spec import ACTIVATIONS
from emergence_assets.pipeline import SPECS
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.check_results import check_results
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import parse_study
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from tests.conftest import TINY, copied

STUDY = parse_study(read_yaml(TINY))
MODEL = "gloss-tiny"


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ((10.0, 1.0, 100.0), 0.0),  # an intermediate state
        ((10.0, 1.0, 1.0), 1.0),
        ((1.0, 10.0, 1000.0), 1.0),
        ((10.0, 1.0, None), 0.0),
        ((10.0, None, 1.0), 0.0),
        ((None, 1.0, 1.0), 0.0),
    ],
)
def test_a_jump_lies_off_both_neighbours(norms: tuple[float | None, ...], expected: float) -> None:
    assert jump(*norms) == pytest.approx(expected)


def repeat_rows(path: Callable[[Cell], Path]) -> None:
    with h5py.File(path(Cell(MODEL, 1, 0)), "r+") as file:
        rows = file["read_out"]
        assert isinstance(rows, h5py.Dataset)
        rows[:] = rows[:1]


def other_tokens(path: Callable[[Cell], Path]) -> None:
    with h5py.File(path(Cell(MODEL, 1, 0)), "r+") as file:
        file.attrs.modify("tokens_fingerprint", np.bytes_("0" * 64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (None, set()),
        (repeat_rows, {"rows_differ"}),
        (other_tokens, {"tokens_are_the_shared_ones"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_finished_study_passes_and_a_damaged_file_fails_its_check(
    finished_study: Path, tmp_path: Path, damage: Callable[[Callable[[Cell], Path]], None] | None, expected: set[str]
) -> None:
    data = copied(finished_study, tmp_path / "data")
    storage = Storage(data, STUDY.name)
    if damage:
        damage(lambda cell: ACTIVATIONS.path(storage, cell))
    plan = Plan(STUDY, storage, SPECS)
    found = check_results(ACTIVATIONS, plan, plan.cells(ACTIVATIONS, MODEL))
    failed = {verdict.finding.check.name for verdict in found if not verdict.finding.passed}
    assert failed == expected
    broken = {name for verdict in found for name in verdict.cells}
    assert broken == ({str(Cell(MODEL, 1, 0))} if damage else set())
