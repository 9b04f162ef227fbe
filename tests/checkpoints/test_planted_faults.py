"""The small family is a real family, and every planted fault has the property in its name."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from transformers import AutoConfig

from emergence_assets.checkpoints.files.folder import read_facts
from emergence_assets.checkpoints.models.facts import model_facts
from emergence_assets.checkpoints.models.loading import load_model
from resources.errors import EmergenceError
from tests import family as plant
from tests.family import MODELS, STEPS, read_weights, step_folder

MODEL = "gloss-tiny"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def sha256(folder: Path, step: int) -> str:
    return read_facts(step_folder(folder, MODEL, step)).weights_sha256


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Euclidean distance, relative to the first."""
    assert one.keys() == other.keys()
    difference = sum(float(((one[name].astype(float) - other[name]) ** 2).sum()) for name in one)
    return (difference / sum(float((weight.astype(float) ** 2).sum()) for weight in one.values())) ** 0.5


def assert_only_changed(folder: Path, family: Path, changed: Path) -> None:
    before, after = contents(family), contents(folder)
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert names
    assert {(folder / name).parent for name in names} == {changed}


def test_family_is_whole_and_has_learnt(family: Path):
    assert {path.name for path in family.iterdir()} == set(MODELS)
    for model in MODELS:
        folders = [step_folder(family, model, step) for step in STEPS]
        assert {*folders} == {*(family / model).iterdir()}
        facts = [read_facts(folder) for folder in folders]
        assert len({fact.weights_sha256 for fact in facts}) == len(STEPS)
        losses = [json.loads((folder / "training.json").read_text())["validation_loss"] for folder in folders]
        assert losses[-1] < losses[3] < losses[0]


def test_family_is_the_same_again(family: Path, tmp_path: Path):
    few = {"gloss-tinier": MODELS["gloss-tinier"]}
    again = plant.trained_family(tmp_path, (0, 64), few)
    for step in (0, 64):
        name = f"gloss-tinier/step{step}/model.safetensors"
        assert (again / name).read_bytes() == (family / name).read_bytes()


@pytest.mark.parametrize("n", [1, 2, 3, 28])
def test_parts_are_the_whole_checkpoint(family: Path, family_copy: Path, n: int):
    checkpoint = plant.shard(family_copy, MODEL, 8, n)
    assert len(list(checkpoint.glob("*.safetensors"))) == n
    whole, in_parts = (model_facts(load_model(folder)) for folder in (step_folder(family, MODEL, 8), checkpoint))
    assert in_parts == whole
    assert distance(read_weights(step_folder(family, MODEL, 8)), read_weights(checkpoint)) == 0
    assert_only_changed(family_copy, family, checkpoint)


def test_more_parts_than_tensors_are_refused(family_copy: Path):
    with pytest.raises(ValueError, match="cannot split"):
        plant.shard(family_copy, MODEL, 8, 29)


def test_duplicate_has_the_hash_of_its_source(family: Path, family_copy: Path):
    checkpoint = plant.duplicate_step(family_copy, MODEL, 64, 4)
    assert sha256(family_copy, 4) == sha256(family_copy, 64) == sha256(family, 64)
    assert_only_changed(family_copy, family, checkpoint)
    plant.shard(family_copy, MODEL, 64)
    plant.duplicate_step(family_copy, MODEL, 64, 4)
    assert sha256(family_copy, 4) == sha256(family_copy, 64) != sha256(family, 64)


def test_foreign_part_is_another_steps_and_the_rest_is_not(family: Path, family_copy: Path):
    plant.shard(family_copy, MODEL, 8, 3)
    checkpoint = plant.foreign_shard(family_copy, MODEL, 8, 64, number=2)
    assert_only_changed(family_copy, family, checkpoint)
    here = read_weights(checkpoint)
    of_8, of_64 = (read_weights(step_folder(family, MODEL, step)) for step in (8, 64))
    index = json.loads((checkpoint / "model.safetensors.index.json").read_text())["weight_map"]
    for name, weight in here.items():
        is_foreign = index[name] == "model-00002-of-00003.safetensors"
        assert np.array_equal(weight, (of_64 if is_foreign else of_8)[name])
    read_facts(checkpoint)
    plant.shard(family_copy, MODEL, 64, 3)
    part = "model-00002-of-00003.safetensors"
    assert (checkpoint / part).read_bytes() == (step_folder(family_copy, MODEL, 64) / part).read_bytes()
    with pytest.raises(ValueError, match="not in parts"):
        plant.foreign_shard(family_copy, MODEL, 4, 64)


