"""Matches, their nulls and the assignment, on dictionaries with known partners."""

import numpy as np
import pytest
import torch

from emergence_assets.emergence.lineage import matching
from emergence_assets.emergence.lineage.assignment import N_CANDIDATES, in_assignment
from emergence_assets.emergence.lineage.correlation import latent_activity
from emergence_assets.emergence.lineage.matching import LatentSet, best_partners, edges_of, match_latents, measure_edges
from emergence_assets.emergence.lineage.matching_nulls import null_threshold, rotated
from emergence_assets.emergence.lineage.untrained_sae import untrained_sae
from emergence_assets.features.statistics.codes import Codes
from resources.errors import EmergenceError
from tests.emergence.lineage.test_correlation import correlation_nm

N_TEXTS, D = 1500, 24
TEXTS = np.arange(N_TEXTS)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def planted(latent_p: np.ndarray, directions_nd: np.ndarray, seed: int, noise: float = 0.2) -> LatentSet:
    """Latent j is active on the texts with `latent_p` = j, with noise in directions and values."""
    draw = np.random.default_rng(seed)
    values = (0.5 + draw.random((N_TEXTS, 1))).astype(np.float32)
    codes = Codes(values, latent_p[:, None].astype(np.int32), len(directions_nd))
    noisy = unit(directions_nd + noise * draw.standard_normal(directions_nd.shape) / np.sqrt(D))
    activity = latent_activity(codes, TEXTS, 1)
    return LatentSet(activity, noisy[activity.latent_n])


@pytest.fixture
def truth():
    draw = np.random.default_rng(5)
    return draw.integers(0, 40, N_TEXTS), unit(draw.standard_normal((40, D)))


def directions_of(latents: LatentSet) -> np.ndarray:
    assert latents.direction_nd is not None
    return latents.direction_nd


def scores(one: LatentSet, other: LatentSet) -> np.ndarray:
    return (directions_of(one) @ directions_of(other).T + correlation_nm(one.activity, other.activity)) / 2


def pairs_of(one: LatentSet, other: LatentSet) -> set[tuple[int, int]]:
    edges = match_latents(one, other)
    mutual = edges.mutual_e
    return set(zip(one.latent_n[edges.source_e[mutual]], other.latent_n[edges.target_e[mutual]], strict=True))


def test_every_latent_finds_itself_whatever_its_number(truth) -> None:
    latent_p, directions = truth
    order = np.random.default_rng(1).permutation(40)
    place = np.argsort(order)
    one = planted(latent_p, directions, seed=1)
    other = planted(place[latent_p], directions[order], seed=2)
    assert pairs_of(one, other) == {(int(j), int(place[j])) for j in range(40)}


def test_without_directions_activity_alone_finds_them(truth) -> None:
    latent_p, directions = truth
    one = LatentSet(planted(latent_p, directions, 1).activity, None)
    other = LatentSet(planted(latent_p, directions, 2).activity, None)
    assert pairs_of(one, other) == {(j, j) for j in range(40)}
    edges = match_latents(one, other)
    np.testing.assert_allclose(edges.score_e, measure_edges(one, other, edges).correlation_e, atol=1e-6)
    with pytest.raises(EmergenceError, match="directions"):
        match_latents(one, planted(latent_p, directions, 1))


def test_a_split_and_a_merge_are_kept_as_one_sided_edges(truth) -> None:
    latent_p, directions = truth
    later_p, later_directions = latent_p.copy(), np.vstack([directions, directions[7] + 0.1 * directions[8]])
    halves = np.flatnonzero(latent_p == 7)[::2]
    later_p[halves] = 40  # half of latent 7 becomes a separate latent
    one, other = planted(latent_p, directions, 1), planted(later_p, unit(later_directions), 2)
    for source, target, name in ((one, other, "split"), (other, one, "merge")):
        edges = match_latents(source, target)
        side = edges.source_e if name == "split" else edges.target_e
        partners = edges.target_e if name == "split" else edges.source_e
        best_of_partner = edges.rank_source_e if name == "split" else edges.rank_target_e
        relatives = {int(k) for k in partners[(side == 7) & (best_of_partner == 1)]}
        assert relatives == {7, 40}


