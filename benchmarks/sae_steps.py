"""Seconds of our trainer's steps, without set-up before the first step and clean-up after the last."""

import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.planted_rows import planted_rows
from emergence_assets.saes.training.batches import SAEJob
from emergence_assets.saes.training.training import TrainedSAE, train_saes
from emergence_assets.study.sae import SAESettings

Shape = tuple[int, int, int, int]
"""d_model, n_latents, k, batch size."""
SMALL = (96, 512, 16, 1024)
"""Shape of the default study."""
MIDDLE, WIDE = (512, 4096, 32, 2048), (512, 16_384, 32, 2048)


def settings(shape: Shape, n_steps: int) -> SAESettings:
    """Return TopK settings of a shape."""
    _, n_latents, k, batch_size = shape
    return SAESettings(n_latents=n_latents, k=k, n_steps=n_steps, batch_size=batch_size)


def rows(shape: Shape, n_batches: int = 4, seed: int = 0) -> np.ndarray:
    """Make rows of `n_batches` batches."""
    d_model, n_latents, _, batch_size = shape
    return planted_rows(n_batches * batch_size, d_model, n_latents, seed)


class StepClock:
    """Clock that starts after the first step and stops after the last; trainings below 200 steps report each.

    Args:
        device: on a GPU the clock waits for the kernels.
    """

    def __init__(self, device: str = "cpu"):
        self._on_gpu = device != "cpu"
        self.cpu_seconds = self.wall_seconds = 0.0
        """Seconds of all steps but the first."""

    def report(self, done: int, total: int, _note: str) -> None:
        """Progress callback of `train_saes`."""
        if done not in (1, total):
            return
        if self._on_gpu:
            torch.cuda.synchronize()
        cpu, wall = time.process_time(), time.perf_counter()
        # Subtract the clock at the start, add the clock at the end.
        sign = -1 if done == 1 else 1
        self.cpu_seconds += sign * cpu
        self.wall_seconds += sign * wall


def trained(jobs: Sequence[SAEJob], settings: SAESettings, device: str = "cpu") -> tuple[list[TrainedSAE], StepClock]:
    """Train, and measure the steps after the first.

    Args:
        jobs: rows and seed of every SAE.
        settings: training settings, of 2 to 199 steps.
        device: device of the training.
    """
    clock = StepClock(device)
    return train_saes(jobs, settings, device, clock.report), clock
