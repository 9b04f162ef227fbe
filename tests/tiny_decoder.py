"""A GPT-NeoX of a few thousand parameters with random weights, for tests of hooks and forward passes."""

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

D_MODEL = 16


def tiny_decoder(vocabulary: int, n_layers: int) -> GPTNeoXForCausalLM:
    """Make the model in evaluation mode; weights are large, so that every layer matters."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=D_MODEL,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    return GPTNeoXForCausalLM(config).eval().requires_grad_(False)
