"""How much of a dictionary is found again: at the next checkpoint or layer, and by another SAE seed on the same one.

A latent is found again with the chance that it lasts times the chance that an SAE finds it at all. The second is
measured: it is what another seed finds of the same cell, the ceiling. Over the ceiling of the target stands how much
lasts.
"""

from collections.abc import Sequence

import polars as pl

from emergence_assets.emergence.lineage.pairs import Pair, next_seeds, pairs_over_layers, pairs_over_steps
from emergence_assets.emergence.lineage.ratios import with_ratios
from emergence_assets.emergence.lineage.stability_table import LINEAGE_STABILITY

_SAE = ["step", "layer", "sae_seed"]
_TARGET = ["step_to", "layer_to", "seed_to"]
_COMPARISON = ["axis", "pairing", "population", "step_from", "step_to", "layer", "layer_to"]


def lineage_stability(
    edges: pl.DataFrame, latents: pl.DataFrame, model: str, n_params_nonemb: int, n_layers: int, seed: int = 0
) -> pl.DataFrame:
    """Shares of latents that are found again, raw, by another seed, and their ratio; see `LINEAGE_STABILITY`.

    Args:
        edges: `feature_lineage` of one model.
        latents: `matched_latents` of the model: who could have been matched.
        model: its name.
        n_params_nonemb: its size.
        n_layers: its depth.
        seed: of the draws.

    Rows of axis `seed` are the ceilings. Population `firing` is every latent with support, `categorical` those that
    stand for a category, which their match has to stand for too. Pairing `other_seed` is the measurement, `same_seed`
    shares its random start with the target. Intervals are 95 %, over latents, from Jeffreys' posterior (Brown, Cai
    and DasGupta 2001); they hold SAEs and texts fixed. Rows without a layer are over all layers.
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
    """Shares of the latents of a model that a larger one has too, over what two SAEs of the larger one share.

    Args:
        pairs: what was compared, axis size.
        edges: between the two models, at the step of each that is compared.
        latents: `matched_latents` of the smaller model at that step.
        seed_edges: `feature_lineage` of the larger model, axis seed, at its step.
        latents_to: `matched_latents` of the larger model at that step.
        models: names of both, the smaller one first.
        n_params_nonemb: size of the smaller one.
        seed: of the draws.

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
    """Latents and matched ones of every comparison; layer by layer, because all latents × comparisons are many."""
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
    """Pairs as rows; two seeds of a cell count from both sides."""
    partner = next_seeds(seeds)
    both = pairs + [Pair(axis, target, source) for axis, source, target in pairs if axis == "seed"]
    rows = [
        (axis, "same_seed" if source.sae_seed == target.sae_seed else "other_seed", *source, *target)
        for axis, source, target in both
        if target.sae_seed in (source.sae_seed, partner[source.sae_seed])
    ]
    types = [pl.Int32, pl.Int16, pl.Int16]
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
    asked = comparisons.join(latents.select(*_SAE, "latent", "category"), on=_SAE)
    known = asked.join(found.with_columns(hit=True), on=[*_SAE, "latent", *_TARGET], how="left")
    counted = known.group_by("axis", "pairing", "step", "step_to", "layer", "layer_to").agg(
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
