"""Planted families have the planted properties, and the whole chain finds them; `make calibration` measures rates."""

import numpy as np
import pytest

from benchmarks.calibration import AIMS, Figure, drawn_answers
from benchmarks.planted_categories import CATEGORIES, Family, draw_cell, planted_directions
from benchmarks.planted_study import planted_runs
from benchmarks.planted_truth import NET, net_coverage
from benchmarks.time_rules import STEPS
from emergence_assets.features.statistics.formulas import auroc_c

CARRIED = 0.5
"""Threshold of a carried direction: carried amounts are 1 to 2, the noise of a coordinate is 0.1."""


@pytest.fixture(scope="module")
def family():
    return Family(planted_runs(), texts_per_category=3000, run_spread=0.1, seed=3)


def one_hot(labels):
    return labels.codes_p[:, None] == np.arange(len(labels.categories))


@pytest.mark.parametrize(("step", "layer"), [(0, 0), (32, 3), (STEPS[-1], 5)])
def test_a_latent_that_fires_on_the_planted_direction_alone_has_the_true_auroc(family, step, layer):
    run = family.runs[-1]
    directions_xd, _, _ = planted_directions(family, run, layer)
    read_out_pd = draw_cell(family, run, step, layer, 10).read_out_pd
    amounts_pc = read_out_pd @ directions_xd[: len(CATEGORIES)].T
    found_c = auroc_c(np.where(amounts_pc > CARRIED, amounts_pc, 0), one_hot(family.labels))
    # a standard error is at most 0.5 / sqrt(3000) = 0.009
    np.testing.assert_allclose(found_c, family.presence_cl(run, step)[:, layer], atol=0.03)


def test_a_probe_finds_a_spread_category_where_latents_lose_it(family):
    run, place = family.runs[-1], list(CATEGORIES).index("fades and returns in SAEs")
    _, hidden_cd, _ = planted_directions(family, run, 2)
    read_out_pd = draw_cell(family, run, STEPS[-1], 2, 10).read_out_pd
    found = auroc_c(read_out_pd @ hidden_cd[[place]].T, one_hot(family.labels)[:, [place]])[0]
    truth_l = family.presence_cl(run, STEPS[-1])[place]
    assert found == pytest.approx(truth_l.max(), abs=0.03)
    assert truth_l[2] < 0.6 < 0.75 < found


def test_half_of_the_true_rise_is_at_the_planted_step(family):
    for name, category in CATEGORIES.items():
        if category.rise:
            first, half, last = (
                family.presence_cl(family.runs[-1], step)[list(CATEGORIES).index(name)].max()
                for step in (0, round(10**category.middle - 1), 10**9)
            )
            assert half == pytest.approx((first + last) / 2, abs=0.003), name


def test_training_rows_say_nothing_of_the_step(family):
    early, late = (draw_cell(family, family.runs[-1], step, 1, 20_000).training_td for step in (0, STEPS[-1]))
    np.testing.assert_allclose(early.mean(axis=0), late.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(early.std(axis=0), late.std(axis=0), rtol=0.05)


def test_more_directions_than_dimensions_are_refused():
    with pytest.raises(ValueError, match="no dictionary"):
        Family(planted_runs(), d_model=20)


def test_figures_say_by_how_much_an_aim_is_missed():
    rate = Figure.of([0] * 18 + [1] * 2)
    assert (rate.value, rate.n) == (0.1, 20)
    # Wilson 1927 for 2 of 20
    assert (rate.low, rate.high) == (pytest.approx(0.0279, abs=1e-3), pytest.approx(0.3010, abs=1e-3))
    assert rate.against((0, 0.05)) == "missed by 0.050"
    assert rate.against((0, 0.1)) == "met"
    mean = Figure.of([0.1, -0.1, 0.2, -0.2])
    assert mean.value == pytest.approx(0)
    assert mean.high == pytest.approx(-mean.low)


def test_coverage_of_net_growth_takes_random_directions_from_all_draws():
    draw = np.random.default_rng(0)
    draws = []
    for _ in range(400):
        rows = []
        for series, (planted, random) in enumerate(((0.2, 0.1), (0.0, 0.03))):
            gain, of_random = planted + 0.02 * draw.normal(), random + 0.02 * draw.normal()
            error = 1.96 * 0.02 * np.sqrt(2)
            rows += [series, planted, gain, gain - of_random, gain - of_random - error, gain - of_random + error]
        draws.append(rows)
    assert np.mean(net_coverage(draws)) == pytest.approx(0.95, abs=0.03)
    shifted = [[*one[:3], *(np.array(one[3:6]) + 0.1), *one[6:]] for one in draws]
    assert np.mean(net_coverage(shifted)[::2]) > 0.9  # what all draws share is the gain of random directions
    planted = [[one[0], one[1] + 0.1, *one[2:]] for one in draws]
    assert np.mean(net_coverage(planted)[::2]) < 0.1


@pytest.mark.long
def test_the_chain_finds_the_planted_values():
    found = {}
    for seed in (0, 2, 4):  # without collapse
        for name, values in drawn_answers(seed)[0].items():
            found.setdefault(name, []).extend(values)
    assert set(found) <= {*AIMS, NET}
    rate = {name: float(np.mean(values)) for name, values in found.items()}
    assert rate["false emergence, series without a rise"] <= 0.1
    assert rate["false net rise, series without a rise"] <= 0.1
    assert rate["power, net rise where .15 to .35 rise"] >= 0.8
    assert rate["false reactivation, all gates"] == 0
    assert rate["false reactivation, permuted labels"] == 0
    assert rate["power, larger rise"] >= 0.8
    assert rate["power, drop of .3"] >= 0.8
    assert abs(rate["bias of the half step, decades"]) < 0.15
    assert rate["coverage, half step"] >= 0.75
    assert rate["false threshold over sizes"] <= 0.1
