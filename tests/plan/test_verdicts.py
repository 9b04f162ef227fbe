"""The verdict of a blocking check belongs to the state of a cell, and to one version of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.check_results import CheckResult, check_results
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.status import study_status
from resources.errors import EmergenceError
from resources.files.records import write_record
from resources.files.storage import Storage
from resources.tables.check import Check, between
from tests.pipeline_by_hand import SPECS, make, make_all, small_study

STUDY = small_study()
SMALL = Check("loss_is_small", "Below 5.", (between("loss", 0, 5),))
BAD = Cell("gloss-25k", 1)


def checked(check: Check = SMALL) -> list[AssetSpec]:
    return [replace(one, checks=(check,)) if one.name == "weights" else one for one in SPECS]


def plan_of(storage: Storage, check: Check = SMALL) -> Plan:
    return Plan(STUDY, storage, checked(check))


def write_weights(storage: Storage, losses: dict[Cell, float]) -> None:
    """Write all weights, as a process that is killed before it validates them."""
    plan = plan_of(storage)
    spec = plan.specs["weights"]
    for cell in plan.cells(spec):
        write_record(spec.path(storage, cell), plan.demand_inputs(spec, cell), {"loss": losses.get(cell, 1.0)})


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path, STUDY.name)


@pytest.fixture
def failing(storage: Storage) -> Storage:
    write_weights(storage, {BAD: 9.0})
    return storage


def test_a_cell_that_fails_is_not_done_and_nothing_is_made_from_it(failing: Storage) -> None:
    plan = plan_of(failing)
    state = plan.state(plan.specs["weights"], BAD)
    assert state.state == "failed"
    assert "loss_is_small" in state.reason
    assert str(BAD) in state.reason
    due = {one.name: plan.todo(one) for one in plan.specs.values()}
    assert due["weights"] == []
    assert due["codes"] == [cell for cell in plan.cells(plan.specs["codes"]) if cell.at_step != (BAD.model, BAD.step)]
    assert due["curves"] == [Cell("gloss-200k")]
    assert due["summary"] == []
    with pytest.raises(EmergenceError, match="which is failed"):
        plan.demand_inputs(plan.specs["codes"], Cell(*BAD.at_step, 0))
    for cell in due["codes"]:
        make(plan, "codes", cell)
    again = plan_of(failing)
    assert again.todo(again.specs["codes"]) == []
    assert len(again.todo(again.specs["codes"], again=True)) > 0
    assert again.todo(again.specs["weights"], again=True) == [BAD]
    (weights, *_) = study_status(again, frozenset())
    assert (weights.done, weights.failed) == (5, 1)
    assert "loss_is_small" in weights.reasons[0]


def test_a_cell_that_is_made_anew_gets_a_new_verdict(failing: Storage) -> None:
    assert plan_of(failing).state(checked()[0], BAD).state == "failed"
    write_weights(failing, {})
    assert make_all(STUDY, failing, checked())["summary"] == [Cell()]


def test_other_checks_judge_a_cell_anew(failing: Storage) -> None:
    assert plan_of(failing).state(checked()[0], BAD).state == "failed"
    wider = replace(SMALL, conditions=(between("loss", 0, 10),))
    plan = plan_of(failing, wider)
    assert plan.state(plan.specs["weights"], BAD).state == "done"
    warning = replace(SMALL, blocking=False)
    plan = plan_of(failing, warning)
    assert plan.state(plan.specs["weights"], BAD).state == "done"


def test_a_verdict_is_read_and_not_computed_again(failing: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_of(failing).state(checked()[0], BAD).state == "failed"
    monkeypatch.setattr("emergence_assets.plan.plan.check_results", None)
    plan = plan_of(failing)
    weights = plan.specs["weights"]
    states = {plan.state(weights, cell).state for cell in plan.cells(weights, BAD.model)}
    assert states == {"done", "failed"}


@pytest.mark.parametrize(
    "text",
    ["", "\n[", '\n["a"]', "\n[[]]", "\n" + "[" * 100_000, "\n\x00\ufffd", '\n{"a": 1}'],
    ids=["cut", "open", "short", "nested", "deep", "binary", "mapping"],
)
def test_a_damaged_file_of_verdicts_costs_a_validation(failing: Storage, text: str) -> None:
    assert plan_of(failing).state(checked()[0], BAD).state == "failed"
    path = failing.verdicts("weights")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: len(lines) // 2]) + text)
    plan = plan_of(failing)
    assert plan.state(plan.specs["weights"], BAD).state == "failed"
    assert plan.state(plan.specs["weights"], Cell("gloss-25k", 8)).state == "done"


def test_verdicts_that_cannot_be_kept_are_computed_once(failing: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    failing.verdicts("weights").parent.write_text("a file where the folder should be")
    validated: list[int] = []

    def counted(spec: AssetSpec, plan: Plan, cells: Sequence[Cell]) -> list[CheckResult]:
        validated.append(len(cells))
        return check_results(spec, plan, cells)

    monkeypatch.setattr("emergence_assets.plan.plan.check_results", counted)
    plan = plan_of(failing)
    weights = plan.specs["weights"]
    states = {cell: plan.state(weights, cell).state for cell in plan.cells(weights)}
    assert {cell for cell, state in states.items() if state == "failed"} == {BAD}
    assert validated == [3, 3]  # once per model
