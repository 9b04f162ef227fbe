"""Probe texts with their words in random order: the control `text_wordshuffle`."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from emergence_assets.texts.probe_set import WHOLE
from emergence_assets.texts.tokenising import probe_ids as read_ids
from emergence_assets.texts.tokens import Tokens
from emergence_assets.texts.words import WORD_IN_PLACE

_NO_LIMIT = 1 << 30


def shuffle_words(prompt: str, seed: int, template: str = WHOLE) -> str:
    """Put the words of a text into random order; everything between words stays in place.

    Args:
        prompt: the text in its template.
        seed: seed of the order, combined with the prompt.
        template: template of the probe set; its own words around the text stay.
    """
    before, after = template.split("{text}")
    stop = len(prompt) - len(after)
    stem = prompt[len(before) : stop]
    words = WORD_IN_PLACE.findall(stem)
    order = np.random.default_rng([seed, zlib.crc32(prompt.encode())]).permutation(len(words))
    shuffled = iter(words[i] for i in order)
    return before + WORD_IN_PLACE.sub(lambda _: next(shuffled), stem) + prompt[stop:]


def with_shuffled_words(
    tokens: Tokens,
    prompts: Sequence[str],
    tokenizer: Path,
    begin_token: str | None,
    *,
    is_encoder: bool,
    template: str,
    seed: int,
) -> tuple[Tokens, int]:
    """Shuffle the words of every probe text and tokenise the texts again, in the same rows.

    A shuffled text with more tokens than the context keeps its order. This can raise the control, but not lower it.

    Args:
        tokens: tokens of the study.
        prompts: the probe texts in their template, in the order of the tokens.
        tokenizer: the tokenizer.json that made the tokens.
        begin_token: see `tokenise`.
        is_encoder: see `tokenise`.
        template: template of the probe set.
        seed: seed of the orders.

    Returns:
        Tokens that differ only in `probe_ids`, and the number of texts that kept their order.
    """
    shuffled = pl.DataFrame(
        {"text_id": tokens.probe_text_id, "text": [shuffle_words(prompt, seed, template) for prompt in prompts]}
    )
    ids = read_ids(tokenizer, shuffled, _NO_LIMIT, begin_token=begin_token, is_encoder=is_encoder)
    fits = {name for name, one in ids.items() if len(one) <= tokens.context}
    probe_ids = tuple(
        ids[name] if name in fits else old for name, old in zip(tokens.probe_text_id, tokens.probe_ids, strict=True)
    )
    return replace(tokens, probe_ids=probe_ids), len(probe_ids) - len(fits)
