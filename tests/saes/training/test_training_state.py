"""A killed training continues and ends with equal bits; the state of another training is not used."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from emergence_assets.checkpoints.training.training_state import TrainingState
from emergence_assets.saes.training.batches import SAEJob
from emergence_assets.saes.training.training import TrainedSAE, train_saes
from emergence_assets.study.sae import AuxK, SAESettings, VariantName
from tests.saes.planted import planted

EVERY = 7
SETTINGS = SAESettings(
    k=4, n_latents=64, n_steps=30, batch_size=128, dead_window_tokens=256, aux_k=AuxK(every_steps=EVERY)
)


class Killed(Exception):
    """A simulated end of a process."""


def trained(settings: SAESettings, state: TrainingState | None, dies_after: int | None = None) -> list[TrainedSAE]:
    x_td, _ = planted(n_rows=700)

    def report(done: int, _total: int, _note: str) -> None:
        if done == dies_after:
            raise Killed

    return train_saes([SAEJob(x_td, 0), SAEJob(x_td, 1)], settings, report=report, state=state)


def same(first: list[TrainedSAE], second: list[TrainedSAE]) -> bool:
    names = ("W_enc_nd", "b_enc_n", "W_dec_nd", "b_dec_d", "threshold_n")
    return all(
        one.curve == other.curve
        and one.dead_fraction == other.dead_fraction
        and all(
            getattr(one.sae, name) is None or torch.equal(getattr(one.sae, name), getattr(other.sae, name))
            for name in names
        )
        for one, other in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("dies_after", [1, 11, 29])
@pytest.mark.parametrize("variant", get_args(VariantName))
def test_a_continued_training_ends_with_the_same_bits(tmp_path: Path, variant: VariantName, dies_after: int) -> None:
    settings = SETTINGS.model_copy(update={"variant": variant, "k": 1})
    whole = trained(settings, None)
    assert any(one.dead_fraction > 0 for one in whole)  # otherwise AuxK would have no effect
    path = tmp_path / "state.safetensors"
    with pytest.raises(Killed):
        trained(settings, TrainingState(path, "this", every_seconds=0), dies_after)
    steps = []
    x_td, _ = planted(n_rows=700)
    state = TrainingState(path, "this", every_seconds=1e9)
    members = [SAEJob(x_td, 0), SAEJob(x_td, 1)]
    resumed = train_saes(members, settings, report=lambda done, *_: steps.append(done), state=state)
    # The report comes before the state is saved; the state is saved when dead latents are determined.
    assert steps[0] == 1 + (dies_after - 1) // EVERY * EVERY
    assert same(whole, resumed)
    state.remove()
    assert not path.exists()


@pytest.mark.parametrize("damage", ["another", "bit", "truncated", "empty", "no safetensors", "shape"])
def test_a_state_that_is_not_its_own_is_no_state(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.safetensors"
    with pytest.raises(Killed):
        trained(SETTINGS, TrainingState(path, "this", every_seconds=0), 20)
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 4
    elif damage == "truncated":
        content = content[:-100]
    elif damage == "empty":
        content = bytearray()
    elif damage == "no safetensors":
        content = bytearray(b"PK" * 1000)
    path.write_bytes(content)
    settings = SETTINGS.model_copy(update={"n_latents": 255}) if damage == "shape" else SETTINGS
    state = TrainingState(path, "that" if damage == "another" else "this", every_seconds=1e9)
    steps = []
    x_td, _ = planted(n_rows=700)
    train_saes([SAEJob(x_td, 0), SAEJob(x_td, 1)], settings, report=lambda done, *_: steps.append(done), state=state)
    assert steps[0] == 1


PROGRAM = """
import sys, torch
from pathlib import Path
from tests.saes.training.test_training_state import SETTINGS, trained
from emergence_assets.checkpoints.training.training_state import TrainingState
torch.set_num_threads(1)
settings = SETTINGS.model_copy(update={"n_steps": 3000})
out = trained(settings, TrainingState(Path(sys.argv[1]), "this", every_seconds=0.05))
torch.save([one.sae.W_enc_nd for one in out], sys.argv[2])
"""


@pytest.mark.slow
def test_a_process_killed_at_any_moment_loses_little_and_changes_nothing(tmp_path: Path) -> None:
    def start(state: Path, result: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", PROGRAM, str(state), str(result)])

    assert start(tmp_path / "whole", tmp_path / "whole.pt").wait() == 0
    kills = 0
    for seconds in (3.0, 3.4, 3.9, 4.3, 5.0):
        process = start(tmp_path / "state", tmp_path / "killed.pt")
        try:
            process.wait(seconds)
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    else:
        assert start(tmp_path / "state", tmp_path / "killed.pt").wait() == 0
    assert kills > 0
    whole, killed = torch.load(tmp_path / "whole.pt"), torch.load(tmp_path / "killed.pt")
    assert all(torch.equal(one, other) for one, other in zip(whole, killed, strict=True))
