"""A changed text runs one token and gives the result of the whole text."""

import pytest
import torch
from transformers import BertConfig, BertModel

from emergence_assets.activations.forward.ablation import (
    Changes,
    changed_read_outs,
    read_outs,
    reuses_prefix,
    run_prefix,
)
from emergence_assets.checkpoints.models.stream import residual_stream
from resources.errors import EmergenceError
from tests.activations.forward.test_contributions import MODELS, SHAPE, made
from tests.architectures import tiny_model

LAYERS = (0, 1, 2, 3)


@pytest.fixture
def ids_bt() -> torch.Tensor:
    return torch.randint(1, 50, (5, 7), generator=torch.Generator().manual_seed(1))


def whole_text(model, ids_bt, layer, added_d) -> dict[int, torch.Tensor]:
    """Run the whole text in one pass, with its last position changed after one block."""
    block = next(module for name, module in model.named_modules() if name.endswith((f"layers.{layer}", f"h.{layer}")))

    def add(_module, _args, output):
        stream = (output[0] if isinstance(output, tuple) else output).clone()
        stream[:, -1] += added_d
        return (stream, *output[1:]) if isinstance(output, tuple) else stream

    handle = block.register_forward_hook(add)
    with residual_stream(model, LAYERS) as resid, torch.no_grad():
        model.base_model(input_ids=ids_bt, use_cache=False)
        found = {number: resid[number][:, -1] for number in LAYERS}
    handle.remove()
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows_at_once", [2, 256])
def test_changes_after_several_layers_go_through_together(name: str, rows_at_once: int, ids_bt) -> None:
    model = made(name)
    prefix = run_prefix(model, ids_bt)
    generator = torch.Generator().manual_seed(2)
    text_r, layer_r = torch.tensor([0, 3, 3, 1, 4]), torch.tensor([0, 0, 2, 1, 2])
    added_rd = torch.randn(5, 16, generator=generator)
    changed = changed_read_outs(prefix, Changes(text_r, layer_r, added_rd), LAYERS, rows_at_once)
    clean = read_outs(prefix, LAYERS)
    for row in range(5):
        text, layer = int(text_r[row]), int(layer_r[row])
        expected = whole_text(model, ids_bt[text : text + 1], layer, added_rd[row])
        for number in LAYERS:
            torch.testing.assert_close(changed[number][row], expected[number][0], atol=2e-5, rtol=2e-5)
            if number < layer:
                torch.testing.assert_close(changed[number][row], clean[number][text], atol=2e-5, rtol=2e-5)


def test_no_change_is_the_text_itself_and_the_prefix_is_not_used_up(ids_bt) -> None:
    model = made("parallel")
    prefix = run_prefix(model, ids_bt)
    before = read_outs(prefix, (3,))[3]
    nothing = Changes(torch.arange(5), torch.ones(5, dtype=torch.int64), torch.zeros(5, 16))
    torch.testing.assert_close(changed_read_outs(prefix, nothing, (3,))[3], before, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(read_outs(prefix, (3,))[3], before, atol=0, rtol=0)
    with residual_stream(model, (3,)) as resid, torch.no_grad():
        model.base_model(input_ids=ids_bt)
        torch.testing.assert_close(before, resid[3][:, -1], atol=2e-5, rtol=2e-5)
    none = Changes(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 16))
    assert changed_read_outs(prefix, none, (3,))[3].shape == (0, 16)


@pytest.mark.parametrize("name", MODELS)
def test_keys_and_values_stand_for_a_prefix(name: str, ids_bt) -> None:
    assert reuses_prefix(made(name), ids_bt)


@pytest.mark.parametrize("name", ["MambaForCausalLM", "JambaForCausalLM", "RwkvForCausalLM", "BertForMaskedLM"])
def test_a_state_that_a_pass_changes_does_not_stand_for_a_prefix(name: str, ids_bt) -> None:
    model = tiny_model(name)
    model.config.architectures = [name]
    assert not reuses_prefix(model, ids_bt)


def test_an_encoder_is_refused(ids_bt) -> None:
    with pytest.raises(EmergenceError, match="not a causal model"):
        run_prefix(BertModel(BertConfig(**SHAPE, intermediate_size=32)).eval(), ids_bt)
