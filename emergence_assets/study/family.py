"""Families of models in a study file: trained here, published on a hub, or in a folder that another program writes."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from emergence_assets.study.models import HubShape, ModelShape, PublishedShape, WithReplicates
from emergence_assets.study.presets import preset
from emergence_assets.study.strict import Name, Positive, Seed, reject_repeats
from resources.errors import EmergenceError


class TrainedHere(WithReplicates):
    """A family that the project trains itself on the WordNet glosses it ships."""

    source: Literal["trained-here"]
    models: dict[Name, ModelShape] = Field(min_length=1)
    """Model name to shape, smallest first."""
    n_steps: Positive
    """Length of the learning-rate schedule in optimiser steps."""
    batch_size: Positive = 8
    """Sequences per step."""
    context: int = Field(default=64, ge=8, le=2048)
    """Tokens per sequence; texts that are read out may be as long."""
    seed: Seed = 0
    """Seed of the initial weights."""
    data_seed: Seed = 1234
    """Seed of the order of the training tokens, the same for every size."""

    @model_validator(mode="after")
    def _runs_differ(self) -> "TrainedHere":
        for original in dict.fromkeys(self.replicates.values()):
            runs = [original, *(name for name, of in self.replicates.items() if of == original)]
            seeds = [self.seeds_of(run)["seed"] for run in runs]
            for run, seed in zip(runs, seeds, strict=True):
                if seeds.count(seed) > 1:
                    raise ValueError(f"{run} has seed {seed}, as another run of {original}; give each its own")
        return self

    def seeds_of(self, model: str) -> dict[str, int]:
        """`seed` of the initial weights and `data_seed` of the order of the training tokens of a model.

        A replicate is another run in both, as PolyPythias' are: only then is their spread that of doing it again.
        """
        seed = self.models[model].seed
        if seed is None:
            return {"seed": self.seed, "data_seed": self.data_seed}
        return {"seed": seed, "data_seed": self.data_seed + 1 + seed}

    def tokens_per_step_of(self, _model: str) -> int:
        """Training tokens that one optimiser step sees, the same for all sizes."""
        return self.batch_size * self.context


class Published(WithReplicates):
    """What families from outside have in common."""

    models: Mapping[Name, PublishedShape] = Field(min_length=1)
    """Model name to shape, smallest first."""
    tokens_per_step: Positive
    """Training tokens that one step of the axis stands for; 2,097,152 for Pythia."""
    context: int = Field(default=64, ge=8, le=2048)
    """Longest text in tokens that is read out."""
    begin_token: str | None = None
    """Token in front of every text; by default the one that the tokenizer itself says."""
    blocks: str | None = Field(default=None, pattern=r"^\w+(\.\w+)*$")
    """Module path of the list of blocks, such as `gpt_neox.layers`; by default it is found."""
    trust_remote_code: list[Name] = Field(default=[])
    """Models whose own Python code may be run. It can do anything that you can: read it first."""

    def tokens_per_step_of(self, model: str) -> int:
        """Training tokens of one step of a model."""
        return self.models[model].tokens_per_step or self.tokens_per_step

    @model_validator(mode="after")
    def _trusted_models_exist(self) -> "Published":
        if strangers := set(self.trust_remote_code) - set(self.models):
            raise ValueError(f"trust_remote_code names {sorted(strangers)}, but the models are {sorted(self.models)}")
        return self


class Hub(Published):
    """A published family whose checkpoints are revisions of hub repositories."""

    source: Literal["hub"]
    # A narrower type than the base has, which is safe because nothing is ever assigned.
    models: Mapping[Name, HubShape] = Field(min_length=1)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Model name to shape, smallest first; with a preset a list of names is enough."""
    preset: str | None = None
    """A family that is known by name, such as `pythia`; fills repository, revision, tokens and shapes."""
    repository: str = Field(pattern=r"^[\w.{}-]+/[\w.{}-]+$")
    """Repository of one model, for example `EleutherAI/{model}`."""
    revision: str = "step{step}"
    """Name of the revision of one step; `{any}` stands for anything, as in `stage1-step{step}-tokens{any}B`."""
    step_offset: int = Field(default=0, ge=0)
    """Added to the number in the name: where the first name, `ckpt_000`, is a model that was trained already."""
    lock: str | None = None
    """File that pins every revision to a commit, to be kept under version control; by default in the data folder."""
    cache_gb: float = Field(default=50.0, gt=0)
    """Weights are kept up to this size, the least recently used go first."""
    offline: bool = False
    """Use the lock and the cache alone."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, declared: Any) -> Any:
        """Let a preset stand for what it knows; what the file says itself goes first."""
        if not isinstance(declared, dict) or not isinstance(declared.get("preset"), str):
            return declared
        try:
            known = preset(declared["preset"])
        except EmergenceError as error:
            raise ValueError(f"{error.what} {error.remedy}") from None
        models = declared.get("models", list(known.models))
        if isinstance(models, list):
            if strangers := [name for name in models if name not in known.models]:
                has = ", ".join(sorted(known.models))
                raise ValueError(f"preset {declared['preset']} has no model {strangers[0]!r}; it has {has}")
            models = {name: known.models[name].model_dump() for name in models}
        filled = {
            "repository": known.repository,
            "revision": known.revision,
            "tokens_per_step": known.tokens_per_step,
            "step_offset": known.step_offset,
        }
        return filled | declared | {"models": models}

    @field_validator("revision")
    @classmethod
    def _revision_names_the_step(cls, revision: str) -> str:
        return _one_step(revision)

    def repository_of(self, model: str) -> str:
        """Repository of a model."""
        return self.models[model].repository or self.repository.replace("{model}", model)


class Local(Published):
    """A family in a folder, which another program may still be writing."""

    source: Literal["local"]
    root: str
    """Folder of the family; a relative path is relative to the working directory."""
    folder: str = "{model}/step{step}"
    """Where below it a checkpoint lies."""
    marker: str | None = Field(default=None, pattern=r"^[\w.-]+$")
    """File that says that a checkpoint is finished, such as `DONE`; by default none is asked for."""
    settle_seconds: float = Field(default=10.0, ge=0)
    """A checkpoint counts when none of its files changed for so long."""

    @field_validator("folder")
    @classmethod
    def _folder_names_the_step(cls, folder: str) -> str:
        if folder.startswith("/") or ".." in folder.split("/"):
            raise ValueError(f"folder {folder!r} leaves the root; give a path below it")
        return _one_step(folder)


Family = Annotated[TrainedHere | Hub | Local, Field(discriminator="source")]


def _one_step(pattern: str) -> str:
    if pattern.count("{step}") != 1:
        raise ValueError(f"{pattern!r} has to name {{step}} exactly once")
    return pattern


_ADMITTED = re.compile(r"(?P<model>[^/]+)/step(?P<step>\d+)")


def admitted_steps(names: list[str], models: list[str]) -> dict[str, list[int]]:
    """Model to steps from names such as `pythia-70m/step1000`.

    Raises:
        ValueError: a name is none, is repeated, or its model is not in the family.
    """
    reject_repeats(names, "admitted checkpoint")
    found: dict[str, list[int]] = {model: [] for model in models}
    for name in names:
        parts = _ADMITTED.fullmatch(name)
        if parts is None or parts["model"] not in found:
            raise ValueError(f"{name!r} is no checkpoint of this family; write it as {models[0]}/step1000")
        found[parts["model"]].append(int(parts["step"]))
    return found
