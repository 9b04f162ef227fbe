"""Facts of a checkpoint: of its files, and of the model that they make. Without torch."""

from dataclasses import dataclass

from emergence_assets.checkpoints.files.folder import FolderFacts
from resources.files.checked_json import STRICT


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a model, read from its class after it was loaded."""

    __pydantic_config__ = STRICT
    n_layers: int
    """Number of blocks."""
    d_model: int
    """Width of the residual stream."""
    n_heads: int
    """Attention heads per block; 0 without attention, or if blocks differ."""
    vocab_size: int
    """Number of token ids that the model reads."""
    n_params: int
    """All parameters that are loaded, tied ones once; buffers and the head of an encoder are not counted."""
    n_params_nonemb: int
    """Parameters without token embedding and unembedding."""


@dataclass(frozen=True)
class CheckpointFacts(ModelFacts, FolderFacts):
    """Facts of a checkpoint folder and of its model."""

    __pydantic_config__ = STRICT


def checkpoint_facts(folder: FolderFacts, model: ModelFacts) -> CheckpointFacts:
    """Join the facts of a folder and of its model."""
    return CheckpointFacts(**vars(folder), **vars(model))
