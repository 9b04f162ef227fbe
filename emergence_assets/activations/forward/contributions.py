"""Contributions of the modules between two layers to the residual stream at the read-out token: attention, heads, MLPs.

A block adds the outputs of its attention and its MLP to the stream, in parallel (Pythia) or in sequence. The stream
after a layer is therefore exactly the stream before an earlier layer plus the outputs between them (Elhage et al. 2021,
"A mathematical framework for transformer circuits"). The contribution of a head is its input to the output projection
times its columns of that projection; the bias of the projection belongs to no head.

Shape suffixes: b texts, l blocks, h heads, e width of a head, d d_model.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from emergence_assets.checkpoints.models.blocks import blocks
from emergence_assets.checkpoints.models.facts import n_heads
from emergence_assets.checkpoints.models.stream import residual_stream, run_texts
from resources.errors import EmergenceError

ROUNDING = 64
"""Largest difference of the sum of parts from the whole, in rounding steps of the model's data type at the largest
value."""


@dataclass(frozen=True)
class BlockParts:
    """Paths inside a block of the modules whose outputs are added to the residual stream."""

    attention: str
    mlp: str
    projection: str | None
    """Linear module that mixes the heads, if the attention adds its output; None if heads cannot be separated."""


KNOWN_PARTS = (
    BlockParts("attention.dense", "mlp", "attention.dense"),  # GPT-NeoX: Pythia, the embedded family
    # OLMo 2 normalises the added vector, which is not linear in the heads.
    BlockParts("post_attention_layernorm", "post_feedforward_layernorm", None),
    BlockParts("self_attention.dense", "mlp.dense_4h_to_h", "self_attention.dense"),  # BLOOM adds inside its modules
    BlockParts("self_attn.o_proj", "mlp", "self_attn.o_proj"),  # Llama: Amber, SmolLM
    BlockParts("attn.c_proj", "mlp", "attn.c_proj"),  # GPT-2
)
"""Parts of known architectures, tried in this order; see `parts_add_up`."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """Residual stream at the last token, as a sum of contributions."""

    layers: tuple[int, ...]
    """Block indexes, ascending and without gaps."""
    start_bd: Tensor
    """Residual stream before the first of these blocks."""
    attention_lbd: Tensor
    """Contribution of the attention of each block, bias included."""
    mlp_lbd: Tensor
    """Contribution of the MLP of each block."""
    heads_lbhd: Tensor | None
    """Contribution of each head; None if the architecture does not separate heads. The attention of a block is the sum
    of its heads plus the bias of its output projection."""
    end_bd: Tensor
    """Residual stream after the last of these blocks."""


def parts_of(model: PreTrainedModel, blocks_name: str | None = None) -> BlockParts | None:
    """Find the modules that every block has and adds to the residual stream; None for an unknown architecture."""
    names = [{name for name, _ in block.named_modules()} for block in blocks(model, blocks_name)]
    for parts in KNOWN_PARTS:
        if {parts.attention, parts.mlp} <= set.intersection(*names):
            return parts if n_heads(model) else replace(parts, projection=None)
    return None


def parts_add_up(model: PreTrainedModel, ids_bt: Tensor, blocks_name: str | None = None) -> bool:
    """Return whether known modules of all blocks add up to the residual stream of these texts.

    Args:
        model: in evaluation mode.
        ids_bt: token ids of texts of one length, on the model's device.
        blocks_name: module path of the list of blocks; by default it is found.
    """
    if parts_of(model, blocks_name) is None:
        return False
    last = len(blocks(model, blocks_name)) - 1
    with torch.inference_mode(), recorded_contributions(model, 0, last, blocks_name) as recorder:
        run_texts(model, ids_bt)
        try:
            recorder.contributions()
        except (EmergenceError, RuntimeError):  # the latter where heads do not divide the input of the projection
            return False
    return True


class Recorder:
    """Outputs of the modules at the latest forward pass; see `recorded_contributions`."""

    def __init__(self, layers: tuple[int, ...], parts: BlockParts, heads: int, stream: Mapping[int, Tensor]):
        self.layers, self.parts, self.n_heads, self._stream = layers, parts, heads, stream
        self._kept: dict[tuple[int, str], Tensor] = {}
        self._projections: dict[int, nn.Module] = {}

    def contributions(self) -> Contributions:
        """Return the contributions of the latest forward pass.

        Raises:
            EmergenceError: the parts do not add up to the sum added by the blocks: the blocks add something else too.
        """
        stack = {name: torch.stack([self._kept[layer, name] for layer in self.layers]) for name in ("attention", "mlp")}
        end_bd = self._stream[self.layers[-1]][:, -1]
        found = Contributions(
            self.layers,
            self._stream[self.layers[0] - 1][:, -1].float(),
            stack["attention"].float(),
            stack["mlp"].float(),
            torch.stack([self._heads(layer) for layer in self.layers]) if self.parts.projection else None,
            end_bd.float(),
        )
        self._require_whole(found, end_bd.dtype)
        return found

    def _heads(self, layer: int) -> Tensor:
        projection, mixed_bi = self._projections[layer], self._kept[layer, "heads"].float()
        weight = projection.get_parameter("weight").float()
        # GPT-2's projection is a Conv1D, whose weight is transposed.
        weight_id = weight.T if isinstance(projection, nn.Linear) else weight
        per_head_bhe = mixed_bi.unflatten(1, (self.n_heads, -1))
        return torch.einsum("bhe,hed->bhd", per_head_bhe, weight_id.unflatten(0, (self.n_heads, -1)))

    def _require_whole(self, found: Contributions, dtype: torch.dtype) -> None:
        rebuilt_bd = found.start_bd + found.attention_lbd.sum(0) + found.mlp_lbd.sum(0)
        largest = float(torch.stack([found.end_bd.abs().max(), found.start_bd.abs().max()]).max())
        gap = float((rebuilt_bd - found.end_bd).abs().max())
        if not gap <= ROUNDING * torch.finfo(dtype).eps * max(largest, 1e-30):
            raise EmergenceError(
                f"The outputs of attention and MLP do not add up to the change of the residual stream: {gap:.2g} of "
                f"{largest:.2g} is missing.",
                remedy="this architecture adds other outputs too; its mechanism cannot be decomposed",
            )

    @contextmanager
    def hooked(self, block_list: nn.ModuleList) -> Iterator[None]:
        """Record the outputs of the modules while the context lasts."""
        with ExitStack() as hooks:
            hooks.callback(self._kept.clear)
            for layer in self.layers:
                block = block_list[layer]
                for name, path in (("attention", self.parts.attention), ("mlp", self.parts.mlp)):
                    hooks.callback(block.get_submodule(path).register_forward_hook(self._output(layer, name)).remove)
                if self.parts.projection:
                    self._projections[layer] = block.get_submodule(self.parts.projection)
                    hooks.callback(self._projections[layer].register_forward_pre_hook(self._heads_input(layer)).remove)
            yield

    def _output(self, layer: int, name: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _args: tuple, output: Tensor | tuple) -> None:
            self._kept[layer, name] = (output[0] if isinstance(output, tuple) else output)[:, -1]

        return keep

    def _heads_input(self, layer: int) -> Callable[..., None]:
        def keep(_module: nn.Module, args: tuple) -> None:
            self._kept[layer, "heads"] = args[0][:, -1]

        return keep


@contextmanager
def recorded_contributions(
    model: PreTrainedModel, first: int, last: int, blocks_name: str | None = None
) -> Iterator[Recorder]:
    """Record the contributions of blocks `first` to `last` at the last token of every forward pass.

    All texts of a pass have the same length, so that the last position is the read-out of each. Residual streams are
    those of `stream.residual_stream`: blocks l + 1 to m lead from the stream after layer l to that after layer m.

    Args:
        model: in evaluation mode.
        first: block index from 0.
        last: block index, not below `first`.
        blocks_name: module path of the list of blocks; by default it is found.

    Yields:
        Recorder, whose `contributions` are read after a forward pass.

    Raises:
        EmergenceError: the architecture is not known (`parts_of` is None).
        ValueError: the model has no such blocks.
    """
    block_list = blocks(model, blocks_name)
    if not 0 <= first <= last < len(block_list):
        raise ValueError(f"blocks {first} to {last} of {len(block_list)}")
    parts = parts_of(model, blocks_name)
    if parts is None:
        raise EmergenceError(
            f"Attention and MLP of {type(block_list[0]).__name__} are not known.",
            where=type(model).__name__,
            remedy="name the modules that add to its residual stream in activations/contributions.py",
        )
    with residual_stream(model, (first - 1, last), blocks_name) as stream:
        recorder = Recorder(tuple(range(first, last + 1)), parts, n_heads(model), stream)
        with recorder.hooked(block_list):
            yield recorder
