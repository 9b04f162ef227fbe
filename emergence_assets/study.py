"""What is under study: one YAML file, checked by pydantic. Everything else of the pipeline is derived from it.

Paths belong to `resources.storage`, partitions to `partitions`; this module knows neither.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from emergence_assets.control_ids import Control
from emergence_assets.declared import Declared, Name, Positive, Seed, reject_repeats
from emergence_assets.errors import EmergenceError
from emergence_assets.family import Family, TrainedHere, admitted_steps
from emergence_assets.probe_design import ProbeDesign
from emergence_assets.reseeding import MOST, reseeded
from emergence_assets.sae_design import SAE
from emergence_assets.yaml_file import read_yaml

STUDIES_FOLDER = Path(__file__).parent / "studies"
EMBEDDING_LAYER = -1
"""Layer index of the embedding output; blocks count from 0."""
OPERATIONAL = ("lock", "cache_gb", "offline", "marker", "settle_seconds")
"""Fields of a family that decide how checkpoints come, not what is found in them."""


class Activations(Declared):
    """What is kept of the residual stream."""

    training_texts: Positive
    """Texts from the training split whose residual stream the SAEs are trained on."""
    positions: Literal["read_out", "all"] = "read_out"
    """Which tokens of a training text are kept: the read-out token alone, or all but the first."""
    training_tokens: Positive | None = None
    """Keep at most so many training rows: texts are taken in order as long as they fit. By default all of them."""
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    """Data type of the files."""
    compute_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Data type of the forward pass; float32 gives comparable activations on all devices."""
    retention: Literal["keep", "archive-after-sae", "drop-after-sae", "stream"] = "keep"
    """What becomes of training rows: they stay on disk, are compressed or let go once the SAEs of their cell are
    trained, or never reach the disk (SAEs train from memory). Read-outs, statistics and provenance always stay."""


class Statistics(Declared):
    """How latents are compared with categories."""

    rule_id: Literal["lift_fdr_v1", "purity_v1", "auroc_v1"] = "lift_fdr_v1"
    """Policy by which a latent counts as categorical; counts under all of them are always made."""
    n_bootstrap: int = Field(default=200, ge=20, le=10_000)
    """Joint bootstrap replicates over texts."""
    n_shuffles: int = Field(default=10, ge=1, le=1000)
    """Permutations behind the shuffled-label control."""
    seed: Seed = 0
    controls: list[Control] = Field(default=list(get_args(Control)), min_length=1)
    """What the last step is compared with (docs/method.md); leaving some out saves time."""

    @field_validator("controls")
    @classmethod
    def _controls_differ(cls, controls: list[Control]) -> list[Control]:
        reject_repeats(controls, "control")
        return controls


class Mechanism(Declared):
    """How the way from an early to a late layer is looked at; table `reactivation_mechanism`."""

    n_categories: Positive = 20
    """At most so many categories of the primary level, those whose presence drops most between early and late."""
    n_controls: Positive = 3
    """Early latents that are taken away as controls, of each category and SAE seed."""


class Compression(Declared):
    """Which compressed versions of the last checkpoints are compared with them; table `compression_retention`."""

    variants: list[Literal["int8", "int4", "prune50"]] = Field(default=["int8", "int4", "prune50"], min_length=1)
    """Rounded to 8 or 4 bits per weight, or the smaller half of the weights set to zero."""
    layer_skip: bool = True
    """Whether every block is bypassed once too."""

    @field_validator("variants")
    @classmethod
    def _variants_differ(cls, variants: list[str]) -> list[str]:
        reject_repeats(variants, "variant")
        return variants


