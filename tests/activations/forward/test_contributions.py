"""The stream between two layers is the sum of the outputs of attention, heads and MLPs, for every architecture."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
)

from emergence_assets.activations.forward.contributions import parts_add_up, parts_of, recorded_contributions
from emergence_assets.checkpoints.models.blocks import blocks
from emergence_assets.checkpoints.models.stream import residual_stream
from resources.errors import EmergenceError
from tests.architectures import tiny_model

SHAPE = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4}
N_LAYERS = 4


def neox(parallel: bool):
    config = GPTNeoXConfig(**SHAPE, intermediate_size=32, use_parallel_residual=parallel, initializer_range=0.5)
    return GPTNeoXForCausalLM(config)


MODELS = {
    "parallel": lambda: neox(True),
    "one after the other": lambda: neox(False),
    "llama, grouped keys": lambda: LlamaForCausalLM(
        LlamaConfig(**SHAPE, intermediate_size=32, num_key_value_heads=2, initializer_range=0.5)
    ),
    "bloom": lambda: BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=16, n_layer=4, n_head=4)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=4, n_head=4, initializer_range=0.5)),
    "olmo2": lambda: Olmo2ForCausalLM(Olmo2Config(**SHAPE, intermediate_size=32, pad_token_id=0)),
}


def made(name: str):
    torch.manual_seed(0)
    model = MODELS[name]()
    model.config.architectures = [type(model).__name__]  # as in a checkpoint's file
    for parameter in model.parameters():  # biases too, which begin at zero
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


@pytest.fixture
def ids_bt() -> torch.Tensor:
    return torch.randint(1, 50, (5, 7), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("first", "last"), [(1, 3), (2, 2), (0, 3)])
def test_parts_add_up_to_the_difference_of_the_streams(name: str, first: int, last: int, ids_bt) -> None:
    model = made(name)
    with residual_stream(model, (first - 1, last)) as resid, recorded_contributions(model, first, last) as recorder:
        model.base_model(input_ids=ids_bt)
        found = recorder.contributions()
        change_bd = resid[last][:, -1] - resid[first - 1][:, -1]
    torch.testing.assert_close(found.attention_lbd.sum(0) + found.mlp_lbd.sum(0), change_bd, atol=1e-5, rtol=1e-5)
    assert found.layers == tuple(range(first, last + 1))
    if name == "olmo2":
        assert found.heads_lbhd is None
    else:
        assert found.heads_lbhd.shape == (last - first + 1, 5, 4, 16)
        projections = [block.get_submodule(parts_of(model).projection) for block in blocks(model)[first : last + 1]]
        biases = [getattr(projection, "bias", None) for projection in projections]
        bias_ld = torch.stack([torch.zeros(16) if bias is None else bias for bias in biases])
        summed_lbd = found.heads_lbhd.sum(2) + bias_ld[:, None]
        torch.testing.assert_close(summed_lbd, found.attention_lbd, atol=1e-5, rtol=1e-5)


def test_the_part_of_a_head_vanishes_with_its_values(ids_bt) -> None:
    """The part of a head is the difference when its columns of the output projection are zero."""
    model, layer, head = made("parallel"), 2, 1

    def attention_of(model):
        with recorded_contributions(model, layer, layer) as recorder:
            model.base_model(input_ids=ids_bt)
            return recorder.contributions()

    whole = attention_of(model)
    model.gpt_neox.layers[layer].attention.dense.weight[:, 4 * head : 4 * (head + 1)] = 0
    without = attention_of(model)
    lost_bd = whole.attention_lbd[0] - without.attention_lbd[0]
    torch.testing.assert_close(whole.heads_lbhd[0, :, head], lost_bd, atol=1e-5, rtol=1e-5)
    assert float(without.heads_lbhd[0, :, head].abs().max()) == 0


def test_an_unknown_architecture_is_named() -> None:
    model = BertModel(BertConfig(**SHAPE, intermediate_size=32)).eval()
    assert parts_of(model) is None
    with pytest.raises(EmergenceError, match="BertLayer are not known"), recorded_contributions(model, 0, 1):
        pass


def test_a_block_that_adds_something_else_is_refused(ids_bt) -> None:
    model = made("parallel")
    model.gpt_neox.layers[2].register_forward_hook(lambda _module, _args, output: output + 0.01)
    with recorded_contributions(model, 1, 2) as recorder:
        model.base_model(input_ids=ids_bt)
        with pytest.raises(EmergenceError, match="do not add up to the change"):
            recorder.contributions()


@pytest.mark.parametrize("name", MODELS)
def test_parts_of_these_architectures_add_up(name: str, ids_bt) -> None:
    assert parts_add_up(made(name), ids_bt)


def test_parts_that_are_scaled_before_they_are_added_do_not_add_up(ids_bt) -> None:
    model = tiny_model("GraniteForCausalLM")
    assert parts_add_up(model, ids_bt)
    for block in blocks(model):
        block.residual_multiplier = 0.5
    assert parts_of(model)
    assert not parts_add_up(model, ids_bt)


@pytest.mark.parametrize("name", ["JambaForCausalLM", "MambaForCausalLM"])
def test_recurrent_blocks_have_no_known_parts(name: str, ids_bt) -> None:
    assert not parts_add_up(tiny_model(name), ids_bt)


def test_an_attention_block_before_blocks_without_attention_has_no_parts() -> None:
    model = tiny_model("LlamaForCausalLM")
    assert parts_of(model)
    del model.model.layers[2].self_attn
    assert parts_of(model) is None


def test_hooks_are_gone_afterwards(ids_bt) -> None:
    model = made("parallel")
    with recorded_contributions(model, 0, 3):
        pass
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == 0


def test_half_precision_adds_up_within_its_rounding(ids_bt) -> None:
    model = made("parallel").to(torch.bfloat16)
    with recorded_contributions(model, 0, 3) as recorder:
        model.base_model(input_ids=ids_bt)
        assert recorder.contributions().end_bd.dtype == torch.float32
