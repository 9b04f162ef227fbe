"""Cells to Dagster's partition keys and back, and their division into the ranges of Dagster."""

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emergence_assets.orchestration.instance.partitions import (
    asset_key,
    dagster_name,
    partition_key,
    partitions,
    range_tags,
    register_steps,
    split_into_ranges,
    step_set_name,
)
from emergence_assets.plan.cell import Cell, cell_of
from emergence_assets.study.load import parse_study
from emergence_assets.study.study import EMBEDDING_LAYER, Study
from tests.pipeline_by_hand import small_study

STEPS = st.integers(0, 10_000_000)
LAYERS = st.none() | st.integers(EMBEDDING_LAYER, 120)
MODEL = "gloss-200k"


@pytest.fixture(scope="module")
def study() -> Study:
    """A study with six steps, and layers with a gap and with the embedding."""
    declared = small_study().model_dump()
    declared |= {
        "steps": [0, 1, 2, 4, 8, 16],
        "layers": {MODEL: [-1, 0, 1, 3], "gloss-25k": [-1, 0, 1]},
        "activations": declared["activations"] | {"positions": "all"},
    }
    return parse_study(declared)


@given(STEPS, LAYERS)
def test_a_cell_comes_back_from_its_partition_key(step: int, layer: int | None) -> None:
    cell = Cell(MODEL, step, layer)
    assert cell_of(MODEL, partition_key(cell)) == cell
    assert cell_of(MODEL, str(partition_key(cell))) == cell


def test_the_embedding_has_a_key_of_its_own() -> None:
    assert partition_key(Cell(MODEL, 512, EMBEDDING_LAYER)) == "embed|step000512"
    assert cell_of(MODEL, "embed|step000512") == Cell(MODEL, 512, EMBEDDING_LAYER)
    assert partition_key(Cell(MODEL, 512, 3)) == "L03|step000512"
    assert partition_key(Cell(MODEL, 512)) == "step000512"


def test_a_cell_without_a_step_has_no_key() -> None:
    with pytest.raises(ValueError, match="no step"):
        partition_key(Cell(MODEL))


@given(st.sets(st.tuples(STEPS, LAYERS), min_size=2))
def test_different_cells_have_different_keys(cells: set[tuple[int, int | None]]) -> None:
    assert len({partition_key(Cell(MODEL, *cell)) for cell in cells}) == len(cells)


@st.composite
def grids(draw: st.DrawFn) -> tuple[list[Cell], list[int], list[int]]:
    """Draw cells of a grid in any order, and the steps and layers of the grid; steps need not ascend."""
    steps = draw(st.lists(st.integers(0, 999), min_size=1, max_size=7, unique=True))
    layers = sorted(draw(st.sets(st.integers(-1, 9), min_size=1, max_size=5)))
    grid = [Cell(MODEL, step, layer) for step in steps for layer in layers]
    return draw(st.lists(st.sampled_from(grid), min_size=1, unique=True)), steps, layers


@given(grids())
def test_rectangles_hold_every_cell_once(grid: tuple[list[Cell], list[int], list[int]]) -> None:
    cells, steps, layers = grid
    covered = [cell for group in split_into_ranges(cells, steps, layers) for cell in group]
    assert sorted(covered) == sorted(cells)


@given(grids())
def test_every_rectangle_is_all_cells_between_its_first_and_its_last(
    grid: tuple[list[Cell], list[int], list[int]],
) -> None:
    cells, steps, layers = grid
    for group in split_into_ranges(cells, steps, layers):
        rows, columns = [steps.index(int(c.step or 0)) for c in group], [layers.index(int(c.layer or 0)) for c in group]
        between = [
            Cell(MODEL, step, layer)
            for step in steps[rows[0] : rows[-1] + 1]
            for layer in layers[columns[0] : columns[-1] + 1]
        ]
        assert group == between


def test_a_whole_grid_is_one_rectangle() -> None:
    cells = [Cell(MODEL, step, layer) for layer in (0, 1, 2) for step in (0, 8, 64)]
    assert len(split_into_ranges(cells, [0, 8, 64], [0, 1, 2])) == 1


