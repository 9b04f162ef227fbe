"""Categories that wording or length separates are flagged; categories that content separates are not."""

import numpy as np
import pytest

from emergence_assets.features.probe_quality.templates import Wording, wording
from emergence_assets.texts.near_duplicates import shingles

RNG_WORDS = [f"word{i}" for i in range(400)]


def texts_of(seed: int, n: int = 60, n_words: int = 20, before: str = "", after: str = "") -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"{before} {' '.join(rng.choice(RNG_WORDS, n_words))} {after}".strip() for _ in range(n)]


def measured(*categories: list[str]) -> Wording:
    texts = [text for category in categories for text in category]
    codes = np.repeat(np.arange(len(categories)), [len(category) for category in categories])
    return wording(texts, shingles(texts), codes, len(categories))


def test_plain_categories_are_not_flagged():
    found = measured(texts_of(0), texts_of(1), texts_of(2))
    assert not found.is_template_c.any()
    assert not found.is_long_c.any()
    assert found.length_auroc_c == pytest.approx(0.5)
    assert found.median_words_c.tolist() == [20, 20, 20]
    assert (found.template_share_c == 0).all()


@pytest.mark.parametrize(
    ("before", "after"), [("read the following passage and answer", ""), ("", "who of them is right here")]
)
def test_a_sentence_that_all_texts_of_a_category_share_is_a_template(before: str, after: str):
    found = measured(texts_of(0, before=before, after=after), texts_of(1), texts_of(2))
    assert found.is_template_c.tolist() == [True, False, False]
    edge = found.prefix_share_c if before else found.suffix_share_c
    assert edge.tolist() == [1, 0, 0]


def test_a_wording_in_the_middle_is_a_template_too():
    rng = np.random.default_rng(5)
    middle = "scenario one he was wrong and scenario two she was right"
    own = [f"{' '.join(rng.choice(RNG_WORDS, 10))} {middle} {' '.join(rng.choice(RNG_WORDS, 10))}" for _ in range(60)]
    found = measured(own, texts_of(1), texts_of(2))
    assert found.is_template_c.tolist() == [True, False, False]
    assert found.template_share_c[0] == pytest.approx(7 / 27)


def test_a_wording_of_all_categories_separates_none():
    found = measured(*(texts_of(seed, before="choose the right one of these") for seed in range(3)))
    assert not found.is_template_c.any()


def test_a_template_of_a_minority_is_not_that_of_the_category():
    mixed = texts_of(0, n=50) + texts_of(3, n=10, before="read the following passage and answer")
    assert not measured(mixed, texts_of(1), texts_of(2)).is_template_c.any()


def test_long_texts_are_flagged_and_short_ones_show():
    found = measured(texts_of(0, n_words=60), texts_of(1), texts_of(2, n_words=8))
    assert found.is_long_c.tolist() == [True, False, False]
    assert found.length_auroc_c == pytest.approx([1.0, 0.5, 0.0])


def test_texts_without_a_label_take_no_part():
    texts = texts_of(0) + texts_of(1) + texts_of(2, before="read the following passage and answer")
    codes = np.repeat([0, 1, -1], 60)
    found = wording(texts, shingles(texts), codes, 3)
    assert np.isnan(found.median_words_c[2])
    assert np.isnan(found.template_share_c[2])
    assert not found.is_template_c.any()
    assert found.length_auroc_c[:2] == pytest.approx(0.5)
