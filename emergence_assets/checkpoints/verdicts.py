"""Which checkpoints of a model are what they claim to be: the identity rules. Pure numpy.

Belongs here: rules, thresholds, and the words in which a verdict is given. Does not belong here: how weights are
compared (`trajectory.py`) and measured (`measurement.py`), what becomes of a checkpoint that fails (`listing.py`).

A rule blames as few steps as possible: the worst one is left out and all others are judged again without it. Thresholds
were set on the embedded family and on faults planted into it (docs/measurements.md).
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emergence_assets.checkpoints.measurement import Measurement, Refusal
from emergence_assets.checkpoints.trajectory import Trajectory, trajectory

IDENTITY_RULES = "identity_v1"
"""Name of this set of rules and thresholds; verdicts are made anew when it changes."""
RULES = (
    "files_are_whole",
    "architecture_is_constant",
    "step_0_is_untrained",
    "weights_are_unique",
    "steps_lie_on_one_trajectory",
)
UNTRAINED = (0.9, 1.3)
"""Loss of an untrained model in units of ln(vocabulary). No training lowers it by a tenth without learning something;
logits of random weights are not all equal, which raises it."""
CLEARLY = 0.8
"""A distance is clearly smaller than another when it is below this share of it; neighbours in time that do not differ
but for noise lie above."""
LONGEST_DETOUR = 2.5
"""Way over a step, in units of the way past it: about 1.4 for a random walk, 2 for noise around one place."""
HARDLY_MOVED = 0.02
"""Relative distance below which half precision may leave whole tensors as they were."""
TORN = 0.25
"""Cosine between neighbours in time below which their weights have nothing to do with each other; within one run the
lowest that was seen is 0.46."""
NEAR_IN_TIME = 4
"""Steps whose numbers differ by no more than this factor are compared by cosine: over more, a model may forget all."""
LOSS_TELLS = 0.3
"""Nats by which a loss must stand out of its neighbours' to decide what distances leave open."""


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of one step."""

    step: int
    status: Literal["ok", "admitted", "duplicate", "outlier", "quarantined"]
    reason: str = ""
    dup_of_step: int | None = None
    """Step whose weights it repeats, where that is known."""
    failed: tuple[str, ...] = ()
    """Names of the rules that it fails."""


def judge(measurements: Mapping[int, Measurement | Refusal], admitted: Collection[int] = ()) -> dict[int, Verdict]:
    """Judge all measured checkpoints of one model.

    Args:
        measurements: step to measurement with its sample, or to the reason why it could not be used.
        admitted: steps that are used whatever the rules say; they still count as evidence about others.

    Returns:
        A verdict for every step.
    """
    bench = _Bench({step: found for step, found in measurements.items() if isinstance(found, Measurement)})
    for step, found in measurements.items():
        if isinstance(found, Refusal):
            where = f" ({found.where.rsplit('/', 1)[-1]})" if found.where else ""
            reason = f"{found.reason}{where}"
            bench.verdicts[step] = Verdict(step, "quarantined", reason, failed=("files_are_whole",))
    bench.compare_architectures()
    bench.judge_step_0()
    bench.find_shared_weights()
    bench.find_shared_groups()
    bench.find_strays()
    bench.find_breaks()
    verdicts = {}
    for step in sorted(measurements):
        found = bench.verdicts.get(step, Verdict(step, "ok"))
        # What cannot be loaded cannot be used, whoever admits it.
        if step in admitted and found.status != "ok" and "files_are_whole" not in found.failed:
            reason = f"admitted by name although {found.reason}"
            found = Verdict(step, "admitted", reason, found.dup_of_step, found.failed)
        verdicts[step] = found
    return verdicts


class _Bench:
    """Verdicts as they are found; what is left out is no longer compared with."""

    def __init__(self, measurements: dict[int, Measurement]):
        self.measurements = measurements
        self.verdicts: dict[int, Verdict] = {}
        self._trajectory: Trajectory | None = None

    @property
    def kept(self) -> list[int]:
        """Steps that nothing was found against, ascending."""
        return sorted(step for step in self.measurements if step not in self.verdicts)

    def leave_out(self, verdict: Verdict) -> None:
        self.verdicts[verdict.step] = verdict

    def trajectory(self) -> Trajectory:
        """Of all steps with one architecture, worked out once."""
        if self._trajectory is None:
            self._trajectory = trajectory({step: self.measurements[step] for step in self.kept})
        return self._trajectory

    def distance(self, one: int, other: int, group: int | None = None) -> float:
        path = self.trajectory()
        table = path.distances_ss if group is None else path.group_distances_gss[group]
        return float(table[path.steps.index(one), path.steps.index(other)])

    def relative(self, one: int, other: int) -> float:
        path = self.trajectory()
        return float(path.relative_ss[path.steps.index(one), path.steps.index(other)])

    def cosine(self, one: int, other: int) -> float:
        path = self.trajectory()
        return float(path.cosines_ss[path.steps.index(one), path.steps.index(other)])

    def compare_architectures(self) -> None:
        """The most frequent architecture is that of the model."""
        shapes = {step: _architecture(found) for step, found in self.measurements.items()}
        if not shapes:
            return
        # Of equally frequent ones that of the latest step: it is the one that is published as the model.
        counts = Counter(shapes.values())
        common = max(counts, key=lambda shape: (counts[shape], max(step for step in shapes if shapes[step] == shape)))
        for step, shape in shapes.items():
            if shape != common:
                differing = ", ".join(
                    f"{name} {value!r} instead of {usual!r}"
                    for (name, value), (_, usual) in zip(shape, common, strict=True)
                    if value != usual
                )
                reason = f"its architecture is not that of the other steps: {differing}"
                self.leave_out(Verdict(step, "quarantined", reason, failed=("architecture_is_constant",)))

    def judge_step_0(self) -> None:
        """A model that learned nothing predicts no better than chance."""
        if 0 not in self.kept:
            return
        loss, chance = self.measurements[0].loss, math.log(self.measurements[0].facts.vocab_size)
        if loss is not None and not UNTRAINED[0] * chance <= loss <= UNTRAINED[1] * chance:
            self.trajectory()  # with step 0: distances are worked out once
            twin = next((step for step in self.kept if step and self._same_weights(0, step)), None)
            reason = f"it is no untrained model: its loss is {loss:.2f} nats, chance is {chance:.2f}"
            reason += f"; it has the weights of step {twin}" if twin is not None else ""
            failed = ("step_0_is_untrained", *(["weights_are_unique"] if twin is not None else []))
            self.leave_out(Verdict(0, "duplicate" if twin is not None else "quarantined", reason, twin, failed))

    def find_shared_weights(self) -> None:
        """Steps with the same weights: at most one of them is where it belongs."""
        sets: dict[tuple[str, ...], list[int]] = {}
        for step in self.kept:
            sets.setdefault(self.measurements[step].matrix_hashes, []).append(step)
        for shared in sets.values():
            if len(shared) > 1:
                owner = self._owner(shared)
                for step in shared:
                    if step != owner:
                        self.leave_out(_duplicate(step, shared, owner))

    def find_shared_groups(self) -> None:
        """Steps of which a part is that of another step, such as a shard of the wrong upload."""
        kept = self.kept
        if len(kept) < 2:
            return
        blamed: dict[tuple[int, int | None], list[str]] = {}
        for group, name in enumerate(self.trajectory().groups):
            position = self.measurements[kept[0]].groups.index(name)
            sets: dict[str, list[int]] = {}
            for step in kept:
                sets.setdefault(self.measurements[step].matrix_hashes[position], []).append(step)
            for shared in sets.values():
                # A part that most steps share is frozen; neighbours may share what training has not moved yet.
                if len(shared) > 1 and len(shared) <= len(kept) / 2 and self._moved(shared):
                    owner = self._owner(shared, group)
                    for step in shared:
                        if step != owner:
                            blamed.setdefault((step, owner), []).append(name)
        for (step, owner), names in blamed.items():
            if step not in self.verdicts:
                whose = f"of step {owner}" if owner is not None else "that other steps have too"
                reason = f"its {_listed(names)} are those {whose}, the rest is not: a part of another upload"
                self.leave_out(Verdict(step, "outlier", reason, owner, ("weights_are_unique",)))

    def find_strays(self) -> None:
        """Steps whose weights are in the neighbourhood of another step, or far from where both neighbours are."""
        while True:
            kept = self.kept
            impostors = [found for position in range(len(kept)) if (found := self._impostor(kept, position))]
            # Only without impostors: a step between two of which one has the other's weights looks like a detour.
            detours = [found for position in range(len(kept)) if (found := self._detour(kept, position))]
            found = impostors or detours
            if not found:
                return
            self.leave_out(max(found, key=lambda pair: pair[0])[1])

    def find_breaks(self) -> None:
        """Where the run tears: pieces whose weights have nothing to do with each other; the longest is kept."""
        kept = self.kept
        pieces: list[list[int]] = []
        for step in kept:
            if pieces and not self._torn(pieces[-1][-1], step):
                pieces[-1].append(step)
            else:
                # Behind a piece of another run the own one may go on.
                own = next((piece for piece in pieces[:-1][::-1] if self.cosine(piece[-1], step) >= TORN), None)
                if own is None:
                    pieces.append([step])
                else:
                    pieces.remove(own)
                    pieces.append([*own, step])
        longest = max(pieces, key=len, default=[])
        for step in kept:
            if step not in longest:
                nearest = min(longest, key=lambda other: abs(other - step))
                reason = (
                    f"it belongs to another run than step {nearest} and {len(longest) - 1} others: "
                    f"their weights have a cosine of {self.cosine(step, nearest):.2f}"
                )
                self.leave_out(Verdict(step, "outlier", reason, failed=("steps_lie_on_one_trajectory",)))

    def _torn(self, one: int, other: int) -> bool:
        """Whether two neighbours in time have nothing to do with each other although little time is between them."""
        return other <= NEAR_IN_TIME * max(one, 1) and self.cosine(one, other) < TORN

    def _impostor(self, kept: Sequence[int], position: int) -> tuple[float, Verdict] | None:
        """A step that is nearest to one that is not its neighbour in time, and fits its own place worse than that."""
        step, beside = kept[position], _beside(kept, position)
        far = [other for other in kept if other != step and other not in beside]
        if not far or not beside:
            return None
        nearest = min(far, key=lambda other: self.distance(step, other))
        gap = min(self.distance(step, other) for other in beside)
        if self.distance(step, nearest) >= CLEARLY * gap:
            return None
        if min(self.relative(step, other) for other in beside) < HARDLY_MOVED:
            return None
        if self._owner([step, nearest]) != nearest:
            return None  # a neighbour may be the one that is out of place
        reason = f"its weights are next to those of step {nearest} and not to those of its neighbours in time"
        strength = gap / max(self.distance(step, nearest), 1e-6)
        return strength, Verdict(step, "outlier", reason, failed=("steps_lie_on_one_trajectory",))

    def _detour(self, kept: Sequence[int], position: int) -> tuple[float, Verdict] | None:
        """A step between two neighbours that are much nearer to each other than to it."""
        if not 0 < position < len(kept) - 1:
            return None
        before, step, after = kept[position - 1 : position + 2]
        ways = self.distance(before, step), self.distance(step, after)
        past = self.distance(before, after)
        if min(self.relative(before, step), self.relative(step, after)) < HARDLY_MOVED:
            return None
        if min(ways) < past or sum(ways) <= LONGEST_DETOUR * past:
            return None
        strength = sum(ways) / max(past, 1e-6)
        reason = (
            f"its weights are not on the way from step {before} to step {after}: "
            f"the way over it is {strength:.1f} times as long"
        )
        return strength, Verdict(step, "outlier", reason, failed=("steps_lie_on_one_trajectory",))

    def _same_weights(self, one: int, other: int) -> bool:
        return self.measurements[one].matrix_hashes == self.measurements[other].matrix_hashes

    def _moved(self, shared: Sequence[int]) -> bool:
        return max(self.relative(shared[0], other) for other in shared[1:]) >= HARDLY_MOVED

    def _owner(self, shared: Sequence[int], group: int | None = None) -> int | None:
        """The step that weights belong to which several steps have; None when it cannot be told.

        It is the step from which the way to the neighbours in time that have other weights is shortest, in units of
        the way between those neighbours; where that does not tell, the one whose loss fits between the others.
        """
        others = [step for step in self.kept if step not in shared]
        misfits = {step: self._misfit(step, others, group) for step in shared}
        ranked = sorted(shared, key=lambda step: misfits[step])
        if misfits[ranked[0]] < CLEARLY * misfits[ranked[1]]:
            return ranked[0]
        if group is not None:
            strides = {step: self._stride(step, shared, others, group) for step in shared}
            ranked = sorted(shared, key=lambda step: strides[step])
            if strides[ranked[0]] < CLEARLY * strides[ranked[1]]:
                return ranked[0]
        # Training that has not moved anything yet: the weights are those of the untrained model.
        first = self.measurements[shared[0]]
        if shared[0] == 0 and first.loss is not None and first.loss >= UNTRAINED[0] * math.log(first.facts.vocab_size):
            return 0
        surprises = {step: self._surprise(step, others) for step in shared}
        ranked = sorted(shared, key=lambda step: surprises[step])
        if surprises[ranked[0]] + LOSS_TELLS < surprises[ranked[1]]:
            return ranked[0]
        return None

    def _misfit(self, step: int, others: Sequence[int], group: int | None) -> float:
        """Length of the way over a step from neighbour to neighbour, in units of the way past it."""
        before = [other for other in others if other < step][-2:]
        after = [other for other in others if other > step][:2]
        if before and after:
            way = self.distance(before[-1], step, group) + self.distance(step, after[0], group)
            return way / max(self.distance(before[-1], after[0], group), 1e-9)
        beside = before[::-1] or after
        if not beside:
            return math.inf
        way = self.distance(step, beside[0], group)
        # At an end there is no way past it: that between the next two stands for it.
        return way / max(self.distance(beside[0], beside[1], group), 1e-9) if len(beside) > 1 else way

    def _stride(self, step: int, shared: Sequence[int], others: Sequence[int], group: int) -> float:
        """How much further, or less far, than the rest of the model a part moved since the nearest other step.

        In units of what is usual between the other steps; 1 is usual, and as much less counts as much more.
        """
        path = self.trajectory()
        hashes = [self.measurements[one].matrix_hashes for one in shared]
        positions = [self.measurements[step].groups.index(name) for name in path.groups]
        rest = [g for g, position in enumerate(positions) if len({known[position] for known in hashes}) == len(shared)]
        nearest = sorted(others, key=lambda other: abs(other - step))[:2]
        if not rest or len(nearest) < 2:
            return math.inf

        def ratio(one: int, other: int) -> float:
            moved = float(np.median([self.distance(one, other, g) for g in rest]))
            return self.distance(one, other, group) / max(moved, 1e-9)

        found, usual = ratio(step, nearest[0]), ratio(nearest[0], nearest[1])
        return max(found, usual) / max(min(found, usual), 1e-9)

    def _surprise(self, step: int, others: Sequence[int]) -> float:
        """Nats by which the loss of a step is above that of earlier steps or below that of later ones."""
        loss = self.measurements[step].loss
        known = {other: found for other in others if (found := self.measurements[other].loss) is not None}
        if loss is None:
            return 0.0
        earlier = [other_loss for other, other_loss in known.items() if other < step]
        later = [other_loss for other, other_loss in known.items() if other > step]
        return max(0.0, loss - min(earlier, default=loss)) + max(0.0, max(later, default=loss) - loss)


def cosine_matrix(measurements: Mapping[int, Measurement]) -> tuple[tuple[int, ...], np.ndarray]:
    """Cosines of the weights of all steps that share the most frequent architecture.

    Returns:
        Steps, ascending, and their cosines [steps, steps].
    """
    shapes = Counter(_architecture(found) for found in measurements.values())
    if not shapes:
        return (), np.zeros((0, 0))
    common = shapes.most_common(1)[0][0]
    path = trajectory({step: found for step, found in measurements.items() if _architecture(found) == common})
    return path.steps, path.cosines_ss


def _architecture(found: Measurement) -> tuple[tuple[str, object], ...]:
    names = ("architecture", "n_layers", "d_model", "n_heads", "vocab_size", "n_params")
    sampled = ("layout", (found.groups, found.sample_sizes))
    return (*((name, getattr(found.facts, name)) for name in names), sampled)


def _beside(kept: Sequence[int], position: int) -> list[int]:
    return [*kept[max(0, position - 1) : position], *kept[position + 1 : position + 2]]


def _duplicate(step: int, shared: Sequence[int], owner: int | None) -> Verdict:
    if owner is not None:
        reason = f"it has the weights of step {owner}"
    else:
        others = [other for other in shared if other != step]
        reason = f"it has the same weights as {_steps(others)}, and which of them is right cannot be told"
    return Verdict(step, "duplicate", reason, owner, ("weights_are_unique",))


def _steps(steps: Sequence[int]) -> str:
    shown = ", ".join(str(step) for step in steps[:5])
    return (
        ("step " if len(steps) == 1 else "steps ") + shown + (f" and {len(steps) - 5} more" if len(steps) > 5 else "")
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown + (f" and {len(names) - 4} more groups" if len(names) > 4 else "") + " weights"
