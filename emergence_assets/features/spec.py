"""Latent statistics as cells: per model, step and layer a table of latents, and three that are made with it."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emergence_assets.activations.spec import ACTIVATIONS, stored_tokens_file
from emergence_assets.features.checks import STATISTICS_CHECKS
from emergence_assets.features.table import CATEGORICAL_LATENTS, LATENT_STATS, PRESENCE_CELLS, RULE_COUNTS
from emergence_assets.plan.asset_spec import AssetSpec, Due, Job
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.saes.spec import SAE
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.files.provenance import canonical_json
from resources.files.records import required_to_json
from resources.files.storage import Storage
from resources.tables.parquet import parquet_provenance, verify_table


def _statistics_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {
        "statistics": study.statistics.model_dump(),
        "probe_set": probe_recipe(study),
        "seeds": list(study.sae.seeds),
    }


def _statistics_bytes(study: Study, _cell: Cell, counts: TextCounts) -> float:
    n_seeds = len(study.sae.seeds)
    n_pairs = n_seeds * expected_pairs(counts.category_sizes, study.sae.n_latents, study.sae.k)
    n_categories = len(counts.category_sizes)
    return (
        latent_stats_bytes(n_pairs)
        + presence_bytes(n_categories, study.statistics.n_bootstrap, n_seeds)
        + rule_counts_bytes(n_seeds * n_categories)
        + categorical_latents_bytes(n_seeds * study.sae.n_latents)
    )


MADE_WITH_IT = (PRESENCE_CELLS, RULE_COUNTS, CATEGORICAL_LATENTS)
"""Tables of a cell that are written before the latent statistics, whose file marks them all as done."""


def presence_cells_path(storage: Storage, cell: Cell) -> Path:
    """The cell's part of the presence table."""
    return _table_path(storage, PRESENCE_CELLS.name, cell)


def rule_counts_path(storage: Storage, cell: Cell) -> Path:
    """The cell's counts of categorical latents."""
    return _table_path(storage, RULE_COUNTS.name, cell)


def categorical_latents_path(storage: Storage, cell: Cell) -> Path:
    """The cell's categorical latents."""
    return _table_path(storage, CATEGORICAL_LATENTS.name, cell)


def _table_path(storage: Storage, table: str, cell: Cell) -> Path:
    return storage.cell_table(table, str(cell.model), int(cell.step or 0), int(cell.layer or 0))


def _jobs(plan: Plan, due: Due) -> list[Job]:
    """One job per cell."""
    jobs = []
    for cell, required in due:
        arguments = {
            "activation_file": str(ACTIVATIONS.path(plan.storage, cell)),
            "tokens_file": str(stored_tokens_file(plan, cell)),
            "sae_folder": str(SAE.path(plan.storage, cell)),
            "latents_path": str(LATENT_STATISTICS.path(plan.storage, cell)),
            "paths": [str(path) for path in LATENT_STATISTICS.also(plan.storage, cell)],
            "required": required_to_json(required),
            "probes": canonical_json(plan.study.probe_set.model_dump()),
            "seeds": list(plan.study.sae.seeds),
        }
        jobs.append(Job(arguments, (cell,), str(cell)))
    return jobs


RATE_SPREAD = 1.63
"""Standard deviation of the logarithm of how often latents are active; fitted to the embedded studies, 2026-11-25."""
MIN_ACTIVE = 3
"""Pairs with fewer active texts of the category on split select have no row."""
PAIR_BYTES, ROW_BYTES, TABLE_BYTES = 52.0, 20.0, 9_000
"""Of compressed parquet: a pair, a category without its replicates, and what any table takes."""
REPLICATE_BYTES = 3.75
"""float32, which hardly compresses."""
COUNT_BYTES, ACCEPTED_BYTES, ACCEPTED_SHARE = 0.8, 150.0, 0.1
"""Of compressed parquet: a category's counts under one rule and control, a categorical latent; how many there are."""
COUNTS_TABLE_BYTES, ACCEPTED_TABLE_BYTES = 4_200, 6_500
"""What their tables take without rows."""
N_RULES = 3
N_CONTROLS = 2
"""Every category has a row for the measurement and one for shuffled labels."""
QUANTILES = 200


@functools.cache
def expected_pairs(category_sizes: tuple[int, ...], n_latents: int, k: int) -> float:
    """Pairs of latent and category with enough active texts to be a row, of one SAE.

    Latents are active at log-normal rates with mean k / n_latents, half of the texts are on split select.
    """
    from scipy.stats import norm, poisson

    spread = [norm.ppf((index + 0.5) / QUANTILES) for index in range(QUANTILES)]
    rates = [min(1.0, k / n_latents * math.exp(RATE_SPREAD * z - RATE_SPREAD**2 / 2)) for z in spread]
    shares = [poisson.sf(MIN_ACTIVE - 1, [size / 2 * rate for rate in rates]).mean() for size in category_sizes]
    return n_latents * float(sum(shares))


def latent_stats_bytes(n_pairs: float) -> float:
    """A latent_stats table of so many pairs."""
    return TABLE_BYTES + PAIR_BYTES * n_pairs


def presence_bytes(n_categories: int, n_bootstrap: int, n_seeds: int) -> float:
    """A presence table of so many categories, measured with so many SAE seeds, with their replicates.

    The dense probe has replicates of the measurement only; those of further seeds are equal and compressed away.
    """
    n_rows = N_CONTROLS * n_seeds * n_categories
    return TABLE_BYTES + ROW_BYTES * n_rows + REPLICATE_BYTES * n_bootstrap * (n_rows + n_categories)


def rule_counts_bytes(n_categories: int) -> float:
    """A table of counts of so many categories, seeds counted apart."""
    return COUNTS_TABLE_BYTES + N_RULES * N_CONTROLS * COUNT_BYTES * n_categories


def categorical_latents_bytes(n_latents: float) -> float:
    """A table of the categorical ones of so many latents, seeds counted apart, over all levels."""
    return ACCEPTED_TABLE_BYTES + ACCEPTED_BYTES * ACCEPTED_SHARE * n_latents


LATENT_STATISTICS = AssetSpec(
    name="latent_stats",
    stage="features",
    description="How well each latent tells each category apart: chosen on one half of the texts, scored on the other.",
    grid="cell",
    inputs=("activations", "sae"),
    make="emergence_assets.features.statistics.worker:measure_cell",
    jobs=_jobs,
    tables=(LATENT_STATS, *MADE_WITH_IT),
    recipe=_statistics_recipe,
    path=lambda storage, cell: _table_path(storage, "latent_stats", cell),
    also=lambda storage, cell: tuple(_table_path(storage, table.name, cell) for table in MADE_WITH_IT),
    stored=parquet_provenance,
    verify=verify_table,
    checks=STATISTICS_CHECKS,
    n_bytes=_statistics_bytes,
    backfill="one_run",
)
SPECS = (LATENT_STATISTICS,)
