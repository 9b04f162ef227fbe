"""Labels, their permutations, and categories that cannot be measured."""

from collections.abc import Callable

import numpy as np
import pytest

from emergence_assets.features.statistics.formulas import bootstrap_weights
from emergence_assets.features.statistics.labels import Labels, length_strata, shuffled_labels, text_weights
from emergence_assets.texts.probe_set import MAX_CATEGORIES
from resources.errors import EmergenceError


def test_labels_from_values_sort_names_and_mark_missing_ones() -> None:
    labels = Labels.from_values("subject", ["b", None, "a", "b"], [True, True, False, False])
    assert labels.categories == ("a", "b")
    assert labels.codes_p.tolist() == [1, -1, 0, 1]
    assert labels.rows(select=True).tolist() == [0]


def test_as_many_categories_as_a_probe_set_may_have_fit_into_the_codes() -> None:
    names = [f"{i}" for i in range(MAX_CATEGORIES)]
    labels = Labels.from_values("level", [*names, None], [True] * (MAX_CATEGORIES + 1))
    assert [labels.categories[code] for code in labels.codes_p[:-1]] == names
    assert labels.codes_p[-1] == -1


def test_shuffling_keeps_counts_on_both_sides_and_unlabelled_texts(random_labels: Callable[..., Labels]) -> None:
    labels = random_labels(400, 6)
    first, second = shuffled_labels(labels, 2, seed=0)
    for copy in (first, second):
        assert not np.array_equal(copy.codes_p, labels.codes_p)
        np.testing.assert_array_equal(copy.codes_p < 0, labels.codes_p < 0)
        for select in (True, False):
            np.testing.assert_array_equal(copy.counts(select=select), labels.counts(select=select))
    assert not np.array_equal(first.codes_p, second.codes_p)
    np.testing.assert_array_equal(first.codes_p, shuffled_labels(labels, 1, seed=0)[0].codes_p)


def test_copies_of_a_text_are_drawn_together() -> None:
    labels = Labels.from_values("subject", list("abcdef"), [True] * 6, np.array([0, 1, 1, 1, 2, 0]))
    weights = text_weights(labels, 50, 3)
    assert (weights[0] == weights[5]).all()
    assert (weights[1] == weights[2]).all()
    assert (weights[[0, 1, 4]].sum(axis=0) == 3).all()
    alone = Labels.from_values("subject", list("abcdefghi"), [True] * 9, np.arange(9))
    np.testing.assert_array_equal(text_weights(alone, 50, 3), bootstrap_weights(9, 50, 3))


def test_texts_that_a_tokenizer_leaves_out_change_no_weight_of_the_others() -> None:
    every = Labels.from_values("subject", list("abcdef"), [True] * 6, np.arange(6), 6)
    for kept in ([0, 1, 2, 4, 5], [1, 2, 3]):
        some = Labels.from_values("subject", ["abcdef"[p] for p in kept], [True] * len(kept), np.array(kept), 6)
        np.testing.assert_array_equal(text_weights(some, 50, 3), text_weights(every, 50, 3)[kept])
        assert shuffled_labels(some, 1, seed=0)[0].n_units == 6


@pytest.mark.parametrize(
    ("categories", "codes", "is_select"),
    [
        (("a",), [0, 1], [True, False]),
        (("a",), [0], [True, False]),
        (("a", "a"), [0, 1], [True, False]),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    categories: tuple[str, ...], codes: list[int], is_select: list[bool]
) -> None:
    with pytest.raises(EmergenceError):
        Labels("subject", categories, np.array(codes, dtype=np.int16), np.array(is_select))


def test_labels_permuted_within_lengths_keep_the_effect_of_length(random_labels: Callable[..., Labels]) -> None:
    labels = random_labels(2000, 5)
    length = np.random.default_rng(0).integers(10, 400, 2000) + 300 * (labels.codes_p == 2)
    strata = length_strata(length)
    assert 15 <= len(np.unique(strata)) <= 20
    assert (np.diff(strata[np.argsort(length)]) >= 0).all()
    within, plain = shuffled_labels(labels, 2, 0, strata)[1], shuffled_labels(labels, 2, 0)[1]
    for select in (True, False):
        rows = labels.rows(select=select)
        for stratum in np.unique(strata):
            there = rows[strata[rows] == stratum]
            assert sorted(within.codes_p[there]) == sorted(labels.codes_p[there])
    assert (within.codes_p[labels.codes_p < 0] == -1).all()
    assert (within.codes_p != labels.codes_p).mean() > 0.3
    long = length > np.quantile(length, 0.8)
    assert (within.codes_p[long] == 2).mean() > 2 * (plain.codes_p[long] == 2).mean()
    assert len(np.unique(length_strata(np.full(50, 7)))) == 1


def test_shuffled_copies_keep_the_units() -> None:
    unit_p = np.array([0, 0, 1, 2, 3, 3])
    labels = Labels.from_values("subject", list("aabbab"), [True] * 3 + [False] * 3, unit_p)
    (copy,) = shuffled_labels(labels, 1, seed=0)
    assert copy.unit_p is unit_p
