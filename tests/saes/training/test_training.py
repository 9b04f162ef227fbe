"""Training on data with a known dictionary, alone and in stacks."""

import math
from dataclasses import replace
from typing import Any, get_args

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.activations.files.batches import ShuffledRows
from emergence_assets.saes.model.stack import fold_input_scale, unfold_input_scale
from emergence_assets.saes.quality.quality import measure_quality
from emergence_assets.saes.training.batches import SAEJob, WarmStart, input_moments
from emergence_assets.saes.training.options import TrainingOptions
from emergence_assets.saes.training.training import train_saes
from emergence_assets.study.sae import AuxK, SAESettings, VariantName
from resources.errors import EmergenceError
from tests.saes.planted import planted, random_parameters, train_sae

SMALL = SAESettings(k=4, n_latents=64, n_steps=12, batch_size=128)


def changed(settings: SAESettings, **changes: Any) -> SAESettings:
    """Make other settings; values that a study file forbids are allowed."""
    return settings.model_copy(update=changes)


@pytest.mark.parametrize("prefixes", [[], [64]])
@pytest.mark.parametrize("variant", get_args(VariantName))
def test_planted_dictionary_is_recovered(variant, prefixes):
    x_td, atoms_nd = planted()
    settings = SAESettings(
        variant=variant, k=4, prefixes=prefixes, n_latents=128, n_steps=250, batch_size=512, learning_rate=1e-2
    )
    trained = train_sae(x_td[:5000], settings, seed=0)
    # Every atom is among the 5000 * 4 drawn.
    cosines_n = (atoms_nd @ trained.sae.W_dec_nd.T).max(dim=1).values
    quality = measure_quality(trained.sae, x_td[5000:])
    assert float(cosines_n.mean()) > 0.9
    assert quality.fvu < 0.1
    assert quality.l0 == pytest.approx(4, rel=0.25)


def test_same_seed_gives_the_same_bits():
    x_td, _ = planted(n_rows=500)
    first, second = train_sae(x_td, SMALL, seed=3), train_sae(x_td, SMALL, seed=3)
    for name in ("W_enc_nd", "b_enc_n", "W_dec_nd", "b_dec_d"):
        assert torch.equal(getattr(first.sae, name), getattr(second.sae, name)), name
    assert (first.curve, first.dead_fraction) == (second.curve, second.dead_fraction)


def test_another_seed_gives_another_sae():
    x_td, _ = planted(n_rows=500)
    assert not torch.equal(train_sae(x_td, SMALL, 3).sae.W_dec_nd, train_sae(x_td, SMALL, 4).sae.W_dec_nd)


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    train_sae(planted(n_rows=300)[0], SMALL, 0)
    assert torch.equal(state, torch.get_rng_state())


def test_sae_on_raw_rows_equals_the_scaled_sae():
    parameters, scale, mean_d = random_parameters(), 37.0, torch.linspace(-5, 5, 24)
    y_td = torch.randn(64, 24, generator=torch.Generator().manual_seed(1))
    scaled = fold_input_scale(parameters, torch.zeros(24), 1.0, 6)
    raw = fold_input_scale(parameters, mean_d, scale, 6)
    x_td = y_td * scale + mean_d
    assert torch.equal(raw.encode(x_td).indices_s, scaled.encode(y_td).indices_s)
    torch.testing.assert_close(raw.reconstruct(x_td), scaled.reconstruct(y_td) * scale + mean_d, rtol=1e-4, atol=1e-4)


def test_folding_a_power_of_two_changes_no_bit():
    parameters = random_parameters()
    y_td = torch.randn(64, 24, generator=torch.Generator().manual_seed(1))
    scaled = fold_input_scale(parameters, torch.zeros(24), 1.0, 6)
    raw = fold_input_scale(parameters, torch.zeros(24), 64.0, 6)
    assert torch.equal(raw.reconstruct(y_td * 64), scaled.reconstruct(y_td) * 64)


