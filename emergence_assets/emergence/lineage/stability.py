"""Share of a dictionary that is found again: at the next checkpoint or layer, and by another SAE seed of the same cell.

The chance that a latent is found again is the chance that it lasts times the chance that an SAE finds it at all. The
second factor is measured: it is the share that another seed of the same cell finds, the ceiling. The share divided by
the ceiling of the target estimates the first factor.
"""

from collections.abc import Sequence

import polars as pl

from emergence_assets.checkpoints import keys
from emergence_assets.emergence.lineage.pairs import Pair, next_seeds, pairs_over_layers, pairs_over_steps
from emergence_assets.emergence.lineage.ratios import with_ratios
from emergence_assets.emergence.lineage.stability_table import LINEAGE_STABILITY

_SAE = ["step", "layer", "sae_seed"]
_TARGET = ["step_to", "layer_to", "seed_to"]
_COMPARISON = ["axis", "pairing", "population", "step_from", "step_to", "layer", "layer_to"]


def lineage_stability(
    edges: pl.DataFrame, latents: pl.DataFrame, model: str, n_params_nonemb: int, n_layers: int, seed: int = 0
) -> pl.DataFrame:
    """Return shares of latents that are found again, raw and relative to the seed ceiling; see `LINEAGE_STABILITY`.

    Rows of axis `seed` are the ceilings. Population `firing` is every latent with support; `categorical` is every
    latent with a category, counted as found if its match has the same category. Pairing `other_seed` is the
    measurement; with `same_seed` source and target share their random start. Intervals are 95 %, over latents, from
    Jeffreys' posterior (Brown, Cai and DasGupta 2001); they hold SAEs and texts fixed. Rows without a layer pool all
    layers.

    Args:
        edges: `feature_lineage` of one model.
        latents: `matched_latents` of the model: every latent that could be matched.
        model: name of the model.
        n_params_nonemb: non-embedding parameters of the model.
        n_layers: number of blocks of the model.
        seed: seed of the draws.
    """
    if latents.is_empty():
        return LINEAGE_STABILITY.schema.to_frame()
    counts = _counts(edges.filter(pl.col("accepted")), latents, n_layers)
    return _stability(counts, seed, model, model, n_params_nonemb)


def size_stability(
    pairs: Sequence[Pair],
    edges: pl.DataFrame,
    latents: pl.DataFrame,
    seed_edges: pl.DataFrame,
    latents_to: pl.DataFrame,
    models: tuple[str, str],
    n_params_nonemb: int,
    seed: int = 0,
) -> pl.DataFrame:
    """Return shares of a model's latents found in a larger model, relative to the seed ceiling of the larger model.

    Args:
        pairs: compared SAEs, axis size.
        edges: edges between the two models, at the compared step of each.
        latents: `matched_latents` of the smaller model at its step.
        seed_edges: `feature_lineage` of the larger model, axis seed, at its step.
        latents_to: `matched_latents` of the larger model at its step.
        models: names of the smaller and the larger model.
        n_params_nonemb: non-embedding parameters of the smaller model.
        seed: seed of the draws.

    Returns:
        Rows of axis size; see `lineage_stability`.
    """
    seeds = latents["sae_seed"].unique().sort().to_list()
    ceilings = [
        pair
        for step, layer in sorted({(pair.target.step, pair.target.layer) for pair in pairs})
        for pair in pairs_over_steps([step], layer, seeds)
    ]
    parts = [
        _counts_of(_comparisons(list(compared), seeds), known, found.filter("accepted"))
        for compared, found, known in ((pairs, edges, latents), (ceilings, seed_edges, latents_to))
    ]
    return _stability(pl.concat(parts), seed, *models, n_params_nonemb).filter(pl.col("axis") == "size")


