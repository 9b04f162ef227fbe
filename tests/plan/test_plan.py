"""Stale and missing cells with their reasons, on a pipeline of four assets: weights, codes, curves, summary."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.plan.cell import Cell, layer_key, step_key
from emergence_assets.plan.plan import CellState, Plan
from emergence_assets.plan.timeline import Timeline, TimelineEntry, write_timeline
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.storage import Storage
from tests.pipeline_by_hand import SPECS, due, make, make_all, small_study, spec, with_other_code

STUDY = small_study()
ALL = {
    "weights": [f"{model}/{step_key(step)}" for model in STUDY.models for step in STUDY.steps],
    "codes": [
        f"{model}/{step_key(step)}/{layer_key(layer)}"
        for model, n_layers in (("gloss-25k", 2), ("gloss-200k", 4))
        for step in STUDY.steps
        for layer in range(n_layers)
    ],
    "curves": ["gloss-25k", "gloss-200k"],
    "summary": ["all models"],
}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path, STUDY.name)


@pytest.fixture
def finished(storage: Storage) -> Storage:
    make_all(STUDY, storage)
    return storage


def file_of(storage: Storage, asset: str, cell: Cell) -> Path:
    return Plan(STUDY, storage, SPECS).specs[asset].path(storage, cell)


def states(storage: Storage, study: Study = STUDY) -> dict[tuple[str, str], CellState]:
    plan = Plan(study, storage, SPECS)
    return {(one.name, str(cell)): plan.state(one, cell) for one in SPECS for cell in plan.cells(one)}


def test_at_first_every_cell_is_missing_and_due_in_order(storage: Storage) -> None:
    assert due(STUDY, storage) == ALL
    assert {state for state, _ in states(storage).values()} == {"missing"}


def test_after_all_are_made_nothing_is_due(finished: Storage) -> None:
    assert due(STUDY, finished) == {}
    assert set(states(finished).values()) == {("done", "")}


@pytest.mark.parametrize(
    ("asset", "cell", "expected"),
    [
        (
            "weights",
            Cell("gloss-25k", 8),
            {
                "weights": ["gloss-25k/step000008"],
                "codes": ["gloss-25k/step000008/L00", "gloss-25k/step000008/L01"],
                "curves": ["gloss-25k"],
                "summary": ["all models"],
            },
        ),
        (
            "codes",
            Cell("gloss-200k", 1, 3),
            {"codes": ["gloss-200k/step000001/L03"], "curves": ["gloss-200k"], "summary": ["all models"]},
        ),
        ("summary", Cell(), {"summary": ["all models"]}),
    ],
)
def test_deleting_a_file_makes_it_and_exactly_its_descendants_due(
    finished: Storage, asset: str, cell: Cell, expected: dict[str, list[str]]
) -> None:
    file_of(finished, asset, cell).unlink()
    assert due(STUDY, finished) == expected


def test_making_a_deleted_file_again_makes_its_descendants_done_again(finished: Storage) -> None:
    file_of(finished, "weights", Cell("gloss-25k", 8)).unlink()
    make(Plan(STUDY, finished, SPECS), "weights", Cell("gloss-25k", 8))
    assert due(STUDY, finished) == {}


def test_a_stale_cell_names_the_missing_input(finished: Storage) -> None:
    file_of(finished, "weights", Cell("gloss-25k", 8)).unlink()
    found = states(finished)
    assert found["weights", "gloss-25k/step000008"] == ("missing", "")
    assert found["codes", "gloss-25k/step000008/L01"] == (
        "stale",
        "its input weights of gloss-25k/step000008 is missing",
    )
    assert found["curves", "gloss-25k"] == ("stale", "its input codes of gloss-25k/step000008/L00 is stale")
    assert found["curves", "gloss-200k"] == ("done", "")


def test_a_changed_recipe_makes_its_asset_and_its_descendants_stale(finished: Storage) -> None:
    changed = small_study(k=8)
    assert due(changed, finished) == {name: cells for name, cells in ALL.items() if name != "weights"}
    found = states(finished, changed)
    assert found["codes", "gloss-25k/step000000/L00"] == ("stale", "k was 16, is 8")
    assert found["curves", "gloss-25k"].state == "stale"


def test_changing_the_recipe_back_makes_everything_done(finished: Storage) -> None:
    make_all(small_study(k=8), finished)
    assert due(small_study(k=8), finished) == {}
    assert due(STUDY, finished) == {name: cells for name, cells in ALL.items() if name != "weights"}
    make_all(STUDY, finished)
    assert due(STUDY, finished) == {}


@pytest.mark.parametrize(("name", "kept"), [("weights", 0), ("codes", 1), ("curves", 2), ("summary", 3)])
def test_changed_code_makes_its_asset_and_its_descendants_stale(finished: Storage, name: str, kept: int) -> None:
    specs = with_other_code(SPECS, name)
    assert due(STUDY, finished, specs) == dict(list(ALL.items())[kept:])
    first = specs[kept]
    plan = Plan(STUDY, finished, specs)
    assert {plan.state(first, cell) for cell in plan.cells(first)} == {("stale", "the code changed")}


def test_a_new_step_makes_only_what_it_adds_to_due(storage: Storage) -> None:
    shorter = STUDY.model_copy(update={"steps": [0, 1]})
    make_all(shorter, storage)
    assert due(STUDY, storage) == {
        "weights": ["gloss-25k/step000008", "gloss-200k/step000008"],
        "codes": [cell for cell in ALL["codes"] if "step000008" in cell],
        "curves": ALL["curves"],
        "summary": ALL["summary"],
    }


def test_the_record_of_another_cell_is_not_taken_for_this_one(finished: Storage) -> None:
    wrong = file_of(finished, "codes", Cell("gloss-25k", 8, 1))
    wrong.write_bytes(file_of(finished, "codes", Cell("gloss-25k", 8, 0)).read_bytes())
    state, reason = states(finished)["codes", "gloss-25k/step000008/L01"]
    assert (state, reason) == ("stale", "it is codes of gloss-25k/step000008/L00")


def test_a_damaged_record_is_an_error_and_not_a_state(finished: Storage) -> None:
    path = file_of(finished, "weights", Cell("gloss-25k", 8))
    path.write_text("{}")
    plan = Plan(STUDY, finished, SPECS)
    with pytest.raises(EmergenceError, match="cannot be read") as caught:
        plan.state(plan.specs["weights"], Cell("gloss-25k", 8))
    assert caught.value.where == str(path)


def test_a_cell_is_not_made_before_its_inputs(storage: Storage) -> None:
    with pytest.raises(EmergenceError) as caught:
        make(Plan(STUDY, storage, SPECS), "codes", Cell("gloss-25k", 8, 1))
    assert "needs weights of gloss-25k/step000008, which is missing" in caught.value.what
    assert "weights" in caught.value.where
    assert "materialise weights first" in caught.value.remedy


def test_a_cell_is_not_made_from_a_stale_input(finished: Storage) -> None:
    with pytest.raises(EmergenceError, match=r"which is stale.*") as caught:
        make(Plan(small_study(k=8), finished, SPECS), "curves", Cell("gloss-25k"))
    assert "k was 16, is 8" in caught.value.remedy


def test_a_cell_that_waits_for_an_outside_file_has_no_required_provenance(storage: Storage) -> None:
    def unknown(_study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any] | None:
        return None

    specs = [replace(SPECS[0], recipe=unknown), *SPECS[1:]]
    plan = Plan(STUDY, storage, specs)
    for one in specs:
        assert all(plan.required(one, cell) is None for cell in plan.cells(one))
    with pytest.raises(EmergenceError, match="cannot be made yet"):
        plan.demand_inputs(specs[0], Cell("gloss-25k", 8))


def test_a_vanished_outside_file_makes_its_dependants_stale(finished: Storage) -> None:
    specs = [replace(SPECS[0], recipe=lambda *_: None), *SPECS[1:]]
    plan = Plan(STUDY, finished, specs)
    assert plan.state(specs[0], Cell("gloss-25k", 8)) == ("stale", "an input is missing")
    assert due(STUDY, finished, specs) == ALL


@pytest.mark.parametrize(
    ("source", "reader", "cell", "expected"),
    [
        ("study", "cell", Cell("gloss-25k", 8, 1), ["all models"]),
        ("model", "cell", Cell("gloss-25k", 8, 1), ["gloss-25k"]),
        ("step", "cell", Cell("gloss-25k", 8, 1), ["gloss-25k/step000008"]),
        ("cell", "cell", Cell("gloss-25k", 8, 1), ["gloss-25k/step000008/L01"]),
        ("cell", "step", Cell("gloss-25k", 8), ["gloss-25k/step000008/L00", "gloss-25k/step000008/L01"]),
        ("step", "model", Cell("gloss-25k"), [f"gloss-25k/{step_key(step)}" for step in (0, 1, 8)]),
        ("cell", "model", Cell("gloss-25k"), [cell for cell in ALL["codes"] if cell.startswith("gloss-25k")]),
        ("model", "study", Cell(), ["gloss-25k", "gloss-200k"]),
        ("cell", "study", Cell(), ALL["codes"]),
    ],
)
def test_a_cell_is_made_from_the_cells_that_share_its_model_step_and_layer(
    storage: Storage, source: Any, reader: Any, cell: Cell, expected: list[str]
) -> None:
    specs = [spec("source", source), spec("reader", reader, "source")]
    plan = Plan(STUDY, storage, specs)
    assert [str(found) for _, found in plan.input_cells(specs[1], cell)] == expected


def test_nothing_is_made_from_checkpoints_of_which_none_can_be_used(storage: Storage) -> None:
    write_timeline(storage.timeline("gloss-25k"), Timeline((TimelineEntry(0, "duplicate", "it has other weights"),)))
    plan = Plan(small_study(), storage, SPECS)
    curves = plan.specs["curves"]
    assert list(plan.input_cells(curves, Cell("gloss-25k"))) == []
    with pytest.raises(EmergenceError, match="no checkpoint can be used: it has other weights") as caught:
        plan.demand_inputs(curves, Cell("gloss-25k"))
    assert "emergence checkpoints" in caught.value.remedy
    registry = replace(curves, needs_cells=False)
    assert Plan(small_study(), storage, [registry]).demand_inputs(registry, Cell("gloss-25k")).inputs == {}


def test_an_asset_that_the_pipeline_does_not_have_is_no_input(storage: Storage) -> None:
    run, weights = spec("training_run", "model"), spec("weights", "step", "training_run")
    cell = Cell("gloss-25k", 8)
    assert list(Plan(STUDY, storage, [run, weights]).input_cells(weights, cell)) == [(run, Cell("gloss-25k"))]
    assert list(Plan(STUDY, storage, [weights]).input_cells(weights, cell)) == []


def test_the_order_of_rules_does_not_matter_to_states(finished: Storage) -> None:
    file_of(finished, "weights", Cell("gloss-25k", 8)).unlink()
    plan = Plan(STUDY, finished, SPECS[::-1])
    backwards = {(one.name, str(cell)): plan.state(one, cell) for one in SPECS[::-1] for cell in plan.cells(one)[::-1]}
    assert backwards == states(finished)


@given(st.lists(st.integers(0, 999_999)))
def test_step_keys_sort_as_steps_do(steps: list[int]) -> None:
    assert [step_key(step) for step in sorted(steps)] == sorted(map(step_key, steps))