class Study(Declared):
    """One study: a family of models, the grid of checkpoints and layers, and the instruments applied to every cell."""

    name: Name
    description: str = ""
    family: Family
    steps: Annotated[
        Annotated[Literal["all"], Tag("(word)")] | Annotated[list[Annotated[int, Field(ge=0)]], Tag("(list)")],
        Discriminator(lambda value: "(word)" if isinstance(value, str) else "(list)"),
    ]
    """Training steps, ascending; `all` takes what the source has, also what arrives later."""
    admit: list[str] = Field(default=[])
    """Checkpoints that are used although they fail a check, by name: `pythia-70m/step1000`."""
    automation: bool = False
    """Start with sensors and schedule switched on: new checkpoints are found and their cells made with no command."""
    layers: Literal["all"] | list[int] | dict[Name, list[int]] = "all"
    """Blocks whose output is read, from 0; -1 is the embedding. One list for all models, or one per model."""
    probe_set: ProbeDesign
    activations: Activations
    sae: SAE
    fixed_expansion: bool = True
    """Read sizes also with dictionaries that grow with d_model, at the first and the last step: the second SAE design
    that a verdict on the size axis has to agree with."""
    statistics: Statistics = Statistics()
    mechanism: Mechanism = Mechanism()
    compression: Compression | None = None
    """Off by default: it runs the texts once for every variant, its control and every layer."""

    @field_validator("steps")
    @classmethod
    def _steps_ascend(cls, steps: Literal["all"] | list[int]) -> Literal["all"] | list[int]:
        if steps == "all":
            return steps
        if not steps:
            raise ValueError("no step is listed; list them, or say all")
        reject_repeats(steps, "step")
        if steps != sorted(steps):
            raise ValueError(f"steps must ascend, but {steps} does not; sort them")
        if steps[0] != 0:
            raise ValueError(f"the first step is {steps[0]}; step 0 is the control of every curve, add it")
        return steps

    @model_validator(mode="after")
    def _layers_exist(self) -> "Study":
        if isinstance(self.layers, dict) and (strangers := set(self.layers) - set(self.family.models)):
            raise ValueError(f"layers names {sorted(strangers)}, but the models are {sorted(self.family.models)}")
        if isinstance(self.layers, dict) and (forgotten := set(self.family.models) - set(self.layers)):
            raise ValueError(f"layers does not name {sorted(forgotten)}; list the layers of every model, or say all")
        for model, shape in self.family.models.items():
            layers = self.layers_of(model)
            if not layers:
                raise ValueError(f"layers lists none for {model}; list at least one, or say all")
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
        return self

    @model_validator(mode="after")
    def _replicates_have_the_layers_of_their_models(self) -> "Study":
        for model, original in self.family.replicates.items():
            if self.layers_of(model) != self.layers_of(original):
                raise ValueError(f"layers of {model} are not those of {original}, of which it is another run")
        return self

    @model_validator(mode="after")
    def _steps_are_trained(self) -> "Study":
        if not isinstance(self.family, TrainedHere):
            return self
        if self.steps == "all":
            raise ValueError("steps has to list them: a family that is trained here has no others")
        if self.steps[-1] > self.family.n_steps:
            raise ValueError(
                f"step {self.steps[-1]} is beyond family.n_steps {self.family.n_steps}; raise n_steps or drop the step"
            )
        return self

    @model_validator(mode="after")
    def _warm_starts_have_an_order(self) -> "Study":
        if self.sae.warm_start is None:
            return self
        if self.automation:
            raise ValueError(
                "sae.warm_start needs the SAEs of one step before those of the next, and automation makes cells in any "
                "order; drop one of them"
            )
        strangers = set(self.sae.warm_start.control_steps) - set(self.listed_steps or [])
        if strangers and self.listed_steps:
            raise ValueError(f"sae.warm_start.control_steps names {sorted(strangers)}, which steps does not list")
        return self

    @model_validator(mode="after")
    def _admitted_checkpoints_exist(self) -> "Study":
        admitted_steps(self.admit, self.models)
        return self

    @property
    def listed_steps(self) -> list[int] | None:
        """Steps that the file lists; None when it takes what there is."""
        return None if self.steps == "all" else list(self.steps)

    def admitted(self, model: str) -> list[int]:
        """Steps of a model that are used although they fail a check."""
        return admitted_steps(self.admit, self.models)[model]

    def science(self) -> dict[str, Any]:
        """What decides results, as plain values: the study file without what only decides how it is run."""
        return self.model_dump(
            mode="json", exclude={"automation": True, "family": set(OPERATIONAL), "activations": {"retention"}}
        )

    @property
    def models(self) -> list[str]:
        """Model names, smallest first, as the file lists them."""
        return list(self.family.models)

    @property
    def sizes(self) -> list[str]:
        """Models of their own, smallest first: without further training runs of the same model."""
        return [model for model in self.models if model not in self.family.replicates]

    def layers_of(self, model: str) -> list[int]:
        """Layers of one model, ascending."""
        if self.layers == "all":
            return list(range(self.family.models[model].n_layers))
        listed = self.layers[model] if isinstance(self.layers, dict) else self.layers
        return sorted(listed)


def shipped_studies() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(path.stem for path in STUDIES_FOLDER.glob("*.yaml"))


def load_study(name_or_path: str | None = None, seed: int | None = None) -> Study:
    """Read a study by shipped name or by path; by default the one that EMERGENCE_STUDY names, else `default`.

    Args:
        name_or_path: the study.
        seed: moves all its seeds (`reseeding.py`); by default EMERGENCE_SEED.

    Raises:
        EmergenceError: no such study, not YAML, or a field that does not fit; names field, value and remedy.
    """
    chosen = name_or_path or os.environ.get("EMERGENCE_STUDY") or "default"
    path = Path(chosen)
    if path.suffix not in (".yaml", ".yml"):
        path = STUDIES_FOLDER / f"{chosen}.yaml"
    if not _is_file(path):
        raise EmergenceError(
            f"There is no study {chosen!r}.",
            where=path,
            remedy=f"choose one of {', '.join(shipped_studies())}, or give the path of a .yaml file",
        )
    study, seed = parse_study(read_yaml(path), where=str(path)), _seed() if seed is None else seed
    return parse_study(reseeded(study.model_dump(), seed), where=str(path)) if seed else study


def _seed() -> int:
    wanted = os.environ.get("EMERGENCE_SEED") or "0"
    if not wanted.isdecimal() or int(wanted) > MOST:
        raise EmergenceError(f"EMERGENCE_SEED is {wanted!r}.", remedy=f"set it to a number from 0 to {MOST}")
    return int(wanted)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file system takes
        return False


def parse_study(declared: Any, where: str = "study") -> Study:
    """Check a parsed study file.

    Raises:
        EmergenceError: one line per field that does not fit.
    """
    try:
        return Study.model_validate(declared)
    except ValidationError as error:
        problems = [_field_problem(dict(problem)) for problem in error.errors()]
        raise EmergenceError(
            "The study file has "
            + ("an error" if len(problems) == 1 else f"{len(problems)} errors")
            + ":\n"
            + "\n".join(f"  - {problem}" for problem in problems),
            where=where,
            remedy="correct the named fields; the fields are documented in emergence_assets/study.py",
        ) from None


def _field_problem(problem: dict[str, Any]) -> str:
    """One line: field, value, what is wrong, what would be right."""
    field = ".".join(str(part) for part in problem["loc"] if part not in ("(word)", "(list)")) or "the study"
    if problem["type"] == "extra_forbidden":
        return f"{field}: unknown key; check its spelling and indentation"
    if problem["type"] == "missing":
        return f"{field}: is required; add it"
    message = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    shown = f" (found {value!r})" if isinstance(value, str | int | float | bool | None) else ""
    return f"{field}: {message}{shown}"
