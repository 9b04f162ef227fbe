"""Contexts hold the tokens of the documents in order, and texts that share words with a probe text are left out."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from emergence_assets.texts.corpus import packing
from emergence_assets.texts.corpus.overlap import ProbeRuns
from emergence_assets.texts.corpus.packing import pack
from emergence_assets.texts.tokenising import MIN_CONTEXTS, tokenise_corpus
from emergence_assets.texts.wordnet import corpus
from resources.errors import EmergenceError

TOKENIZER = Tokenizer.from_file(str(corpus.TOKENIZER_PATH))
BEGIN = TOKENIZER.token_to_id(corpus.END_OF_TEXT)
PROBES = pl.DataFrame({"text_id": ["p0", "p1"], "text": ["a small bird that sings at dawn.\n", "a large stone.\n"]})


def ids_of(document: str) -> list[int]:
    return TOKENIZER.encode(document, add_special_tokens=False).ids


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("ab c\n", min_size=1, max_size=40), min_size=1, max_size=12), st.integers(2, 9))
def test_contexts_are_the_stream_of_all_documents(documents: list[str], context: int) -> None:
    packed = pack(documents, TOKENIZER, BEGIN, context, 10**6)
    stream = [token for document in documents for token in (BEGIN, *ids_of(document))]
    n_whole = len(stream) // (context - 1)
    assert [ids[0] for ids in packed.contexts] == [BEGIN] * n_whole
    assert [token for ids in packed.contexts for token in ids[1:]] == stream[: n_whole * (context - 1)]
    assert {len(ids) for ids in packed.contexts} <= {context}
    assert (packed.n_documents, packed.n_tokens) == (len(documents), len(stream))


def test_no_more_documents_are_read_than_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "BATCH_CHARACTERS", 1)
    endless = (f"document {number}" for number in itertools.count())
    packed = pack(endless, TOKENIZER, BEGIN, 8, 5)
    assert len(packed.contexts) == 5
    assert packed.n_documents < 40
    assert next(endless) == f"document {packed.n_documents}"


def test_a_long_document_is_tokenised_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PIECE_CHARACTERS", 50)
    document = "the bird sings at dawn " * 20 + "x" * 120
    assert "".join(packing._pieces(document)) == document
    assert max(map(len, packing._pieces(document))) <= 50
    packed = pack([document], TOKENIZER, BEGIN, 4, 3)
    assert TOKENIZER.decode(packed.contexts[0][2:].tolist()) == TOKENIZER.decode(ids_of(document)[:2])


def test_a_document_that_shares_13_words_with_a_probe_text_is_left_out() -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    runs = ProbeRuns([text, "too short to have a run"])
    assert runs.overlaps(f"before {text.upper()} after")
    assert runs.overlaps("x two, three — four five six seven eight nine ten eleven twelve thirteen fourteen! y")
    assert not runs.overlaps("two three four five six seven eight nine ten eleven twelve thirteen other words")
    assert not runs.overlaps("too short to have a run")
    assert not ProbeRuns([]).overlaps(text)


def test_tokens_of_a_corpus_are_counted_and_all_but_the_first_are_rows() -> None:
    shared = " ".join(f"word{number}" for number in range(20))
    probes = PROBES.with_columns(text=pl.Series([f"{shared}.\n", "a large stone.\n"]))
    documents = [f"the {number}th stone lies in the river" for number in range(200)]
    documents.insert(3, f"copied: {shared}")
    tokens, counts = tokenise_corpus(TOKENIZER, documents, probes, 128, 127 * MIN_CONTEXTS + 5)
    assert counts.n_overlapping == 1
    assert counts.n_contexts == MIN_CONTEXTS == len(tokens.training_ids)
    assert counts.n_documents < 201
    assert tokens.n_rows == 127 * MIN_CONTEXTS
    assert tokens.training_rows.position_t.min() == 1
    assert np.array_equal(tokens.training_rows.token_id_t, np.concatenate([ids[1:] for ids in tokens.training_ids]))


@pytest.mark.parametrize(
    ("documents", "n_rows", "what"),
    [
        (["too little text"], 127 * 20, r"The corpus has \d+ tokens in 1 documents"),
        ([], 127 * 20, "The corpus has 0 tokens in 0 documents"),
        (["enough"], 127 * 3, "3 contexts of 128 tokens, and 20 are needed"),
    ],
    ids=["too small", "empty", "no budget"],
)
def test_a_corpus_that_is_too_small_for_its_budget_is_refused(documents: list[str], n_rows: int, what: str) -> None:
    with pytest.raises(EmergenceError, match=what) as caught:
        tokenise_corpus(TOKENIZER, documents, PROBES, 128, n_rows)
    assert "training_tokens" in caught.value.remedy


def test_documents_of_one_token_are_packed_too() -> None:
    tokens, counts = tokenise_corpus(TOKENIZER, ["a"] * 2000, PROBES, 32, 31 * MIN_CONTEXTS)
    assert counts.n_documents == 31 * MIN_CONTEXTS // 2
    assert tokens.n_rows == 31 * MIN_CONTEXTS
