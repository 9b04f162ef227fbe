"""Families of models in a study file: trained here, published on a hub, or in a folder that another program writes."""

import os
import re
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from emergence_assets.study.models import HubShape, ModelShape, PublishedShape
from emergence_assets.study.presets import preset
from emergence_assets.study.strict import (
    Items,
    ModelName,
    Positive,
    Seed,
    Step,
    StrictModel,
    TokensPerStep,
    reject_repeats,
)
from resources.errors import EmergenceError

Shape = TypeVar("Shape", bound=ModelShape | PublishedShape)
Outside = TypeVar("Outside", bound=PublishedShape)
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Environment variables that forbid the use of a hub."""
MAX_MODELS = 1000
_TRUE = ("1", "ON", "YES", "TRUE")
"""Values that set these variables, as huggingface_hub reads them."""
_OWN = ("replicate_of", "seed", "repository")
"""Fields in which a replicate differs from its original."""


class ModelFamily(StrictModel, Generic[Shape]):
    """Fields and methods that families of all sources have in common.

    Some models may be further training runs of others, as in PolyPythias (arXiv 2503.09543).
    """

    trained_here: ClassVar[bool] = False
    """Whether the study trains the models itself, with the corpus and the tokenizer of this project."""
    models: dict[ModelName, Shape] = Field(min_length=1, max_length=MAX_MODELS)
    """Model name to shape, smallest first; with a preset a list of names is enough."""
    context: int = Field(default=64, ge=8, le=2048)
    """Length limit of a text in tokens; also the length of a training sequence if models are trained here."""

    @model_validator(mode="before")
    @classmethod
    def _fill_replicates(cls, declared: Any) -> Any:
        """Copy unset fields of a replicate from its original; `seed` and `repository` are never copied."""
        models = declared.get("models") if isinstance(declared, dict) else None
        if not isinstance(models, dict) or len(models) > MAX_MODELS:
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
    def _replicates_have_the_shape_of_their_originals(self) -> "ModelFamily":
        for name, original in self.replicates.items():
            different = [
                key
                for key, value in self.models[name].model_dump().items()
                if key not in _OWN and value != getattr(self.models[original], key)
            ]
            if different:
                raise ValueError(f"{name} differs from {original} in {different[0]}; a replicate has the same shape")
        return self

    @model_validator(mode="after")
    def _names_differ_in_dagster(self) -> "ModelFamily[Shape]":
        """Refuse names that are one name for Dagster's jobs and sensors, or one folder where case does not count."""
        by_name: dict[str, str] = {}
        for model in self.models:
            other = by_name.setdefault(re.sub(r"\W", "_", model).lower(), model)
            if other != model:
                raise ValueError(f"{model} and {other} differ in dots, dashes and capitals alone; rename one")
        return self

    @property
    def replicates(self) -> dict[str, str]:
        """Maps each replicate to the model of which it is another training run; other models are left out."""
        return {name: shape.replicate_of for name, shape in self.models.items() if shape.replicate_of is not None}

    @property
    def is_offline(self) -> bool:
        """Whether requests to hubs are forbidden."""
        return any(os.environ.get(name, "").upper() in _TRUE for name in OFFLINE_VARIABLES)

    @property
    def cache_bytes(self) -> float:
        """Limit on the bytes of fetched checkpoints; infinite for families without a hub."""
        return float("inf")

    def training_of(self, _model: str) -> dict[str, Any]:
        """Settings of the training of a model; empty where it is not trained here."""
        return {}

    def check_steps(self, _steps: Literal["all"] | list[int]) -> None:
        """Refuse steps of a study that the family cannot have.

        Raises:
            ValueError: the family lacks a step; names the step.
        """


class TrainedHere(ModelFamily[ModelShape]):
    """A family that the study trains itself on the WordNet glosses of this project."""

    trained_here: ClassVar[bool] = True
    untrained: ClassVar[Literal[False]] = False
    untrained_seed: ClassVar[int] = 0
    begin_token: ClassVar[None] = None
    blocks: ClassVar[None] = None
    source: Literal["trained-here"]
    n_steps: Positive
    """Length of the learning-rate schedule in optimiser steps."""
    batch_size: int = Field(default=8, gt=0, le=1_000_000)
    """Sequences per step."""
    seed: Seed = 0
    """Seed of the initial weights."""
    data_seed: Seed = 1234
    """Seed of the order of the training tokens, the same for every size."""

    @model_validator(mode="after")
    def _runs_differ(self) -> "TrainedHere":
        for original in dict.fromkeys(self.replicates.values()):
            runs = [original, *(name for name, of in self.replicates.items() if of == original)]
            taken: set[int] = set()
            for run in runs:
                seed = self.training_of(run)["seed"]
                if seed in taken:
                    raise ValueError(f"{run} has seed {seed}, as another run of {original}; give each its own")
                taken.add(seed)
        return self

    def check_steps(self, steps: Literal["all"] | list[int]) -> None:
        """Refuse steps beyond the end of training; see `ModelFamily.check_steps`."""
        if steps == "all":
            raise ValueError("steps has to list them: a family that is trained here has no others")
        if steps[-1] > self.n_steps:
            raise ValueError(
                f"step {steps[-1]} is beyond family.n_steps {self.n_steps}; raise n_steps or remove the step"
            )

    def training_of(self, model: str) -> dict[str, Any]:
        """Settings of the training of a model.

        A replicate has another `seed` of the initial weights and another `data_seed` of the order of the training
        tokens, as in PolyPythias: only then is the spread between them that of repeating the training.
        """
        shape = self.models[model]
        seeds = {"seed": self.seed, "data_seed": self.data_seed}
        if shape.seed is not None:
            seeds = {"seed": shape.seed, "data_seed": self.data_seed + 1 + shape.seed}
        return {
            **shape.model_dump(exclude={"replicate_of", "seed"}),
            **self.model_dump(include={"n_steps", "batch_size", "context"}),
            **seeds,
        }

    def tokens_per_step_of(self, _model: str) -> int:
        """Training tokens of one optimiser step, the same for all models."""
        return self.batch_size * self.context


