"""Linear probes find planted information, and nothing in noise."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from emergence_assets.features.statistics.formulas import bootstrap_weights
from emergence_assets.features.statistics.labels import Labels, shuffled_labels
from emergence_assets.features.statistics.linear_probes import BOW_SCHEMA, bag_of_words_auroc, dense_probe_auroc
from resources.errors import EmergenceError


@pytest.mark.parametrize("d_model", [20, 900])
def test_the_probe_is_sklearns_ridge(random_labels: Callable[..., Labels], d_model: int) -> None:
    labels = random_labels(600, 4)
    rng = np.random.default_rng(0)
    read_out = rng.normal(size=(600, d_model)) * 3 + 1
    read_out[:, :4] += 2 * (labels.codes_p[:, None] == np.arange(4))
    select, score = labels.rows(select=True), labels.rows(select=False)
    mean, deviation = read_out[select].mean(0), read_out[select].std(0)
    x = (read_out - mean) / deviation
    ridge = Ridge(alpha=0.01 * len(select)).fit(x[select], labels.codes_p[select, None] == np.arange(4))
    predicted = ridge.predict(x[score]).astype(np.float32)
    expected = [roc_auc_score(labels.codes_p[score] == c, predicted[:, c]) for c in range(4)]
    probe = dense_probe_auroc(read_out, labels, shuffled_labels(labels, 2, 0), 0.01, bootstrap_weights(600, 50, 0))
    np.testing.assert_allclose(probe.p_c, expected, atol=1e-4)
    assert (probe.lo_c < probe.p_c).all()
    assert (probe.p_c < probe.hi_c).all()
    assert np.abs(probe.shuffled_c - 0.5).max() < 0.1
    assert probe.replicates_cb.shape == (4, 50)
    np.testing.assert_allclose(probe.replicates_cb.mean(axis=1), probe.p_c, atol=0.02)


def test_a_constant_read_out_is_at_chance(random_labels: Callable[..., Labels]) -> None:
    labels = random_labels(200, 3)
    weights = bootstrap_weights(200, 20, 0)
    probe = dense_probe_auroc(np.full((200, 8), 0.3, np.float16), labels, shuffled_labels(labels, 2, 0), 0.01, weights)
    assert (probe.p_c == 0.5).all()
    np.testing.assert_allclose(probe.replicates_cb, 0.5, atol=1e-12)


def test_read_outs_that_cannot_be_right_are_refused(random_labels: Callable[..., Labels]) -> None:
    labels = random_labels(50, 2)
    with pytest.raises(EmergenceError, match="NaN"):
        dense_probe_auroc(np.full((50, 3), np.nan), labels, [], 0.01, bootstrap_weights(50, 2, 0))
    with pytest.raises(EmergenceError, match="49 read-outs"):
        dense_probe_auroc(np.zeros((49, 3)), labels, [], 0.01, bootstrap_weights(50, 2, 0))


def test_words_find_a_lexical_category_and_no_other() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 200, 12)) for _ in range(600)]
    names = [str(v) for v in rng.choice(["law", "sea", "war"], 600)]
    texts = [t + " court" if n == "law" else t for t, n in zip(texts, names, strict=True)]
    labels = Labels.from_values("subject", names, rng.random(600) < 0.5)
    table = bag_of_words_auroc(texts, [labels])
    assert dict(table.schema) == BOW_SCHEMA
    value = {(r["control_id"], r["category"]): r["p_bow"] for r in table.to_dicts()}
    assert value["none", "law"] > 0.99
    assert abs(value["label_shuffle", "law"] - 0.5) < 0.08


def test_texts_without_words_are_refused() -> None:
    labels = Labels.from_values("subject", ["a", "b"] * 4, [True, True, False, False] * 2)
    with pytest.raises(EmergenceError, match="no words"):
        bag_of_words_auroc(["..."] * 8, [labels])