def _stability(counts: pl.DataFrame, seed: int, model: str, model_to: str, n_params_nonemb: int) -> pl.DataFrame:
    pooled = (
        counts.filter(pl.col("axis") != "layer")
        .group_by(_COMPARISON[:-2], maintain_order=True)
        .agg(pl.col("n_latents", "n_matched").sum())
        .with_columns(pl.lit(None, pl.Int16).alias("layer"), pl.lit(None, pl.Int16).alias("layer_to"))
    )
    table = pl.concat([counts, pooled.select(counts.columns)]).filter(pl.col("n_latents") > 0).sort(_COMPARISON)
    return with_ratios(table, seed).select(
        pl.lit(model).alias("model"),
        pl.lit(model_to).alias("model_to"),
        pl.lit(n_params_nonemb, pl.Int64).alias("n_params_nonemb"),
        *(pl.col(name).cast(dtype) for name, dtype in list(LINEAGE_STABILITY.schema.items())[3:]),
    )


def _counts(accepted: pl.DataFrame, latents: pl.DataFrame, n_layers: int) -> pl.DataFrame:
    """Count latents and matched latents of every comparison, layer by layer to bound memory."""
    steps, seeds = (latents[name].unique().sort().to_list() for name in ("step", "sae_seed"))
    layers = latents["layer"].unique().sort().to_list()
    over_layers = pairs_over_layers(steps[-1], layers, n_layers, seeds)
    parts = []
    for layer in layers:
        pairs = pairs_over_steps(steps, layer, seeds) + [pair for pair in over_layers if pair.source.layer == layer]
        of_layer = accepted.filter(pl.col("src_layer") == layer)
        parts.append(_counts_of(_comparisons(pairs, seeds), latents.filter(pl.col("layer") == layer), of_layer))
    return pl.concat(parts)


def _comparisons(pairs: list[Pair], seeds: list[int]) -> pl.DataFrame:
    """Return pairs as rows; two seeds of a cell are counted from both sides."""
    partner = next_seeds(seeds)
    both = pairs + [Pair(axis, target, source) for axis, source, target in pairs if axis == "seed"]
    rows = [
        (axis, "same_seed" if source.sae_seed == target.sae_seed else "other_seed", *source, *target)
        for axis, source, target in both
        if target.sae_seed in (source.sae_seed, partner[source.sae_seed])
    ]
    types = [keys.STEP.dtype, keys.LAYER.dtype, keys.SAE_SEED.dtype]
    schema = {"axis": pl.String, "pairing": pl.String} | dict(zip([*_SAE, *_TARGET], types * 2, strict=True))
    return pl.DataFrame(rows, schema=schema, orient="row")


def _counts_of(comparisons: pl.DataFrame, latents: pl.DataFrame, accepted: pl.DataFrame) -> pl.DataFrame:
    names = [*_SAE, "latent", *_TARGET, "latent_to"]
    ends = ["step", "layer", "sae_seed", "latent"]
    forward = [f"src_{name}" for name in ends] + [f"dst_{name}" for name in ends]
    backward = [f"dst_{name}" for name in ends] + [f"src_{name}" for name in ends]
    found = pl.concat(
        [
            part.select(*(pl.col(old).alias(new) for old, new in zip(order, names, strict=True)), "same_category")
            for part, order in ((accepted, forward), (accepted.filter(pl.col("axis") == "seed"), backward))
        ]
    )
    candidates = comparisons.join(latents.select(*_SAE, "latent", "category"), on=_SAE)
    known = candidates.join(found.with_columns(hit=True), on=[*_SAE, "latent", *_TARGET], how="left")
    counted = known.group_by("axis", "pairing", "step", "step_to", "layer", "layer_to", maintain_order=True).agg(
        pl.len().alias("n_firing"),
        pl.col("hit").is_not_null().sum().alias("k_firing"),
        pl.col("category").is_not_null().sum().alias("n_categorical"),
        (pl.col("category").is_not_null() & pl.col("same_category").fill_null(False)).sum().alias("k_categorical"),
    )
    return pl.concat(
        [
            counted.select(
                "axis",
                "pairing",
                pl.lit(population).alias("population"),
                pl.col("step").alias("step_from"),
                "step_to",
                "layer",
                "layer_to",
                pl.col(f"n_{population}").cast(pl.Int64).alias("n_latents"),
                pl.col(f"k_{population}").cast(pl.Int64).alias("n_matched"),
            )
            for population in ("firing", "categorical")
        ]
    )
