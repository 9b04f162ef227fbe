"""Tokenise training texts and probe texts."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from emergence_assets.texts.corpus.overlap import ProbeRuns
from emergence_assets.texts.corpus.packing import pack
from emergence_assets.texts.tokens import Positions, Tokens
from resources.errors import EmergenceError

BEGIN_TOKENS = ("<|endoftext|>", "<|begin_of_text|>", "<s>", "<bos>", "[CLS]")
"""Names of the begin token in published families, for tokenizers that do not add it."""
MIN_CONTEXTS = 20
"""Smallest number of contexts of a corpus: every tenth is held out."""
MIN_SAME_END = 0.8
"""Smallest share of the probe texts that end in the same token; the others are dropped."""


def tokenise(
    tokenizer: Path | Tokenizer,
    training_texts: pl.DataFrame,
    probe_texts: pl.DataFrame,
    context: int,
    positions: Positions,
    *,
    begin_token: str | None = None,
    is_encoder: bool = False,
    max_rows: int | None = None,
) -> Tokens:
    """Tokenise texts, in the order of the tables.

    Texts longer than the context are dropped and counted, because a cut text ends in another token than the texts with
    which it is compared. Probe texts that end in another token than most are dropped too.

    Args:
        tokenizer: path of a tokenizer.json, or a loaded tokenizer, which is not modified.
        training_texts: columns text_id and text; SAEs are trained on these.
        probe_texts: columns text_id and text; other columns are ignored.
        context: length limit of a text in tokens, including the begin token.
        positions: see `Tokens.positions`.
        begin_token: token in front of every text; by default the token that the tokenizer adds. Its activation is an
            outlier in trained models and is never a row.
        is_encoder: keep the end token of the tokenizer, at which an encoder is read. A decoder is read at the last
            token of the text, also where its tokenizer adds an end token, which it has seen between documents only.
        max_rows: maximum number of training rows; texts are taken in order as long as they fit. By default all.

    Raises:
        EmergenceError: the tokenizer cannot be read or has no begin token; a column is missing, null or has repeated
            ids; a text has no token; every text is too long; too few probe texts end in the same token.
    """
    loaded, frame = _loaded(tokenizer, begin_token, is_encoder=is_encoder)
    training = _encode(loaded, frame, training_texts, context, "training texts")
    probe = _same_end(loaded, _encode(loaded, frame, probe_texts, context, "probe texts"))
    if max_rows is not None:
        training = _first(training, max_rows, positions)
    return Tokens(
        training.text_id, training.ids, probe.text_id, probe.ids, positions, context, training.dropped, probe.dropped
    )


class CorpusCounts(NamedTuple):
    """What was read of a training corpus."""

    n_documents: int
    n_overlapping: int
    """Documents that were left out, because they share a run of words with a probe text."""
    n_tokens: int
    """Tokens of the documents that were packed."""
    n_contexts: int


def tokenise_corpus(
    tokenizer: Path | Tokenizer,
    documents: Iterable[str],
    probe_texts: pl.DataFrame,
    context: int,
    n_rows: int,
    *,
    begin_token: str | None = None,
    is_encoder: bool = False,
) -> tuple[Tokens, CorpusCounts]:
    """Tokenise the probe texts, and pack documents into contexts; all but the first token of a context are rows.

    Documents that share a run of words with a probe text are left out (`corpus/overlap.py`).

    Args:
        tokenizer: see `tokenise`.
        documents: texts; no more are read than are needed.
        probe_texts: see `tokenise`.
        context: tokens per context, including the begin token.
        n_rows: number of training rows; the contexts hold at most as many.
        begin_token: see `tokenise`; it also stands in front of every document inside a context.
        is_encoder: see `tokenise`.

    Raises:
        EmergenceError: see `tokenise`; or the documents end before there are enough rows.
    """
    loaded, frame = _loaded(tokenizer, begin_token, is_encoder=is_encoder)
    probe = _same_end(loaded, _encode(loaded, frame, probe_texts, context, "probe texts"))
    runs, n_overlapping = ProbeRuns(probe_texts["text"]), 0

    def apart() -> Iterator[str]:
        nonlocal n_overlapping
        for document in documents:
            if runs.overlaps(document):
                n_overlapping += 1
            else:
                yield document

    n_contexts = n_rows // (context - 1)
    if n_contexts < MIN_CONTEXTS:
        raise EmergenceError(
            f"{n_rows} training tokens are {n_contexts} contexts of {context} tokens, and {MIN_CONTEXTS} are needed.",
            remedy="raise activations.training_tokens, or lower family.context",
        )
    packed = pack(apart(), loaded, frame.begin, context, n_contexts)
    if len(packed.contexts) < n_contexts:
        raise EmergenceError(
            f"The corpus has {packed.n_tokens} tokens in {packed.n_documents} documents ({n_overlapping} more share "
            f"words with a probe text), and activations.training_tokens asks for {n_rows}.",
            remedy="name more files in corpus.paths, or lower activations.training_tokens",
        )
    names = tuple(f"context {number}" for number in range(n_contexts))
    tokens = Tokens(names, tuple(packed.contexts), probe.text_id, probe.ids, "all", context, (), probe.dropped)
    return tokens, CorpusCounts(packed.n_documents, n_overlapping, packed.n_tokens, n_contexts)


def probe_ids(
    tokenizer: Path | Tokenizer, probe_texts: pl.DataFrame, context: int, *, begin_token: str | None, is_encoder: bool
) -> dict[str, np.ndarray]:
    """Tokenise probe texts alone, as `tokenise` does; return the token ids of the texts that are read, by text_id."""
    loaded, frame = _loaded(tokenizer, begin_token, is_encoder=is_encoder)
    probe = _same_end(loaded, _encode(loaded, frame, probe_texts, context, "probe texts"))
    return dict(zip(probe.text_id, probe.ids, strict=True))


def _loaded(tokenizer: Path | Tokenizer, begin_token: str | None, *, is_encoder: bool) -> tuple[Tokenizer, "_Frame"]:
    """Return a copy of the tokenizer, and the tokens around every text."""
    loaded = _own_copy(tokenizer)
    frame = _frame(loaded, begin_token, tokenizer if isinstance(tokenizer, Path) else "")
    return loaded, frame if is_encoder else frame._replace(end=())


def _first(training: "_Encoded", max_rows: int, positions: Positions) -> "_Encoded":
    """Keep the texts before the first that does not fit, so that the choice is independent of later texts."""
    n_rows = np.cumsum([1 if positions == "read_out" else len(ids) - 1 for ids in training.ids])
    n_texts = int(np.searchsorted(n_rows, max_rows, side="right"))
    if n_texts == 0:
        raise EmergenceError(
            f"The first training text alone has {n_rows[0]} rows, and {max_rows} may be kept.",
            remedy="raise activations.training_tokens",
        )
    return _Encoded(training.text_id[:n_texts], training.ids[:n_texts], training.dropped)


class _Frame(NamedTuple):
    """Tokens around every text."""

    begin: int
    end: tuple[int, ...]
    """The end token of an encoder, which is then the read-out; empty for decoders."""


def _frame(tokenizer: Tokenizer, begin_token: str | None, where: object) -> _Frame:
    """Find the tokens that the tokenizer adds: begin and end, begin alone, or none."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    framed = tokenizer.encode("a", add_special_tokens=True).ids
    n_before = next((n for n in range(len(framed)) if framed[n : n + len(plain)] == plain), 0)
    before, after = framed[:n_before], framed[n_before + len(plain) :]
    if begin_token is None and before:
        return _Frame(before[0], tuple(after))
    names = BEGIN_TOKENS if begin_token is None else (begin_token,)
    known = (tokenizer.token_to_id(name) for name in names)
    begin = next((token_id for token_id in known if token_id is not None), None)
    if begin is None:
        raise EmergenceError(
            f"The tokenizer has no token {' or '.join(map(repr, names))} to put in front of the texts.",
            where=where,
            remedy="set family.begin_token in the study file",
        )
    return _Frame(begin, ())


