"""Clean runs pass all rules: whole, still arriving, thinned out, short, hardly trained, partly frozen."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from emergence_assets.checkpoints.identity.measurement import InvalidCheckpoint, Measurement
from emergence_assets.checkpoints.identity.validation import cosine_matrix, validate_checkpoints
from emergence_assets.checkpoints.training.settings import ModelShape, TrainingRecipe
from emergence_assets.checkpoints.training.training import train
from tests.family import MODELS, STEPS, Weights, read_weights, step_folder, trained_family, write_weights
from tests.measured import Measured, blamed, measured_steps, weights_measured

Clean = dict[int, Measurement]
GRIDS = {
    "every step": tuple(range(13)),
    "even": tuple(range(0, 97, 8)),
    "far apart": (0, 8, 32, 128),
    "no step 0": (4, 8, 16, 32, 64),
    "late": tuple(range(64, 97, 4)),
}


def parts_of(measurements: Measured) -> list[Measured]:
    """Return the steps present at each moment while they arrive one by one, in order."""
    steps = sorted(measurements)
    return [{step: measurements[step] for step in steps[:n]} for n in range(len(steps) + 1)]


def test_a_clean_run_passes_at_every_moment_of_its_arrival(clean: Clean) -> None:
    assert [blamed(part) for part in parts_of(dict(clean))] == [{}] * (len(STEPS) + 1)


def test_any_few_steps_of_a_clean_run_pass(clean: Clean) -> None:
    for n in (1, 2, 3, 4, 5):
        for steps in combinations(STEPS, n):
            assert blamed({step: clean[step] for step in steps}) == {}, steps


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("learning_rate", [1e-2, 1e-3])
@pytest.mark.long
def test_clean_runs_of_all_seeds_and_steps_pass_while_they_arrive(
    tmp_path: Path, seed: int, learning_rate: float
) -> None:
    steps = sorted({step for grid in GRIDS.values() for step in grid})
    recipe = TrainingRecipe(
        ModelShape(16, 2, 2), learning_rate, 128, batch_size=2, context=32, warm_up_steps=10, seed=seed
    )
    train(recipe, tmp_path / "model", steps)
    found = measured_steps(tmp_path, "model", steps)
    for name, grid in GRIDS.items():
        for part in parts_of({step: found[step] for step in grid}):
            assert blamed(part) == {}, (name, sorted(part))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_steps_that_hardly_differ_in_half_precision_pass(tmp_path: Path, dtype: torch.dtype, seed: int) -> None:
    steps = (0, 1, 2, 4, 8, 16)
    recipe = TrainingRecipe(ModelShape(16, 2, 2), 1e-5, 1000, batch_size=2, context=32, warm_up_steps=1000, seed=seed)
    train(recipe, tmp_path / "model", steps)
    for step in steps if dtype == torch.bfloat16 else ():
        halve(step_folder(tmp_path, "model", step))
    found = measured_steps(tmp_path, "model", steps)
    assert [blamed(part) for part in parts_of(found)] == [{}] * (len(steps) + 1)


def halve(checkpoint: Path) -> None:
    """Keep eight bits of every weight, as bfloat16 does."""
    weights = {
        name: torch.from_numpy(weight).bfloat16().half().numpy() for name, weight in read_weights(checkpoint).items()
    }
    write_weights(checkpoint, weights)


def test_neighbours_whose_vectors_did_not_move_yet_are_no_duplicates(clean: Clean) -> None:
    first, second = clean[0], clean[1]
    position = first.groups.index("other")  # only the norms change
    hashes = list(second.group_hashes)
    hashes[position] = first.group_hashes[position]
    assert blamed({**clean, 1: replace(second, group_hashes=tuple(hashes))}) == {}


def changed(family: Path, model: str, change: Callable[[int, Weights], Weights]) -> Measured:
    """Measure the family with the weights that `change(step, weights)` returns."""
    for step in STEPS:
        checkpoint = step_folder(family, model, step)
        write_weights(checkpoint, change(step, read_weights(checkpoint)))
    return measured_steps(family, model, STEPS)


def test_embeddings_that_are_frozen_are_no_part_of_another_upload(family_copy: Path) -> None:
    frozen = read_weights(step_folder(family_copy, "gloss-tiny", 0))["gpt_neox.embed_in.weight"]

    def freeze(_step: int, weights: Weights) -> Weights:
        return weights | {"gpt_neox.embed_in.weight": frozen}

    found = changed(family_copy, "gloss-tiny", freeze)
    assert [blamed(part) for part in parts_of(found)] == [{}] * (len(STEPS) + 1)


def test_a_model_without_an_unembedding_of_its_own_passes_and_its_faults_are_found(family_copy: Path) -> None:
    """Tied models are stored like this. The loss is left out, because the identity of the weights does not need it."""
    tied: Clean = {}
    for step in STEPS:
        checkpoint = step_folder(family_copy, "gloss-tiny", step)
        write_weights(
            checkpoint,
            {name: weight for name, weight in read_weights(checkpoint).items() if name != "embed_out.weight"},
        )
        config = json.loads((checkpoint / "config.json").read_text())
        (checkpoint / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
        tied[step] = weights_measured(checkpoint)
    assert "unembedding" not in tied[0].groups
    assert blamed(dict(tied)) == {}
    assert blamed({**tied, 4: tied[32]}).keys() == {4}
    assert blamed({**tied, 2: tied[16], 16: tied[2]}).keys() == {2, 16}


def test_without_losses_as_for_encoders_a_run_passes_and_a_repeated_step_is_found(clean: Clean) -> None:
    silent = {step: replace(found, loss=None) for step, found in clean.items()}
    assert blamed(dict(silent)) == {}
    assert blamed({**silent, 0: silent[64]}).keys() == {0}


def test_no_checkpoint_and_a_single_checkpoint_are_validated(clean: Clean) -> None:
    assert validate_checkpoints({}) == {}
    assert blamed({8: clean[8]}) == {}
    assert blamed({0: clean[0]}) == {}
    assert validate_checkpoints({0: InvalidCheckpoint("it is empty", "files_are_whole", "")})[0].status == "quarantined"


def test_a_single_trained_step_0_is_found(clean: Clean) -> None:
    assert "not an untrained model" in blamed({0: clean[64]})[0]


def test_of_two_checkpoints_with_the_same_weights_none_is_believed_but_an_untrained_step_0(clean: Clean) -> None:
    assert blamed({8: clean[16], 16: clean[16]}).keys() == {8, 16}
    assert blamed({0: clean[0], 8: clean[0]}).keys() == {8}


def test_of_two_architectures_the_more_frequent_one_is_the_model_and_then_the_later(clean: Clean, family: Path) -> None:
    (small,) = measured_steps(family, "gloss-tinier", [8]).values()
    assert isinstance(small, Measurement)
    assert blamed({0: clean[0], 4: clean[4], 8: small}).keys() == {8}
    assert blamed({4: clean[4], 8: small}).keys() == {4}
    steps, cosines_ss = cosine_matrix({4: clean[4], 8: small})
    assert (steps, cosines_ss.tolist()) == ((8,), [[1]])


def test_two_other_seeds_at_steps_far_apart_are_not_called_other_runs(clean: Clean, other_run: Clean) -> None:
    """Over a factor of more than four in steps, the trajectory gives no evidence."""
    assert blamed({0: clean[0], 16: other_run[16]}) == {}


def test_the_rules_are_quick_for_a_published_family_of_154_steps(clean: Clean) -> None:
    steps = [0, *(2**power for power in range(10)), *range(1000, 144_000, 1000)]
    rng, weights, walk = np.random.default_rng(0), clean[0].sample, {}
    for step in steps:
        hashes = tuple(f"{step} {group}" for group in clean[0].groups)
        walk[step] = replace(clean[0], sample=weights, matrix_hashes=hashes, loss=7.6 if step == 0 else 5.0)
        weights = weights + (0.1 * weights.std() * rng.normal(size=weights.shape)).astype(np.float32)
    assert blamed(walk) == {}
    walk[512], walk[90_000] = walk[90_000], walk[512]
    assert blamed(walk).keys() == {512, 90_000}


@pytest.mark.slow
def test_the_other_model_of_the_family_passes_too(tmp_path: Path) -> None:
    for seed in range(3):
        models = {"gloss-tinier": MODELS["gloss-tinier"]}
        folder = trained_family(tmp_path / str(seed), models=models, seed=seed)
        found = measured_steps(folder, "gloss-tinier", STEPS)
        assert [blamed(part) for part in parts_of(found)] == [{}] * (len(STEPS) + 1)
