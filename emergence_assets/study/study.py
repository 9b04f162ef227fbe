"""Schema of the study file, from which the whole pipeline is derived."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from emergence_assets.study.corpus import Corpus, WordNetCorpus
from emergence_assets.study.family import Family, steps_by_model
from emergence_assets.study.probe_set import ProbeDesign
from emergence_assets.study.sae import SAESettings
from emergence_assets.study.settings import Activations, Compression, FeatureUse, Mechanism, Statistics
from emergence_assets.study.strict import Items, ModelName, Name, Step, StrictModel, reject_repeats
from resources.files.storage import SHARED_FOLDERS

EMBEDDING_LAYER = -1
"""Layer index of the embedding output; blocks count from 0."""
MAX_CELLS = 1_000_000
"""Most cells: one per step and layer of every model. The plan keeps all of them in memory."""
OPERATIONAL = ("lock", "cache_gb", "offline", "marker", "settle_seconds")
"""Fields of a family that affect how checkpoints are fetched, but no result."""


class Study(StrictModel):
    """A study: a family of models, the grid of checkpoints and layers, and the measurements of every cell."""

    name: Name
    description: str = ""
    family: Family
    steps: Annotated[
        Annotated[Literal["all"], Tag("(word)")] | Annotated[Items[Step], Tag("(list)")],
        Discriminator(lambda value: "(word)" if isinstance(value, str) else "(list)"),
    ]
    """Training steps, ascending; `all` are the steps of the source, including later ones."""
    admit: Items[str] = Field(default=[])
    """Checkpoints that are used although they fail an identity rule, by name: `pythia-70m/step1000`."""
    automation: bool = False
    """Start with sensors and schedule on: new checkpoints are found and their cells made automatically."""
    automation_seconds: int = Field(default=30, ge=1, le=3600)
    """Seconds between two ticks of the sensors for new checkpoints and for due cells."""
    layers: Literal["all"] | Items[int] | dict[ModelName, Items[int]] = "all"
    """Blocks whose output is read, from 0; -1 is the embedding. One list for all models, or one per model."""
    probe_set: ProbeDesign
    corpus: Corpus = WordNetCorpus(source="wordnet")
    """Texts on which SAEs are trained."""
    activations: Activations
    sae: SAESettings
    fixed_expansion: bool = True
    """Also measure sizes with dictionaries that grow with d_model, at the first and the last step: the second SAE
    design that a result about model size requires."""
    statistics: Statistics = Statistics()
    mechanism: Mechanism = Mechanism()
    feature_use: FeatureUse = FeatureUse()
    compression: Compression | None = None
    """Off by default: it runs the texts once per variant, control and layer."""

    @field_validator("steps")
    @classmethod
    def _steps_ascend(cls, steps: Literal["all"] | list[int]) -> Literal["all"] | list[int]:
        if steps == "all":
            return steps
        if not steps:
            raise ValueError("no step is listed; list them, or write all")
        reject_repeats(steps, "step")
        for before, step in pairwise(steps):
            if step < before:
                raise ValueError(f"steps must ascend, but {step} follows {before}; sort them")
        if steps[0] != 0:
            raise ValueError(f"the first step is {steps[0]}; step 0 is the control of every curve, add it")
        return steps

    @field_validator("name")
    @classmethod
    def _has_a_folder_of_its_own(cls, name: str) -> str:
        if name in SHARED_FOLDERS:
            raise ValueError(f"{name} is a folder that all studies share; choose another name")
        return name

    @model_validator(mode="after")
    def _layers_fit_the_models(self) -> "Study":
        if isinstance(self.layers, dict) and (unknown := set(self.layers) - set(self.family.models)):
            raise ValueError(f"layers names {sorted(unknown)}, but the models are {sorted(self.family.models)}")
        if isinstance(self.layers, dict) and (missing := set(self.family.models) - set(self.layers)):
            raise ValueError(f"layers does not name {sorted(missing)}; list the layers of every model, or write all")
        for model, shape in self.family.models.items():
            layers = self.layers_of(model)
            if not layers:
                raise ValueError(f"layers lists none for {model}; list at least one, or write all")
            reject_repeats(layers, "layer")
            for layer in layers:
                if not EMBEDDING_LAYER <= layer < shape.n_layers:
                    raise ValueError(
                        f"layer {layer} does not exist in {model}, which has {shape.n_layers} layers "
                        f"(0 to {shape.n_layers - 1}, and -1 for the embedding); remove it, or list layers per model"
                    )
            if EMBEDDING_LAYER in layers and self.activations.positions == "read_out":
                raise ValueError(
                    "layer -1 (the embedding) is the same vector for every text at a fixed read-out token; "
                    "remove it or set activations.positions to all"
                )
        for model, original in self.family.replicates.items():
            if self.layers_of(model) != self.layers_of(original):
                raise ValueError(f"layers of {model} are not those of {original}, of which it is another run")
        return self

    @model_validator(mode="after")
    def _corpus_has_a_size(self) -> "Study":
        kept = self.activations
        if isinstance(self.corpus, WordNetCorpus):
            if kept.training_texts is None:
                raise ValueError("activations.training_texts is missing; give the number of glosses to train on")
            return self
        if kept.training_texts is not None:
            raise ValueError("activations.training_texts counts glosses; remove it, and set training_tokens")
        if kept.training_tokens is None:
            raise ValueError("activations.training_tokens is missing; give the number of tokens to train on")
        if kept.positions != "all":
            raise ValueError("a corpus of documents has no read-out token; set activations.positions to all")
        return self

    @model_validator(mode="after")
    def _cells_are_not_too_many(self) -> "Study":
        n_layers = sum(len(self.layers_of(model)) for model in self.models)
        n_cells = n_layers * len(self.listed_steps or [0])
        if n_cells > MAX_CELLS:
            what = f"{len(self.models)} models with {n_layers} layers, at {len(self.listed_steps or [0])} steps"
            raise ValueError(f"{what}, are {n_cells} cells, more than {MAX_CELLS}; list fewer of them")
        return self

    @model_validator(mode="after")
    def _warm_starts_have_an_order(self) -> "Study":
        if self.sae.warm_start is None:
            return self
        if self.automation:
            raise ValueError(
                "sae.warm_start needs the SAEs of one step before those of the next, and automation makes cells in any "
                "order; remove one of them"
            )
        unknown = set(self.sae.warm_start.control_steps) - set(self.listed_steps or [])
        if unknown and self.listed_steps:
            raise ValueError(f"sae.warm_start.control_steps names {sorted(unknown)}, which steps does not list")
        return self

    @model_validator(mode="after")
    def _named_checkpoints_exist(self) -> "Study":
        self.family.check_steps(self.steps)
        steps_by_model(self.admit, self.models)
        return self

    @property
    def listed_steps(self) -> list[int] | None:
        """Steps that the file lists; None if it lists `all`."""
        return None if self.steps == "all" else list(self.steps)

    def allow_failed(self, model: str) -> list[int]:
        """Steps of a model that are used although they fail an identity rule."""
        return steps_by_model(self.admit, self.models)[model]

    def science(self) -> dict[str, Any]:
        """The fields that affect results, as plain values."""
        return self.model_dump(
            mode="json",
            exclude={
                "automation": True,
                "automation_seconds": True,
                "family": set(OPERATIONAL),
                "activations": {"retention"},
            },
        )

    @property
    def models(self) -> list[str]:
        """Model names, smallest first, as the file lists them."""
        return list(self.family.models)

    @property
    def sizes(self) -> list[str]:
        """Models, smallest first, without further training runs of the same model."""
        return [model for model in self.models if model not in self.family.replicates]

    def layers_of(self, model: str) -> list[int]:
        """Layers of one model, ascending."""
        if self.layers == "all":
            return list(range(self.family.models[model].n_layers))
        listed = self.layers[model] if isinstance(self.layers, dict) else self.layers
        return sorted(listed)