def test_nan_is_one(family: Path, family_copy: Path):
    checkpoint = plant.with_nan(family_copy, MODEL, 8)
    assert sum(int(np.isnan(weight).sum()) for weight in read_weights(checkpoint).values()) == 1
    assert_only_changed(family_copy, family, checkpoint)
    with pytest.raises(EmergenceError, match="NaN"):
        read_facts(checkpoint)


def test_trained_step_0_is_late_but_equal_to_nothing(family: Path, family_copy: Path):
    checkpoint = plant.trained_step_0(family_copy, MODEL)
    assert_only_changed(family_copy, family, checkpoint)
    late, first = (read_weights(step_folder(family, MODEL, step)) for step in (64, 0))
    noisy = read_weights(checkpoint)
    assert 0 < distance(late, noisy) < 0.01 < distance(late, first)
    assert len({sha256(family_copy, step) for step in STEPS}) == len(STEPS)


def test_other_seed_is_the_same_step_of_another_run(family: Path, family_copy: Path):
    checkpoint = plant.other_seed(family_copy, MODEL, 16)
    assert_only_changed(family_copy, family, checkpoint)
    weights = {step: read_weights(step_folder(family, MODEL, step)) for step in (8, 16)}
    assert distance(weights[16], read_weights(checkpoint)) > 2 * distance(weights[16], weights[8])
    plant.other_seed(family_copy, MODEL, 16, seed=0)
    assert contents(family_copy) == contents(family)


def test_missing_file_is_missing(family: Path, family_copy: Path):
    checkpoint = plant.missing_file(family_copy, MODEL, 16)
    assert_only_changed(family_copy, family, checkpoint)
    with pytest.raises(EmergenceError, match=r"config\.json"):
        read_facts(checkpoint)


def test_other_architecture_is_whole(family: Path, family_copy: Path):
    checkpoint = plant.other_architecture(family_copy, MODEL, 16)
    assert_only_changed(family_copy, family, checkpoint)
    facts, neighbour = read_facts(checkpoint), read_facts(step_folder(family, MODEL, 16))
    of_model = model_facts(load_model(checkpoint))
    assert (facts.architecture, of_model.d_model, of_model.n_layers) == ("GPT2LMHeadModel", 16, 2)
    assert facts.tokenizer_sha256 == neighbour.tokenizer_sha256


@pytest.mark.parametrize("n", [1, 2])
def test_pickle_holds_the_same_tensors(family: Path, family_copy: Path, n: int):
    checkpoint = plant.as_pickle(family_copy, MODEL, 16, n)
    assert_only_changed(family_copy, family, checkpoint)
    assert not list(checkpoint.glob("*.safetensors*"))
    files = sorted(checkpoint.glob("*.bin"))
    assert len(files) == n
    tensors = {}
    for file in files:
        tensors |= torch.load(file, weights_only=True)
    weights = {name: tensor.numpy() for name, tensor in tensors.items()}
    assert distance(read_weights(step_folder(family, MODEL, 16)), weights) == 0
    assert (checkpoint / "pytorch_model.bin.index.json").exists() == (n > 1)


def test_evil_pickle_runs_code_unless_it_is_held_back(family_copy: Path, tmp_path: Path):
    marker = tmp_path / "marker"
    path = plant.evil_pickle(family_copy, MODEL, 16, marker) / "pytorch_model.bin"
    with pytest.raises(Exception, match="weights_only"):
        torch.load(path, weights_only=True)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_remote_code_runs_when_it_is_run(family_copy: Path, tmp_path: Path):
    marker = tmp_path / "marker"
    checkpoint = plant.with_remote_code(family_copy, MODEL, 16, marker)
    load_model(checkpoint)
    assert not marker.exists()
    runpy.run_path(str(checkpoint / "modeling_evil.py"))
    assert marker.exists()
    plant.with_remote_code(family_copy, MODEL, 16, marker, model_type="evil")
    with pytest.raises(ValueError, match="trust_remote_code"):
        AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)


def test_wrong_offsets_are_refused_by_both_readers(family: Path, family_copy: Path):
    checkpoint = plant.wrong_offsets(family_copy, MODEL, 16)
    assert_only_changed(family_copy, family, checkpoint)
    with pytest.raises(EmergenceError):
        read_facts(checkpoint)
    with pytest.raises(safetensors.SafetensorError):
        read_weights(checkpoint)
