"""Edges between latents of two SAEs: matched pairs, their null thresholds, and their correlation on held-out texts.

Shape suffix: e edges.
"""

import functools
from dataclasses import replace

import numpy as np
import polars as pl

from emergence_assets.emergence.lineage.assignment import N_CANDIDATES, in_assignment
from emergence_assets.emergence.lineage.correlation import correlation_of_pairs
from emergence_assets.emergence.lineage.matching import N_RANKS, LatentSet, best_partners, edges_of, measure_edges
from emergence_assets.emergence.lineage.matching_nulls import null_threshold, rotated
from emergence_assets.emergence.lineage.read_latents import ReadSAE
from emergence_assets.emergence.lineage.table import FEATURE_LINEAGE

METHOD = "mnn"


def edges_between(
    axis: str, source: ReadSAE, target: ReadSAE, models: tuple[str, str], share_space: bool = True
) -> pl.DataFrame:
    """Return the edges above both nulls; see `FEATURE_LINEAGE`.

    Mutual edges are accepted. The other edges show splits and merges.

    Args:
        axis: step, seed, layer or size.
        source: SAE whose latents the edges start from.
        target: SAE whose latents the edges lead to.
        models: names of the source's and the target's model.
        share_space: whether decoder directions can be compared, that is, whether both SAEs belong to one model.
    """
    one, other = (_in_common_space(read.latents, share_space) for read in (source, target))
    best = best_partners(one, other, N_CANDIDATES)
    edges = edges_of(best.first(N_RANKS))
    null = null_threshold(one, rotated(other, seed=0))
    untrained = np.fmax(
        _untrained_threshold(source.latents, target.untrained, share_space),
        _untrained_threshold(target.latents, source.untrained, share_space),
    )
    kept = edges.score_e > np.fmax(null, untrained)
    assigned_e = in_assignment(best, edges)[kept]
    edges = edges.where(kept)
    measured = measure_edges(one, other, edges)
    on_score = correlation_of_pairs(source.score, target.score, np.stack([edges.source_e, edges.target_e], axis=1))
    categories = zip(source.category_n[edges.source_e], target.category_n[edges.target_e], strict=True)
    ends = {"src": source.key, "dst": target.key}
    columns = {
        "model": models[0],
        "dst_model": models[1],
        "axis": axis,
        **{f"{side}_{name}": value for side, key in ends.items() for name, value in key._asdict().items()},
        "src_latent": one.latent_n[edges.source_e],
        "dst_latent": other.latent_n[edges.target_e],
        "cos_dec": pl.Series(measured.cosine_e).fill_nan(None),
        "corr_act": measured.correlation_e,
        "corr_score": on_score,
        "jaccard": measured.jaccard_e,
        "n_joint": measured.n_joint_e,
        "rank_src": edges.rank_source_e,
        "rank_dst": edges.rank_target_e,
        "mutual": edges.mutual_e,
        "score": edges.score_e,
        "null_p995": null,
        "untrained_p995": untrained,
        "in_assignment": assigned_e,
        "method": METHOD,
        "accepted": edges.mutual_e,
        "same_category": [None if None in pair else pair[0] == pair[1] for pair in categories],
    }
    return pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in FEATURE_LINEAGE.schema.items())


@functools.lru_cache(8)
def _untrained_threshold(latents: LatentSet, untrained: LatentSet, share_space: bool) -> float:
    """Return the untrained null; cached, because an SAE is compared with one untrained dictionary once per seed."""
    return null_threshold(_in_common_space(latents, share_space), _in_common_space(untrained, share_space))


def _in_common_space(latents: LatentSet, share_space: bool) -> LatentSet:
    return latents if share_space else replace(latents, direction_nd=None)