def test_scores_do_not_hang_on_the_size_of_a_block(truth, monkeypatch: pytest.MonkeyPatch) -> None:
    latent_p, directions = truth
    one, other = planted(latent_p, directions, 1), planted(latent_p, directions[::-1], 2)
    whole = best_partners(one, other)
    monkeypatch.setattr(matching, "BLOCK_PAIRS", 130)
    for left, right in zip(whole, best_partners(one, other), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
    score_nm = scores(one, other)
    np.testing.assert_array_equal(whole.target_nr, np.argsort(-score_nm, axis=1)[:, :3])
    np.testing.assert_array_equal(whole.source_mr, np.argsort(-score_nm.T, axis=1)[:, :3])


def test_measured_parts_add_up_to_the_score(truth) -> None:
    latent_p, directions = truth
    one, other = planted(latent_p, directions, 1), planted(latent_p, directions, 2)
    edges = match_latents(one, other)
    measured = measure_edges(one, other, edges)
    np.testing.assert_allclose((measured.cosine_e + measured.correlation_e) / 2, edges.score_e, atol=1e-5)
    mutual = edges.mutual_e
    assert (measured.n_joint_e[mutual] == np.bincount(latent_p, minlength=40)).all()
    np.testing.assert_allclose(measured.jaccard_e[mutual], 1)


def test_an_empty_set_has_no_partners(truth) -> None:
    one = planted(*truth, seed=1)
    nobody = LatentSet(
        latent_activity(Codes(np.zeros((N_TEXTS, 1), np.float32), np.zeros((N_TEXTS, 1), np.int32), 40), TEXTS, 1),
        np.zeros((0, D), np.float32),
    )
    for pair in ((one, nobody), (nobody, one)):
        assert len(match_latents(*pair).source_e) == 0
        assert np.isnan(null_threshold(*pair))
        assert not in_assignment(best_partners(*pair), match_latents(*pair)).any()


def test_rotation_leaves_angles_and_frequencies_and_nothing_in_common(truth) -> None:
    one = planted(*truth, seed=1)
    turned = rotated(one, seed=3)
    np.testing.assert_allclose(
        directions_of(turned) @ directions_of(turned).T, directions_of(one) @ directions_of(one).T, atol=1e-5
    )
    assert turned.activity.n_active_n.tolist() == one.activity.n_active_n.tolist()
    assert np.abs((directions_of(turned) * directions_of(one)).sum(1)).mean() < 0.4
    assert len(pairs_of(one, turned) & {(j, j) for j in range(40)}) < 5
    assert 0.1 < null_threshold(one, turned) < 0.6


def test_true_partners_exceed_the_nulls_and_unrelated_latents_hardly_ever(truth) -> None:
    latent_p, directions = truth
    draw = np.random.default_rng(8)
    one, other = planted(latent_p, directions, 1), planted(latent_p, directions, 2)
    stranger = planted(draw.integers(0, 40, N_TEXTS), unit(draw.standard_normal((40, D))), 3)
    threshold = null_threshold(one, rotated(other, 0))
    edges = match_latents(one, other)
    assert (edges.score_e[edges.mutual_e] > threshold).mean() == 1
    none = match_latents(one, stranger)
    assert (none.score_e[none.mutual_e] > threshold).mean() < 0.1


def test_the_assignment_agrees_where_matches_are_clear_and_resolves_a_rival(truth) -> None:
    latent_p, directions = truth
    one, other = planted(latent_p, directions, 1), planted(latent_p, directions, 2)
    edges = match_latents(one, other)
    chosen = in_assignment(best_partners(one, other, N_CANDIDATES), edges)
    assert (chosen == edges.mutual_e).all()


def test_the_assignment_is_that_of_scipys_dense_solver(truth) -> None:
    from scipy.optimize import linear_sum_assignment

    latent_p, directions = truth
    draw = np.random.default_rng(2)
    one = planted(latent_p, directions, 1)
    later = np.where(draw.random(N_TEXTS) < 0.5, draw.integers(0, 40, N_TEXTS), latent_p)
    other = planted(later, unit(directions + draw.standard_normal(directions.shape) / 2), 2)
    best = best_partners(one, other, n_ranks=40)
    edges = edges_of(best_partners(one, other))
    score_nm = scores(one, other)
    rows, columns = linear_sum_assignment(np.maximum(score_nm, 0), maximize=True)
    partner = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    expected = [partner[s] == t for s, t in zip(edges.source_e.tolist(), edges.target_e.tolist(), strict=True)]
    assert in_assignment(best, edges).tolist() == expected


def test_an_untrained_dictionary_is_no_relative_of_a_trained_start() -> None:
    rows = np.random.default_rng(0).standard_normal((300, D)).astype(np.float32) + 5
    sae = untrained_sae(rows, 64, 4, seed=0)
    again, another = untrained_sae(rows, 64, 4, seed=0), untrained_sae(rows, 64, 4, seed=1)
    assert torch.equal(sae.W_dec_nd, again.W_dec_nd)
    assert float((sae.W_dec_nd @ another.W_dec_nd.T).max()) < 0.95
    np.testing.assert_allclose(sae.b_dec_d.numpy(), rows.mean(0), rtol=1e-5)
    values, _ = sae.encode(torch.from_numpy(rows)).padded()
    assert values.shape == (300, 4)
    start = torch.nn.functional.normalize(torch.randn(64, D, generator=torch.Generator().manual_seed(0)), dim=1)
    assert float((sae.W_dec_nd @ start.T).max()) < 0.95
