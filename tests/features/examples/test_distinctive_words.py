"""A word that is on the texts of a latent alone is its most distinctive word; words of all texts are none."""

import numpy as np

from emergence_assets.features.examples.distinctive_words import MIN_Z, distinctive_words
from emergence_assets.features.examples.naming import LONGEST, automatic_name
from emergence_assets.features.statistics.categorical_latents import TextFacts

COMMON = "a thing of the kind that everybody knows by name"


def facts_of(texts: list[str]) -> TextFacts:
    return TextFacts.of([f"t{n}" for n in range(len(texts))], texts)


def named(texts: list[str], active: list[int]) -> list[tuple[str, float]]:
    return distinctive_words(facts_of(texts), np.array(active, dtype=np.intp))


def test_a_planted_word_comes_first_and_common_words_do_not_come() -> None:
    texts = [f"{COMMON} number{n % 7} {'hound' if n < 20 else 'thing'} again" for n in range(400)]
    words = named(texts, list(range(20)))
    assert words[0][0] == "hound"
    assert {word for word, _ in words}.isdisjoint(COMMON.split())
    assert all(z > MIN_Z for _, z in words)


def test_a_word_of_one_text_does_not_stand_before_a_word_of_many() -> None:
    texts = [f"{COMMON} {'hound' if n < 20 else 'cat'} {'zygote' if n == 3 else ''}" for n in range(400)]
    words = [word for word, _ in named(texts, list(range(20)))]
    assert words[0] == "hound"


def test_random_texts_have_hardly_a_word() -> None:
    draw = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in draw.integers(0, 200, 12)) for _ in range(1000)]
    n_words = [len(named(texts, draw.choice(1000, 60, replace=False).tolist())) for _ in range(20)]
    assert np.mean(n_words) < 6  # of 200 words 2 % have z > 2 by chance


def test_no_active_text_has_no_word() -> None:
    assert named([COMMON] * 3, []) == []


def test_names_are_words_and_a_token() -> None:
    assert automatic_name(["hound", "dog", "paw", "tail"], ["", " ", " dogs"]) == 'hound, dog, paw → "dogs"'
    assert automatic_name(["dog"], [" Dog"]) == "dog"
    assert automatic_name([], [" dogs"]) == '→ "dogs"'
    assert automatic_name([], []) == "no distinctive word"
    assert len(automatic_name(["x" * 300], ["y" * 300])) == LONGEST
