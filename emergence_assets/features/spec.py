"""The asset `latent_stats`: a table per model, step and layer, and three tables that are made with it."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from emergence_assets.features.checks import STATISTICS_CHECKS
from emergence_assets.features.table import CATEGORICAL_LATENTS, LATENT_STATS, PRESENCE_CELLS, RULE_COUNTS
from emergence_assets.plan.asset_spec import TABLE_BYTES
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.table_spec import table_spec
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.files.storage import Storage


def sections(*names: str) -> Callable[[Study, Storage, Cell], Mapping[str, Any]]:
    """Return the recipe of a table whose result depends on these sections of the study file.

    `sae.warm_start` is left out: it affects the training of SAEs only, and their own recipe contains it.
    """

    def recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
        return {
            name: probe_recipe(study)
            if name == "probe_set"
            else getattr(study, name).model_dump(exclude={"warm_start"})
            for name in names
        }

    return recipe


RATE_SPREAD = 1.63
"""Standard deviation of the logarithm of the rates at which latents are active; fitted to the embedded studies,
2026-11-25."""
MIN_ACTIVE = 3
"""Pairs with fewer active texts of the category on split select have no row."""
PAIR_BYTES, PRESENCE_BYTES, REPLICATE_BYTES = 52.0, 20.0, 3.75
"""Bytes of compressed parquet: a pair of latent and category; the presence of a category; each of its bootstrap
replicates, float32, which hardly compress."""
QUANTILES = 200


@functools.cache
def expected_pairs(category_sizes: tuple[int, ...], n_latents: int, k: int) -> float:
    """Predict the number of pairs of latent and category with enough active texts for a row, of one SAE.

    Assumed: latents are active at log-normal rates with mean k / n_latents; half of the texts are on split select.
    """
    from scipy.stats import norm, poisson

    spread = [norm.ppf((index + 0.5) / QUANTILES) for index in range(QUANTILES)]
    rates = [min(1.0, k / n_latents * math.exp(RATE_SPREAD * z - RATE_SPREAD**2 / 2)) for z in spread]
    shares = [poisson.sf(MIN_ACTIVE - 1, [size / 2 * rate for rate in rates]).mean() for size in category_sizes]
    return n_latents * float(sum(shares))


def presence_bytes(study: Study, counts: TextCounts, n_measured: int) -> float:
    """Predict the bytes of a table that measures every category `n_measured` times, each with bootstrap replicates."""
    n_rows = n_measured * len(counts.category_sizes)
    return TABLE_BYTES + n_rows * (PRESENCE_BYTES + REPLICATE_BYTES * study.statistics.n_bootstrap)


def _n_bytes(study: Study, _cell: Cell, counts: TextCounts) -> float:
    """Predict the bytes of pairs, of presence (SAEs, permuted labels, random encoders) and of the dense probe."""
    n_seeds = len(study.sae.seeds)
    n_pairs = n_seeds * expected_pairs(counts.category_sizes, study.sae.n_latents, study.sae.k)
    return PAIR_BYTES * n_pairs + presence_bytes(study, counts, 2 * n_seeds + 1 + study.statistics.n_random_encoders)


LATENT_STATISTICS = table_spec(
    LATENT_STATS,
    ("activations", "sae"),
    "emergence_assets.features.statistics.worker:measure_cell",
    stage="features",
    grid="cell",
    recipe=sections("statistics", "probe_set", "sae"),
    checks=STATISTICS_CHECKS,
    beside=(PRESENCE_CELLS, RULE_COUNTS, CATEGORICAL_LATENTS),
    n_bytes=_n_bytes,
    cells_per_run=400,
)