def test_scaled_input_gives_the_same_dictionary():
    x_td, _ = planted(n_rows=500)
    plain, scaled = train_sae(x_td, SMALL, 0), train_sae(x_td * 1024, SMALL, 0)
    assert torch.equal(plain.sae.W_dec_nd, scaled.sae.W_dec_nd)
    assert scaled.input_scale == pytest.approx(1024 * plain.input_scale)


def test_decoder_bias_starts_at_the_data_mean():
    x_td, _ = planted(n_rows=1000)
    # One step at a learning rate near zero: the output is the start of the training.
    settings = changed(SMALL, n_steps=1, learning_rate=1e-12)
    torch.testing.assert_close(train_sae(x_td, settings, 0).sae.b_dec_d, x_td.mean(0), rtol=1e-5, atol=1e-4)


def test_decoder_rows_keep_unit_length():
    trained = train_sae(planted(n_rows=500)[0], changed(SMALL, learning_rate=0.1), 0)
    norms_n = torch.linalg.vector_norm(trained.sae.W_dec_nd, dim=1)
    torch.testing.assert_close(norms_n, torch.ones(64), rtol=1e-5, atol=1e-5)


def test_training_lowers_the_loss():
    curve = train_sae(planted(n_rows=2000)[0], changed(SMALL, n_steps=60), 0).curve
    assert curve[-1][1] < 0.8 * curve[0][1]


def test_curve_has_at_most_a_hundred_points_and_ends_at_the_last_step():
    curve = train_sae(planted(n_rows=200)[0], changed(SMALL, n_steps=205, batch_size=16), 0).curve
    assert len(curve) <= 100
    assert curve[-1][0] == 205
    assert [step for step, _ in curve] == sorted({step for step, _ in curve})


def test_dead_latents_are_counted_over_the_window_only():
    x_td, _ = planted(n_rows=128)
    # The learning rate is almost zero, so that latents can be counted afterwards. A pass over the rows takes two steps.
    settings = SAESettings(k=1, n_latents=256, n_steps=4, batch_size=64, learning_rate=1e-15, dead_window_tokens=128)
    trained = train_sae(x_td, settings, 0)
    assert trained.dead_fraction == measure_quality(trained.sae, x_td).dead_fraction
    half_a_pass = train_sae(x_td, changed(settings, dead_window_tokens=64), 0)
    assert half_a_pass.dead_fraction > trained.dead_fraction
    longer_than_training = train_sae(x_td, changed(settings, dead_window_tokens=10**9), 0)
    assert longer_than_training.dead_fraction == trained.dead_fraction


def test_fewer_rows_than_a_batch_are_repeated():
    trained = train_sae(planted(n_rows=10)[0], SMALL, 0)
    assert trained.n_tokens == 12 * 128
    assert torch.isfinite(trained.sae.W_enc_nd).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rows_of_other_float_types_train(dtype):
    trained = train_sae(planted(n_rows=300)[0].to(dtype), SMALL, 0)
    assert trained.sae.W_enc_nd.dtype == torch.float32


def test_numpy_rows_train_like_tensors():
    x_td, _ = planted(n_rows=300)
    array = x_td.numpy().copy()
    array.flags.writeable = False
    assert torch.equal(train_sae(array, SMALL, 0).sae.W_enc_nd, train_sae(x_td, SMALL, 0).sae.W_enc_nd)


def test_input_is_not_changed():
    x_td, _ = planted(n_rows=300)
    before = x_td.clone()
    train_sae(x_td, SMALL, 0)
    assert torch.equal(x_td, before)


def test_report_ends_with_all_steps_done():
    calls = []
    train_sae(planted(n_rows=300)[0], SMALL, 0, report=lambda done, total, note: calls.append((done, total)))
    assert calls[-1] == (12, 12)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_a_tiny_clip_norm_stays_finite_and_differs():
    x_td, _ = planted(n_rows=300)
    clipped = train_sae(x_td, changed(SMALL, clip_norm=1e-6), 0)
    assert torch.isfinite(clipped.sae.W_enc_nd).all()
    assert not torch.equal(clipped.sae.W_enc_nd, train_sae(x_td, SMALL, 0).sae.W_enc_nd)


