"""Gradients equal those of a dense objective, differentiated by autograd in double precision."""

import math

import pytest
import torch

from emergence_assets.saes.model.stack import Parameters
from emergence_assets.saes.training.gradients import Dead, loss_and_gradients
from emergence_assets.saes.variants.batchtopk import BatchTopK
from emergence_assets.saes.variants.jumprelu import JumpReLU
from emergence_assets.saes.variants.registry import VARIANTS
from emergence_assets.saes.variants.topk import TopK
from emergence_assets.saes.variants.variant import Variant
from emergence_assets.study.sae import AuxK
from tests.saes.planted import random_parameters

N_TOKENS, D_MODEL, N_LATENTS = 257, 24, 80


class Jump(torch.autograd.Function):
    """Pre-activations above the threshold; gradient of the threshold by the rectangle kernel."""

    @staticmethod
    def forward(ctx, pre_tn, threshold_n, bandwidth):
        ctx.save_for_backward(pre_tn, threshold_n)
        ctx.bandwidth = bandwidth
        return pre_tn * (pre_tn > threshold_n)

    @staticmethod
    def backward(ctx, grad_tn):
        pre_tn, threshold_n = ctx.saved_tensors
        is_near_tn = (((pre_tn - threshold_n) / ctx.bandwidth).abs() < 0.5).to(pre_tn)
        return (
            grad_tn * (pre_tn > threshold_n),
            (-threshold_n / ctx.bandwidth * is_near_tn * grad_tn).sum(0),
            None,
        )


class Count(torch.autograd.Function):
    """1 above the threshold; gradient of the threshold by the rectangle kernel."""

    @staticmethod
    def forward(ctx, pre_tn, threshold_n, bandwidth):
        ctx.save_for_backward(pre_tn, threshold_n)
        ctx.bandwidth = bandwidth
        return (pre_tn > threshold_n).to(pre_tn)

    @staticmethod
    def backward(ctx, grad_tn):
        pre_tn, threshold_n = ctx.saved_tensors
        is_near_tn = (((pre_tn - threshold_n) / ctx.bandwidth).abs() < 0.5).to(pre_tn)
        return None, (-1 / ctx.bandwidth * is_near_tn * grad_tn).sum(0), None


