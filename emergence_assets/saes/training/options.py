"""Options of a training that are not in a study file: the schedule of the learning rate, and a frozen decoder."""

from typing import NamedTuple


class TrainingOptions(NamedTuple):
    """Options of the training of a stack."""

    warm_up_steps: int = 10
    """Optimiser steps over which the learning rate rises from 0."""
    decay_fraction: float = 0.3
    """Share of the optimiser steps, at the end, over which the learning rate falls to 0."""
    frozen_decoder: bool = False
    """Whether the decoder keeps its random directions: a control in which only the encoder learns."""

    def learning_rate(self, peak: float, step: int, n_steps: int) -> float:
        """Return the rate at step 0, 1, …: linear rise, plateau, linear fall that would reach 0 at `n_steps`."""
        rise = min(1.0, (step + 1) / (self.warm_up_steps + 1))
        decay_steps = round(self.decay_fraction * n_steps)
        fall = min(1.0, (n_steps - step) / (decay_steps + 1))
        return peak * min(rise, fall)


DEFAULT_OPTIONS = TrainingOptions()
