"""Training against autograd, and on data whose dictionary is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emergence_assets.activations.batches import ShuffledRows
from emergence_assets.errors import EmergenceError
from emergence_assets.saes.gradients import Parameters, loss_and_gradients
from emergence_assets.saes.quality import measure_quality
from emergence_assets.saes.sae import TopK
from emergence_assets.saes.training import SAERecipe, fold_input_scale, input_moments, learning_rate_at, train_sae

SMALL = SAERecipe(activation=TopK(4), n_latents=64, n_steps=12, batch_size=128, warm_up_steps=2)


def planted(n_rows=6000, d_model=48, n_atoms=96, n_active=4, seed=0):
    """Rows that are sums of a few known directions, far from the origin and not of unit size."""
    generator = torch.Generator().manual_seed(seed)
    atoms_nd = F.normalize(torch.randn(n_atoms, d_model, generator=generator), dim=1)
    # Zipf-like: some directions are ten times as frequent as others.
    frequency_n = (1 + torch.arange(n_atoms)) ** -0.5
    indices = torch.multinomial(frequency_n.expand(n_rows, -1), n_active, generator=generator)
    values = 0.5 + torch.rand(n_rows, n_active, generator=generator)
    sums_td = F.embedding_bag(indices, atoms_nd, per_sample_weights=values, mode="sum")
    noise_td = 0.01 * torch.randn(n_rows, d_model, generator=generator)
    return 7 * (sums_td + noise_td) + 20 * torch.randn(d_model, generator=generator), atoms_nd


def random_parameters(d_model=24, n_latents=80, seed=0) -> Parameters:
    generator = torch.Generator().manual_seed(seed)
    return Parameters(
        W_enc_nd=torch.randn(n_latents, d_model, generator=generator) / math.sqrt(d_model),
        b_enc_n=0.1 * torch.randn(n_latents, generator=generator),
        W_dec_nd=F.normalize(torch.randn(n_latents, d_model, generator=generator), dim=1),
        b_dec_d=0.1 * torch.randn(d_model, generator=generator),
    )


def dense_objective(y_td: torch.Tensor, parameters: Parameters, k: int) -> torch.Tensor:
    pre_tn = (y_td - parameters.b_dec_d) @ parameters.W_enc_nd.T + parameters.b_enc_n
    top = pre_tn.topk(k, dim=1)
    activations_tn = torch.zeros_like(pre_tn).scatter(1, top.indices, top.values.relu())
    error_td = activations_tn @ parameters.W_dec_nd + parameters.b_dec_d - y_td
    return error_td.square().sum() / (2 * y_td.shape[0])


@pytest.mark.parametrize("k", [1, 6, 60])
def test_gradients_equal_dense_autograd(k):
    # k=60 of 80 takes in negative pre-activations, whose gradient is zero.
    y_td = torch.randn(257, 24, generator=torch.Generator().manual_seed(1))
    step = loss_and_gradients(y_td, random_parameters(), k)
    leaves = Parameters(*(parameter.requires_grad_() for parameter in random_parameters()))
    objective = dense_objective(y_td, leaves, k)
    objective.backward()
    assert float(step.squared_error) / (2 * 257) == pytest.approx(float(objective.detach()), rel=1e-5)
    for name, gradient, leaf in zip(Parameters._fields, step.gradients, leaves, strict=True):
        assert leaf.grad is not None
        assert (gradient - leaf.grad).abs().max() <= 1e-5 * leaf.grad.abs().max(), name


def test_gradient_of_a_latent_that_nothing_activates_is_zero():
    parameters = random_parameters()
    parameters.b_enc_n[7] = -1e6
    gradients = loss_and_gradients(torch.randn(50, 24), parameters, 6).gradients
    assert not gradients.W_enc_nd[7].any()
    assert not gradients.W_dec_nd[7].any()
    assert gradients.b_enc_n[7] == 0


def test_planted_dictionary_is_recovered():
    x_td, atoms_nd = planted()
    recipe = SAERecipe(activation=TopK(4), n_latents=128, n_steps=250, batch_size=512, learning_rate=1e-2)
    trained = train_sae(x_td[:5000], recipe, seed=0)
    # Every atom is among the 5000 * 4 drawn.
    cosines_n = (atoms_nd @ trained.sae.W_dec_nd.T).max(dim=1).values
    assert float(cosines_n.mean()) > 0.9
    assert measure_quality(trained.sae, x_td[5000:]).fvu < 0.1


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
    scaled = fold_input_scale(parameters, torch.zeros(24), 1.0, TopK(6))
    raw = fold_input_scale(parameters, mean_d, scale, TopK(6))
    x_td = y_td * scale + mean_d
    assert torch.equal(raw.encode(x_td).indices_tk, scaled.encode(y_td).indices_tk)
    torch.testing.assert_close(raw.reconstruct(x_td), scaled.reconstruct(y_td) * scale + mean_d, rtol=1e-4, atol=1e-4)


def test_folding_a_power_of_two_changes_no_bit():
    parameters = random_parameters()
    y_td = torch.randn(64, 24, generator=torch.Generator().manual_seed(1))
    scaled = fold_input_scale(parameters, torch.zeros(24), 1.0, TopK(6))
    raw = fold_input_scale(parameters, torch.zeros(24), 64.0, TopK(6))
    assert torch.equal(raw.reconstruct(y_td * 64), scaled.reconstruct(y_td) * 64)


def test_scaled_input_gives_the_same_dictionary():
    x_td, _ = planted(n_rows=500)
    plain, scaled = train_sae(x_td, SMALL, 0), train_sae(x_td * 1024, SMALL, 0)
    assert torch.equal(plain.sae.W_dec_nd, scaled.sae.W_dec_nd)
    assert scaled.input_scale == pytest.approx(1024 * plain.input_scale)


def test_decoder_bias_starts_at_the_data_mean():
    x_td, _ = planted(n_rows=1000)
    # One step at a learning rate near zero: what comes out is what training started from.
    recipe = replace(SMALL, n_steps=1, learning_rate=1e-12)
    torch.testing.assert_close(train_sae(x_td, recipe, 0).sae.b_dec_d, x_td.mean(0), rtol=1e-5, atol=1e-4)


def test_decoder_rows_keep_unit_length():
    trained = train_sae(planted(n_rows=500)[0], replace(SMALL, learning_rate=0.1), 0)
    norms_n = torch.linalg.vector_norm(trained.sae.W_dec_nd, dim=1)
    torch.testing.assert_close(norms_n, torch.ones(64), rtol=1e-5, atol=1e-5)


def test_training_lowers_the_loss():
    curve = train_sae(planted(n_rows=2000)[0], replace(SMALL, n_steps=60), 0).curve
    assert curve[-1][1] < 0.8 * curve[0][1]


def test_curve_has_at_most_a_hundred_points_and_ends_at_the_last_step():
    curve = train_sae(planted(n_rows=200)[0], replace(SMALL, n_steps=205, batch_size=16), 0).curve
    assert len(curve) <= 100
    assert curve[-1][0] == 205
    assert [step for step, _ in curve] == sorted({step for step, _ in curve})


def test_dead_latents_are_counted_over_the_window_only():
    x_td, _ = planted(n_rows=128)
    # The learning rate moves nothing, so that latents can be counted afterwards. A pass over the rows takes two steps.
    recipe = SAERecipe(TopK(1), n_latents=256, n_steps=4, batch_size=64, learning_rate=1e-15, dead_window_tokens=128)
    trained = train_sae(x_td, recipe, 0)
    assert trained.dead_fraction == measure_quality(trained.sae, x_td).dead_fraction
    half_a_pass = train_sae(x_td, replace(recipe, dead_window_tokens=64), 0)
    assert half_a_pass.dead_fraction > trained.dead_fraction
    longer_than_training = train_sae(x_td, replace(recipe, dead_window_tokens=10**9), 0)
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
    clipped = train_sae(x_td, replace(SMALL, clip_norm=1e-6), 0)
    assert torch.isfinite(clipped.sae.W_enc_nd).all()
    assert not torch.equal(clipped.sae.W_enc_nd, train_sae(x_td, SMALL, 0).sae.W_enc_nd)


def test_moments_are_those_of_the_rows():
    x_td, _ = planted(n_rows=999)
    mean_d, scale = input_moments(ShuffledRows(x_td, 100, 0))
    torch.testing.assert_close(mean_d, x_td.double().mean(0).float())
    assert scale == pytest.approx(float((x_td - x_td.mean(0)).double().square().mean().sqrt()), rel=1e-5)


def test_learning_rate_rises_stays_and_falls():
    recipe = replace(SMALL, n_steps=100, warm_up_steps=10, decay_fraction=0.2, learning_rate=1.0)
    rates = [learning_rate_at(recipe, step) for step in range(100)]
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
        train_sae(planted(n_rows=300)[0], replace(SMALL, learning_rate=1e38), 0)


@pytest.mark.parametrize(
    "change",
    [
        {"n_steps": 0},
        {"batch_size": 0},
        {"learning_rate": math.nan},
        {"learning_rate": 0.0},
        {"warm_up_steps": -1},
        {"decay_fraction": 1.5},
        {"betas": (0.9, 1.0)},
        {"dead_window_tokens": 0},
        {"clip_norm": 0.0},
        {"n_latents": 3},
    ],
)
def test_impossible_recipes_are_refused(change):
    with pytest.raises(EmergenceError, match=next(iter(change)) if "n_latents" not in change else "k=4"):
        replace(SMALL, **change)
