"""Find the blocks of a model, whose outputs are its residual stream, and the sizes of both. Imports torch."""

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from resources.errors import EmergenceError, UnsupportedModel


def blocks(model: PreTrainedModel, named: str | None = None) -> nn.ModuleList:
    """Find the blocks of a model in order; the output of block i is the residual stream of layer i.

    They are the list of modules with the most parameters, in a model with several modalities inside its text part.

    Args:
        model: any decoder or encoder.
        named: module path of the list, such as `gpt_neox.layers`; by default it is found.

    Raises:
        UnsupportedModel: the model has no list of modules, or its two largest lists have the same size.
        EmergenceError: there is no list with the given name.
    """
    return _blocks_and_name(model, named)[0]


def hook_point_name(model: PreTrainedModel, layer: int, named: str | None = None) -> str:
    """Return the module whose output is the residual stream of a layer, as in `gpt_neox.layers.3`; -1 is the embedding.

    Raises:
        EmergenceError: the blocks are not found; see `blocks`.
        ValueError: the model has no such layer.
    """
    modules, name = _blocks_and_name(model, named)
    if layer == -1:
        embedding = model.get_input_embeddings()
        return next(name for name, module in model.named_modules() if module is embedding)
    if not 0 <= layer < len(modules):
        raise ValueError(f"layer must be between -1 and {len(modules) - 1}, got {layer}")
    return f"{name}.{layer}"


def text_config(model: PreTrainedModel) -> PreTrainedConfig:
    """Return the config of a model, or of its text part."""
    return model.config.get_text_config(decoder=True)


def stream_width(model: PreTrainedModel) -> int:
    """Return the width of the residual stream, d_model."""
    return text_config(model).hidden_size


def vocabulary_size(model: PreTrainedModel) -> int:
    """Return the number of token ids that a model reads."""
    return text_config(model).vocab_size


def context_limit(model: PreTrainedModel) -> int | None:
    """Return the number of tokens that a model can read; None without a limit, as with recurrent models."""
    limit = getattr(text_config(model), "max_position_embeddings", None)
    for name, module in model.named_modules():
        # RoBERTa counts positions from behind the index of padding.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return limit and limit - first
    return limit


def _blocks_and_name(model: PreTrainedModel, named: str | None) -> tuple[nn.ModuleList, str]:
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    if named is not None:
        if named not in lists:
            raise EmergenceError(
                f"{type(model).__name__} has no list of blocks {named!r}; it has {', '.join(lists) or 'no lists'}.",
                remedy="correct family.blocks in the study file",
            )
        return lists[named], named
    own = type(text_config(model))
    sizes = {
        name: sum(weight.numel() for weight in module.parameters())
        for name, module in lists.items()
        # A block may hold lists too, such as its experts; and other modalities have blocks of their own.
        if not any(name.startswith(f"{other}.") for other in lists) and type(_holder(model, name).config) is own
    }
    largest = [name for name, size in sizes.items() if size == max(sizes.values())]
    if len(largest) != 1:
        raise UnsupportedModel(
            f"not supported: {type(model).__name__} has {len(largest)} lists of modules that may be its blocks"
            + (f": {', '.join(largest)}" if largest else ""),
            remedy="name its list of blocks as family.blocks in the study file, or leave this model out",
        )
    return lists[largest[0]], largest[0]


def _holder(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """Return the innermost model of transformers that holds a module."""
    holders = [part for path, part in model.named_modules() if isinstance(part, PreTrainedModel) and _is_in(name, path)]
    return holders[-1]


def _is_in(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}.")
