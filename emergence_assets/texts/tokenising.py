"""From texts to token ids. What becomes of them is in `tokens.py`."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from emergence_assets.texts.tokens import Positions, Tokens
from resources.errors import EmergenceError

BEGIN_TOKENS = ("<|endoftext|>", "<|begin_of_text|>", "<s>", "<bos>", "[CLS]")
"""What families call the token in front of a text, where their tokenizer does not say it itself."""
MIN_SAME_END = 0.8
"""Share of the probe texts that has to end in one token; the others are dropped."""


def tokenise(
    tokenizer: Path | Tokenizer,
    training_texts: pl.DataFrame,
    probe_texts: pl.DataFrame,
    context: int,
    positions: Positions,
    *,
    begin_token: str | None = None,
    max_rows: int | None = None,
) -> Tokens:
    """Turn texts into token ids, in the order of the tables.

    A text that does not fit into the context is dropped and reported: cut anywhere it would end in another token than
    the texts that it is compared with. So is a probe text that ends in another token than most.

    Args:
        tokenizer: A tokenizer.json, or a loaded tokenizer (left as it is).
        training_texts: Columns text_id and text; the SAEs are trained on these.
        probe_texts: Columns text_id and text; others are ignored.
        context: Longest text in tokens, begin token included.
        positions: See `Tokens.positions`.
        begin_token: Put in front of every text; by default what the tokenizer itself puts there. Its activation is an
            outlier in trained models and is never a row.
        max_rows: Take training texts in order only as long as their rows are not more than these. By default all.

    Raises:
        EmergenceError: The tokenizer cannot be read or has no begin token; a column is missing, null or has repeated
            names; a text has no token; no text is short enough; too few probe texts end in the same token.
    """
    loaded = _own_copy(tokenizer)
    frame = _frame(loaded, begin_token, tokenizer if isinstance(tokenizer, Path) else "")
    training = _encode(loaded, frame, training_texts, context, "training texts")
    probe = _encode(loaded, frame, probe_texts, context, "probe texts")
    probe = _same_end(loaded, probe)
    if max_rows is not None:
        training = _first(training, max_rows, positions)
    return Tokens(
        training.text_id, training.ids, probe.text_id, probe.ids, positions, context, training.dropped, probe.dropped
    )


def _first(training: "_Encoded", max_rows: int, positions: Positions) -> "_Encoded":
    """The texts before the first that does not fit: which ones are kept does not depend on those that follow."""
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
    """The end token of an encoder, which is then the read-out; decoders have none."""


def _frame(tokenizer: Tokenizer, begin_token: str | None, where: object) -> _Frame:
    """What the tokenizer puts around a text: begin and end, as encoders have it, or begin alone, or nothing."""
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
            remedy="name the family's own as family.begin_token in the study file",
        )
    return _Frame(begin, ())


def _same_end(tokenizer: Tokenizer, probe: "_Encoded") -> "_Encoded":
    """The residual stream is read at one token: texts that end in another would be told apart by that alone."""
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
    kept = [position for position, end in enumerate(ends) if end == usual]
    odd = [position for position, end in enumerate(ends) if end != usual]
    return _Encoded(
        tuple(probe.text_id[position] for position in kept),
        tuple(probe.ids[position] for position in kept),
        (*probe.dropped, *(probe.text_id[position] for position in odd)),
    )


class _Encoded(NamedTuple):
    text_id: tuple[str, ...]
    ids: tuple[np.ndarray, ...]
    dropped: tuple[str, ...]


def _own_copy(tokenizer: Path | Tokenizer) -> Tokenizer:
    try:
        source = tokenizer.to_str() if isinstance(tokenizer, Tokenizer) else Path(tokenizer).read_text("utf-8")
        loaded = Tokenizer.from_str(source)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise EmergenceError(
            f"The tokenizer cannot be read: {error}",
            where=tokenizer if isinstance(tokenizer, Path) else "",
            remedy="Put the tokenizer.json of the model's family there.",
        ) from error
    # Published tokenizers may cut or pad by themselves, which would move the read-out.
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def _encode(tokenizer: Tokenizer, frame: _Frame, texts: pl.DataFrame, context: int, what: str) -> _Encoded:
    for column in ("text_id", "text"):
        if texts.schema.get(column) != pl.String or texts[column].null_count():
            raise EmergenceError(f"The {what} need a text column {column} without nulls.", where=texts.columns)
    text_ids = texts["text_id"].to_list()
    if texts["text_id"].n_unique() != len(text_ids) or any("\0" in text_id for text_id in text_ids):
        raise EmergenceError(f"A text_id of the {what} occurs twice or holds a NUL.", remedy="Name every text once.")
    encodings = tokenizer.encode_batch(texts["text"].to_list(), add_special_tokens=False)
    ids = [np.array([frame.begin, *encoding.ids, *frame.end], np.int32) for encoding in encodings]
    if empty := [text_id for text_id, one in zip(text_ids, encodings, strict=True) if not one.ids]:
        raise EmergenceError(
            f"{len(empty)} of the {what} have no tokens, such as {empty[0]!r}.", remedy="Leave these texts out."
        )
    fits = [len(one) <= context for one in ids]
    if not any(fits):
        raise EmergenceError(
            f"None of the {len(ids)} {what} fits into {context} tokens.",
            remedy="Raise the context or shorten texts.",
        )
    return _Encoded(
        tuple(text_id for text_id, fit in zip(text_ids, fits, strict=True) if fit),
        tuple(one for one, fit in zip(ids, fits, strict=True) if fit),
        tuple(text_id for text_id, fit in zip(text_ids, fits, strict=True) if not fit),
    )
