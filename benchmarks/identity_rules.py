"""Rates at which the identity rules miss a planted fault or exclude an intact checkpoint.

Runs are trained in pairs that differ in their seed. Every draw selects steps of one run and plants one fault.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import transformers

from emergence_assets.checkpoints.files.folder import layer_of_tensors, step_folder_name
from emergence_assets.checkpoints.identity.measurement import Measurement, measure_checkpoint
from emergence_assets.checkpoints.identity.validation import validate_checkpoints
from emergence_assets.checkpoints.models.facts import embedding_norm, model_facts
from emergence_assets.checkpoints.models.fixed_text import fixed_text_loss
from emergence_assets.checkpoints.models.loading import load_model
from emergence_assets.checkpoints.training.settings import ModelShape, TrainingRecipe
from emergence_assets.checkpoints.training.training import train

GRIDS: tuple[tuple[int, ...], ...] = (
    (0, 1, 2, 4, 8, 16, 32, 64),
    (0, *(2**power for power in range(10)), 1000),  # as published, with gaps
    tuple(range(17)),
    tuple(range(0, 65, 8)),
    tuple(range(0, 1001, 100)),
    (0, 16, 64, 256, 1000),
    (64, 128, 256, 512, 1000),
    tuple(range(500, 1001, 50)),
)
STEPS = tuple(sorted(set(chain.from_iterable(GRIDS))))
PAIRS: tuple[tuple[ModelShape, float, int, torch.dtype], ...] = (
    (ModelShape(16, 2, 2), 1e-2, 3, torch.float16),
    (ModelShape(16, 2, 2), 1e-3, 30, torch.float16),
    (ModelShape(8, 1, 2), 3e-3, 30, torch.float16),
    (ModelShape(8, 1, 2), 1e-2, 3, torch.bfloat16),
    (ModelShape(16, 3, 4), 3e-3, 10, torch.bfloat16),
    (ModelShape(24, 2, 2), 1e-3, 100, torch.bfloat16),
    (ModelShape(24, 3, 2), 3e-3, 3, torch.float16),
    (ModelShape(12, 4, 2), 3e-3, 100, torch.float32),
)
"""Shape, peak learning rate, warm-up steps and data type of the stored weights."""
DRAWS_PER_PAIR = 8
"""Draws of every kind of fault."""
SEED = 100
"""Seed of the runs; the thresholds were set on runs with other seeds."""
CLEAN = "clean"
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Run:
    """A run without faults."""

    weights: Mapping[int, Weights]
    measurements: Mapping[int, Measurement]
    small_files: Path
    """Folder with its config and tokenizer."""


@dataclass(frozen=True)
class Draw:
    """Checkpoints as a source would serve them, with their planted faults."""

    kind: str
    served: Mapping[int, Measurement]
    wrong: Mapping[int, int | None] = field(default_factory=dict)
    """Faulty step → the step of the same run whose weights it has, or None."""


def measure_identity_rules() -> dict[str, float | str | int]:
    """Measure rates by kind of fault, and false alarms on clean families."""
    figures: dict[str, float | str | int] = {}
    counts: dict[str, Counter[str]] = {}
    with ProcessPoolExecutor(2, get_context("spawn")) as workers:
        for draw in chain.from_iterable(workers.map(draws_of_pair, range(len(PAIRS)))):
            counts.setdefault(draw.kind, Counter()).update(counted_results(draw))
    clean = counts.pop(CLEAN)
    figures |= {f"{CLEAN}: {name}": number for name, number in clean.items()}
    for kind, counted in counts.items():
        n = counted["draws"]
        figures |= {f"{kind}: {name}": number if name == "draws" else number / n for name, number in counted.items()}
    return figures


def counted_results(draw: Draw) -> Counter[str]:
    """Count the results of the rules on a draw."""
    results = validate_checkpoints(draw.served)
    blamed = {step for step, result in results.items() if result.status != "ok"}
    if draw.kind == CLEAN:
        steps = sorted(draw.served)
        arriving = [validate_checkpoints({step: draw.served[step] for step in steps[:n]}) for n in range(1, len(steps))]
        alarms = sum(result.status != "ok" for interim in arriving for result in interim.values())
        return Counter(
            {
                "families": 1,
                "checkpoints": len(steps),
                "families with a false alarm": bool(blamed),
                "checkpoints falsely left out": len(blamed),
                "verdicts against a checkpoint while steps were arriving": alarms,
            }
        )
    named = all(results[step].dup_of_step == source for step, source in draw.wrong.items() if source is not None)
    return Counter(
        {
            "draws": 1,
            "found": bool(blamed & draw.wrong.keys()),
            "all of it found": blamed >= draw.wrong.keys(),
            "an innocent blamed": bool(blamed - draw.wrong.keys()),
            "exactly it blamed": blamed == draw.wrong.keys(),
            "and its source named": blamed == draw.wrong.keys() and named,
        }
    )


def draws_of_pair(number: int) -> list[Draw]:
    """Train the two runs of a pair and draw clean and faulty families from them."""
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    rng = np.random.default_rng([SEED, number])
    with tempfile.TemporaryDirectory() as scratch:
        runs = [_trained(Path(scratch) / str(twin), number, seed=SEED + 2 * number + twin) for twin in (0, 1)]
        clean = [Draw(CLEAN, {step: own.measurements[step] for step in steps}) for own in runs for steps in GRIDS]
        faulty = []
        for kind, plant in FAULTS.items():
            for _ in range(DRAWS_PER_PAIR):
                own, other = runs if rng.random() < 0.5 else runs[::-1]
                steps = GRIDS[rng.integers(len(GRIDS))]
                if "step 0" in kind and steps[0]:
                    steps = GRIDS[0]
                faulty.append(Draw(kind, *plant(rng, list(steps), own, other)))
    return clean + faulty


def _trained(folder: Path, number: int, seed: int) -> Run:
    shape, learning_rate, warm_up_steps, dtype = PAIRS[number]
    recipe = TrainingRecipe(
        shape, learning_rate, max(STEPS), batch_size=2, context=32, warm_up_steps=warm_up_steps, seed=seed
    )
    train(recipe, folder, STEPS)
    files = {step: folder / step_folder_name(step) / "model.safetensors" for step in STEPS}
    weights = {
        step: {name: tensor.to(dtype) for name, tensor in safetensors.torch.load_file(file).items()}
        for step, file in files.items()
    }
    small_files = folder / step_folder_name(0)
    return Run(weights, {step: _measured(found, small_files) for step, found in weights.items()}, small_files)


def _measured(weights: Weights, small_files: Path) -> Measurement:
    """Measure a checkpoint with these weights."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("config.json", "tokenizer.json"):
            (folder / name).write_bytes((small_files / name).read_bytes())
        safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})
        model = load_model(folder)
        loss = fixed_text_loss(model, folder / "tokenizer.json")
        return replace(measure_checkpoint(folder, model_facts(model), embedding_norm(model)), loss=loss)


