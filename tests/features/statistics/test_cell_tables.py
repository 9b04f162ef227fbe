"""The two tables of a cell: noise stays noise, a planted latent is found, numbering has no effect."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from scipy.stats import hypergeom
from sklearn.metrics import roc_auc_score

from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores, latent_stats
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels
from emergence_assets.features.statistics.presence_cell import presence_cell
from emergence_assets.features.table import LATENT_STATS, PRESENCE_CELLS
from resources.errors import EmergenceError

RECIPE = CellRecipe(n_boot=40, n_shuffles=4)


def presence(codes: Codes, read_out: np.ndarray, labels: list[Labels], recipe: CellRecipe = RECIPE) -> pl.DataFrame:
    return presence_cell(codes, dense_scores(read_out, labels, recipe), labels, recipe)


def planted(n_texts: int = 1500, n_latents: int = 64, seed: int = 0) -> tuple[Codes, np.ndarray, Labels]:
    """Latent 7 is active on 60 % of category c02 and on 3 % of the rest; everything else is noise."""
    rng = np.random.default_rng(seed)
    category = rng.integers(0, 8, n_texts).astype(np.int16)
    indices = np.argsort(rng.random((n_texts, n_latents - 8)), axis=1)[:, :6] + 8
    values = rng.random((n_texts, 6)) + 0.1
    active = rng.random(n_texts) < np.where(category == 2, 0.6, 0.03)
    indices[:, 0], values[:, 0] = 7, np.where(active, rng.random(n_texts) + 0.5, 0)
    labels = Labels("subject", tuple(f"c{i:02}" for i in range(8)), category, rng.random(n_texts) < 0.5)
    read_out = rng.normal(size=(n_texts, 16)).astype(np.float32)
    return Codes(values.astype(np.float32), indices.astype(np.int32), n_latents), read_out, labels


def test_noise_has_no_categorical_latents_and_presence_at_chance(
    random_codes: Callable[..., Codes], random_labels: Callable[..., Labels]
) -> None:
    codes, labels = random_codes(3000, 128, 8), random_labels(3000, 20)
    assert latent_stats(codes, [labels], RECIPE)["passes"].sum() == 0
    read_out = np.random.default_rng(0).normal(size=(3000, 24))
    table = presence(codes, read_out, [labels])
    for (control_id,), part in table.group_by("control_id"):
        assert 0.48 < part["p_best"].to_numpy().mean() < 0.52, control_id
        assert 0.48 < part["p_dense"].to_numpy().mean() < 0.52, control_id
    assert (table["p_select"] > 0.5).all()  # the maximum over latents is biased on the texts of the choice


def test_a_planted_latent_is_found_with_its_numbers() -> None:
    codes, _, labels = planted()
    stats = latent_stats(codes, [labels], RECIPE)
    assert dict(stats.schema) == LATENT_STATS.schema_without("sae_seed")
    passing = stats.filter("passes")
    assert passing.select("latent", "category").rows() == [(7, "c02")]
    row = passing.row(0, named=True)
    fires = (codes.values_pk[:, 0] > 0) & True
    member, select = labels.codes_p == 2, labels.is_select_p
    assert row["k_c"] == (fires & member & select).sum()
    assert row["k"] == (fires & select).sum()
    assert row["tpr"] == pytest.approx(fires[member & select].mean())
    assert row["fpr"] == pytest.approx(fires[~member & select].mean())
    assert row["purity"] == pytest.approx(member[fires & select].mean())
    assert row["lift"] == pytest.approx(row["tpr"] / row["fpr"], rel=1e-5)
    assert row["p_hyper"] == pytest.approx(
        hypergeom.sf(row["k_c"] - 1, select.sum(), (member & select).sum(), row["k"]), rel=1e-6
    )
    assert row["mean_act_category"] == pytest.approx(codes.values_pk[member & select, 0].mean(), rel=1e-5)
    assert row["mean_act_other"] == pytest.approx(codes.values_pk[~member & select, 0].mean(), rel=1e-5)
    assert row["auroc_score"] == pytest.approx(roc_auc_score(member[~select], codes.values_pk[~select, 0]), abs=1e-6)
    assert row["auroc_score_lo"] < row["auroc_score"] < row["auroc_score_hi"]


def test_presence_names_the_planted_latent_and_its_margin() -> None:
    codes, read_out, labels = planted()
    table = presence(codes, read_out, [labels])
    assert dict(table.schema) == PRESENCE_CELLS.schema_without("sae_seed")
    assert table.height == 2 * 8
    row = table.filter(control_id="none", category="c02").row(0, named=True)
    assert row["latent"] == 7
    assert row["p_best_lo"] < row["p_best"] < row["p_best_hi"]
    assert row["p_best"] > 0.75
    assert len(row["replicates"]) == 40
    assert np.mean(row["replicates"]) == pytest.approx(row["p_best"], abs=0.02)
    width = np.quantile(row["replicates"], 0.975) - np.quantile(row["replicates"], 0.025)
    assert width == pytest.approx(row["p_best_hi"] - row["p_best_lo"], rel=0.5)
    dense = np.quantile(row["replicates_dense"], (0.025, 0.975))
    np.testing.assert_allclose(dense, (row["p_dense_lo"], row["p_dense_hi"]), atol=1e-6)
    shuffled = table.filter(control_id="label_shuffle", category="c02").row(0, named=True)
    assert abs(shuffled["p_best"] - 0.5) < 0.06
    assert shuffled["latent"] is None
    assert shuffled["replicates_dense"] is None


def test_the_numbering_of_latents_does_not_matter() -> None:
    codes, read_out, labels = planted()
    new_number = np.random.default_rng(5).permutation(codes.n_latents).astype(np.int32)
    renamed = Codes(codes.values_pk, new_number[codes.indices_pk], codes.n_latents)
    one, two = (presence(c, read_out, [labels]) for c in (codes, renamed))
    assert one.drop("latent").equals(two.drop("latent"))
    back = {int(new): old for old, new in enumerate(new_number)}
    assert [back[n] for n in two.filter(control_id="none")["latent"]] == one.filter(control_id="none")[
        "latent"
    ].to_list()
    stats = latent_stats(renamed, [labels], RECIPE).with_columns(pl.col("latent").replace_strict(back).cast(pl.Int32))
    assert stats.sort("latent", "category").equals(latent_stats(codes, [labels], RECIPE).sort("latent", "category"))


def test_the_names_of_categories_do_not_matter() -> None:
    codes, read_out, labels = planted()
    order = np.random.default_rng(2).permutation(8)
    place = np.argsort(order).astype(np.int16)
    renamed = Labels("subject", tuple(labels.categories[i] for i in order), place[labels.codes_p], labels.is_select_p)
    one, two = (presence(codes, read_out, [x]).filter(control_id="none").sort("category") for x in (labels, renamed))
    rounded = ("p_dense", "p_dense_lo", "p_dense_hi", "replicates_dense")
    assert one.drop(rounded).equals(two.drop(rounded))


def test_a_category_without_texts_on_one_side_is_left_out() -> None:
    codes, read_out, labels = planted()
    is_select = labels.is_select_p.copy()
    is_select[labels.codes_p == 3] = True
    one_sided = Labels(labels.level, labels.categories, labels.codes_p, is_select)
    table = presence(codes, read_out, [one_sided])
    assert "c03" not in table["category"]
    assert table["category"].n_unique() == 7
    assert not latent_stats(codes, [one_sided], RECIPE).filter(category="c03")["passes"].any()
    nothing = Labels("area", ("a",), np.full(len(read_out), -1, dtype=np.int16), is_select)
    assert presence(codes, read_out, [nothing]).is_empty()
    assert latent_stats(codes, [nothing], RECIPE).is_empty()
    assert presence(codes, read_out, []).is_empty()
    assert latent_stats(codes, [], RECIPE).is_empty()


def test_dead_latents_are_at_chance_and_have_no_name() -> None:
    codes, read_out, labels = planted()
    dead = Codes(np.zeros_like(codes.values_pk), codes.indices_pk, codes.n_latents)
    table = presence(dead, read_out, [labels])
    assert (table["p_best"] == 0.5).all()
    assert table["latent"].is_null().all()
    assert (table["replicates"].explode() == 0.5).all()
    assert latent_stats(dead, [labels], RECIPE).is_empty()


def test_levels_do_not_influence_each_other(random_labels: Callable[..., Labels]) -> None:
    codes, read_out, labels = planted()
    other = random_labels(1500, 3)
    other = Labels("domain", other.categories, other.codes_p, other.is_select_p)
    both = presence(codes, read_out, [labels, other])
    assert both.filter(category_level="subject").equals(presence(codes, read_out, [labels]))
    stats = latent_stats(codes, [labels, other], RECIPE)
    assert stats.filter(category_level="subject").equals(latent_stats(codes, [labels], RECIPE))


def test_labels_for_other_texts_and_recipes_without_margins_are_refused() -> None:
    codes, read_out, labels = planted()
    short = Labels("subject", labels.categories, labels.codes_p[1:], labels.is_select_p[1:])
    with pytest.raises(EmergenceError, match="1499 labelled texts"):
        presence_cell(codes, dense_scores(read_out[1:], [short], RECIPE), [short], RECIPE)
    with pytest.raises(EmergenceError, match="at least 2"):
        CellRecipe(n_boot=0)
    with pytest.raises(EmergenceError, match="no rule"):
        CellRecipe(rule_id="vibes")


def test_copies_of_texts_do_not_narrow_intervals() -> None:
    """Every text four times: bootstrap replicates of units have the spread of those of the single texts."""
    rng = np.random.default_rng(4)
    n = 400
    category, is_select = rng.integers(0, 2, n).astype(np.int16), rng.random(n) < 0.5
    active = rng.random((n, 3)) < np.where(category == 1, 0.5, 0.3)[:, None]
    values = (active * rng.random((n, 3))).astype(np.float32)
    read_out = rng.normal(size=(n, 4))

    def spread(copies: int, unit_p: np.ndarray | None) -> float:
        times = np.repeat(np.arange(n), copies)
        indices = np.broadcast_to(np.arange(3, dtype=np.int32), values[times].shape)
        labels = Labels("subject", ("a", "b"), category[times], is_select[times], unit_p)
        cell = presence(Codes(values[times], indices, 3), read_out[times], [labels], CellRecipe(n_boot=200))
        return float(np.std(cell.filter(control_id="none", category="b")["replicates"][0].to_numpy()))

    alone, units, texts = spread(1, None), spread(4, np.repeat(np.arange(n), 4)), spread(4, None)
    assert units == pytest.approx(alone, rel=1e-5)
    assert texts < 0.65 * alone