def test_a_missing_corner_costs_one_rectangle_more() -> None:
    cells = [Cell(MODEL, step, layer) for step in (0, 8, 64) for layer in (0, 1, 2)][:-1]
    assert [len(group) for group in split_into_ranges(cells, [0, 8, 64], [0, 1, 2])] == [6, 2]


def test_cells_without_a_layer_are_cut_at_gaps() -> None:
    cells = [Cell(MODEL, step) for step in (0, 8, 512)]
    assert split_into_ranges(iter(cells), [0, 8, 64, 512], [0, 1]) == [cells[:2], cells[2:]]


def test_nothing_is_cut_into_nothing() -> None:
    assert split_into_ranges([], [0, 8], [0, 1]) == []


@pytest.mark.parametrize("cell", [Cell(MODEL, 512, 0), Cell(MODEL)])
def test_a_cell_that_has_no_partition_is_an_error_and_not_left_out(cell: Cell) -> None:
    with pytest.raises(ValueError, match=f"{cell} has no partition"):
        split_into_ranges([Cell(MODEL, 8, 0), cell], [0, 8], [0])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), order=st.permutations([0, 1, 2, 4, 8, 16]))
def test_dagster_reads_the_range_of_a_rectangle_as_its_cells(
    study: Study, data: st.DataObject, order: list[int]
) -> None:
    layers = study.layers_of(MODEL)
    grid = [Cell(MODEL, step, layer) for step in study.steps for layer in layers]
    cells = data.draw(st.lists(st.sampled_from(grid), min_size=1, unique=True))
    definition = partitions(study, MODEL, "cell")
    assert isinstance(definition, dg.MultiPartitionsDefinition)
    with dg.DagsterInstance.ephemeral() as instance:
        # Checkpoints may arrive in any order: partitions are in the order of arrival.
        for step in order:
            register_steps(instance, study, MODEL, [step])
        for group in split_into_ranges(cells, order, layers):
            tags = range_tags(group)
            wanted = dg.PartitionKeyRange(
                tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]
            )
            keys = definition.get_partition_keys_in_range(wanted, dynamic_partitions_store=instance)
            assert sorted(keys) == sorted(partition_key(cell) for cell in group)


def test_partitions_are_the_cells_of_the_study(study: Study) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for model in study.models:
            register_steps(instance, study, model, study.steps)
            by_cell, by_step = partitions(study, model, "cell"), partitions(study, model, "step")
            assert by_cell is not None
            assert by_step is not None
            steps, layers = study.steps, study.layers_of(model)
            assert {cell_of(model, key) for key in by_cell.get_partition_keys(dynamic_partitions_store=instance)} == {
                Cell(model, step, layer) for step in steps for layer in layers
            }
            found = by_step.get_partition_keys(dynamic_partitions_store=instance)
            assert [cell_of(model, key) for key in found] == [Cell(model, step) for step in steps]
    assert partitions(study, MODEL, "model") is None
    assert partitions(study, MODEL, "study") is None


def test_steps_are_registered_once_and_in_order(study: Study) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        register_steps(instance, study, MODEL, [8, 0])
        register_steps(instance, study, MODEL, [8, 1, 0])
        register_steps(instance, study, MODEL, [])
        found = instance.get_dynamic_partitions(step_set_name(study, MODEL))
    assert found == ["step000000", "step000008", "step000001"]


def test_models_do_not_share_their_steps(study: Study) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        register_steps(instance, study, MODEL, [8])
        assert instance.get_dynamic_partitions(step_set_name(study, "gloss-25k")) == []


def test_keys_and_groups_name_study_model_and_asset(study: Study) -> None:
    assert asset_key(study, MODEL, "sae").path == ["quick", MODEL, "sae"]
    assert asset_key(study, None, "report").path == ["quick", "report"]
    assert dagster_name("pythia-1.4b") == "pythia_1_4b"
