"""Train twelve SAEs in one stack, one after the other, or in two processes with half of them each."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.gpu_roofline import BFLOAT16, FLOAT32, seconds_per_token
from benchmarks.prerequisites import check_device
from benchmarks.rounds import Seconds, Table, measure_alternating
from benchmarks.sae_steps import MIDDLE, SMALL, WIDE, Shape, StepClock, rows, settings, trained
from emergence_assets.saes.training.batches import SAEJob
from resources.compute.local_processes import LocalProcesses
from resources.compute.task import Task

MEMBERS = [(layer, seed) for layer in range(6) for seed in range(2)]
"""Layers have rows of their own, seeds share them."""
HALVES = [MEMBERS[: len(MEMBERS) // 2], MEMBERS[len(MEMBERS) // 2 :]]
N_STEPS = {SMALL: 60, MIDDLE: 5}
"""Shape → steps of a training on the CPU; the first is not counted."""
N_STEPS_GPU = 150
ROUNDS = 3
STACKED, IN_TURN, IN_TWO = "stacked", "one after the other", "two processes, half stacked in each"


def measure_sae_stack(device: str = "cpu") -> Table:
    """Measure milliseconds of a step of all twelve and ratios, as medians over the rounds, by shape.

    Args:
        device: on a GPU tokens per second, their share of the roofline and memory are measured instead.

    Raises:
        EmergenceError: there is no such device.
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
            jobs = {way: partial(_seconds_per_step, processes, shape, n_steps, parts) for way, parts in ways.items()}
            costs = measure_alternating(jobs, ROUNDS)
            for way in ways:
                table[f"d={shape[0]} n={shape[1]}: {way}"] = {
                    "CPU ms per step of 12": 1e3 * costs.cpu(way),
                    "wall ms": 1e3 * costs.wall(way),
                    "CPU, of stacked": costs.speed(STACKED, way),
                    "wall, of stacked": costs.wall_ratio(way, STACKED),
                }
    return table


def _seconds_per_step(
    processes: LocalProcesses, shape: Shape, n_steps: int, parts: Sequence[dict[str, Any]]
) -> Seconds:
    """Train each part in a process of its own."""
    tasks = [
        Task("benchmarks.sae_stack:train_some", {"shape": shape, "n_steps": n_steps, **part}, "train") for part in parts
    ]
    answers = [answer for _, answer in processes.run(tasks)]
    cpu, wall = sum(answer["cpu"] for answer in answers), max(answer["wall"] for answer in answers)
    return Seconds(cpu / (n_steps - 1), wall / (n_steps - 1))


def train_some(
    *, shape: Shape, n_steps: int, members: Sequence[tuple[int, int]], stacked: bool, report: Any
) -> dict[str, float]:
    """Worker: measure the seconds of all steps but the first.

    Args:
        shape: shape of every SAE.
        n_steps: number of steps of every SAE.
        members: layer and seed of each SAE.
        stacked: train them together.
        report: not called.
    """
    clocks = _clocks(shape, n_steps, members, stacked)
    return {"cpu": sum(clock.cpu_seconds for clock in clocks), "wall": sum(clock.wall_seconds for clock in clocks)}


def _clocks(
    shape: Shape, n_steps: int, members: Sequence[tuple[int, int]], stacked: bool, device: str = "cpu"
) -> list[StepClock]:
    rows_of = {layer: rows(shape, seed=layer) for layer in dict.fromkeys(layer for layer, _ in members)}
    together = [SAEJob(rows_of[layer], seed) for layer, seed in members]
    stacks = [together] if stacked else [[member] for member in together]
    return [trained(stack, settings(shape, n_steps), device)[1] for stack in stacks]


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
