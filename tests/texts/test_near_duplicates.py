"""Copies are found exactly, and common phrases are no copies."""

import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.texts.near_duplicates import MOST_TEXTS_PER_SHINGLE, clusters, resembling_pairs, shingles
from emergence_assets.texts.words import words

SENTENCES = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=15)


def jaccard(left: str, right: str) -> float:
    """Compute the index by its definition, on sets of 5-grams."""

    def runs(text: str) -> set[tuple[str, ...]]:
        found = words(text)
        return {tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4))}

    a, b = runs(left), runs(right)
    return len(a & b) / len(a | b)


@settings(max_examples=60)
@given(SENTENCES, st.sampled_from([0.2, 0.5, 0.9]))
def test_pairs_are_those_of_the_definition(texts: list[str], threshold: float):
    texts = list(dict.fromkeys(texts))
    left, right = resembling_pairs(texts, threshold)
    expected = {
        (i, j) for i in range(len(texts)) for j in range(i + 1, len(texts)) if jaccard(texts[i], texts[j]) >= threshold
    }
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == expected


def test_a_chain_of_copies_is_one_cluster_and_numbers_follow_first_occurrence():
    run = [f"w{i}" for i in range(60)]
    texts = ["alone stands this text in the row", *(" ".join(run[i : i + 30]) for i in (0, 8, 16, 24)), "Alone too"]
    assert jaccard(texts[1], texts[4]) < 0.5 <= jaccard(texts[1], texts[2])
    assert clusters(texts).tolist() == [0, 1, 1, 1, 1, 2]


def test_case_punctuation_and_white_space_do_not_distinguish_texts():
    assert clusters(["What is  law?", "what is law", "WHAT IS\nLAW!", "what is food", "?!", "?", "?"]).tolist() == [
        *(0, 0, 0, 1, 2, 3, 3),
    ]
    assert clusters([]).tolist() == []


def test_a_turn_of_phrase_is_no_copy():
    phrase = "which one of the following statements is right about"
    few = [f"{phrase} a{i} b{i}" for i in range(MOST_TEXTS_PER_SHINGLE)]
    assert clusters(few).max() == 0  # as few texts as a passage has questions
    many = [f"{phrase} a{i} b{i}" for i in range(MOST_TEXTS_PER_SHINGLE + 1)]
    assert len(set(clusters(many).tolist())) == len(many)
    assert len(set(clusters([*many, many[3].upper()]).tolist())) == len(many)


def test_order_of_texts_does_not_matter():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice([*"abcdefgh"], 12)) for _ in range(40)] * 2
    texts += [f"{text} more" for text in texts[:10]]
    order = rng.permutation(len(texts))
    forward, shuffled = clusters(texts), clusters([texts[i] for i in order])
    same = forward[order][:, None] == forward[order][None, :]
    assert (same == (shuffled[:, None] == shuffled[None, :])).all()


def test_many_texts_of_one_template_are_not_all_compared():
    """4,000 texts that share 40 words: all their pairs would take 760 MB, the compared pairs take 13 MB."""
    template = " ".join(f"t{i}" for i in range(40))
    texts = [f"{template} {i} {i + 1} {i + 2} {i + 3} {i + 4} {i + 5}" for i in range(0, 40_000, 10)]
    tracemalloc.start()
    assert len(set(clusters(texts).tolist())) == len(texts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


def test_shingles_count_each_run_of_words_once():
    found = shingles(["a b c d e a b c d e", "a b", "", "…"])
    assert found.n_texts == 4
    assert np.bincount(found.text_e).tolist() == [5, 1, 1, 1]
    assert found.n_shingles == 8
