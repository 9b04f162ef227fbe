"""Packing of documents into contexts of equal length.

The tokens of all documents are one stream, with the begin token in front of every document. A context is the begin
token and the next tokens of the stream. So a document may continue in the next context, and a context may hold the end
of one document and the beginning of another, as in the pretraining of language models.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

PIECE_CHARACTERS = 100_000
"""Longer documents are tokenised in pieces, cut at blanks: tokenizers take memory for the whole of a text."""
BATCH_CHARACTERS = 2_000_000
"""Characters that are tokenised at once."""


class Packed(NamedTuple):
    """Contexts of a corpus."""

    contexts: list[np.ndarray]
    """int32 arrays of equal length, the begin token first."""
    n_documents: int
    """Documents that were read for these contexts."""
    n_tokens: int
    """Tokens of these documents, including those behind the last whole context."""


def pack(documents: Iterable[str], tokenizer: Tokenizer, begin: int, context: int, n_contexts: int) -> Packed:
    """Pack documents into contexts, until there are enough.

    Args:
        documents: texts; no more are read than are needed.
        tokenizer: tokenizer without truncation.
        begin: id of the begin token.
        context: tokens per context, at least 2.
        n_contexts: number of contexts; fewer if the documents end before.
    """
    contexts: list[np.ndarray] = []
    pending: list[np.ndarray] = []
    n_pending = n_documents = n_tokens = 0
    body = context - 1
    for ids in _tokenised(documents, tokenizer, begin):
        pending.append(ids)
        n_pending, n_tokens, n_documents = n_pending + len(ids), n_tokens + len(ids), n_documents + 1
        if n_pending < body:
            continue
        stream = np.concatenate(pending)
        n_whole = min(len(stream) // body, n_contexts - len(contexts))
        for start in range(0, n_whole * body, body):
            contexts.append(np.concatenate([[begin], stream[start : start + body]]).astype(np.int32))
        pending, n_pending = [stream[n_whole * body :]], len(stream) - n_whole * body
        if len(contexts) == n_contexts:
            break
    return Packed(contexts, n_documents, n_tokens)


def _tokenised(documents: Iterable[str], tokenizer: Tokenizer, begin: int) -> Iterator[np.ndarray]:
    """Yield the token ids of every document, with the begin token in front."""
    for batch in _batches(documents):
        pieces = [piece for document in batch for piece in document]
        encoded = iter(tokenizer.encode_batch_fast(pieces, add_special_tokens=False))
        for document in batch:
            ids = [next(encoded).ids for _ in document]
            yield np.array([begin, *(token for piece in ids for token in piece)], np.int64)


def _batches(documents: Iterable[str]) -> Iterator[list[list[str]]]:
    """Group documents, each as a list of pieces, for the threads of the tokenizer."""
    batch: list[list[str]] = []
    n_characters = 0
    for document in documents:
        batch.append(_pieces(document))
        n_characters += len(document)
        if n_characters >= BATCH_CHARACTERS:
            yield batch
            batch, n_characters = [], 0
    if batch:
        yield batch


def _pieces(document: str) -> list[str]:
    pieces, start = [], 0
    while len(document) - start > PIECE_CHARACTERS:
        blank = document.rfind(" ", start + 1, start + PIECE_CHARACTERS)
        end = blank if blank > start else start + PIECE_CHARACTERS
        pieces.append(document[start:end])
        start = end
    return [*pieces, document[start:]]
