"""Replacement of a layer's activations: at the marked positions alone, while the context lasts."""

import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from emergence_assets.activations.forward import replaced
from emergence_assets.activations.forward.replaced import batches, replaced_stream
from tests.tiny_decoder import tiny_decoder

VOCABULARY = 40


@pytest.fixture(scope="module")
def model() -> GPTNeoXForCausalLM:
    return tiny_decoder(VOCABULARY, n_layers=3)


@pytest.fixture(scope="module")
def texts() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, VOCABULARY, length).astype(np.int32) for length in draw.integers(2, 12, 37)]


def test_hooks_are_gone_afterwards(model, texts) -> None:
    ids = torch.from_numpy(texts[0].astype(np.int64))[None]
    before = model(input_ids=ids).logits
    with (
        pytest.raises(ZeroDivisionError),
        replaced_stream(model, 1, torch.ones_like(ids, dtype=torch.bool), 1, lambda x_td: [x_td]),
    ):
        raise ZeroDivisionError
    with replaced_stream(model, 1, torch.ones_like(ids, dtype=torch.bool), 1, lambda x_td: [0 * x_td]):
        assert not torch.equal(model(input_ids=ids).logits, before)
    assert torch.equal(model(input_ids=ids).logits, before)


@pytest.mark.parametrize("last_only", [True, False])
@pytest.mark.parametrize("limit", [1, 5000, 2**26])
def test_every_position_is_in_one_batch_with_its_text_and_next_token(
    texts, monkeypatch: pytest.MonkeyPatch, limit: int, last_only: bool
) -> None:
    monkeypatch.setitem(replaced.LOGITS_AT_ONCE, "cpu", limit)
    found: dict[int, list[int]] = {}
    every = list(batches(texts, VOCABULARY, torch.device("cpu"), last_only=last_only))
    for batch in every:
        for text, following in zip(batch.text_t.tolist(), batch.next_t.tolist(), strict=True):
            found.setdefault(text, []).append(following)
        if len(batch.ids_bp) > 1:
            assert batch.ids_bp.numel() * VOCABULARY <= limit
    assert found == {i: [-1] if last_only else [*map(int, text[2:]), -1] for i, text in enumerate(texts)}
    assert len(every) == (37 if limit == 1 else 1 if limit == 2**26 else len(every))
