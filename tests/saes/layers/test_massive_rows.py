"""Rows with massive activations are left out by a named rule, counted, and kept if the study wants them."""

import itertools

import numpy as np
import pytest
import torch

from emergence_assets.activations.files.batches import ShuffledRows
from emergence_assets.activations.files.reading import Rows
from emergence_assets.saes.layers.layer_rows import MASSIVE_FACTOR, LayerRows
from emergence_assets.saes.layers.make import LayerInputs, LayerSAEs, make_saes
from emergence_assets.study.sae import SAESettings
from tests.saes.planted import planted

SETTINGS = SAESettings(k=4, n_latents=64, n_steps=60, batch_size=128, learning_rate=1e-2)
N_ROWS, EVERY = 900, 45
IS_MASSIVE = np.arange(N_ROWS) % EVERY == 7


def planted_rows(factor: float) -> np.ndarray:
    x_td, _ = planted(n_rows=N_ROWS, d_model=24, n_atoms=48, seed=0)
    rows_td = x_td.numpy().copy()
    rows_td[IS_MASSIVE, 3] += factor * float(np.median(np.linalg.norm(rows_td, axis=1)))
    return rows_td


def layer_rows(factor: float, mixing_rows: int | None = None) -> LayerRows:
    rows_td = planted_rows(factor)
    is_held_out_t = np.arange(N_ROWS) % 10 == 0
    held_out = Rows(rows_td[is_held_out_t], "float32")
    starts = np.arange(int((~is_held_out_t).sum()))
    return LayerRows(0, Rows(rows_td, "float32"), held_out, ~is_held_out_t, starts, mixing_rows)


def made(rows: LayerRows, massive: str = "leave_out") -> LayerSAEs:
    settings = SETTINGS.model_copy(update={"massive": massive})
    (found,) = make_saes([LayerInputs(rows)], [0], settings, "cpu", lambda *_: None)
    return found


def test_massive_rows_are_counted_and_neither_trained_on_nor_measured() -> None:
    rows = layer_rows(100.0).without_massive()
    assert rows.massive_share == pytest.approx(1 / EVERY, abs=0.005)
    assert rows.norm_limit is not None
    assert np.linalg.norm(rows.held_out.float32(), axis=1).max() < rows.norm_limit
    assert len(rows.held_out) < len(layer_rows(100.0).held_out) or not IS_MASSIVE[::10].any()
    (one,) = made(layer_rows(100.0)).metrics
    (kept,) = made(layer_rows(100.0), "keep").metrics
    assert one["massive_frac"] == rows.massive_share
    assert kept["massive_frac"] == 0
    assert kept["norm_scale"] > 5 * one["norm_scale"], "a few rows would decide the scale of all"
    assert one["participation_ratio"] > 3 * kept["participation_ratio"]


@pytest.mark.parametrize("factor", [0.0, 5.0])
def test_rows_below_the_limit_change_nothing(factor: float) -> None:
    left_out, kept = made(layer_rows(factor)), made(layer_rows(factor), "keep")
    assert left_out.metrics == kept.metrics
    assert torch.equal(left_out.saes[0].W_dec_nd, kept.saes[0].W_dec_nd)


@pytest.mark.parametrize("slab_rows", [None, 200])
@pytest.mark.parametrize("first", [0, 3, 9])
def test_no_batch_has_a_massive_row_and_going_on_gives_the_same_batches(slab_rows: int | None, first: int) -> None:
    rows_td = torch.from_numpy(planted_rows(100.0))
    limit = MASSIVE_FACTOR * float(rows_td.norm(dim=1).median())
    slab_bytes = (slab_rows or N_ROWS) * 24 * 4

    def batches(first: int, norm_limit: float | None = limit):
        shuffled = ShuffledRows(rows_td, 64, 5, slab_bytes=slab_bytes, norm_limit=norm_limit)
        return itertools.islice(shuffled.batches(first), 30)

    whole = list(batches(0))
    assert all(float(batch.norm(dim=1).max()) <= limit for batch in whole)
    assert all(map(torch.equal, batches(first), whole[first:]))
    without = list(batches(0, None))
    same = torch.cat(whole).eq(torch.cat(without)).all(dim=1)
    assert 1 - float(same.float().mean()) == pytest.approx(1 / EVERY, abs=0.01), "all other rows keep their place"
