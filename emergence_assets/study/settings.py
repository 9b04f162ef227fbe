"""Settings of the stages in a study file."""

from typing import Literal, get_args

from pydantic import Field, field_validator

from emergence_assets.study.controls import Control
from emergence_assets.study.strict import Positive, Seed, StrictModel, reject_repeats


class Activations(StrictModel):
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


class Statistics(StrictModel):
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


class Mechanism(StrictModel):
    """How the way from an early to a late layer is looked at; table `reactivation_mechanism`."""

    n_categories: Positive = 20
    """At most so many categories of the primary level, those whose presence drops most between early and late."""
    n_controls: Positive = 3
    """Early latents that are taken away as controls, of each category and SAE seed."""


class Compression(StrictModel):
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
