"""How much of a dictionary is found again: at the next checkpoint or layer, and by another SAE seed on the same one.

A latent is found again with the chance that it lasts times the chance that an SAE finds it at all. The second is
measured: it is what another seed finds of the same cell, the ceiling. Over the ceiling of the target stands how much
lasts. Here: shares, their ratio and margins. Not here: which pairs match (`lineage_edges.py`).

Shape suffixes: r rows, b draws.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.lineage_pairs import Pair, next_seeds, pairs_over_layers, pairs_over_steps
from emergence_assets.emergence.lineage_survival import decades, half_lives, survival
from emergence_assets.emergence.tables.stability import LINEAGE_STABILITY

MIN_CEILING = 0.1
"""Below it a ratio says nothing: the same SAE design does not find its own latents again."""
N_DRAWS = 2000
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
    pooled = (
        counts.filter(pl.col("axis") != "layer")
        .group_by(_COMPARISON[:-2], maintain_order=True)
        .agg(pl.col("n_latents", "n_matched").sum())
        .with_columns(pl.lit(None, pl.Int16).alias("layer"), pl.lit(None, pl.Int16).alias("layer_to"))
    )
    table = pl.concat([counts, pooled.select(counts.columns)]).filter(pl.col("n_latents") > 0).sort(_COMPARISON)
    return _with_ratios(table, np.random.default_rng(seed)).select(
        pl.lit(model).alias("model"),
        pl.lit(n_params_nonemb, pl.Int64).alias("n_params_nonemb"),
        *(pl.col(name).cast(dtype) for name, dtype in list(LINEAGE_STABILITY.schema.items())[2:]),
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


def _with_ratios(table: pl.DataFrame, draw: np.random.Generator) -> pl.DataFrame:
    n, k = (table[name].to_numpy() for name in ("n_latents", "n_matched"))
    raw_rb = draw.beta(k[:, None] + 0.5, (n - k)[:, None] + 0.5, (len(n), N_DRAWS))
    ceiling_r = _ceiling_rows(table)
    # another seed is no ceiling for those that share a random start
    has_one = (pl.col("axis") != "seed") & (pl.col("pairing") == "other_seed")
    known_r = (ceiling_r >= 0) & table.select(has_one).to_series().to_numpy()
    ceiling_rb = raw_rb[ceiling_r]
    s_ceiling = np.where(known_r, (k / n)[ceiling_r], np.nan)
    defined_r = known_r & (s_ceiling >= MIN_CEILING)
    norm_rb = np.where(defined_r[:, None], raw_rb / ceiling_rb, np.nan)
    s_norm = np.where(defined_r, k / n / np.where(defined_r, s_ceiling, 1), np.nan)
    columns: dict[str, NDArray[Any]] = {"s_raw": k / n, "s_ceiling": s_ceiling, "s_norm": s_norm}
    columns |= _bounds("s_raw", raw_rb) | _bounds("s_norm", norm_rb)
    columns |= _bounds("s_ceiling", np.where(known_r[:, None], ceiling_rb, np.nan))
    columns |= _lasting(table, s_norm, norm_rb)
    return table.with_columns(pl.Series(name, values).fill_nan(None) for name, values in columns.items()).with_columns(
        n_boot=pl.lit(N_DRAWS)
    )


def _ceiling_rows(table: pl.DataFrame) -> NDArray[np.int64]:
    """For every row the row of the seeds of its target's cell, -1 where there is none."""
    seeds = table.with_row_index("row").filter(pl.col("axis") == "seed")
    seeds = seeds.select("population", pl.col("step_from").alias("step_to"), pl.col("layer").alias("layer_to"), "row")
    keys = ["population", "step_to", "layer_to"]
    joined = table.join(seeds, on=keys, how="left", maintain_order="left", nulls_equal=True)
    return joined["row"].cast(pl.Int64).fill_null(-1).to_numpy()


def _lasting(table: pl.DataFrame, s_norm: NDArray[np.float64], norm_rb: NDArray[np.float64]) -> dict[str, Any]:
    """Survival since the first checkpoint with a ratio, and half-life from each checkpoint on; axis step only."""
    n, names = len(table), ("survival", "survival_lo", "survival_hi", "half_life", "half_life_lo", "half_life_hi")
    columns = {name: np.full(n, np.nan) for name in names}
    series = table.with_row_index("row").filter(pl.col("axis") == "step").sort("step_from")
    for part in series.partition_by("pairing", "population", "layer"):
        row = part["row"].to_numpy()
        x_t = decades(np.append(part["step_from"].to_numpy(), part["step_to"].to_numpy()[-1]))
        together_tb = np.column_stack([s_norm[row], norm_rb[row]])
        for name, found_tb in (("survival", survival(together_tb)), ("half_life", half_lives(together_tb, x_t))):
            # more than half outlast the data: no number, as a right-censored time has none
            columns[name][row] = np.where(np.isinf(found_tb[:, 0]), np.nan, found_tb[:, 0])
            defined = np.isfinite(s_norm[row]) & ~np.isnan(found_tb).any(axis=1)
            if defined.any():
                lo, hi = np.quantile(found_tb[defined, 1:], (0.025, 0.975), axis=1, method="nearest")
                columns[f"{name}_lo"][row[defined]] = np.where(np.isinf(lo), np.nan, lo)
                columns[f"{name}_hi"][row[defined]] = np.where(np.isinf(hi), np.nan, hi)
    return columns


def _bounds(name: str, draws_rb: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    bounds = {f"{name}_lo": np.full(len(draws_rb), np.nan), f"{name}_hi": np.full(len(draws_rb), np.nan)}
    defined = np.isfinite(draws_rb[:, 0])
    if defined.any():
        lo, hi = np.quantile(draws_rb[defined], (0.025, 0.975), axis=1)
        bounds[f"{name}_lo"][defined], bounds[f"{name}_hi"][defined] = lo, hi
    return bounds
