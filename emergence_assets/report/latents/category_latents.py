"""Best latents of the categories that have emerged, with their texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from emergence_assets.emergence.claims.grading import SUPPORTED
from emergence_assets.features.examples_table import LATENT_EXAMPLES, NAMED_LATENTS
from resources.files.storage import Storage
from resources.tables.parquet import read_table


@dataclass(frozen=True, eq=False)
class CategoryLatent:
    """The best latent of a category in the cell of a claim that the category emerges."""

    claim: Mapping[str, Any]
    """Row of `claims`."""
    latent: Mapping[str, Any] | None
    """Row of `named_latents`; None if none is named there."""
    examples: pl.DataFrame
    """Rows of `latent_examples`."""


def supported_categories(claims: pl.DataFrame, models: Sequence[str]) -> list[dict[str, Any]]:
    """Return the claims of grade A or B that a single category emerges: one per category, of its largest model.

    Args:
        claims: see `CLAIMS`.
        models: names of the models, smallest first.

    Returns:
        Rows of `claims`, best grade first, then by estimate, largest first.
    """
    rows = claims.filter(pl.col("category").is_not_null(), pl.col("grade").is_in(SUPPORTED), kind="emergence")
    size = pl.col("model").replace_strict({model: place for place, model in enumerate(models)}, return_dtype=pl.Int64)
    largest = rows.filter(size == size.max().over("category_level", "category"))
    return largest.sort(["grade", "estimate", "claim_id"], descending=[False, True, False]).to_dicts()


def category_latents(claims: Sequence[Mapping[str, Any]], storage: Storage, seed: int) -> list[CategoryLatent]:
    """Read the best latent of the category of every claim.

    Args:
        claims: rows of `claims` about a category in a layer.
        storage: paths of the study.
        seed: SAE seed whose latents are read.

    Raises:
        EmergenceError: a file is missing, or its checksum differs.
    """
    found = []
    for claim in claims:
        place = (claim["model"], claim["step"], claim["layer"])
        named = read_table(storage.cell_table(NAMED_LATENTS.name, *place), NAMED_LATENTS)
        category = f"{claim['category_level']}/{claim['category']}"
        own = named.filter(pl.col("best_of").list.contains(category), control_id="none", sae_seed=seed)
        latent = None if own.is_empty() else own.row(0, named=True)
        examples = read_table(storage.cell_table(LATENT_EXAMPLES.name, *place), LATENT_EXAMPLES)
        wanted = {} if latent is None else {name: latent[name] for name in ("control_id", "sae_seed", "latent")}
        found.append(CategoryLatent(claim, latent, examples.filter(**wanted) if latent else examples.clear()))
    return found