def _same_end(tokenizer: Tokenizer, probe: "_Encoded") -> "_Encoded":
    """Drop texts that end in another token than most, because the read-out token alone would separate them."""
    ends = np.array([ids[-1] for ids in probe.ids])
    tokens, counts = np.unique(ends, return_counts=True)
    usual = tokens[np.argmax(counts)]
    if counts.max() < MIN_SAME_END * len(ends):
        shown = [tokenizer.decode([int(token)], skip_special_tokens=False) for token in tokens[np.argsort(-counts)[:3]]]
        raise EmergenceError(
            f"The probe texts end in {len(tokens)} different tokens, such as {', '.join(map(repr, shown))}; one is "
            f"needed, because the residual stream is read there.",
            remedy="end probe_set.template with words of its own, as in {text}\\nAnswer:",
        )
    return probe.keep(ends == usual)


class _Encoded(NamedTuple):
    text_id: tuple[str, ...]
    ids: tuple[np.ndarray, ...]
    dropped: tuple[str, ...] = ()

    def keep(self, is_kept: Iterable[bool]) -> "_Encoded":
        """Drop the texts with a false entry."""
        texts = list(zip(self.text_id, self.ids, is_kept, strict=True))
        return _Encoded(
            tuple(text_id for text_id, _, kept in texts if kept),
            tuple(ids for _, ids, kept in texts if kept),
            (*self.dropped, *(text_id for text_id, _, kept in texts if not kept)),
        )


