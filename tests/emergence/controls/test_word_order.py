"""Words change places; punctuation, template, suffix and read-out token stay."""

import re
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.emergence.controls.word_order import shuffle_words, with_shuffled_words
from emergence_assets.texts.probe_set import WHOLE, wordnet_probes
from emergence_assets.texts.tokenising import tokenise
from emergence_assets.texts.wordnet import corpus

GLOSS = "quoits, horseshoes: a game in which iron rings are thrown at a stake.\n"


def test_words_change_places_between_the_same_punctuation() -> None:
    shuffled = shuffle_words(GLOSS, 0)
    assert shuffled != GLOSS
    assert re.sub(r"\w+", "_", shuffled) == re.sub(r"\w+", "_", GLOSS)
    assert Counter(re.findall(r"\w+", shuffled)) == Counter(re.findall(r"\w+", GLOSS))
    assert shuffled == shuffle_words(GLOSS, 0) != shuffle_words(GLOSS, 1)


def test_the_prompt_around_a_text_stays() -> None:
    template = "Question one: {text}\nAnswer: it"
    prompt = template.replace("{text}", "one two three four five six")
    shuffled = shuffle_words(prompt, 0, template)
    assert shuffled != prompt
    assert shuffled.startswith("Question one: ")
    assert shuffled.endswith("\nAnswer: it")


@given(st.text(max_size=60), st.integers(0, 5))
def test_any_text_keeps_its_words_and_its_frame(text: str, seed: int) -> None:
    shuffled = shuffle_words(text, seed)
    assert sorted(shuffled) == sorted(text)


def test_tokens_of_the_embedded_texts_keep_their_read_out_and_rows() -> None:
    probes = wordnet_probes(40, 0, 40).texts.head(200)
    tokens = tokenise(corpus.TOKENIZER_PATH, probes.head(3), probes, 32, "read_out")
    by_id = dict(probes.select("text_id", "text").iter_rows())
    texts = [by_id[name] for name in tokens.probe_text_id]
    shuffled, n_kept = with_shuffled_words(
        tokens, texts, corpus.TOKENIZER_PATH, None, is_encoder=False, template=WHOLE, seed=0
    )
    assert shuffled.probe_text_id == tokens.probe_text_id
    assert all(len(one) <= 32 for one in shuffled.probe_ids)
    assert {int(ids[-1]) for ids in shuffled.probe_ids} == {int(ids[-1]) for ids in tokens.probe_ids}
    assert n_kept < 40
    moved = [not np.array_equal(a, b) for a, b in zip(tokens.probe_ids, shuffled.probe_ids, strict=True)]
    assert np.mean(moved) > 0.7