Planted = tuple[dict[int, Measurement], dict[int, int | None]]


def _serving(own: Run, steps: Sequence[int], instead: Mapping[int, int]) -> Planted:
    """Serve some steps with the weights of others: `instead` maps a step to its source."""
    served = {step: own.measurements[instead.get(step, step)] for step in steps}
    return served, dict(instead)


def _repeated(rng: np.random.Generator, steps: list[int], own: Run, _other: Run) -> Planted:
    source, onto = rng.choice(steps, 2, replace=False).tolist()
    return _serving(own, steps, {onto: source})


def _repeated_beside(rng: np.random.Generator, steps: list[int], own: Run, _other: Run) -> Planted:
    position = int(rng.integers(1, len(steps)))
    source, onto = rng.permutation(steps[position - 1 : position + 1]).tolist()
    return _serving(own, steps, {onto: source})


def _repeated_twice(rng: np.random.Generator, steps: list[int], own: Run, _other: Run) -> Planted:
    source, one, two = rng.choice(steps, 3, replace=False).tolist()
    return _serving(own, steps, {one: source, two: source})


def _final_at_step_0(_rng: np.random.Generator, steps: list[int], own: Run, _other: Run) -> Planted:
    return _serving(own, steps, {0: steps[-1]})


def _final_everywhere(rng: np.random.Generator, steps: list[int], own: Run, _other: Run) -> Planted:
    """Serve the last weights at all steps up to one, as 86 of 154 revisions of pythia-2.8b do."""
    n = int(rng.integers(len(steps) // 2, len(steps) - 1))
    return _serving(own, steps, dict.fromkeys(steps[:n], steps[-1]))


def _part_of_another(rng: np.random.Generator, steps: list[int], own: Run, _other: Run) -> Planted:
    """Serve consecutive tensors of another step, as one of several files; at least a whole layer."""
    source, onto = rng.choice(steps, 2, replace=False).tolist()
    names = sorted(own.weights[onto])
    layers = {name: layer for name, (layer, _) in layer_of_tensors(names).items()}
    while True:
        first, last = sorted(rng.choice(len(names) + 1, 2, replace=False).tolist())
        part, rest = names[first:last], names[:first] + names[last:]
        pieces = [
            {layers.get(name, name) for name in some if own.weights[onto][name].ndim > 1} for some in (part, rest)
        ]
        if pieces[0] - pieces[1] and pieces[1]:
            break
    served, _ = _serving(own, steps, {})
    mixed = {name: own.weights[source if name in part else onto][name] for name in names}
    return served | {onto: _measured(mixed, own.small_files)}, {onto: source}


def _of_another_run(rng: np.random.Generator, steps: list[int], own: Run, other: Run) -> Planted:
    step = int(rng.choice(steps))
    served, _ = _serving(own, steps, {})
    return served | {step: other.measurements[step]}, {step: None}


def _several_of_another_run(rng: np.random.Generator, steps: list[int], own: Run, other: Run) -> Planted:
    """Replace neighbouring steps, fewer than half."""
    n = int(rng.integers(2, max(3, len(steps) // 2)))
    first = int(rng.integers(len(steps) - n + 1))
    served, _ = _serving(own, steps, {})
    foreign = steps[first : first + n]
    return served | {step: other.measurements[step] for step in foreign}, dict.fromkeys(foreign)


def _exchanged(rng: np.random.Generator, steps: list[int], own: Run, _other: Run) -> Planted:
    one, two = rng.choice(steps, 2, replace=False).tolist()
    return _serving(own, steps, {one: two, two: one})[0], {one: None, two: None}


def _trained_at_step_0(rng: np.random.Generator, steps: list[int], own: Run, _other: Run) -> Planted:
    """Serve late weights with little noise at step 0."""
    source = int(rng.choice(steps[len(steps) // 2 :]))
    noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
    noisy = {
        name: (tensor.float() * (1 + 0.003 * torch.randn(tensor.shape, generator=noise))).to(tensor.dtype)
        for name, tensor in own.weights[source].items()
    }
    served, _ = _serving(own, steps, {})
    return served | {0: _measured(noisy, own.small_files)}, {0: None}


FAULTS: Mapping[str, Callable[[np.random.Generator, list[int], Run, Run], Planted]] = {
    "a step repeated": _repeated,
    "a step repeated beside it": _repeated_beside,
    "a step repeated twice": _repeated_twice,
    "the last step at step 0": _final_at_step_0,
    "the last step at most others": _final_everywhere,
    "a part of another step": _part_of_another,
    "a step of another run": _of_another_run,
    "several steps of another run": _several_of_another_run,
    "two steps exchanged": _exchanged,
    "a trained model at step 0": _trained_at_step_0,
}
"""Kind → function that plants the fault."""
