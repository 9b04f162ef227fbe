"""SAEs on rows that a model computes while they train are those on stored rows, also after a kill."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emergence_assets.activations.files.reading import Rows
from emergence_assets.activations.forward.row_stream import RowStream
from emergence_assets.checkpoints.training.training_state import TrainingState
from emergence_assets.saes.held_out import EVALUATION_ROWS, held_out_texts, is_held_out, training_texts
from emergence_assets.saes.layers.layer_rows import LayerRows, rows_of_layer
from emergence_assets.saes.layers.make import LayerInputs, LayerSAEs, make_saes
from emergence_assets.study.sae import SAESettings
from emergence_assets.texts.tokens import Tokens
from tests.saes.planted import planted

SETTINGS = SAESettings(k=4, n_latents=64, n_steps=60, batch_size=128, learning_rate=1e-2, mixing_rows=200)
LAYERS, D_MODEL, N_TEXTS, CONTEXT = (0, 1), 24, 100, 10


class Killed(Exception):
    """A kill, where a process would be slow."""


def tokens_of(n_texts: int = N_TEXTS, context: int = CONTEXT) -> Tokens:
    ids = tuple(np.zeros(context, np.int32) for _ in range(n_texts))
    return Tokens(tuple(map(str, range(n_texts))), ids, ("p",), ids[:1], "all", context)


def stored_layers() -> list[LayerRows]:
    rows = []
    for layer in LAYERS:
        x_td, _ = planted(n_rows=N_TEXTS * (CONTEXT - 1), d_model=D_MODEL, n_atoms=48, seed=layer)
        rows.append(rows_of_layer(layer, Rows(x_td.half().numpy(), "float16"), tokens_of(), SETTINGS.mixing_rows))
    return rows


def streamed_layers() -> list[LayerRows]:
    """The same rows, of which one slab at a time exists."""
    whole = {rows.layer: rows for rows in stored_layers()}
    tokens, texts = tokens_of(), training_texts(tokens_of())

    def compute(chosen, append) -> None:
        for text in chosen:
            start, end = tokens.training_rows.text_offsets[text : text + 2]
            for layer, rows in whole.items():
                append(layer, rows.training.array[start:end])

    mixing = int(SETTINGS.mixing_rows or 0) * D_MODEL * 2
    n_rows = np.full(len(texts), CONTEXT - 1)
    stream = RowStream(LAYERS, texts, n_rows, D_MODEL, "float16", mixing, compute)
    assert stream.order.n_slabs > 3
    return [LayerRows(layer, stream.of_layer(layer), rows.held_out) for layer, rows in whole.items()]


def made(layers: list[LayerRows], **options) -> list[LayerSAEs]:
    inputs = [LayerInputs(one) for one in layers]
    return make_saes(inputs, [0, 1], SETTINGS, "cpu", options.pop("report", lambda *_: None), **options)


def assert_equal(ours: list[LayerSAEs], theirs: list[LayerSAEs]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.metrics == other.metrics
        assert one.curves == other.curves
        assert one.inputs == other.inputs
        for seed, sae in one.saes.items():
            assert torch.equal(sae.W_dec_nd, other.saes[seed].W_dec_nd)
            assert torch.equal(sae.W_enc_nd, other.saes[seed].W_enc_nd)


def test_streamed_rows_give_the_saes_of_stored_rows() -> None:
    assert_equal(made(streamed_layers()), made(stored_layers()))


def test_a_mixing_buffer_of_all_rows_gives_other_saes() -> None:
    """So that the test above compares an order of slabs and not that of a whole shuffle."""
    whole = made([replace(rows, mixing_rows=None) for rows in stored_layers()])
    assert not torch.equal(whole[0].saes[0].W_dec_nd, made(stored_layers())[0].saes[0].W_dec_nd)


@pytest.mark.parametrize("at_step", [7, 31, 59])
def test_a_killed_training_resumes_with_the_same_bits(tmp_path: Path, at_step: int) -> None:
    def states() -> tuple[TrainingState, TrainingState]:
        return TrainingState(tmp_path / "state", "x", every_seconds=0), TrainingState(tmp_path / "control", "x")

    def report(done: int, _total: int, _note: str) -> None:
        if done > at_step:
            raise Killed

    with pytest.raises(Killed):
        made(streamed_layers(), states=states(), report=report)
    first_steps = []
    resumed = made(streamed_layers(), states=states(), report=lambda done, *_: first_steps.append(done))
    assert first_steps[0] > at_step
    assert_equal(resumed, made(stored_layers()))


def test_few_texts_are_held_out_and_none_is_trained_on_and_held_out() -> None:
    tokens = tokens_of(1200, 129)
    held_out, trained = held_out_texts(tokens), training_texts(tokens)
    assert held_out.tolist() == list(range(0, 1200, 10))
    many = tokens_of(10_000, 129)
    held_out, trained = held_out_texts(many), training_texts(many)
    assert EVALUATION_ROWS - 128 < 128 * len(held_out) <= EVALUATION_ROWS
    assert sorted([*held_out, *trained]) == list(range(10_000))
    assert is_held_out(many).sum() == 128 * len(held_out)
