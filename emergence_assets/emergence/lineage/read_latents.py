"""The latents of one SAE as lineages see them: where they point, when they are active, what they stand for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.lineage.correlation import Activity, latent_activity
from emergence_assets.emergence.lineage.matching import LatentSet
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
    """Rows of the read-outs on split select: matches are chosen there."""
    score_p: NDArray[np.integer]
    """Rows on split score: what is said of a match is measured there."""
    level: str
    """Label level whose categories latents stand for."""


@dataclass(frozen=True, eq=False)
class ReadSAE:
    """One SAE, as far as its latents are active often enough to be compared."""

    key: SAEKey
    latents: LatentSet
    """On split select: what is matched is chosen there."""
    score: Activity
    """The same latents on split score."""
    untrained: LatentSet
    """What a dictionary that nobody trained makes of the same read-outs, on split select."""
    category_n: NDArray[np.object_]
    """The category that each latent stands for; None for most."""

    def frame(self) -> pl.DataFrame:
        """One row per latent; see `MATCHED_LATENTS`."""
        return pl.DataFrame(
            {
                "step": np.full(len(self.latents), self.key.step, dtype=np.int32),
                "layer": np.full(len(self.latents), self.key.layer, dtype=np.int16),
                "sae_seed": np.full(len(self.latents), self.key.sae_seed, dtype=np.int16),
                "latent": self.latents.latent_n.astype(np.int32),
                "n_active": self.latents.activity.n_active_n.astype(np.int32),
                "category": pl.Series(self.category_n.tolist(), dtype=pl.String),
            }
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
        step: of the checkpoint.
        layer: of the cell.
        read_out_pd: texts × d_model.
        saes: SAE seed to SAE, all of one dictionary size.
        latent_stats: of the cell.
        k: active latents per text by design; what the untrained dictionary gets.
        texts: which texts, and whose categories.

    Returns:
        SAE seed to what was read.
    """
    from emergence_assets.emergence.lineage.untrained_sae import untrained_sae
    from emergence_assets.features.statistics.encoded import encoded

    passing = latent_stats.filter(pl.col("passes") & (pl.col("category_level") == texts.level))
    categories = assigned(passing, by=("sae_seed", "latent"))
    n_latents = next(iter(saes.values())).n_latents
    # The same directions in every cell would make untrained dictionaries of neighbouring steps alike by construction.
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
        everything = latent_activity(codes, texts.score_p, min_support=0)
        read[seed] = ReadSAE(
            SAEKey(step, layer, seed),
            LatentSet(activity, sae.W_dec_nd.numpy()[activity.latent_n]),
            Activity(activity.latent_n, everything.values_pn[:, activity.latent_n]),
            untrained,
            category_n[activity.latent_n],
        )
    return read
