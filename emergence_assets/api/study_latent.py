"""One latent of a study: what it is called, where it is active, what it writes, and which latents are like it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from emergence_assets.plan.cell import Cell
from resources.errors import EmergenceError

if TYPE_CHECKING:
    from emergence_assets.api.study_results import StudyResults

_ENDS = ("step", "layer", "sae_seed", "latent")


@dataclass(frozen=True, eq=False)
class StudyLatent:
    """A latent that a table of the study names."""

    model: str
    step: int
    layer: int
    seed: int
    latent: int
    name: str
    """Automatic, from words and tokens alone; no language model was asked."""
    best_of: list[str]
    """Categories whose best latent it is, as level/category."""
    accepted_for: list[str]
    """Categories for which the rule of the study accepts it, as level/category."""
    density: float
    """Share of the probe texts at whose read-out it is active."""
    words: pl.DataFrame
    """Words that set its texts apart: columns word and z, most distinctive first."""
    raised: pl.DataFrame
    """Tokens that its decoder direction raises most: columns token and logit; empty without a logit lens."""
    lowered: pl.DataFrame
    """Tokens that it lowers most, as `raised`."""
    examples: pl.DataFrame
    """Its strongest texts and weaker ones, with activations at tokens; see `latent_examples` in docs/tables.md."""
    neighbours: pl.DataFrame
    """Latents that are matched with it: columns axis (step, layer, seed or size), model, step, layer, seed, latent,
    score, accepted, same_category; empty where the lineage tables are not made."""


def study_latent(study: "StudyResults", cell: Cell, seed: int, latent: int) -> StudyLatent:
    """Read a latent; see `StudyResults.latent`."""
    where = {"model": str(cell.model), "step": int(cell.step or 0), "layer": int(cell.layer or 0)}
    key = {"control_id": "none", "sae_seed": seed, "latent": latent}
    named = study.table("named_latents", **where).filter(**key)
    if named.is_empty():
        raise EmergenceError(
            f"No table names latent {latent} of {cell}, seed {seed}: no texts of it were kept.",
            remedy='see study.table("named_latents") for those that are named; study.sae(...) has the others',
        )
    row: dict[str, Any] = named.row(0, named=True)
    examples = study.table("latent_examples", **where).filter(**key)
    return StudyLatent(
        **where,
        seed=seed,
        latent=latent,
        **{name: row[name] for name in ("name", "best_of", "accepted_for", "density")},
        words=pl.DataFrame({"word": row["words"], "z": row["words_z"]}, schema={"word": pl.String, "z": pl.Float32}),
        raised=_tokens(row["raised"], row["raised_by"]),
        lowered=_tokens(row["lowered"], row["lowered_by"]),
        examples=examples.drop(*where, *key),
        neighbours=_neighbours(study, where | {"sae_seed": seed, "latent": latent}),
    )


def _tokens(tokens: list[str], logits: list[float]) -> pl.DataFrame:
    return pl.DataFrame({"token": tokens, "logit": logits}, schema={"token": pl.String, "logit": pl.Float32})


def _neighbours(study: "StudyResults", own: dict[str, Any]) -> pl.DataFrame:
    """Return the pairs of the lineage tables of which one is the latent, from its side."""
    found = []
    for name in ("feature_lineage", "size_lineage"):
        try:
            pairs = study.scan(name)
        except EmergenceError:
            continue
        for here, there, models in (("src", "dst", ("model", "dst_model")), ("dst", "src", ("dst_model", "model"))):
            is_own = pl.all_horizontal(pl.col(f"{here}_{end}") == own[end] for end in _ENDS)
            found.append(
                pairs.filter(is_own & (pl.col(models[0]) == own["model"])).select(
                    "axis",
                    pl.col(models[1]).alias("model"),
                    *(pl.col(f"{there}_{end}").alias("seed" if end == "sae_seed" else end) for end in _ENDS),
                    *("score", "accepted", "same_category"),
                )
            )
    empty = pl.DataFrame(schema=_NEIGHBOUR)
    return pl.concat([empty.lazy(), *found]).collect().sort("accepted", "score", descending=True)


_NEIGHBOUR: dict[str, Any] = {
    "axis": pl.String,
    "model": pl.String,
    "step": pl.Int32,
    "layer": pl.Int16,
    "seed": pl.Int32,
    "latent": pl.Int32,
    "score": pl.Float32,
    "accepted": pl.Boolean,
    "same_category": pl.Boolean,
}
