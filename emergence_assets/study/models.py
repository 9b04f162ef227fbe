"""Shapes of models in a study file."""

from typing import Annotated

from pydantic import Field, model_validator

from emergence_assets.study.strict import ModelName, Seed, StrictModel, TokensPerStep

Width = Annotated[int, Field(gt=0, le=1_000_000)]
"""Width of a residual stream; that of the widest published models is below 20,000."""
Layers = Annotated[int, Field(gt=0, le=10_000)]
"""Number of blocks; tables store the index of a block in 16 bits."""
Heads = Annotated[int, Field(gt=0, le=10_000)]
"""Attention heads of a block; tables store the index of a head in 16 bits."""


class ModelShape(StrictModel):
    """A GPT-NeoX model that is trained here."""

    d_model: Width
    """Width of the residual stream."""
    n_layers: Layers
    """Number of blocks."""
    n_heads: Heads
    """Attention heads; divides d_model."""
    learning_rate: float = Field(gt=0, le=1)
    """Peak learning rate of AdamW."""
    replicate_of: ModelName | None = None
    """The model of which this is another training run with another seed; same shape, and no further size."""
    seed: Seed | None = None
    """Seed of the initial weights of a replicate; the order of its training tokens follows from it too."""

    @model_validator(mode="after")
    def _fields_agree(self) -> "ModelShape":
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads {self.n_heads} does not divide d_model {self.d_model}; choose a divisor")
        if (self.replicate_of is None) != (self.seed is None):
            raise ValueError("replicate_of and seed belong together: a replicate is another run with another seed")
        return self


class PublishedShape(StrictModel):
    """A published model; width and layers are checked against the config of every checkpoint."""

    d_model: Width
    n_layers: Layers
    tokens_per_step: TokensPerStep | None = None
    """Training tokens per step; by default the value of the family."""
    replicate_of: ModelName | None = None
    """The model of which this is another training run, such as `pythia-70m` of `pythia-70m-seed1`; it is no further
    size."""


class HubShape(PublishedShape):
    """A model on a hub."""

    repository: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    """Repository of the model; by default the repository of the family with the model's name filled in."""
