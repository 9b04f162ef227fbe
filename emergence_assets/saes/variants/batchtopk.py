"""BatchTopK: the k x batch largest positive pre-activations of a batch (Bussmann et al. 2024, arXiv 2412.06410).

The number of latents varies between tokens and is k on average. After training, when a token must not depend on its
batch, a latent is active above one threshold: the mean, over the last tenth of the steps, of the smallest selected
pre-activation.

Shape suffixes: g members of a stack, t tokens, d d_model, n latents, s slots, p optimiser steps.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emergence_assets.saes.model.latents import Latents, joined
from emergence_assets.saes.model.pre_activations import chunks, pre_activations
from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.variants.variant import Encoded, Variant

GUESS = 0.9
"""Guessed threshold of the next batch, as a share of the last threshold; nearly always below the true threshold."""


@dataclass(frozen=True)
class BatchTopK(Variant):
    """K latents per token on average over a batch."""

    description = (
        "trained with the k largest per token on average over a batch; the files hold one equivalent threshold"
    )

    def encode(self, centred_gtd: Tensor, parameters: Parameters, guess_g: Tensor | None = None) -> Encoded:
        """Select the k x batch largest pre-activations of every member."""
        n_tokens, n_latents = centred_gtd.shape[1], parameters.n_latents
        guesses = [0.0] * parameters.n_members if guess_g is None else guess_g
        n_slots = min(self.k * n_tokens, n_tokens * n_latents)
        parts, thresholds = [], []
        for g in range(parameters.n_members):
            member = parameters.member(g)
            if centred_gtd.device.type == "cpu":
                values_s, places_s = _select_by_chunks(centred_gtd[g], member, n_slots, GUESS * float(guesses[g]))
            else:
                values_s, places_s = select_at_once(centred_gtd[g], member, n_slots)
            rows_s = places_s // n_latents
            starts_t = torch.arange(n_tokens + 1, device=rows_s.device)
            indices_s = places_s - rows_s * n_latents + g * n_latents
            parts.append(Latents(values_s, indices_s, torch.searchsorted(rows_s, starts_t)))
            thresholds.append(values_s.min() if len(values_s) else values_s.new_zeros(()))
        return Encoded(joined(parts), torch.stack(thresholds))

    def trained_selection(self, parameters: Parameters, threshold_p: Tensor) -> tuple[int | None, Tensor | None]:
        """Return one threshold for all latents: the mean over the last tenth of the steps."""
        last = threshold_p[-max(1, len(threshold_p) // 10) :].mean()
        return None, last.expand(parameters.n_latents).clone()


class BatchTopKSelector:
    """Selection of the `n_slots` largest positive values of several chunks, by a threshold that rises with every chunk.

    Args:
        n_slots: number of values.
        guess: expected threshold, such as that of the previous batch; saves time and does not change the result.
    """

    def __init__(self, n_slots: int, guess: float = 0.0):
        self.n_slots = n_slots
        self.bound = max(guess, 0.0)
        self._values: list[NDArray[np.float32]] = []
        self._places: list[NDArray[np.int64]] = []
        self._n_kept = 0

    def add(self, pre_tn: Tensor, first_place: int) -> None:
        """Add a chunk whose first value has the index `first_place` among all values."""
        pre = pre_tn.numpy().ravel()
        places = np.flatnonzero(pre > self.bound)
        self._values.append(pre[places])
        self._places.append(places + first_place)
        self._n_kept += len(places)
        if self._n_kept > 2 * self.n_slots:
            self._compact()

    def _compact(self) -> None:
        """Drop values that cannot be among the largest; the smallest remaining value bounds the following chunks."""
        values, places = np.concatenate(self._values), np.concatenate(self._places)
        if len(values) > self.n_slots:
            threshold = np.partition(values, len(values) - self.n_slots)[len(values) - self.n_slots]
            above = np.flatnonzero(values > threshold)
            # Of equal values the first are kept, so that the result does not depend on the guess.
            tied = np.flatnonzero(values == threshold)[: self.n_slots - len(above)]
            kept = np.sort(np.concatenate([above, tied]))
            values, places = values[kept], places[kept]
            self.bound = float(threshold)
        self._values, self._places, self._n_kept = [values], [places], len(values)

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Return values and their indices, ascending; None if the guess was too high to decide."""
        self._compact()
        if self._n_kept < self.n_slots and self.bound > 0:
            return None
        return self._values[0], self._places[0]


def _select_by_chunks(centred_td: Tensor, member: Parameters, n_slots: int, guess: float) -> tuple[Tensor, Tensor]:
    """Return the largest values of a member and their indices, ascending; holds one chunk of pre-activations."""
    largest = BatchTopKSelector(n_slots, guess)
    for start, stop in chunks(centred_td.shape[0], member.n_latents):
        pre_tn = pre_activations(centred_td[start:stop], member.W_enc_gnd[0], member.b_enc_gn[0])
        largest.add(pre_tn, start * member.n_latents)
    found = largest.result()
    if found is None:
        return _select_by_chunks(centred_td, member, n_slots, 0.0)
    return torch.from_numpy(found[0]), torch.from_numpy(found[1])


def select_at_once(centred_td: Tensor, member: Parameters, n_slots: int) -> tuple[Tensor, Tensor]:
    """Return the `n_slots` largest values of a member and their indices, ascending; negative values become 0."""
    pre = pre_activations(centred_td, member.W_enc_gnd[0], member.b_enc_gn[0]).view(-1)
    # Unsorted, this is a radix selection of the threshold on a GPU.
    places_s = pre.topk(n_slots, sorted=False).indices.sort().values
    return pre[places_s].relu_(), places_s
