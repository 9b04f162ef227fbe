"""Shapes of models in a study file."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from emergence_assets.study.strict import Name, Positive, Seed, StrictModel


class ModelShape(StrictModel):
    """A GPT-NeoX model that is trained here."""

    d_model: Positive
    """Width of the residual stream."""
    n_layers: Positive
    """Number of blocks."""
    n_heads: Positive
    """Attention heads; divides d_model."""
    learning_rate: float = Field(gt=0, le=1)
    """Peak learning rate of AdamW."""
    replicate_of: Name | None = None
    """Another run of this model: its shape, with a seed of its own. Not counted as a size."""
    seed: Seed | None = None
    """Of a replicate: seed of its initial weights; the order of its training tokens follows from it too."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ModelShape":
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads {self.n_heads} does not divide d_model {self.d_model}; choose a divisor")
        return self

    @model_validator(mode="after")
    def _replicates_have_seeds(self) -> "ModelShape":
        if (self.replicate_of is None) != (self.seed is None):
            raise ValueError("replicate_of and seed belong together: a replicate is another run with another seed")
        return self


class PublishedShape(StrictModel):
    """A published model; width and layers are checked against the config of every checkpoint."""

    d_model: Positive
    n_layers: Positive
    tokens_per_step: Positive | None = None
    """Where it is not that of the family."""
    replicate_of: Name | None = None
    """The model of which this is another training run, such as `pythia-70m` of `pythia-70m-seed1`; no size of its
    own."""


class HubShape(PublishedShape):
    """A model on a hub."""

    repository: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    """Where it is not that of the family with the model's name in it."""


class WithReplicates(StrictModel):
    """A family in which some models may be further training runs of others, as PolyPythias has (arXiv 2503.09543)."""

    @model_validator(mode="before")
    @classmethod
    def _fill_replicates(cls, declared: Any) -> Any:
        """Let a replicate have what its original says of itself; a repository is its own."""
        models = declared.get("models") if isinstance(declared, dict) else None
        if not isinstance(models, dict):
            return declared
        runs = {
            name: shape["replicate_of"]
            for name, shape in models.items()
            if isinstance(shape, dict) and shape.get("replicate_of") is not None
        }
        filled = dict(models)
        for name, original in runs.items():
            if original in runs or not isinstance(models.get(original), dict):
                sizes = ", ".join(one for one in models if one not in runs) or "the models"
                raise ValueError(f"{name} is a replicate of {original!r}, which is not among {sizes}; add it")
            kept = {key: value for key, value in models[original].items() if key not in _OWN}
            filled[name] = kept | models[name]
        return declared | {"models": filled}

    @model_validator(mode="after")
    def _replicates_are_of_their_models(self) -> "WithReplicates":
        shapes: Mapping[str, Any] = self.models  # pyright: ignore[reportAttributeAccessIssue]
        for name, original in self.replicates.items():
            different = [
                key
                for key, value in shapes[name].model_dump().items()
                if key not in _OWN and value != getattr(shapes[original], key)
            ]
            if different:
                raise ValueError(f"{name} differs from {original} in {different[0]}; a replicate has the same shape")
        return self

    @property
    def replicates(self) -> dict[str, str]:
        """Model to the model of which it is another training run; models of their own are left out."""
        shapes: Mapping[str, Any] = self.models  # pyright: ignore[reportAttributeAccessIssue]
        return {name: shape.replicate_of for name, shape in shapes.items() if shape.replicate_of is not None}


_OWN = ("replicate_of", "seed", "repository")
"""What a replicate does not share with its original."""
