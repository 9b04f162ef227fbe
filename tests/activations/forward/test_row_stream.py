"""Rows that are computed slab by slab: the batches of stored rows, with one forward pass per epoch for all SAEs."""

import itertools

import numpy as np
import pytest
import torch

from emergence_assets.activations.files.batches import ShuffledRows
from emergence_assets.activations.forward.capture import capture_checkpoint
from emergence_assets.activations.forward.row_stream import RowStream
from emergence_assets.texts.tokens import Tokens
from tests.tiny_decoder import D_MODEL, tiny_decoder

LAYERS, CONTEXT, N_TEXTS, VOCABULARY = (0, 2), 9, 40, 50
ROWS_OF_TEXT, BATCH = CONTEXT - 1, 30
KEPT = np.setdiff1d(np.arange(N_TEXTS), np.arange(0, N_TEXTS, 10))
N_ROWS = len(KEPT) * ROWS_OF_TEXT
SLAB_BYTES = 64 * D_MODEL * 4


def packed_tokens() -> Tokens:
    """Contexts of equal length, so that every batch of texts has the same shape, whatever its texts."""
    random = np.random.default_rng(0)
    ids = tuple(random.integers(0, VOCABULARY, CONTEXT).astype(np.int32) for _ in range(N_TEXTS))
    names = tuple(f"t{index}" for index in range(N_TEXTS))
    return Tokens(names, ids, ("p",), ids[:1], "all", CONTEXT)


class Passes:
    """Runs texts through a model, and counts them."""

    def __init__(self):
        self.model, self.tokens = tiny_decoder(VOCABULARY, 3), packed_tokens()
        self.texts: list[int] = []

    def __call__(self, texts, append) -> None:
        self.texts += texts
        capture_checkpoint(
            self.model,
            self.tokens,
            LAYERS,
            lambda layer, _name, rows_td: append(layer, rows_td),
            "float32",
            batch_size=1,
            with_probes=False,
            training_texts=texts,
        )

    def stream(self, slab_bytes: int = SLAB_BYTES) -> RowStream:
        n_rows = np.full(len(KEPT), ROWS_OF_TEXT)
        return RowStream(LAYERS, KEPT, n_rows, D_MODEL, "float32", slab_bytes, self)


@pytest.fixture(scope="module")
def stored() -> dict[int, np.ndarray]:
    """All rows of all texts by layer."""
    parts: dict[int, list[np.ndarray]] = {layer: [] for layer in LAYERS}
    Passes()(list(range(N_TEXTS)), lambda layer, rows_td: parts[layer].append(rows_td))
    return {layer: np.concatenate(rows) for layer, rows in parts.items()}


def shuffled_stored(rows_td: np.ndarray, seed: int, slab_bytes: int = SLAB_BYTES) -> ShuffledRows:
    is_kept = np.isin(np.arange(N_TEXTS), KEPT).repeat(ROWS_OF_TEXT)
    starts = np.arange(0, N_ROWS, ROWS_OF_TEXT)
    source = torch.from_numpy(rows_td)
    return ShuffledRows(source, BATCH, seed, kept_t=is_kept, slab_bytes=slab_bytes, text_starts=starts)


@pytest.mark.parametrize("first", [0, 3, 11])
@pytest.mark.parametrize("slab_bytes", [1, SLAB_BYTES, 1 << 20])
def test_batches_are_those_of_stored_rows(stored: dict[int, np.ndarray], first: int, slab_bytes: int) -> None:
    """Members of a stack take their batches in turn; each layer and seed has its own order. Also after a restart."""
    stream = Passes().stream(slab_bytes)
    members = [(layer, seed) for layer in LAYERS for seed in (0, 1)]
    streamed = [ShuffledRows(stream.of_layer(layer), BATCH, seed).batches(first) for layer, seed in members]
    expected = [shuffled_stored(stored[layer], seed, slab_bytes).batches(first) for layer, seed in members]
    for _ in range(25):  # more than two epochs
        ours = [next(batches) for batches in streamed]
        theirs = [next(batches) for batches in expected]
        assert all(map(torch.equal, ours, theirs))
    assert not torch.equal(ours[0], ours[1])


def test_every_text_runs_once_per_epoch_for_all_layers_and_seeds() -> None:
    passes = Passes()
    stream = passes.stream()
    assert stream.order.n_slabs > 3
    members = [ShuffledRows(stream.of_layer(layer), BATCH, seed).batches() for layer in LAYERS for seed in range(3)]
    for _ in range(N_ROWS // BATCH):
        for batches in members:
            next(batches)
    assert sorted(passes.texts) == KEPT.tolist()
    assert stream.n_computed == N_ROWS


def test_a_slab_holds_whole_texts_and_no_more_rows_than_it_may() -> None:
    stream = Passes().stream()
    order = stream.order
    assert order.most_rows <= SLAB_BYTES // (4 * D_MODEL)
    assert all(not (order.slab_blocks(0, slab) % ROWS_OF_TEXT).any() for slab in range(order.n_slabs))
    assert all(stream.memory(layer).shape == (order.most_rows, D_MODEL) for layer in LAYERS)
    long = Passes().stream(1)  # a text is longer than a slab
    assert long.order.most_rows == ROWS_OF_TEXT


def test_moments_are_measured_on_the_first_slab_with_the_pass_that_trains() -> None:
    passes = Passes()
    rows = ShuffledRows(passes.stream().of_layer(2), BATCH, 0)
    first = torch.cat(list(rows.first_slab(10)))
    n_texts = len(passes.texts)
    next(iter(rows.batches()))
    assert len(passes.texts) == n_texts == len(first) // ROWS_OF_TEXT


def test_a_pass_that_fails_leaves_no_slab(stored: dict[int, np.ndarray]) -> None:
    passes = Passes()
    stream = passes.stream()
    rows = ShuffledRows(stream.of_layer(0), BATCH, 0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stream, "_compute", lambda _texts, _append: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(OSError, match="gone"):
            next(iter(rows.batches()))
    expected = itertools.islice(shuffled_stored(stored[0], 0).batches(), 3)
    assert all(map(torch.equal, itertools.islice(rows.batches(), 3), expected))
