"""Validation of the checkpoints of a model by the identity rules. Pure numpy.

A rule leaves out as few steps as possible: first the worst step, then all others are validated again without it.
Thresholds were chosen on families trained here, with and without planted faults (`benchmarks/identity_rules.py`).
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal, get_args

import numpy as np

from emergence_assets.checkpoints.identity.measurement import InvalidCheckpoint, Measurement, Rule
from emergence_assets.checkpoints.identity.trajectory import Trajectory, trajectory

IDENTITY_RULES = "identity_v1"
"""Name of this set of rules and thresholds; checkpoints are validated again when it changes."""
UNTRAINED = (0.9, 1.3)
"""Range of the loss of an untrained model, in units of ln(vocabulary). A model below 0.9 has learnt something. The loss
exceeds 1 because logits of random weights are not all equal."""
CLEARLY = 0.8
"""A length is clearly smaller than another if it is below this share of the other. Between steps that differ by noise
alone all lengths are equal; in clean runs, inserting a step anywhere else makes the trajectory at least 1.15 times
longer."""
HARDLY_MOVED = 0.02
"""Relative distance below which whole tensors may be unchanged in half precision."""
ROUNDING = 0.001
"""Relative distance caused by rounding to half precision; steps that differ by less have no order."""
RELATED = 0.25
"""Least similarity of two checkpoints of one run. Measured: at least 0.57 between neighbours in time, at most 0.13
between seeds."""
NEAR_IN_TIME = 4
"""Steps whose numbers differ by no more than this factor must be related; over a larger factor a model may change
completely."""
CLEAR_LOSS_DIFFERENCE = 0.05
"""Difference of losses, in nats per token, that decides between owners if distances do not; in clean runs the loss
rises by 0.03 at most."""


@dataclass(frozen=True)
class ValidationResult:
    """Status of one checkpoint, with the rules that it fails."""

    step: int
    status: Literal["ok", "admitted", "duplicate", "outlier", "quarantined"]
    reason: str = ""
    dup_of_step: int | None = None
    """Step whose weights this step repeats, if known."""
    failed: tuple[str, ...] = ()
    """Names of the rules that the checkpoint fails."""


def validate_checkpoints(
    measurements: Mapping[int, Measurement | InvalidCheckpoint],
    allow_failed: Collection[int] = (),
    made_here: Collection[int] = (),
) -> dict[int, ValidationResult]:
    """Validate all measured checkpoints of one model.

    Args:
        measurements: step to measurement with its sample, or to the reason why it could not be used.
        allow_failed: steps that are used although they fail a rule; the results of other steps do not change.
        made_here: steps with random weights that the study made: they are on no trajectory.

    Returns:
        The result for every step.
    """
    usable = {step: found for step, found in measurements.items() if isinstance(found, Measurement)}
    validation = _Validation(usable, made_here)
    for step, found in measurements.items():
        if isinstance(found, InvalidCheckpoint):
            validation.results[step] = ValidationResult(step, "quarantined", found.reason, failed=(found.rule,))
    validation.compare_architectures()
    validation.validate_step_0()
    validation.find_shared_weights()
    validation.find_shared_groups()
    validation.find_other_runs()
    validation.find_misplaced()
    results = {}
    for step in sorted(measurements):
        found = validation.results.get(step, ValidationResult(step, "ok"))
        # A checkpoint that cannot be loaded cannot be used.
        if step in allow_failed and found.status != "ok" and not set(get_args(Rule)) & set(found.failed):
            reason = f"admitted by name although {found.reason}"
            found = ValidationResult(step, "admitted", reason, found.dup_of_step, found.failed)
        results[step] = found
    return results


class _Validation:
    """Results so far; a step that is left out is not compared again."""

    def __init__(self, measurements: dict[int, Measurement], made_here: Collection[int]):
        self.measurements, self.made_here = measurements, made_here
        self.results: dict[int, ValidationResult] = {}

    @property
    def kept(self) -> list[int]:
        """Steps that fail no rule so far, ascending."""
        return sorted(step for step in self.measurements if step not in self.results)

    @property
    def trained(self) -> list[int]:
        """Steps of the training run that fail no rule so far, ascending."""
        return [step for step in self.kept if step not in self.made_here]

    def leave_out(self, result: ValidationResult) -> None:
        self.results[result.step] = result

    @cached_property
    def path(self) -> Trajectory:
        """Trajectory of the steps with the common architecture, without a trained step 0."""
        return trajectory({step: self.measurements[step] for step in self.trained})

    def compare_architectures(self) -> None:
        """Leave out steps whose architecture is not the most frequent."""
        common = _common_architecture(self.measurements)
        shapes = {step: _architecture(found) for step, found in self.measurements.items()}
        for step, shape in shapes.items():
            if common and shape != common:
                differing = ", ".join(
                    f"{name} {value!r} instead of {usual!r}"
                    for (name, value), (_, usual) in zip(shape, common, strict=True)
                    if value != usual
                )
                reason = f"its architecture is not that of the other steps: {differing}"
                self.leave_out(ValidationResult(step, "quarantined", reason, failed=("architecture_is_constant",)))

    def validate_step_0(self) -> None:
        """Leave out a step 0 that predicts better or worse than an untrained model."""
        # If it shares the weights of another step, `find_shared_weights` names that step.
        if 0 in self.kept and self._is_trained(0) and len(self._sharing(0)) == 1:
            self.leave_out(ValidationResult(0, "quarantined", self._trained(0), failed=("step_0_is_untrained",)))

    def find_shared_weights(self) -> None:
        """Leave out steps that share their weights, except for the owner of the weights."""
        sets = {tuple(self._sharing(step)) for step in self.kept}
        owners = {shared: self._owner(shared) for shared in sets if len(shared) > 1}
        for shared, owner in owners.items():
            for step in shared:
                if step != owner:
                    self.leave_out(self._duplicate(step, shared, owner))

    def find_shared_groups(self) -> None:
        """Leave out steps with a part of another step, such as a shard of the wrong upload."""
        kept = self.trained
        if len(kept) < 2:
            return
        parts: dict[tuple[int, ...], list[int]] = {}
        for group, name in enumerate(self.path.groups):
            position = self.measurements[kept[0]].groups.index(name)
            sets: dict[str, list[int]] = {}
            for step in kept:
                sets.setdefault(self.measurements[step].matrix_hashes[position], []).append(step)
            for shared in sets.values():
                # A part that most steps share is frozen; neighbours may share a part that training has not moved yet.
                if 1 < len(shared) <= len(kept) / 2 and self._moved(shared):
                    parts.setdefault(tuple(shared), []).append(group)
        owners = {shared: {self._owner(shared, group) for group in groups} - {None} for shared, groups in parts.items()}
        for shared, groups in parts.items():
            owner = next(iter(owners[shared])) if len(owners[shared]) == 1 else None
            whose = "that other steps have too" if owner is None else f"of step {owner}"
            names = _listed([self.path.groups[group] for group in groups])
            reason = f"its {names} are those {whose}, the rest is not: a part of another upload"
            for step in shared:
                if step != owner and step not in self.results:
                    self.leave_out(ValidationResult(step, "outlier", reason, owner, ("weights_are_unique",)))

    def find_other_runs(self) -> None:
        """Leave out steps whose weights are unrelated to those of most steps, some of which are near in time."""
        runs: list[list[int]] = []
        for step in self.trained:
            similarity = dict(zip(self.path.steps, self.path.similarity_ss[self.path.places([step])[0]], strict=True))
            related = [run for run in runs if any(similarity[other] >= RELATED for other in run)]
            runs = [run for run in runs if run not in related] + [sorted([step, *chain.from_iterable(related)])]
        # Of equally long runs the later: it leads to the final model.
        longest = max(runs, key=lambda run: (len(run), run), default=[])
        for run in runs:
            if run != longest and any(_are_near(step, other) for step in run for other in longest):
                for step in run:
                    nearest = min(longest, key=lambda other: abs(other - step))
                    similarity = self.path.similarity_ss[*self.path.places([step, nearest])]
                    more = f" and {n_more} other steps" if (n_more := len(longest) - 1) > 1 else ""
                    more = more or (" and another step" if n_more else "")
                    reason = (
                        f"it belongs to another run than step {nearest}{more}: "
                        f"their weights have a cosine of {similarity:.2f}"
                    )
                    self.leave_out(ValidationResult(step, "outlier", reason, failed=("steps_lie_on_one_trajectory",)))

    def find_misplaced(self) -> None:
        """Leave out steps without which, or with which elsewhere, the trajectory would be clearly shorter."""
        while len(kept := self.trained) > 2:
            gains = {step: gain for step in kept if (gain := self._gain_of_moving(step)) > 0}
            if not gains:
                return
            # Of two neighbours in the wrong order either could move across the other: both are left out.
            most = max(gains.values())
            worst = [step for step, gain in gains.items() if gain > 0.999 * most]
            saved = {step: self.path.saved_by_exchange(step, kept) for step in gains}
            best = max(saved, key=lambda step: saved[step].max())
            pair = (best, kept[int(saved[best].argmax())])
            for step in pair if CLEARLY * saved[best].max() > most else worst:
                self.leave_out(self._misplaced(step, kept))

    def _gain_of_moving(self, step: int) -> float:
        """Return the decrease of the trajectory length with a step at its best place; 0 unless clear."""
        others = [other for other in self.kept if other != step]
        added = self.path.added(step, others)
        own = _place(step, others)
        best = float(np.delete(added, own).min())
        gain = float(added[own]) - best
        return gain if best < CLEARLY * added[own] and gain > ROUNDING * self.path.size(step) else 0.0

    def _misplaced(self, step: int, kept: Sequence[int]) -> ValidationResult:
        others = [other for other in kept if other != step]
        place = _place(step, others)
        beside = others[max(0, place - 1) : place + 1]
        nearest = others[int(self.path.distances(step, others).argmin())]
        if nearest in beside:
            reason = f"its weights do not lie where they should beside {_steps(beside)}"
        else:
            reason = f"its weights are next to those of step {nearest} and not to those of its neighbours in time"
        return ValidationResult(step, "outlier", reason, failed=("steps_lie_on_one_trajectory",))

    def _duplicate(self, step: int, shared: Sequence[int], owner: int | None) -> ValidationResult:
        if owner is not None:
            reason = f"it has the weights of step {owner}"
        else:
            others = [other for other in shared if other != step]
            reason = f"it has the same weights as {_steps(others)}, and the right step cannot be determined"
        failed = ("weights_are_unique",)
        if step == 0 and self._is_trained(0):
            reason, failed = f"{self._trained(0)}; {reason}", ("step_0_is_untrained", *failed)
        return ValidationResult(step, "duplicate", reason, owner, failed)

    def _is_trained(self, step: int) -> bool:
        loss, chance = self.measurements[step].loss, self._chance(step)
        return loss is not None and not UNTRAINED[0] * chance <= loss <= UNTRAINED[1] * chance

    def _trained(self, step: int) -> str:
        loss = self.measurements[step].loss
        return f"it is not an untrained model: its loss is {loss:.2f} nats, chance is {self._chance(step):.2f}"

    def _chance(self, step: int) -> float:
        return math.log(self.measurements[step].facts.vocab_size)

    def _sharing(self, step: int) -> list[int]:
        """List the steps that have the weights of a step, itself included."""
        hashes = self.measurements[step].matrix_hashes
        return [other for other in self.kept if self.measurements[other].matrix_hashes == hashes]

    def _moved(self, shared: Sequence[int]) -> bool:
        first, *rest = self.path.places(shared)
        return bool(self.path.relative_ss[first, rest].max() >= HARDLY_MOVED)

    def _owner(self, shared: Sequence[int], group: int | None = None) -> int | None:
        """Find the owner of weights that several steps share; None if it cannot be decided.

        The owner is the step at which the weights increase the trajectory length least; of neighbours in time, the step
        with which the weights move at an even speed. If several steps remain, the owner is the step whose loss fits
        between those of the other steps.
        """
        others = [step for step in self.kept if step not in shared]
        owners = [step for step in shared if step or group is not None or not self._is_trained(0)]
        if len(owners) > 1 and others:
            owners = _least(owners, lambda step: float(self.path.added(step, others, group)[_place(step, others)]))
        if len(owners) > 1 and group is not None:
            owners = _least(owners, lambda step: self._stride(step, shared, others, group))
        is_one_place = len({_place(step, others) for step in owners}) == 1
        if is_one_place:
            owners = _least(owners, lambda step: self.path.unevenness(step, others))
        surprises = {step: self._surprise(step, others) for step in owners}
        owners = [step for step in owners if surprises[step] <= min(surprises.values()) + CLEAR_LOSS_DIFFERENCE]
        if len(owners) > 2 and not is_one_place and owners[-1] > max(others):
            return owners[-1]  # the final model, uploaded in place of earlier steps
        if owners[0] == 0 and group is None and self.measurements[0].loss is not None:
            return 0  # an untrained model: nothing has moved yet
        return owners[0] if len(owners) == 1 else None

    def _stride(self, step: int, shared: Sequence[int], others: Sequence[int], group: int) -> float:
        """Compare how far a part moved since the nearest other step, relative to the rest of the model.

        Returns the factor by which this ratio differs from that between the other steps, in either direction; 1 means
        no difference.
        """
        hashes = [self.measurements[other].matrix_hashes for other in shared]
        positions = [self.measurements[step].groups.index(name) for name in self.path.groups]
        rest = [g for g, position in enumerate(positions) if len({known[position] for known in hashes}) == len(shared)]
        nearest = sorted(others, key=lambda other: abs(other - step))[:2]
        if not rest or len(nearest) < 2:
            return math.inf

        def ratio(one: int, other: int) -> float:
            moved_g = self.path.group_distances_gss[:, *self.path.places([one, other])]
            return float(moved_g[group] / max(np.median(moved_g[rest]), 1e-9))

        found, usual = ratio(step, nearest[0]), ratio(nearest[0], nearest[1])
        return max(found, usual) / max(min(found, usual), 1e-9)

    def _surprise(self, step: int, others: Sequence[int]) -> float:
        """Return by how many nats the loss of a step exceeds that of earlier steps or is below that of later steps."""
        loss = self.measurements[step].loss
        known = {other: found for other in others if (found := self.measurements[other].loss) is not None}
        if loss is None:
            return 0.0
        earlier = [other_loss for other, other_loss in known.items() if other < step]
        later = [other_loss for other, other_loss in known.items() if other > step]
        return max(0.0, loss - min(earlier, default=loss)) + max(0.0, max(later, default=loss) - loss)


def cosine_matrix(measurements: Mapping[int, Measurement]) -> tuple[tuple[int, ...], np.ndarray]:
    """Compute the cosines of the weights of all steps that have the most frequent architecture.

    Returns:
        Steps, ascending, and their cosines [steps, steps].
    """
    common = _common_architecture(measurements)
    path = trajectory({step: found for step, found in measurements.items() if _architecture(found) == common})
    return path.steps, path.cosines_ss


def _common_architecture(measurements: Mapping[int, Measurement]) -> tuple[tuple[str, object], ...]:
    """Return the most frequent architecture; of equally frequent ones that of the latest step, the published model."""
    shapes = {step: _architecture(found) for step, found in measurements.items()}
    counts, latest = Counter(shapes.values()), {shape: step for step, shape in sorted(shapes.items())}
    return max(counts, key=lambda shape: (counts[shape], latest[shape]), default=())


def _architecture(found: Measurement) -> tuple[tuple[str, object], ...]:
    names = ("architecture", "n_layers", "d_model", "n_heads", "vocab_size", "n_params")
    sampled = ("layout", (found.groups, found.sample_sizes))
    return (*((name, getattr(found.facts, name)) for name in names), sampled)


def _are_near(one: int, other: int) -> bool:
    return max(one, other) <= NEAR_IN_TIME * max(1, min(one, other))


def _place(step: int, others: Sequence[int]) -> int:
    """Count the steps of `others` before a step."""
    return sum(other < step for other in others)


def _least(steps: Sequence[int], length: Callable[[int], float]) -> list[int]:
    """Return the steps whose length is not clearly larger than the smallest."""
    lengths = {step: length(step) for step in steps}
    return [step for step in steps if CLEARLY * lengths[step] <= min(lengths.values())]


def _steps(steps: Sequence[int]) -> str:
    shown = ", ".join(str(step) for step in steps[:5]) + (f" and {len(steps) - 5} more" if len(steps) > 5 else "")
    return f"step {shown}" if len(steps) == 1 else f"steps {shown}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown + (f" and {len(names) - 4} more groups" if len(names) > 4 else "") + " weights"