def test_moments_are_those_of_the_rows():
    x_td, _ = planted(n_rows=999)
    mean_d, scale = input_moments(ShuffledRows(x_td, 100, 0))
    torch.testing.assert_close(mean_d, x_td.double().mean(0).float())
    assert scale == pytest.approx(float((x_td - x_td.mean(0)).double().square().mean().sqrt()), rel=1e-5)


def test_learning_rate_rises_stays_and_falls():
    options = TrainingOptions(warm_up_steps=10, decay_fraction=0.2)
    rates = [options.learning_rate(1.0, step, 100) for step in range(100)]
    assert rates[0] < rates[5] < rates[10] == 1.0 == rates[79]
    assert rates[80] > rates[90] > rates[99] > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rows_that_are_not_finite_are_refused(bad):
    x_td, _ = planted(n_rows=300)
    x_td[17, 3] = bad
    with pytest.raises(EmergenceError, match="1 of 300 rows hold NaN or infinity"):
        train_sae(x_td, SMALL, 0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_equal_rows_are_refused(value):
    with pytest.raises(EmergenceError, match="all 300 rows are equal"):
        train_sae(torch.full((300, 16), value), SMALL, 0)


def test_no_rows_are_refused():
    with pytest.raises(EmergenceError, match="no rows"):
        train_sae(np.zeros((0, 16), np.float32), SMALL, 0)


def test_divergence_is_reported_with_its_remedy():
    with pytest.raises(EmergenceError, match="lower the learning rate"):
        train_sae(planted(n_rows=300)[0], changed(SMALL, learning_rate=1e38), 0)


def test_sae_on_raw_rows_unfolds_to_the_scaled_one():
    parameters, mean_d = random_parameters(), torch.linspace(-5, 5, 24)
    threshold_n = torch.linspace(0.1, 2, 80)
    sae = fold_input_scale(parameters, mean_d, 37.0, None, threshold_n)
    back = unfold_input_scale(sae, mean_d, 37.0, with_threshold=True)
    assert back.log_threshold_gn is not None
    torch.testing.assert_close(back.log_threshold_gn[0].exp(), threshold_n)
    for name in ("W_enc_gnd", "b_enc_gn", "W_dec_gnd", "b_dec_gd"):
        torch.testing.assert_close(getattr(back, name), getattr(parameters, name), rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("prefixes", [[], [16]])
@pytest.mark.parametrize("variant", get_args(VariantName))
def test_a_stack_trains_every_member_as_if_it_were_alone(variant, prefixes):
    # Sizes that are no multiples of block sizes, and members on different rows.
    x_td, _ = planted(n_rows=500, d_model=23)
    y_td, _ = planted(n_rows=400, d_model=23, seed=1)
    settings = changed(
        SMALL, variant=variant, prefixes=prefixes, n_latents=67, batch_size=101, clip_norm=1.0, aux_k=AuxK()
    )
    members = [SAEJob(x_td, 0), SAEJob(x_td, 1), SAEJob(y_td, 0), SAEJob(y_td, 7)]
    together = train_saes(members, settings)
    for member, trained in zip(members, together, strict=True):
        (alone,) = train_saes([member], settings)
        torch.testing.assert_close(trained.sae.W_dec_nd, alone.sae.W_dec_nd, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(trained.sae.b_dec_d, alone.sae.b_dec_d, rtol=1e-4, atol=1e-3)
        assert trained.curve[-1][1] == pytest.approx(alone.curve[-1][1], rel=1e-3)
        assert trained.sae.k == alone.sae.k


def test_members_of_different_widths_do_not_train_together():
    members = [SAEJob(planted(n_rows=50)[0], 0), SAEJob(planted(n_rows=50, d_model=8)[0], 0)]
    with pytest.raises(EmergenceError, match="do not train together"):
        train_saes(members, SMALL)


@given(
    d_model=st.integers(1, 9),
    n_latents=st.integers(1, 40),
    k_share=st.floats(0, 1),
    n_rows=st.integers(2, 30),
    batch_size=st.integers(1, 40),
    variant=st.sampled_from(get_args(VariantName)),
    n_members=st.integers(1, 3),
    with_aux=st.booleans(),
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_all_shapes_train(d_model, n_latents, k_share, n_rows, batch_size, variant, n_members, with_aux):
    k = 1 + round(k_share * (n_latents - 1))
    x_td = torch.randn(n_rows, d_model, generator=torch.Generator().manual_seed(0))
    settings = SAESettings(
        variant=variant,
        k=k,
        n_latents=n_latents,
        n_steps=3,
        batch_size=batch_size,
        dead_window_tokens=1,
        aux_k=AuxK(every_steps=1) if with_aux else None,
    )
    for trained in train_saes([SAEJob(x_td, seed) for seed in range(n_members)], settings):
        reconstructed_td = trained.sae.reconstruct(x_td)
        assert reconstructed_td.shape == x_td.shape
        assert bool(torch.isfinite(reconstructed_td).all())


def test_a_single_token_is_refused_as_it_does_not_vary():
    with pytest.raises(EmergenceError, match="all 1 rows are equal"):
        train_sae(torch.ones(1, 16), SMALL, 0)


def test_auxiliary_latents_come_to_life():
    x_td, _ = planted()
    settings = SAESettings(k=4, n_latents=128, n_steps=150, batch_size=512, learning_rate=4e-3, dead_window_tokens=2048)
    sae = train_sae(x_td, changed(settings, learning_rate=1e-2), 0).sae
    # Every other latent is never selected again, and the gradient of TopK does not reach it.
    W_enc_nd = sae.W_enc_nd.clone()
    W_enc_nd[::2] *= 0.02
    start = SAEJob(x_td, 0, warm_start=WarmStart(replace(sae, W_enc_nd=W_enc_nd)))
    (plain,), (revived,) = train_saes([start], settings), train_saes([start], changed(settings, aux_k=AuxK()))
    assert plain.dead_fraction > 0.5
    assert revived.dead_fraction < 0.3
    assert measure_quality(revived.sae, x_td).fvu < 0.5 * measure_quality(plain.sae, x_td).fvu


def test_batch_threshold_keeps_the_intended_number_of_latents():
    x_td, _ = planted()
    trained = train_sae(
        x_td[:5000], SAESettings(variant="batchtopk", k=6, n_latents=128, n_steps=120, batch_size=512), 0
    )
    assert measure_quality(trained.sae, x_td[5000:]).l0 == pytest.approx(6, rel=0.15)


def test_warm_start_begins_where_the_other_ended():
    x_td, _ = planted()
    settings = SAESettings(k=4, n_latents=128, n_steps=100, batch_size=512, learning_rate=1e-2)
    cold = train_sae(x_td, settings, 0)
    (warm,) = train_saes(
        [SAEJob(x_td, 0, warm_start=WarmStart(cold.sae))], changed(settings, n_steps=5, learning_rate=1e-9)
    )
    torch.testing.assert_close(warm.sae.W_dec_nd, cold.sae.W_dec_nd, rtol=1e-4, atol=1e-4)
    assert warm.curve[0][1] < cold.curve[-10][1]


def test_warm_start_of_another_shape_is_refused():
    x_td, _ = planted(n_rows=200)
    other = train_sae(x_td, changed(SMALL, n_latents=32), 0).sae
    with pytest.raises(EmergenceError, match="start from an SAE of the same study"):
        train_saes([SAEJob(x_td, 0, warm_start=WarmStart(other))], SMALL)


def test_a_warm_start_on_shifted_rows_gives_the_output_of_the_old_rows():
    x_td, _ = planted()
    settings = SAESettings(k=4, n_latents=128, n_steps=100, batch_size=512, learning_rate=1e-2)
    cold = train_sae(x_td, settings, 0)
    moved_td = 1000 + 50 * x_td
    start = WarmStart(cold.sae, cold.input_mean_d, cold.input_scale)
    (warm,) = train_saes([SAEJob(moved_td, 0, warm_start=start)], changed(settings, n_steps=5, learning_rate=1e-9))
    assert warm.curve[0][1] == pytest.approx(cold.curve[-1][1], rel=0.1)
    assert measure_quality(warm.sae, moved_td).fvu == pytest.approx(measure_quality(cold.sae, x_td).fvu, rel=0.01)
