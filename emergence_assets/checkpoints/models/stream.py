"""Hooks that record or change the residual stream of a model.

Shape suffixes: b texts of a batch · t positions · d d_model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from emergence_assets.checkpoints.models.blocks import blocks
from emergence_assets.checkpoints.models.loading import is_causal
from emergence_assets.checkpoints.models.placement import input_device
from resources.errors import EmergenceError

EMBEDDING = -1
Output = Tensor | tuple | list
"""Output of a block: the residual stream, or a sequence that begins with it."""


@contextmanager
def residual_stream(
    model: PreTrainedModel, layers: Sequence[int], blocks_name: str | None = None
) -> Iterator[dict[int, Tensor]]:
    """Record the outputs of the layers at each forward pass; the hooks are always removed at the end.

    `output_hidden_states` is not used, because its last entry is taken after the final layer norm.

    Args:
        model: A decoder or encoder.
        layers: Block indexes from 0; -1 is the embedding, the input of the first block.
        blocks_name: Module path of the list of blocks; by default it is found.

    Yields:
        Layer → tensor [texts, positions, d_model] of the latest forward pass.

    Raises:
        EmergenceError: The model has no such layer.
    """
    n_blocks = len(blocks(model, blocks_name))
    if absent := [layer for layer in layers if not EMBEDDING <= layer < n_blocks]:
        raise EmergenceError(
            f"The model has no layer {absent[0]}: its layers are 0 to {n_blocks - 1}, and -1 is the embedding.",
            where=model_name(model),
            remedy="Correct the layers of the study.",
        )
    kept: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Tensor], Tensor]:
        def change(stream_btd: Tensor) -> Tensor:
            kept[layer] = stream_btd
            return stream_btd

        return change

    with changed_stream(model, {layer: keep(layer) for layer in layers}, blocks_name):
        try:
            yield kept
        finally:
            kept.clear()


@contextmanager
def changed_stream(
    model: PreTrainedModel, changes: Mapping[int, Callable[[Tensor], Tensor]], blocks_name: str | None = None
) -> Iterator[None]:
    """Change the outputs of layers in each forward pass; the hooks are always removed at the end.

    Args:
        model: A decoder or encoder.
        changes: Layer, see `residual_stream`, to the function from its output [b, t, d] to the replacement.
        blocks_name: Module path of the list of blocks; by default it is found.
    """
    block_list, home = blocks(model, blocks_name), input_device(model)

    def at_home(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Change a stream on the device of the inputs, where everything else is; blocks may be on other devices."""
        return lambda stream: change(stream if home is None else stream.to(home)).to(stream.device)

    def of_input(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, tuple, dict], tuple[tuple, dict]]:
        def hook(_module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
            if args:
                return (change(args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

        return hook

    def of_output(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, tuple, Output], Output]:
        def hook(_module: nn.Module, _args: tuple, output: Output) -> Output:
            if isinstance(output, Tensor):
                return change(output)
            changed = [change(output[0]), *output[1:]]
            return type(output)(*changed) if hasattr(output, "_fields") else type(output)(changed)

        return hook

    with ExitStack() as hooks:
        for layer, wanted in changes.items():
            change = at_home(wanted)
            if layer == EMBEDDING:
                handle = block_list[0].register_forward_pre_hook(of_input(change), with_kwargs=True)
            else:
                handle = block_list[layer].register_forward_hook(of_output(change))
            hooks.callback(handle.remove)
        yield


def run_texts(model: PreTrainedModel, ids_bt: Tensor, n_tokens_b: Tensor | None = None, **options: Any) -> Any:
    """Run texts through a model without its head, as every result does, and return the model's output.

    A causal model is run without a mask, since no real position attends to padding on the right; an encoder is run with
    a mask of the real tokens, since its positions attend to all others.

    Args:
        model: In evaluation mode.
        ids_bt: Token ids, padded on the right.
        n_tokens_b: Tokens of each text; by default no text is padded.
        options: More arguments of the model.
    """
    body: Any = model.base_model
    if is_causal(model):
        return body(input_ids=ids_bt, use_cache=False, **options)
    if n_tokens_b is not None:
        positions_t = torch.arange(ids_bt.shape[1], device=ids_bt.device)
        options["attention_mask"] = (positions_t < n_tokens_b[:, None]).long()
    return body(input_ids=ids_bt, **options)


class _Reached(Exception):
    """The last wanted block has run."""


def run_up_to(
    model: PreTrainedModel,
    layer: int,
    ids_bt: Tensor,
    n_tokens_b: Tensor | None = None,
    blocks_name: str | None = None,
) -> None:
    """Run texts through a model up to the output of a layer, as far as a residual stream up to there needs it.

    Args:
        model: In evaluation mode.
        layer: Index of the last block that is run; -1 for none. Its output and those before it are the same as in
            `run_texts`, bit for bit.
        ids_bt: Token ids, padded on the right.
        n_tokens_b: Tokens of each text; by default no text is padded.
        blocks_name: Module path of the list of blocks; by default it is found.
    """

    def stop(*_: object) -> None:
        raise _Reached

    block_list = blocks(model, blocks_name)
    # Hooks run in the order in which they were added: those that record the stream come before this one.
    if layer == EMBEDDING:
        handle = block_list[0].register_forward_pre_hook(stop)
    else:
        handle = block_list[layer].register_forward_hook(stop)
    try:
        run_texts(model, ids_bt, n_tokens_b)
    except _Reached:
        pass
    finally:
        handle.remove()


def model_name(model: PreTrainedModel) -> str:
    """Return the name of a model for messages: its folder, else its class."""
    return str(getattr(model.config, "name_or_path", "") or type(model).__name__)
