"""The logit lens gives the logits of the model, and none where norm and unembedding do not make them."""

import pytest
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertModel, GPT2Config, LlamaConfig, MambaConfig, OPTConfig

from emergence_assets.features.examples.logit_lens import logit_lens
from tests.tiny_decoder import tiny_decoder

IDS = torch.tensor([1, 5, 3, 2])
SMALL = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONFIGS = {
    "llama": LlamaConfig(**SMALL),
    "gpt2": GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=32),
    "opt": OPTConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=32, word_embed_proj_dim=16
    ),
    "mamba": MambaConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, state_size=4),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_norm_and_unembedding_are_found(name: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name]).eval()
    lens = logit_lens(model, IDS)
    assert lens is not None
    direction_nd = torch.nn.functional.normalize(torch.randn(3, 16), dim=1)
    assert lens.logits(direction_nd).shape == (3, 40)


def test_a_direction_that_is_a_row_of_the_unembedding_raises_its_token_most() -> None:
    model = tiny_decoder(40, n_layers=2)
    with torch.no_grad():
        model.get_output_embeddings().weight.copy_(torch.nn.functional.normalize(torch.randn(40, 16), dim=1))
    lens = logit_lens(model, IDS)
    assert lens is not None
    rows = model.get_output_embeddings().weight - model.get_output_embeddings().weight.mean(
        1, keepdim=True
    )  # the norm takes the mean away
    assert (lens.logits(rows).argmax(1) == torch.arange(40)).float().mean() > 0.9


def test_another_way_to_the_logits_has_no_lens() -> None:
    model = tiny_decoder(40, n_layers=2)
    model.register_forward_hook(lambda _module, _args, output: output.__setitem__("logits", output.logits.roll(1, -1)))
    assert logit_lens(model, IDS) is None
    assert logit_lens(BertModel(BertConfig(**SMALL)).eval(), IDS) is None
