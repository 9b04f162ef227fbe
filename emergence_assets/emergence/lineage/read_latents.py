"""Latents of one SAE as used by lineages: decoder direction, activity and category."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.lineage.correlation import Activity, latent_activity
from emergence_assets.emergence.lineage.matching import LatentSet
from emergence_assets.emergence.lineage.table import MATCHED_LATENTS
from emergence_assets.features.statistics.rule_counts import assigned

if TYPE_CHECKING:
    from emergence_assets.saes.model.sae import SAE


class SAEKey(NamedTuple):
    """One SAE of a model."""

    step: int
    layer: int
    sae_seed: int


class Texts(NamedTuple):
    """The probe texts that latents are compared on."""

    select_p: NDArray[np.integer]
    """Rows of the read-outs on split select, used to choose matches."""
    score_p: NDArray[np.integer]
    """Rows on split score, used to measure matches."""
    level: str
    """Label level of the latents' categories."""


@dataclass(frozen=True, eq=False)
class ReadSAE:
    """One SAE, restricted to the latents that are active often enough to be compared."""

    key: SAEKey
    latents: LatentSet
    """Latents on split select, used to choose matches."""
    score: Activity
    """The same latents on split score."""
    untrained: LatentSet
    """Latents of an untrained dictionary on the same read-outs, on split select."""
    category_n: NDArray[np.object_]
    """Category of each latent; None for most."""

    def frame(self) -> pl.DataFrame:
        """Return one row per latent; see `MATCHED_LATENTS`."""
        return pl.DataFrame(
            {
                **self.key._asdict(),
                "latent": self.latents.latent_n,
                "n_active": self.latents.activity.n_active_n,
                "category": self.category_n.tolist(),
            },
            schema=MATCHED_LATENTS.schema,
        )


def read_latents(
    step: int,
    layer: int,
    read_out_pd: NDArray[np.float32],
    saes: Mapping[int, "SAE"],
    latent_stats: pl.DataFrame,
    k: int,
    texts: Texts,
) -> dict[int, ReadSAE]:
    """Encode the read-outs of a cell with its SAEs and with an untrained one.

    Args:
        step: step of the checkpoint.
        layer: layer of the cell.
        read_out_pd: read-outs, texts × d_model.
        saes: SAE by SAE seed, all of one dictionary size.
        latent_stats: `latent_stats` of the cell.
        k: active latents per text of the untrained dictionary.
        texts: rows of the two splits, and the label level.

    Returns:
        The latents by SAE seed.
    """
    from emergence_assets.emergence.lineage.untrained_sae import untrained_sae
    from emergence_assets.features.statistics.encoded import encoded

    passing = latent_stats.filter(pl.col("passes") & (pl.col("category_level") == texts.level))
    categories = assigned(passing, by=("sae_seed", "latent"))
    n_latents = next(iter(saes.values())).n_latents
    # With equal directions in every cell, untrained dictionaries of neighbouring steps would be alike by construction.
    own = untrained_sae(read_out_pd, n_latents, k, seed=1000 * (step + 1) + layer + 1)
    own_activity = latent_activity(encoded(own, read_out_pd), texts.select_p)
    untrained = LatentSet(own_activity, own.W_dec_nd.numpy()[own_activity.latent_n])
    read = {}
    for seed, sae in saes.items():
        codes = encoded(sae, read_out_pd)
        activity = latent_activity(codes, texts.select_p)
        category_n = np.full(n_latents, None, dtype=object)
        own_rows = categories.filter(pl.col("sae_seed") == seed)
        category_n[own_rows["latent"].to_numpy()] = own_rows["category"].to_list()
        all_latents = latent_activity(codes, texts.score_p, min_support=0)
        read[seed] = ReadSAE(
            SAEKey(step, layer, seed),
            LatentSet(activity, sae.W_dec_nd.numpy()[activity.latent_n]),
            Activity(activity.latent_n, all_latents.values_pn[:, activity.latent_n]),
            untrained,
            category_n[activity.latent_n],
        )
    return read
