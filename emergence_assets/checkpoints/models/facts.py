"""Read the facts of a loaded model. Imports torch."""

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from emergence_assets.checkpoints.facts import ModelFacts
from emergence_assets.checkpoints.models.blocks import blocks, stream_width, text_config, vocabulary_size
from emergence_assets.checkpoints.models.loading import LEAVE_OUT
from resources.errors import UnsupportedModel


def model_facts(model: PreTrainedModel, blocks_name: str | None = None) -> ModelFacts:
    """Read the facts of a model from its modules and from the config class of transformers.

    Args:
        model: any decoder or encoder.
        blocks_name: module path of the list of blocks; by default it is found.

    Raises:
        UnsupportedModel: the model has no blocks, no token embedding, or no width of a residual stream.
        EmergenceError: there is no list with the given name.
    """
    block_list = blocks(model, blocks_name)
    try:
        width, n_known = stream_width(model), vocabulary_size(model)
        embeddings = {id(weight): weight for weight in (token_embedding(model), *_unembedding(model))}
    except (AttributeError, NotImplementedError) as error:
        what = f"not supported: {type(model).__name__} is no model of one sequence of tokens: {error}"
        raise UnsupportedModel(what, where=model.name_or_path, remedy=LEAVE_OUT) from error
    n_params = sum(weight.numel() for weight in model.parameters())
    return ModelFacts(
        n_layers=len(block_list),
        d_model=width,
        n_heads=n_heads(model),
        vocab_size=n_known,
        n_params=n_params,
        n_params_nonemb=n_params - sum(weight.numel() for weight in embeddings.values()),
    )


def n_heads(model: PreTrainedModel) -> int:
    """Return the attention heads per block; 0 without attention, or if blocks differ."""
    try:
        found = text_config(model).num_attention_heads
    except (AttributeError, RuntimeError):  # the latter if blocks differ
        return 0
    return found if isinstance(found, int) else 0


def token_embedding(model: PreTrainedModel) -> torch.Tensor:
    """Return the token embedding, [tokens, width]; its width may differ from that of the residual stream.

    Raises:
        AttributeError: the model has none.
    """
    return model.get_input_embeddings().get_parameter("weight")


def embedding_norm(model: PreTrainedModel) -> float:
    """Return the median L2 norm of the rows of the token embedding."""
    return float(np.median(token_embedding(model).float().norm(dim=1).cpu().numpy()))


def _unembedding(model: PreTrainedModel) -> list[torch.Tensor]:
    head = model.get_output_embeddings()
    return [head.weight] if isinstance(head, nn.Linear) else []
