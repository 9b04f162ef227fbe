"""A training run is a function of its recipe: equal bytes at once, after a kill, and when parts are trained again."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from emergence_assets.checkpoints.files.folder import read_facts
from emergence_assets.checkpoints.models.facts import model_facts
from emergence_assets.checkpoints.models.loading import load_model
from emergence_assets.checkpoints.training.settings import ModelShape, TrainingRecipe, learning_rate, window_order
from emergence_assets.checkpoints.training.training import TrainingOutcome, _Run, train
from emergence_assets.texts.wordnet import corpus
from resources.errors import EmergenceError
from resources.files.lease import leased

RECIPE = TrainingRecipe(ModelShape(16, 2, 2), learning_rate=1e-2, n_steps=12, batch_size=2, context=16, warm_up_steps=3)
STEPS = (0, 1, 2, 4, 8, 12)


class Killed(Exception):
    """A simulated kill, where a subprocess would be slow."""


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "unkilled"
    outcome = train(RECIPE, folder, STEPS)
    assert outcome.written_steps == STEPS
    return folder


@pytest.fixture
def run_folder(unkilled: Path, tmp_path: Path) -> Path:
    return shutil.copytree(unkilled, tmp_path / "run")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".training.lock"
    }


def differing(one: Path, other: Path) -> list[str]:
    """Name the files of which the bytes differ, or that only one folder has."""
    here, there = contents(one), contents(other)
    return sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))


def train_until_killed(folder: Path, at_step: int) -> None:
    def report(done: int, total: int, note: str) -> None:
        if done >= at_step:
            raise Killed

    with pytest.raises(Killed):
        train(RECIPE, folder, STEPS, report, resume_every=3)


def test_a_checkpoint_is_a_published_model_with_notes(unkilled: Path):
    names = {path.name for path in (unkilled / "step8").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training.json"}
    facts = model_facts(load_model(unkilled / "step8"))
    assert (facts.d_model, facts.n_layers, facts.n_heads, facts.vocab_size) == (16, 2, 2, 2048)
    assert read_facts(unkilled / "step8").tokenizer_sha256 == corpus.tokenizer_sha256()
    notes = json.loads((unkilled / "step8" / "training.json").read_text())
    assert (notes["step"], notes["tokens_seen"], notes["seed"]) == (8, 8 * 2 * 16, 0)
    assert notes["environment"]["num_threads"] == 1
    weights = safetensors.torch.load_file(unkilled / "step8" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert {name for name in weights if ".layers." not in name} == {
        "gpt_neox.embed_in.weight",
        "gpt_neox.final_layer_norm.weight",
        "gpt_neox.final_layer_norm.bias",
        "embed_out.weight",
    }
    assert not (unkilled / "resume.safetensors").exists()
    assert not list(unkilled.glob(".*.tmp"))


def test_untrained_model_predicts_uniformly_and_training_helps(tmp_path: Path):
    recipe = dataclasses.replace(RECIPE, n_steps=60, batch_size=8)
    losses = train(recipe, tmp_path, [0, 60]).validation_losses
    assert losses[0] == pytest.approx(np.log(2048), abs=0.05)
    assert losses[60] < losses[0] - 1


def test_gradients_are_those_of_the_loss_of_transformers():
    run = _Run(dataclasses.replace(RECIPE, batch_size=3))
    batch = torch.from_numpy(run.windows[:3].astype(np.int64))
    run.add_gradients(batch)
    ours = {name: weight.grad.clone() for name, weight in run.weights.items() if weight.grad is not None}
    run.model.zero_grad()
    run.model(input_ids=batch, labels=batch).loss.backward()
    assert ours.keys() == run.weights.keys()
    for name, weight in run.weights.items():
        torch.testing.assert_close(ours[name], weight.grad, rtol=1e-4, atol=1e-7)


def test_all_sizes_see_the_same_windows_and_an_epoch_sees_each_once():
    small = _Run(RECIPE)
    large = _Run(dataclasses.replace(RECIPE, shape=ModelShape(32, 1, 4), learning_rate=1e-3, seed=7))
    assert np.array_equal(small.order, large.order)
    assert not np.array_equal(small.order, _Run(dataclasses.replace(RECIPE, data_seed=1)).order)
    two_epochs = window_order(dataclasses.replace(RECIPE, n_steps=20, batch_size=1), n_windows=10)
    for epoch in (two_epochs[:10], two_epochs[10:]):
        assert np.array_equal(np.sort(epoch), np.arange(10))
    assert not np.array_equal(two_epochs[:10], two_epochs[10:])


def test_schedule_warms_up_and_ends_at_a_tenth():
    recipe = TrainingRecipe(ModelShape(16, 1, 1), learning_rate=1.0, n_steps=1000, warm_up_steps=10)
    rates = [learning_rate(recipe, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1, abs=1e-3)
    assert rates.index(max(rates)) == 9
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-4)


def test_same_recipe_gives_the_same_bytes_and_another_seed_does_not(unkilled: Path, tmp_path: Path):
    train(RECIPE, tmp_path / "again", STEPS)
    assert not differing(tmp_path / "again", unkilled)
    train(dataclasses.replace(RECIPE, seed=1), tmp_path / "other", STEPS)
    assert read_facts(tmp_path / "other" / "step0").weights_sha256 != read_facts(unkilled / "step0").weights_sha256


@pytest.mark.parametrize("at_step", [0, 1, 3, 4, 6, 8, 9, 12])
def test_a_killed_run_continues_to_the_same_bytes(unkilled: Path, tmp_path: Path, at_step: int):
    folder = tmp_path / "killed"
    train_until_killed(folder, at_step)
    outcome = train(RECIPE, folder, STEPS, resume_every=3)
    assert outcome.resumed_from == {0: None, 1: None, 3: 3, 4: 3, 6: 6, 8: 6, 9: 9, 12: None}[at_step]
    assert not differing(folder, unkilled)


def test_a_run_killed_twice_continues_to_the_same_bytes(unkilled: Path, tmp_path: Path):
    train_until_killed(tmp_path / "killed", 4)
    train_until_killed(tmp_path / "killed", 9)
    train(RECIPE, tmp_path / "killed", STEPS)
    assert not differing(tmp_path / "killed", unkilled)


def test_partial_files_of_a_killed_run_are_removed(unkilled: Path, tmp_path: Path):
    folder = tmp_path / "killed"
    train_until_killed(folder, 4)
    (folder / ".step8.123.tmp").mkdir()
    (folder / ".step8.123.tmp" / "model.safetensors").write_bytes(b"half")
    (folder / ".resume.safetensors.123.tmp").write_bytes(b"half")
    train(RECIPE, folder, STEPS)
    assert not differing(folder, unkilled)


@pytest.mark.slow
def test_kill_9_at_random_moments_changes_no_byte(unkilled: Path, tmp_path: Path):
    folder = tmp_path / "killed"
    code = (
        "import sys; from pathlib import Path; from emergence_assets.checkpoints.training.training import *\n"
        f"train({RECIPE!r}, Path({str(folder)!r}), {STEPS}, lambda *at: print(*at, flush=True), resume_every=1)"
    )
    root = Path(__file__).parents[3]
    rng = np.random.default_rng(0)
    returned = []
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()  # startup is over
        time.sleep(rng.uniform(0, 0.1))
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        returned.append(child.returncode)
        if returned[-1] == 0:
            break
    assert returned.count(-signal.SIGKILL) >= 1
    train(RECIPE, folder, STEPS)
    assert not differing(folder, unkilled)


def test_nothing_is_computed_when_every_checkpoint_is_there(run_folder: Path):
    before = {path: path.stat().st_mtime_ns for path in run_folder.glob("step*/*")}
    (run_folder / "resume.safetensors").write_bytes(b"left by a kill between the last checkpoint and its removal")
    outcome = train(RECIPE, run_folder, STEPS, lambda *_: pytest.fail("something was computed"))
    assert outcome == TrainingOutcome((), None, outcome.validation_losses, 0.0)
    assert tuple(outcome.validation_losses) == STEPS
    assert {path: path.stat().st_mtime_ns for path in run_folder.glob("step*/*")} == before
    assert not (run_folder / "resume.safetensors").exists()


def test_only_the_missing_checkpoint_is_written_again(unkilled: Path, run_folder: Path):
    shutil.rmtree(run_folder / "step4")
    outcome = train(RECIPE, run_folder, STEPS)
    assert outcome.written_steps == (4,)
    assert tuple(outcome.validation_losses) == STEPS
    assert not differing(run_folder, unkilled)


def test_training_stops_at_the_last_wanted_step_and_can_be_extended(unkilled: Path, tmp_path: Path):
    assert train(RECIPE, tmp_path, [0, 1, 2, 4]).written_steps == (0, 1, 2, 4)
    assert train(RECIPE, tmp_path, STEPS).written_steps == (8, 12)
    assert not differing(tmp_path, unkilled)


def test_weights_that_training_does_not_reproduce_are_refused(run_folder: Path):
    shutil.rmtree(run_folder / "step12")
    path = run_folder / "step8" / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["gpt_neox.final_layer_norm.bias"][3] += 0.001
    path.write_bytes(safetensors.torch.save(weights))
    with pytest.raises(EmergenceError, match=r"environment(.|\n)*delete") as caught:
        train(RECIPE, run_folder, STEPS)
    assert caught.value.where == str(run_folder / "step8")


def test_state_of_another_environment_is_not_gone_on_from(unkilled: Path, tmp_path: Path):
    train_until_killed(tmp_path / "killed", 6)
    path = tmp_path / "killed" / "resume.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        notes = file.metadata()
    state = safetensors.torch.load_file(path)
    notes["belongs_to"] = notes["belongs_to"].replace('"num_threads": 1', '"num_threads": 2')
    path.write_bytes(safetensors.torch.save(state, notes))
    assert train(RECIPE, tmp_path / "killed", STEPS).resumed_from is None
    assert not differing(tmp_path / "killed", unkilled)


@pytest.mark.parametrize("content", [b"", b"half", None])
def test_damaged_state_is_refused_with_a_way_out(tmp_path: Path, content: bytes | None):
    train_until_killed(tmp_path, 6)
    path = tmp_path / "resume.safetensors"
    path.write_bytes(path.read_bytes()[:-5] if content is None else content)
    with pytest.raises(EmergenceError, match=r"delete resume\.safetensors"):
        train(RECIPE, tmp_path, STEPS)
    path.unlink()
    assert train(RECIPE, tmp_path, STEPS).resumed_from is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda folder: (folder / "step8" / "training.json").write_text("{}"), "cannot read training.json"),
        (lambda folder: (folder / "step8" / "training.json").unlink(), "cannot read training.json"),
        (lambda folder: (folder / "step8" / "model.safetensors").write_bytes(b"half"), "broken checkpoint"),
    ],
    ids=["empty record", "no record", "half weights"],
)
def test_damaged_checkpoint_is_refused(run_folder: Path, change, what: str):
    change(run_folder)
    with pytest.raises(EmergenceError, match=what) as caught:
        train(RECIPE, run_folder, STEPS)
    assert "step8" in caught.value.where


@pytest.mark.parametrize(
    "change", [{"seed": 3}, {"learning_rate": 0.5}, {"n_steps": 13}, {"shape": ModelShape(16, 2, 4)}], ids=str
)
def test_folder_of_another_recipe_is_refused(run_folder: Path, change: dict[str, Any]):
    with pytest.raises(EmergenceError, match="other settings"):
        train(dataclasses.replace(RECIPE, **change), run_folder, STEPS)


def test_second_process_in_one_folder_is_refused(tmp_path: Path):
    with leased(tmp_path / ".training.lock"), pytest.raises(EmergenceError, match=f"into by process {os.getpid()}"):
        train(RECIPE, tmp_path, STEPS)


def test_divergence_is_named_and_leaves_no_checkpoint(tmp_path: Path):
    recipe = dataclasses.replace(RECIPE, learning_rate=1e6, warm_up_steps=0)
    with pytest.raises(EmergenceError, match="diverged"):
        train(recipe, tmp_path, STEPS)
    assert not (tmp_path / "step8").exists()


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({}, []),
        ({}, [-1]),
        ({}, [13]),
        ({"n_steps": 0}, [0]),
        ({"context": 1}, [0]),
        ({"batch_size": 0}, [0]),
        ({"vocab_size": 2047}, [0]),
        ({"shape": ModelShape(16, 2, 3)}, [0]),
        ({"shape": ModelShape(16, 0, 2)}, [0]),
    ],
    ids=str,
)
def test_impossible_recipe_is_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], steps: list[int]
):
    with pytest.raises(EmergenceError):
        train(dataclasses.replace(RECIPE, **change), tmp_path / "run", steps)
    assert not (tmp_path / "run").exists()


def test_settings_of_the_process_come_back(tmp_path: Path):
    n_threads, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(Killed):
        train(RECIPE, tmp_path, [0], lambda *_: (_ for _ in ()).throw(Killed))
    assert torch.get_num_threads() == n_threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), state)
