"""Settings of the stages in a study file."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from emergence_assets.study.controls import Control
from emergence_assets.study.strict import Positive, Seed, StrictModel, distinct


class Activations(StrictModel):
    """Rows of the residual stream that are stored."""

    training_texts: Positive | None = None
    """Number of glosses on whose residual stream SAEs are trained; for the corpus `wordnet` alone, which needs it."""
    positions: Literal["read_out", "all"] = "read_out"
    """Stored tokens of a training text: the read-out token alone, or all but the first."""
    training_tokens: Positive | None = None
    """Maximum number of training rows: texts are taken in order as long as they fit. By default all rows. Of a corpus
    of files exactly as many rows as whole contexts hold."""
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    """Data type of the files."""
    compute_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Data type of the forward pass; float32 gives comparable activations on all devices."""
    retention: Literal["keep", "drop-after-sae", "stream"] = "keep"
    """Storage of training rows: they stay on disk, are evicted once the SAEs of their cell are trained, or never reach
    the disk (SAEs train from memory). Read-outs, statistics and provenance always stay."""


class Statistics(StrictModel):
    """Comparison of latents with categories."""

    rule_id: Literal["lift_fdr_v1", "purity_v1", "auroc_v1"] = "lift_fdr_v1"
    """Rule by which a latent counts as categorical; counts under all rules are always computed."""
    n_bootstrap: int = Field(default=200, ge=20, le=10_000)
    """Joint bootstrap replicates over texts."""
    n_shuffles: int = Field(default=10, ge=1, le=1000)
    """Permutations of the shuffled-label control."""
    n_random_encoders: int = Field(default=4, ge=1, le=100)
    """Dictionaries of random directions that every cell is compared with (net presence). They need no training."""
    seed: Seed = 0
    controls: Annotated[list[Control], distinct("control")] = Field(default=list(get_args(Control)), min_length=1)
    """Controls of the last step (docs/method.md); fewer controls save time."""


class Mechanism(StrictModel):
    """Analysis between an early and a late layer; table `reactivation_mechanism`."""

    n_categories: Positive = 20
    """Maximum number of categories of the primary level, by the largest drop of presence between the layers."""
    n_controls: Positive = 3
    """Early latents removed as controls, per category and SAE seed."""


class FeatureUse(StrictModel):
    """Removal of the best latents of categories that rise; table `feature_use`."""

    n_texts: Positive = 32
    """Maximum number of texts of the category, split score."""
    n_other_texts: Positive = 32
    """Maximum number of texts of other categories, split score."""
    n_controls: Positive = 2
    """Other latents removed as controls, per category and SAE seed."""


class Compression(StrictModel):
    """Compressed versions of the last checkpoints; table `compression_retention`."""

    variants: Annotated[list[Literal["int8", "int4", "prune50"]], distinct("variant")] = Field(
        default=["int8", "int4", "prune50"], min_length=1
    )
    """Weights rounded to 8 or 4 bits, or the smaller half of them set to zero."""
    layer_skip: bool = True
    """Also measure the model with each block bypassed in turn."""