def _own_copy(tokenizer: Path | Tokenizer) -> Tokenizer:
    try:
        source = tokenizer.to_str() if isinstance(tokenizer, Tokenizer) else Path(tokenizer).read_text("utf-8")
        loaded = Tokenizer.from_str(source)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise EmergenceError(
            f"The tokenizer cannot be read: {error}",
            where=tokenizer if isinstance(tokenizer, Path) else "",
            remedy="put the tokenizer.json of the model's family there",
        ) from error
    # Published tokenizers may cut or pad texts, which would move the read-out.
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def _encode(tokenizer: Tokenizer, frame: _Frame, texts: pl.DataFrame, context: int, what: str) -> _Encoded:
    for column in ("text_id", "text"):
        if texts.schema.get(column) != pl.String or texts[column].null_count():
            raise EmergenceError(f"The {what} need a text column {column} without nulls.", where=texts.columns)
    text_ids = texts["text_id"].to_list()
    if texts["text_id"].n_unique() != len(text_ids) or any("\0" in text_id for text_id in text_ids):
        raise EmergenceError(f"A text_id of the {what} occurs twice or holds a NUL.", remedy="make the ids unique")
    encodings = tokenizer.encode_batch(texts["text"].to_list(), add_special_tokens=False)
    try:
        ids = [np.array([frame.begin, *encoding.ids, *frame.end], np.int32) for encoding in encodings]
    except OverflowError:
        raise EmergenceError(
            f"The tokenizer gives ids of tokens that are larger than {np.iinfo(np.int32).max}.",
            remedy="put the tokenizer.json of the model's family there",
        ) from None
    if empty := [text_id for text_id, one in zip(text_ids, encodings, strict=True) if not one.ids]:
        raise EmergenceError(
            f"{len(empty)} of the {what} have no tokens, such as {empty[0]!r}.", remedy="leave these texts out"
        )
    fits = [len(one) <= context for one in ids]
    if not any(fits):
        raise EmergenceError(
            f"None of the {len(ids)} {what} fits into {context} tokens.",
            remedy="raise the context, or shorten texts",
        )
    return _Encoded(tuple(text_ids), tuple(ids)).keep(fits)
