"""The best latent as a detector: rates as in scikit-learn, and whether it is best for its own category."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef, precision_score, recall_score

from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores, latent_stats
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels
from emergence_assets.features.statistics.presence_cell import presence_cell, random_presence_cell, with_rule

RECIPE = CellRecipe(n_boot=20, n_shuffles=2)
N = 2000


def measured(active_pn: np.ndarray, labels: Labels) -> pl.DataFrame:
    """Measure codes with value 1 where a latent is active, with the column `passes`."""
    indices = np.broadcast_to(np.arange(active_pn.shape[1], dtype=np.int32), active_pn.shape)
    codes = Codes(active_pn.astype(np.float32), indices, active_pn.shape[1])
    dense = dense_scores(np.random.default_rng(3).normal(size=(len(active_pn), 3)), [labels], RECIPE)
    return with_rule(presence_cell(codes, dense, [labels], RECIPE), latent_stats(codes, [labels], RECIPE))


@pytest.fixture
def labels() -> Labels:
    rng = np.random.default_rng(0)
    names = ("fish", "fowl", "shrub", "tree")
    return Labels("subject", names, rng.integers(0, 4, N).astype(np.int16), rng.random(N) < 0.5)


def test_rates_are_those_of_scikit_learn(labels: Labels) -> None:
    rng = np.random.default_rng(1)
    rate = np.where(labels.codes_p[:, None] == np.arange(4), 0.6, 0.1)
    active = rng.random((N, 4)) < rate
    rows = measured(active, labels).filter(control_id="none")
    on_score = ~labels.is_select_p
    for row in rows.iter_rows(named=True):
        truth = labels.codes_p[on_score] == labels.categories.index(row["category"])
        found = active[on_score, row["latent"]]
        for name, formula in (
            ("precision", precision_score),
            ("recall", recall_score),
            ("f1", f1_score),
            ("mcc", matthews_corrcoef),
        ):
            assert row[name] == pytest.approx(formula(truth, found), abs=1e-6)
        assert (row["is_own"], row["passes"]) == (True, True)
    shuffled = measured(active, labels).filter(control_id="label_shuffle")
    assert shuffled.select("precision", "recall", "f1", "mcc", "is_own", "passes").null_count().row(0) == (4,) * 6


def test_a_latent_of_plants_belongs_to_one_of_them_at_most(labels: Labels) -> None:
    """Latent 0 is active on most shrubs and on more trees; there is no other latent for either."""
    rng = np.random.default_rng(2)
    rate = np.array([0.02, 0.02, 0.5, 0.9])[labels.codes_p]
    rows = measured(rng.random((N, 1)) < rate[:, None], labels).filter(control_id="none")
    own = dict(rows.select("category", "is_own").iter_rows())
    assert (own["shrub"], own["tree"]) == (False, True)
    # Fish and fowl have no latent above chance.
    assert rows.filter(pl.col("category").is_in(["fish", "fowl"])).select("is_own", "precision").null_count().row(
        0
    ) == (
        2,
        2,
    )


def test_a_latent_that_the_rule_refuses_is_told(labels: Labels) -> None:
    rng = np.random.default_rng(4)
    rate = np.where(labels.codes_p == 0, 0.5, 0.4)
    rows = measured(rng.random((N, 1)) < rate[:, None], labels).filter(control_id="none", category="fish")
    assert rows.select("latent", "is_own", "passes").row(0) == (0, True, False)


def test_random_encoders_have_the_same_columns(
    random_codes: Callable[..., Codes], random_labels: Callable[..., Labels]
) -> None:
    codes, labels = random_codes(N, 30, 3), random_labels(N, 4)
    dense = dense_scores(np.zeros((N, 3)), [labels], RECIPE)
    rows = random_presence_cell(codes, dense, [labels], RECIPE)
    real = presence_cell(codes, dense, [labels], RECIPE).filter(control_id="none")
    same = ("latent", "p_best", "precision", "recall", "f1", "mcc", "is_own")
    assert rows.select(same).equals(real.select(same))
    assert rows["passes"].is_null().all()
