"""From texts to token ids. What becomes of them is in `tokens.py`."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from emergence_assets.activations.tokens import Positions, Tokens
from emergence_assets.errors import EmergenceError

BEGIN_TOKEN = "<|endoftext|>"


def tokenise(
    tokenizer: Path | Tokenizer,
    training_texts: pl.DataFrame,
    probe_texts: pl.DataFrame,
    context: int,
    positions: Positions,
    *,
    begin_token: str = BEGIN_TOKEN,
) -> Tokens:
    """Turn texts into token ids, in the order of the tables.

    A text that does not fit into the context is dropped and reported: cut anywhere it would end in another token than
    the texts that it is compared with.

    Args:
        tokenizer: A tokenizer.json, or a loaded tokenizer (left as it is).
        training_texts: Columns text_id and text; the SAEs are trained on these.
        probe_texts: Columns text_id and text; others are ignored.
        context: Longest text in tokens, begin token included.
        positions: See `Tokens.positions`.
        begin_token: Put in front of every text. Its activation is an outlier in trained models and is never a row.

    Raises:
        EmergenceError: The tokenizer cannot be read or lacks the begin token; a column is missing, null or has repeated
            names; a text has no token; no text is short enough.
    """
    loaded = _own_copy(tokenizer)
    begin_id = loaded.token_to_id(begin_token)
    if begin_id is None:
        raise EmergenceError(
            f"The tokenizer has no token {begin_token!r} to put in front of the texts.",
            where=tokenizer if isinstance(tokenizer, Path) else "",
            remedy="Name the family's own begin token in the study.",
        )
    training = _encode(loaded, begin_id, training_texts, context, "training texts")
    probe = _encode(loaded, begin_id, probe_texts, context, "probe texts")
    return Tokens(
        training.text_id, training.ids, probe.text_id, probe.ids, positions, context, training.dropped, probe.dropped
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


def _encode(tokenizer: Tokenizer, begin_id: int, texts: pl.DataFrame, context: int, what: str) -> _Encoded:
    for column in ("text_id", "text"):
        if texts.schema.get(column) != pl.String or texts[column].null_count():
            raise EmergenceError(f"The {what} need a text column {column} without nulls.", where=texts.columns)
    text_ids = texts["text_id"].to_list()
    if texts["text_id"].n_unique() != len(text_ids) or any("\0" in text_id for text_id in text_ids):
        raise EmergenceError(f"A text_id of the {what} occurs twice or holds a NUL.", remedy="Name every text once.")
    encodings = tokenizer.encode_batch(texts["text"].to_list(), add_special_tokens=False)
    ids = [np.array([begin_id, *encoding.ids], np.int32) for encoding in encodings]
    if empty := [text_id for text_id, one in zip(text_ids, ids, strict=True) if len(one) < 2]:
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
