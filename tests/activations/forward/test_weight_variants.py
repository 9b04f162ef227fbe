"""Weights with few bits, pruned weights, weights with noise: the changes, and their reversal."""

import pytest
import torch

from emergence_assets.activations.forward.equal_lengths import text_read_outs
from emergence_assets.activations.forward.weight_variants import (
    VARIANTS,
    bypassed_block,
    changed_weights,
    compressed,
    noise_like,
    pruned,
    quantised,
)
from emergence_assets.checkpoints.models.stream import residual_stream
from tests.activations.forward.test_contributions import made
from tests.architectures import tiny_model


@pytest.mark.parametrize("bits", [4, 8])
def test_a_row_takes_the_values_that_its_bits_hold(bits: int) -> None:
    weight_oi = torch.randn(5, 400, generator=torch.Generator().manual_seed(0))
    weight_oi[4] = 0
    rounded_oi = quantised(weight_oi, bits)
    for row, own in zip(rounded_oi, weight_oi, strict=True):
        assert len(row.unique()) <= 2**bits - 1
        assert float((row - own).abs().max()) <= float(own.abs().max()) / (2 ** (bits - 1) - 1) / 2 * 1.0001
        assert float(row.abs().max()) == pytest.approx(float(own.abs().max()), rel=1e-6)
    assert torch.equal(quantised(rounded_oi, bits).sign(), rounded_oi.sign())


def test_the_smaller_half_of_the_weights_is_pruned() -> None:
    weight_oi = torch.tensor([[0.1, -3.0, 0.2], [5.0, -0.3, 2.0]])
    assert pruned(weight_oi, 0.5).tolist() == torch.tensor([[0, -3.0, 0], [5.0, 0, 2.0]]).tolist()
    assert torch.equal(pruned(weight_oi, 0), weight_oi)


@pytest.mark.parametrize("name", ["parallel", "gpt2"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_noise_is_as_large_as_the_change_and_all_comes_back(name: str, variant: str) -> None:
    model = made(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with changed_weights(model, compressed(variant)) as change:
        inside = model.state_dict()
        moved = {key for key in before if not torch.equal(before[key], inside[key])}
        assert moved
        assert all(before[key].ndim == 2 and "emb" not in key and "wte" not in key for key in moved)
    with changed_weights(model, noise_like(variant, 0)) as noise:
        noisy = {key: value.clone() for key, value in model.state_dict().items()}
        assert noise.relative_norm == pytest.approx(change.relative_norm, rel=1e-4)
    with changed_weights(model, noise_like(variant, 0)):
        assert all(torch.equal(noisy[key], value) for key, value in model.state_dict().items())
    with pytest.raises(ZeroDivisionError), changed_weights(model, compressed(variant)):
        raise ZeroDivisionError
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert change.density == pytest.approx(0.5, abs=0.01) if variant == "prune50" else change.density > 0.5


def test_rows_are_quantised_as_outputs_whichever_way_a_matrix_lies() -> None:
    model = made("gpt2")
    with changed_weights(model, compressed("int4")):
        weight_io = model.transformer.h[0].attn.c_proj.weight
        assert all(len(weight_io[:, output].unique()) <= 15 for output in range(weight_io.shape[1]))


@pytest.mark.parametrize("name", ["MixtralForCausalLM", "GptOssForCausalLM"])
def test_the_matrices_of_experts_are_changed_one_by_one(name: str) -> None:
    model = tiny_model(name)
    stack = model.get_parameter("model.layers.0.mlp.experts.down_proj")
    before = stack.clone()
    with changed_weights(model, compressed("int4")):
        for own_oi, changed_oi in zip(before, stack, strict=True):
            rows = (quantised(own_oi.T, 4).T if name == "GptOssForCausalLM" else quantised(own_oi, 4)).contiguous()
            assert torch.equal(changed_oi, rows)
    assert torch.equal(stack, before)


def test_a_matrix_that_blocks_share_is_changed_once_and_comes_back() -> None:
    model = made("parallel")
    first, second = (layer.mlp.dense_h_to_4h for layer in model.gpt_neox.layers[:2])
    second.weight = first.weight
    before = first.weight.clone()
    with changed_weights(model, lambda _, weight_oi: weight_oi + 1):
        torch.testing.assert_close(first.weight, before + 1)
    assert torch.equal(first.weight, before)


@pytest.mark.parametrize("name", ["parallel", "llama, grouped keys", "gpt2"])
def test_a_bypassed_block_returns_its_input(name: str) -> None:
    model = made(name)
    ids_bt = torch.randint(1, 50, (3, 6), generator=torch.Generator().manual_seed(1))

    def streams() -> dict[int, torch.Tensor]:
        # Hooks that read the stream are registered after the hooks that change it.
        with torch.no_grad(), residual_stream(model, (0, 1, 2)) as resid:
            model.base_model(input_ids=ids_bt)
            return dict(resid)

    own = streams()
    with bypassed_block(model, 1):
        changed = streams()
    assert torch.equal(changed[0], own[0])
    assert torch.equal(changed[1], own[0])
    assert not torch.equal(changed[2], own[2])
    again = streams()
    assert all(torch.equal(again[layer], own[layer]) for layer in own)


def test_read_outs_are_those_of_single_texts() -> None:
    model = made("parallel")
    draw = torch.Generator().manual_seed(3)
    texts = [torch.randint(1, 50, (length,), generator=draw).numpy() for length in (3, 6, 3, 4, 6, 3)]
    found = text_read_outs(model, texts, (0, 3), batch_size=2, device="cpu")
    with torch.no_grad(), residual_stream(model, (0, 3)) as resid:
        for row, text in enumerate(texts):
            model.base_model(input_ids=torch.from_numpy(text)[None])
            for layer in (0, 3):
                torch.testing.assert_close(found[layer][row], resid[layer][0, -1], atol=1e-5, rtol=1e-5)
