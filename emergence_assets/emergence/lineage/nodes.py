"""Lineages: chains of latents that are matched from checkpoint to checkpoint.

Edges go from each SAE seed to the next seed at the next checkpoint, so that no lineage rests on a shared random start.
With a single seed it does, and `pairing` is `same_seed`. A latent has at most one partner on either side, so every
connected component of edges is a chain. Latents without any match form no lineage; `lineage_stability` counts them.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.checkpoints import keys
from emergence_assets.emergence.lineage.pairs import next_seeds
from emergence_assets.emergence.lineage.read_latents import SAEKey
from emergence_assets.emergence.lineage.table import LINEAGE_NODES

Directions = Callable[[SAEKey], NDArray[np.float32]]
"""Returns the decoder directions of an SAE, [latents, d_model], of unit length."""
_MEMBER = ["layer", "step", "sae_seed", "latent"]


def lineage_nodes(edges: pl.DataFrame, latents: pl.DataFrame, model: str, directions: Directions) -> pl.DataFrame:
    """Return one row per lineage; see `LINEAGE_NODES`.

    Birth and death are intervals between checkpoints. Birth lies between the last checkpoint without the lineage and
    the first with it; death between the last checkpoint with the lineage and the first without it. The outer bound is
    null where the data begin or end. `drift_cos` is the cosine of each member's direction with that of the last member.

    Args:
        edges: `feature_lineage` of the model.
        latents: `matched_latents` of the model.
        model: name of the model.
        directions: returns the decoder of an SAE; called once per SAE.
    """
    seeds = latents["sae_seed"].unique().sort().to_list()
    if not seeds:
        return LINEAGE_NODES.schema.to_frame()
    partner = pl.DataFrame(
        list(next_seeds(seeds).items()),
        schema=dict.fromkeys(("src_sae_seed", "dst_sae_seed"), keys.SAE_SEED.dtype),
        orient="row",
    )
    own = edges.filter(pl.col("axis") == "step").join(partner, on=["src_sae_seed", "dst_sae_seed"], how="semi")
    accepted = own.filter(pl.col("accepted"))
    if accepted.is_empty():
        return LINEAGE_NODES.schema.to_frame()
    members = _members(accepted).join(latents.drop("n_active"), on=_MEMBER, how="left")
    members = _with_relatives(members, own.filter(~pl.col("accepted"))).sort("chain", "step")
    members = members.with_columns(drift=_drift(members, directions))
    steps = latents["step"].unique().sort()
    order = pl.DataFrame({"step": steps, "before": steps.shift(1), "after": steps.shift(-1)})
    nodes = members.join(order, on="step", how="left", maintain_order="left").group_by("chain", maintain_order=True)
    return (
        nodes.agg(
            pl.format("L{}-{}-r{}-{}", *(pl.col(name).first() for name in _MEMBER)).alias("lineage_id"),
            pl.col("layer").first(),
            pl.len().alias("n_members"),
            pl.col("before").first().alias("birth_step_lo"),
            pl.col("step").first().alias("birth_step_hi"),
            pl.col("step").last().alias("death_step_lo"),
            pl.col("after").last().alias("death_step_hi"),
            pl.col("category").drop_nulls().mode().sort().first(),
            pl.col("category").drop_nulls().n_unique().alias("n_path_categories"),
            pl.struct("step", "category").alias("category_path"),
            pl.col("sae_seed").alias("sae_seeds"),
            pl.col("latent").alias("latents"),
            pl.col("drift").alias("drift_cos"),
            pl.col("drift").first().alias("cos_first_last"),
            pl.col("n_splits", "n_merges").sum(),
        )
        .with_columns(model=pl.lit(model), pairing=pl.lit("other_seed" if len(seeds) > 1 else "same_seed"))
        .select(pl.col(name).cast(dtype) for name, dtype in LINEAGE_NODES.schema.items())
        .sort("layer", "birth_step_hi", "lineage_id")
    )


def _members(accepted: pl.DataFrame) -> pl.DataFrame:
    """Return the latents of accepted edges with the number of their chain."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sources, targets = (
        accepted.select(pl.col(f"{side}_{name}").alias(name) for name in _MEMBER) for side in ("src", "dst")
    )
    members = pl.concat([sources, targets]).unique().sort(_MEMBER)
    place = members.with_row_index("place")
    row, column = (
        side.join(place, on=_MEMBER, how="left", maintain_order="left")["place"].to_numpy()
        for side in (sources, targets)
    )
    graph = coo_array((np.ones(len(row), dtype=np.int8), (row, column)), shape=(len(members), len(members)))
    return members.with_columns(chain=pl.Series(connected_components(graph, directed=False)[1]))


def _with_relatives(members: pl.DataFrame, one_sided: pl.DataFrame) -> pl.DataFrame:
    """Add to each member its counts of splits (further targets) and merges (further sources) besides its match."""
    splits = one_sided.filter(pl.col("rank_src") == 1).group_by(
        [f"src_{name}" for name in _MEMBER], maintain_order=True
    )
    merges = one_sided.filter(pl.col("rank_dst") == 1).group_by(
        [f"dst_{name}" for name in _MEMBER], maintain_order=True
    )
    for side, grouped, name in (("src", splits, "n_splits"), ("dst", merges, "n_merges")):
        counted = grouped.agg(pl.len().alias(name)).rename({f"{side}_{key}": key for key in _MEMBER})
        members = members.join(counted, on=_MEMBER, how="left").with_columns(pl.col(name).fill_null(0))
    return members


def _drift(members: pl.DataFrame, directions: Directions) -> pl.Series:
    """Return the cosine of each member with the last of its chain; members are sorted by chain and step."""
    place = members.with_row_index("place")
    vectors: NDArray[np.float32] | None = None
    for part in place.partition_by("step", "layer", "sae_seed"):
        first = part.row(0, named=True)
        own = directions(SAEKey(first["step"], first["layer"], first["sae_seed"]))[part["latent"].to_numpy()]
        if vectors is None:
            vectors = np.empty((len(members), own.shape[1]), dtype=np.float32)
        vectors[part["place"].to_numpy()] = own
    assert vectors is not None, "there are members"
    last = place.select(pl.col("place").last().over("chain"))["place"].to_numpy()
    return pl.Series(np.einsum("md,md->m", vectors, vectors[last]).clip(-1, 1))
