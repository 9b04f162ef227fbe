"""Seconds of our trainer's steps: without what comes before the first and after the last."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.planted_rows import planted_rows
from emergence_assets.saes.model.variants import Activation, TopK
from emergence_assets.saes.training.batches import Member
from emergence_assets.saes.training.settings import SAERecipe
from emergence_assets.saes.training.training import TrainedSAE, train_saes

Shape = tuple[int, int, int, int]
"""d_model, n_latents, k, batch size."""
SMALL = (96, 512, 16, 1024)
"""Of the default study."""
MIDDLE, WIDE = (512, 4096, 32, 2048), (512, 16_384, 32, 2048)


def recipe(shape: Shape, n_steps: int, activation: Activation | None = None, **others: Any) -> SAERecipe:
    """Of a shape; TopK where nothing else is asked for."""
    _, n_latents, k, batch_size = shape
    return SAERecipe(
        activation=activation or TopK(k), n_latents=n_latents, n_steps=n_steps, batch_size=batch_size, **others
    )


def rows(shape: Shape, n_batches: int = 4, seed: int = 0) -> np.ndarray:
    """Rows of so many batches."""
    d_model, n_latents, _, batch_size = shape
    return planted_rows(n_batches * batch_size, d_model, n_latents, seed)


class StepClock:
    """Takes the time after the first step and after the last; below 200 steps each is reported.

    Args:
        device: A GPU is waited for.
    """

    def __init__(self, device: str = "cpu"):
        self._on_gpu = device != "cpu"
        self.cpu_seconds = self.wall_seconds = 0.0
        """Of all steps but the first."""

    def report(self, done: int, total: int, _note: str) -> None:
        """As `train_saes` calls it."""
        if done not in (1, total):
            return
        if self._on_gpu:
            torch.cuda.synchronize()
        cpu, wall = time.process_time(), time.perf_counter()
        # At the end the difference, from the negative of the beginning on.
        sign = -1 if done == 1 else 1
        self.cpu_seconds += sign * cpu
        self.wall_seconds += sign * wall


def trained(members: Sequence[Member], recipe: SAERecipe, device: str = "cpu") -> tuple[list[TrainedSAE], StepClock]:
    """Train, and say what the steps after the first took.

    Args:
        members: What to train on what.
        recipe: Of 2 to 199 steps.
        device: Where.
    """
    clock = StepClock(device)
    return train_saes(members, recipe, device, clock.report), clock