class Published(ModelFamily[Outside]):
    """Fields of families that are trained elsewhere."""

    tokens_per_step: TokensPerStep
    """Training tokens of one step; 2,097,152 for Pythia."""
    begin_token: str | None = None
    """Token in front of every text; by default the tokenizer's own."""
    blocks: str | None = Field(default=None, pattern=r"^\w+(\.\w+)*$")
    """Module path of the list of blocks, such as `gpt_neox.layers`; by default it is found."""
    context: int = Field(default=512, ge=8, le=2048)
    """Length limit of a text in tokens. Longer texts are left out and reported; shorter ones cost nothing more."""
    untrained: bool = False
    """Make a step 0 for models whose source has none: the config with the random weights of the library. Every claim
    about such a model has the control `step0_made_here`, and none has grade A."""
    untrained_seed: Seed = 0
    """Seed of these weights."""
    trust_remote_code: Items[ModelName] = Field(default=[])
    """Models whose own Python code may be run. The code has all rights of the user: read it first."""

    def tokens_per_step_of(self, model: str) -> int:
        """Training tokens of one step of a model."""
        return self.models[model].tokens_per_step or self.tokens_per_step

    @model_validator(mode="after")
    def _trusted_models_exist(self) -> "Published":
        if unknown := set(self.trust_remote_code) - set(self.models):
            raise ValueError(f"trust_remote_code names {sorted(unknown)}, but the models are {sorted(self.models)}")
        return self


class Hub(Published[HubShape]):
    """A published family whose checkpoints are revisions of hub repositories."""

    source: Literal["hub"]
    preset: str | None = None
    """Name of a known family, such as `pythia`: default of repository, revision, tokens per step and shapes."""
    repository: str = Field(pattern=r"^[\w.{}-]+/[\w.{}-]+$")
    """Repository of one model, for example `EleutherAI/{model}`."""
    revision: str = "step{step}"
    """Name of the revision of one step; `{any}` stands for anything, as in `stage1-step{step}-tokens{any}B`."""
    step_offset: Step = 0
    """Added to the number in the name, if the first revision, such as `ckpt_000`, is not the untrained model."""
    lock: str | None = None
    """File that pins every revision to a commit, to be kept under version control; by default in the data folder."""
    cache_gb: float = Field(default=50.0, gt=0, le=1e9)
    """Fetched weights are kept up to this size in 10^9 bytes; the least recently used are removed first."""
    offline: bool = False
    """Use only the lock file and the cache."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, declared: Any) -> Any:
        """Fill fields that the study file leaves out from the preset."""
        if not isinstance(declared, dict) or not isinstance(declared.get("preset"), str):
            return declared
        try:
            known = preset(declared["preset"])
        except EmergenceError as error:
            raise ValueError(f"{error.what} {error.remedy}") from None
        models = declared.get("models", list(known.models))
        if isinstance(models, list):
            if unknown := [name for name in models if name not in known.models]:
                has = ", ".join(sorted(known.models))
                raise ValueError(f"preset {declared['preset']} has no model {unknown[0]!r}; it has {has}")
            models = {name: known.models[name].model_dump() for name in models}
        return known.model_dump(exclude={"models"}) | declared | {"models": models}

    @field_validator("revision")
    @classmethod
    def _revision_names_the_step(cls, revision: str) -> str:
        return _one_step(revision)

    @property
    def is_offline(self) -> bool:
        """Whether requests to hubs are forbidden, by the study file or the environment."""
        return self.offline or super().is_offline

    @property
    def cache_bytes(self) -> float:
        """Limit on the bytes of fetched checkpoints."""
        return self.cache_gb * 1e9

    def repository_of(self, model: str) -> str:
        """Repository of a model."""
        return self.models[model].repository or self.repository.replace("{model}", model)


class Local(Published[PublishedShape]):
    """A family in a folder, which another program may still be writing."""

    source: Literal["local"]
    root: str
    """Folder of the family; a relative path is relative to the working directory."""
    folder: str = "{model}/step{step}"
    """Folder of a checkpoint, relative to the root."""
    marker: str | None = Field(default=None, pattern=r"^[\w.-]+$")
    """Name of a file that every finished checkpoint has, such as `DONE`; by default none is required."""
    settle_seconds: float = Field(default=10.0, ge=0, le=1e6)
    """A checkpoint is complete when none of its files changed for this many seconds."""

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


_CHECKPOINT_NAME = re.compile(r"(?P<model>[^/]+)/step(?P<step>[0-9]{1,10})")


def steps_by_model(names: list[str], models: list[str]) -> dict[str, list[int]]:
    """Parse names of checkpoints, such as `pythia-70m/step1000`, to the steps of every model.

    Raises:
        ValueError: a name has another form, is repeated, or has a model that is not in the family.
    """
    reject_repeats(names, "admitted checkpoint")
    steps: dict[str, list[int]] = {model: [] for model in models}
    for name in names:
        parts = _CHECKPOINT_NAME.fullmatch(name)
        if parts is None or parts["model"] not in steps:
            raise ValueError(f"{name!r:.100} is no checkpoint of this family; write it as {models[0]}/step1000")
        steps[parts["model"]].append(int(parts["step"]))
    return steps
