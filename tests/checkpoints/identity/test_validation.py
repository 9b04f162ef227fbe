"""Every fault planted into a trained family is found by its name, and no other checkpoint is left out."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from emergence_assets.checkpoints.identity.measurement import Measurement
from emergence_assets.checkpoints.identity.validation import ValidationResult, validate_checkpoints
from emergence_assets.checkpoints.table import RULES
from tests.family import (
    STEPS,
    foreign_shard,
    other_architecture,
    shard,
    step_folder,
    trained_step_0,
    with_nan,
)
from tests.measured import Measured, blamed, measured

MODEL = "gloss-tiny"
Clean = dict[int, Measurement]


def serving(clean: Clean, instead: Mapping[int, int]) -> Measured:
    """Let some steps serve the weights of others."""
    return {step: clean[instead.get(step, step)] for step in clean}


def left_out(measurements: Measured, **more: list[int]) -> dict[int, ValidationResult]:
    return {
        step: verdict for step, verdict in validate_checkpoints(measurements, **more).items() if verdict.status != "ok"
    }


@pytest.mark.parametrize(
    ("source", "onto"),
    [
        pair
        for one, other in combinations(STEPS, 2)
        for pair in ((one, other), (other, one))
        if abs(STEPS.index(one) - STEPS.index(other)) > 1
    ],
)
def test_a_repeated_step_is_found_with_the_step_that_it_repeats(clean: Clean, source: int, onto: int) -> None:
    found = left_out(serving(clean, {onto: source}))
    assert {step: verdict.dup_of_step for step, verdict in found.items()} == {onto: source}
    assert found[onto].status == "duplicate"
    assert "weights_are_unique" in found[onto].failed
    assert f"step {source}" in found[onto].reason


def test_of_neighbours_with_the_same_weights_the_wrong_one_is_found(clean: Clean) -> None:
    """The sound one is never blamed; where the trajectory leaves it open, both are left out."""
    n_open = 0
    for before, after in pairwise(STEPS[2:-1]):
        for source, onto in ((before, after), (after, before)):
            found = {step: verdict.dup_of_step for step, verdict in left_out(serving(clean, {onto: source})).items()}
            assert found in ({onto: source}, {onto: None, source: None})
            n_open += len(found) - 1
    assert n_open <= 1


@pytest.mark.parametrize("onto", [32, 64])
def test_of_two_equal_last_steps_both_are_left_out(clean: Clean, onto: int) -> None:
    found = left_out(serving(clean, {onto: 96 - onto}))
    assert found.keys() == {32, 64}
    assert all("cannot be determined" in verdict.reason and verdict.dup_of_step is None for verdict in found.values())


@pytest.mark.parametrize("onto", [0, 1])
def test_of_two_equal_first_steps_the_weights_are_taken_for_those_of_step_0(clean: Clean, onto: int) -> None:
    found = left_out(serving(clean, {onto: 1 - onto}))
    assert {step: verdict.dup_of_step for step, verdict in found.items()} == {1: 0}


@pytest.mark.parametrize("onto", list(combinations((0, 1, 2, 8, 16), 2)))
def test_a_step_that_is_there_three_times_is_found_twice(clean: Clean, onto: tuple[int, int]) -> None:
    found = left_out(serving(clean, dict.fromkeys(onto, 32)))
    assert {step: verdict.dup_of_step for step, verdict in found.items()} == dict.fromkeys(onto, 32)


def test_a_step_0_that_is_the_last_step_fails_both_rules(clean: Clean) -> None:
    (verdict,) = left_out(serving(clean, {0: 64})).values()
    assert (verdict.step, verdict.status, verdict.dup_of_step) == (0, "duplicate", 64)
    assert verdict.failed == ("step_0_is_untrained", "weights_are_unique")
    assert "loss" in verdict.reason
    assert "step 64" in verdict.reason


@pytest.mark.parametrize("n", range(1, len(STEPS) - 1))
@pytest.mark.parametrize("with_losses", [True, False])
def test_final_weights_at_most_steps_leave_the_last_step_and_those_between(
    clean: Clean, n: int, with_losses: bool
) -> None:
    known = clean if with_losses else {step: replace(found, loss=None) for step, found in clean.items()}
    found = left_out(serving(known, dict.fromkeys(STEPS[:n], 64)))
    assert {step: verdict.dup_of_step for step, verdict in found.items()} == dict.fromkeys(STEPS[:n], 64)


def test_final_weights_everywhere_leave_nothing(clean: Clean) -> None:
    assert left_out(serving(clean, dict.fromkeys(STEPS, 64))).keys() == set(STEPS)


@pytest.mark.parametrize(("step", "other"), [(2, 64), (16, 64), (8, 1), (64, 4)])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_part_of_another_step_is_found_whichever_file_it_is(
    clean: Clean, family_copy: Path, step: int, other: int, number: int
) -> None:
    shard(family_copy, MODEL, step, n=3)
    mixed = measured(foreign_shard(family_copy, MODEL, step, other, number))
    found = left_out({**clean, step: mixed})
    assert {at: (verdict.status, verdict.dup_of_step) for at, verdict in found.items()} == {step: ("outlier", other)}
    assert found[step].failed == ("weights_are_unique",)
    assert "part of another upload" in found[step].reason


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_another_seed_is_found(clean: Clean, other_run: Clean, step: int) -> None:
    found = left_out({**clean, step: other_run[step]})
    assert found.keys() == {step}
    assert found[step].failed == ("steps_lie_on_one_trajectory",)
    assert "another run" in found[step].reason


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("n", [2, 3])
def test_neighbours_of_another_seed_are_found(clean: Clean, other_run: Clean, first: int, n: int) -> None:
    foreign = STEPS[first : first + n]
    assert left_out({**clean, **{step: other_run[step] for step in foreign}}).keys() == set(foreign)


@pytest.mark.parametrize(("one", "other"), list(combinations(STEPS, 2)))
def test_exchanged_steps_are_found_both(clean: Clean, one: int, other: int) -> None:
    found = left_out(serving(clean, {one: other, other: one}))
    assert found.keys() == {one, other}
    rules = {rule for verdict in found.values() for rule in verdict.failed}
    assert rules <= {"steps_lie_on_one_trajectory", "step_0_is_untrained"}


@pytest.mark.parametrize("source", [8, 32, 64])
def test_a_step_0_that_was_trained_is_found_though_it_equals_no_step(
    clean: Clean, family_copy: Path, source: int
) -> None:
    found = left_out({**clean, 0: measured(trained_step_0(family_copy, MODEL, source))})
    assert found.keys() == {0}
    assert found[0].dup_of_step is None
    assert found[0].failed[0] in ("step_0_is_untrained", "steps_lie_on_one_trajectory")


@pytest.mark.parametrize("step", [0, 8, 64])
def test_another_architecture_is_found(clean: Clean, family_copy: Path, step: int) -> None:
    (verdict,) = left_out({**clean, step: measured(other_architecture(family_copy, MODEL, step))}).values()
    assert (verdict.step, verdict.status, verdict.failed) == (step, "quarantined", ("architecture_is_constant",))
    assert "GPT2LMHeadModel" in verdict.reason


@pytest.mark.parametrize("step", [0, 8, 64])
def test_weights_that_are_not_finite_are_found(clean: Clean, family_copy: Path, step: int) -> None:
    (verdict,) = left_out({**clean, step: measured(with_nan(family_copy, MODEL, step))}).values()
    assert (verdict.step, verdict.status, verdict.failed) == (step, "quarantined", ("files_are_whole",))
    assert "NaN" in verdict.reason
    assert "model.safetensors" in verdict.reason
    assert "/" not in verdict.reason  # no path of this machine


def test_several_faults_are_each_found(clean: Clean, other_run: Clean, family_copy: Path) -> None:
    shard(family_copy, MODEL, 16)
    served = {
        **serving(clean, {4: 64}),
        2: measured(with_nan(family_copy, MODEL, 2)),
        8: other_run[8],
        16: measured(foreign_shard(family_copy, MODEL, 16, 64)),
    }
    found = {step: verdict.failed for step, verdict in left_out(served).items()}
    assert found == {
        2: ("files_are_whole",),
        4: ("weights_are_unique",),
        8: ("steps_lie_on_one_trajectory",),
        16: ("weights_are_unique",),
    }
    assert set().union(*found.values()) <= set(RULES)


def test_an_admitted_step_is_used_and_changes_nothing_for_others(clean: Clean, other_run: Clean) -> None:
    served = {**serving(clean, {4: 64}), 16: other_run[16]}
    judged = validate_checkpoints(served, [4, 8])
    assert (judged[4].status, judged[4].dup_of_step, judged[4].failed) == ("admitted", 64, ("weights_are_unique",))
    assert "admitted by name" in judged[4].reason
    assert judged[8] == ValidationResult(8, "ok")  # no fault was found
    assert judged[16].status == "outlier"


def test_what_cannot_be_loaded_cannot_be_admitted(clean: Clean, family_copy: Path) -> None:
    served = {**clean, 8: measured(with_nan(family_copy, MODEL, 8))}
    assert validate_checkpoints(served, [8])[8].status == "quarantined"


def test_the_order_in_which_measurements_are_given_does_not_matter(clean: Clean, other_run: Clean) -> None:
    served = {**serving(clean, {4: 64, 32: 2}), 16: other_run[16]}
    assert validate_checkpoints(dict(reversed(served.items()))) == validate_checkpoints(served)


def test_a_folder_that_is_no_checkpoint_is_left_out(clean: Clean, family_copy: Path) -> None:
    shutil.rmtree(step_folder(family_copy, MODEL, 8))
    assert "missing" in blamed({**clean, 8: measured(step_folder(family_copy, MODEL, 8))})[8]