def dense_objective(y_td, parameters: Parameters, variant: Variant, prefixes=(), dead_m=None, aux: AuxK | None = None):
    """The objective of the only member."""
    W_enc_nd, b_enc_n, W_dec_nd, b_dec_d = (tensor[0] for tensor in parameters[:4])
    pre_tn = (y_td - b_dec_d) @ W_enc_nd.T + b_enc_n
    penalty = 0.0
    if isinstance(variant, TopK):
        top = pre_tn.topk(variant.k, dim=1)
        activations_tn = torch.zeros_like(pre_tn).scatter(1, top.indices, top.values.relu())
    elif isinstance(variant, BatchTopK):
        threshold = pre_tn.flatten().topk(variant.k * N_TOKENS).values[-1].detach()
        activations_tn = pre_tn.relu() * (pre_tn >= threshold)
    else:
        threshold_n = parameters.log_threshold_gn[0].exp()
        activations_tn = Jump.apply(pre_tn, threshold_n, variant.bandwidth)
        l0 = Count.apply(pre_tn, threshold_n, variant.bandwidth).sum() / N_TOKENS
        penalty = variant.penalty * D_MODEL / 2 * (l0 / variant.k - 1) ** 2
    losses = []
    for end in (*prefixes, N_LATENTS):
        error_td = activations_tn[:, :end] @ W_dec_nd[:end] + b_dec_d - y_td
        losses.append(error_td.square().sum() / (2 * N_TOKENS))
    objective = sum(losses) / len(losses) + penalty
    if aux is not None:
        dead_pre_tm = pre_tn[:, dead_m]
        top = dead_pre_tm.topk(min(aux.k or D_MODEL // 2, len(dead_m)), dim=1)
        dead_activations_tm = torch.zeros_like(dead_pre_tm).scatter(1, top.indices, top.values.relu())
        missing_td = dead_activations_tm @ W_dec_nd[dead_m] + error_td.detach()
        objective = objective + aux.coefficient * missing_td.square().sum() / (2 * N_TOKENS)
    return objective, losses[-1]


CASES = [
    TopK(1),
    TopK(6),
    TopK(60),  # of 80: includes negative pre-activations, whose gradient is zero
    TopK(N_LATENTS),
    BatchTopK(6),
    JumpReLU(6, bandwidth=0.3, penalty=2.0),
    JumpReLU(30, bandwidth=0.01),
]


def test_every_variant_is_compared_with_autograd():
    assert {type(one) for one in CASES} == set(VARIANTS.values())


@pytest.mark.parametrize("with_aux", [False, True], ids=["", "AuxK"])
@pytest.mark.parametrize("prefixes", [(), (1, 17, 60)], ids=str)
@pytest.mark.parametrize("variant", CASES, ids=str)
def test_gradients_equal_dense_autograd(variant, prefixes, with_aux):
    parameters = random_parameters(with_threshold=variant.learns_thresholds, dtype=torch.float64)
    y_gtd = torch.randn(1, N_TOKENS, D_MODEL, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    dead_m = torch.tensor([2, 3, 5, 40, 41, 79])
    aux = AuxK(coefficient=0.5, k=4)
    dead = Dead([dead_m], aux) if with_aux else None
    step = loss_and_gradients(y_gtd, parameters, variant, prefixes=prefixes, dead=dead)

    leaves = Parameters(*(None if tensor is None else tensor.clone().requires_grad_() for tensor in parameters))
    objective, reconstruction = dense_objective(y_gtd[0], leaves, variant, prefixes, dead_m, aux if with_aux else None)
    objective.backward()
    assert float(step.squared_error_g) / (2 * N_TOKENS) == pytest.approx(float(reconstruction.detach()), rel=1e-12)
    gradients = dict(step.gradients)
    for name, leaf in leaves._asdict().items():
        gradient = gradients.get(name)
        if leaf is None:
            assert gradient is None
            continue
        assert leaf.grad.abs().max() > 0, name
        assert (gradient - leaf.grad).abs().max() <= 1e-10 * leaf.grad.abs().max(), name


def test_gradients_in_single_precision_are_those_in_double():
    y_gtd = torch.randn(1, N_TOKENS, D_MODEL, generator=torch.Generator().manual_seed(1))
    single = random_parameters()
    double = Parameters(*(None if tensor is None else tensor.double() for tensor in single))
    exact = dict(loss_and_gradients(y_gtd.double(), double, TopK(6)).gradients)
    for name, gradient in loss_and_gradients(y_gtd, single, TopK(6)).gradients:
        assert (gradient - exact.pop(name)).abs().max() <= 1e-6 * gradient.abs().max(), name
    assert not exact


@pytest.mark.parametrize("prefixes", [(), (17,)], ids=str)
@pytest.mark.parametrize("variant", [TopK(6), BatchTopK(6), JumpReLU(6)], ids=str)
def test_gradients_of_a_stack_are_those_of_its_members(variant, prefixes):
    parameters = random_parameters(n_members=3, with_threshold=variant.learns_thresholds)
    y_gtd = torch.randn(3, 101, D_MODEL, generator=torch.Generator().manual_seed(1))
    dead = [torch.tensor([1, 7]), torch.tensor([], dtype=torch.int64), torch.tensor([3])]
    together = loss_and_gradients(y_gtd, parameters, variant, prefixes=prefixes, dead=Dead(dead, AuxK()))
    gradients = dict(together.gradients)
    for g in range(3):
        alone = loss_and_gradients(
            y_gtd[g : g + 1],
            parameters.member(g),
            variant,
            prefixes=prefixes,
            dead=Dead(dead[g : g + 1], AuxK()),
        )
        torch.testing.assert_close(together.squared_error_g[g], alone.squared_error_g[0])
        assert torch.equal(together.has_fired_gn[g], alone.has_fired_gn[0])
        for name, other in alone.gradients:
            torch.testing.assert_close(gradients[name][g], other[0], rtol=1e-5, atol=1e-7)


def test_permuted_latents_have_permuted_gradients():
    y_gtd = torch.randn(1, 60, D_MODEL, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parameters = random_parameters(dtype=torch.float64)
    order = torch.randperm(N_LATENTS, generator=torch.Generator().manual_seed(2))
    permuted = Parameters(
        parameters.W_enc_gnd[:, order],
        parameters.b_enc_gn[:, order],
        parameters.W_dec_gnd[:, order],
        parameters.b_dec_gd,
    )
    plain, moved = (loss_and_gradients(y_gtd, one, TopK(5)) for one in (parameters, permuted))
    torch.testing.assert_close(moved.squared_error_g, plain.squared_error_g)
    found, expected = dict(moved.gradients), dict(plain.gradients)
    for name in ("W_enc_gnd", "b_enc_gn", "W_dec_gnd"):
        torch.testing.assert_close(found[name], expected[name][:, order])
    torch.testing.assert_close(found["b_dec_gd"], expected["b_dec_gd"])


def test_gradient_of_a_latent_that_nothing_activates_is_zero():
    parameters = random_parameters()
    parameters.b_enc_gn[0, 7] = -1e6
    step = loss_and_gradients(torch.randn(1, 50, 24), parameters, TopK(6))
    gradients = dict(step.gradients)
    assert all(not gradients[name][0, 7].any() for name in ("W_enc_gnd", "W_dec_gnd", "b_enc_gn"))
    assert not step.has_fired_gn[0, 7]
    assert math.isfinite(float(step.squared_error_g))


def test_gradients_are_independent_of_earlier_updates():
    y_gtd = torch.randn(1, N_TOKENS, D_MODEL, generator=torch.Generator().manual_seed(1))
    dead = Dead([torch.tensor([1, 2, 3])], AuxK())
    expected = dict(loss_and_gradients(y_gtd, random_parameters(), TopK(6), dead=dead).gradients)
    parameters = random_parameters()
    for name, gradient in loss_and_gradients(y_gtd, parameters, TopK(6), dead=dead).gradients:
        assert torch.equal(gradient, expected[name]), name
        getattr(parameters, name).fill_(9.0)
