"""Twelve SAEs in one stack, against one after the other, and against two processes with half of them each."""

import statistics
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.cuda_device import check_device
from benchmarks.gpu_roofline import BFLOAT16, FLOAT32, seconds_per_token
from benchmarks.rounds import Table
from benchmarks.sae_steps import MIDDLE, SMALL, WIDE, Shape, StepClock, recipe, rows, trained
from emergence_assets.saes.training.batches import Member
from resources.compute.local_processes import LocalProcesses
from resources.compute.task import Task

MEMBERS = [(layer, seed) for layer in range(6) for seed in range(2)]
"""Layers have rows of their own, seeds share them."""
HALVES = [MEMBERS[: len(MEMBERS) // 2], MEMBERS[len(MEMBERS) // 2 :]]
N_STEPS = {SMALL: 60, MIDDLE: 5}
"""Shape → steps of a training on the CPU, of which the first does not count."""
N_STEPS_GPU = 150
ROUNDS = 4
"""Of which the first does not count."""
STACKED, IN_TURN, IN_TWO = "stacked", "one after the other", "two processes, half stacked in each"


def measure_sae_stack(device: str = "cpu") -> Table:
    """Milliseconds of a step of all twelve, and ratios: medians of the rounds, by shape.

    Args:
        device: On a GPU instead tokens per second, what share that is of `gpu_roofline`'s, and memory.

    Raises:
        EmergenceError: There is no such device.
    """
    check_device(device)
    return _on_cpu() if device == "cpu" else _on_gpu(device)


def _on_cpu() -> Table:
    table: Table = {}
    with LocalProcesses(2) as processes:
        for shape, n_steps in N_STEPS.items():
            ways = {
                STACKED: [{"members": MEMBERS, "stacked": True}],
                IN_TURN: [{"members": MEMBERS, "stacked": False}],
                IN_TWO: [{"members": half, "stacked": True} for half in HALVES],
            }
            cpu: dict[str, list[float]] = {way: [] for way in ways}
            wall: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(ROUNDS):
                for way in list(ways)[:: 1 if number % 2 else -1]:
                    tasks = [
                        Task("benchmarks.sae_stack:train_some", {"shape": shape, "n_steps": n_steps, **some}, way)
                        for some in ways[way]
                    ]
                    answers = [answer for _, answer in processes.run(tasks)]
                    if number:
                        cpu[way].append(sum(answer["cpu"] for answer in answers) / (n_steps - 1))
                        wall[way].append(max(answer["wall"] for answer in answers) / (n_steps - 1))
            for way in ways:
                table[f"d={shape[0]} n={shape[1]}: {way}"] = {
                    "CPU ms per step of 12": 1e3 * statistics.median(cpu[way]),
                    "wall ms": 1e3 * statistics.median(wall[way]),
                    "CPU, of stacked": _ratio(cpu[way], cpu[STACKED]),
                    "wall, of stacked": _ratio(wall[way], wall[STACKED]),
                }
    return table


def _ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(seconds, others, strict=True))


def train_some(
    *, shape: Shape, n_steps: int, members: Sequence[tuple[int, int]], stacked: bool, report: Any
) -> dict[str, float]:
    """Seconds of all steps but the first. For a worker.

    Args:
        shape: Of each.
        n_steps: Of each.
        members: Layer and seed.
        stacked: Whether together.
        report: Not called.
    """
    clocks = _clocks(shape, n_steps, members, stacked)
    return {"cpu": sum(clock.cpu_seconds for clock in clocks), "wall": sum(clock.wall_seconds for clock in clocks)}


def _clocks(
    shape: Shape, n_steps: int, members: Sequence[tuple[int, int]], stacked: bool, device: str = "cpu"
) -> list[StepClock]:
    rows_of = {layer: rows(shape, seed=layer) for layer in dict.fromkeys(layer for layer, _ in members)}
    together = [Member(rows_of[layer], seed) for layer, seed in members]
    stacks = [together] if stacked else [[member] for member in together]
    return [trained(stack, recipe(shape, n_steps), device)[1] for stack in stacks]


def _on_gpu(device: str) -> Table:
    table: Table = {"device": {"tokens/s": torch.cuda.get_device_name(device)}}
    for shape in (SMALL, MIDDLE, WIDE):
        for way in (STACKED, IN_TURN):
            torch.cuda.reset_peak_memory_stats(device)
            clocks = _clocks(shape, N_STEPS_GPU, MEMBERS, way == STACKED, device)
            seconds = sum(clock.wall_seconds for clock in clocks) / (N_STEPS_GPU - 1)
            per_second = len(MEMBERS) * shape[3] / seconds
            table[f"d={shape[0]} n={shape[1]}: {way}"] = {
                "tokens/s": f"{per_second:,.0f}",
                "of the bfloat16 roofline": per_second * seconds_per_token(shape, BFLOAT16),
                "of the float32 roofline": per_second * seconds_per_token(shape, FLOAT32),
                "GPU memory, GB": torch.cuda.max_memory_allocated(device) / 1e9,
            }
    return table
