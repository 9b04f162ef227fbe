"""Asset `sparse_presence`: k-sparse probes at both ends of training."""

import polars as pl

from emergence_assets.emergence.relations import beside_every_row
from emergence_assets.emergence.sparse_probes.table import SPARSE_PRESENCE as TABLE
from emergence_assets.features.spec import sections
from emergence_assets.plan.table_spec import table_spec
from resources.tables.relation import Relation

SPARSE_PRESENCE = table_spec(
    TABLE,
    ("activations", "sae", "category_presence"),
    "emergence_assets.emergence.sparse_probes.worker:measure_sparse_probes",
    recipe=sections("statistics", "sae", "probe_set"),
    relations=(
        Relation(
            "gap_is_a_difference",
            "gap is p_dense - p_sparse.",
            (pl.col("gap") - (pl.col("p_dense") - pl.col("p_sparse"))).abs() < 1e-5,
        ),
        beside_every_row("control_id", "model", "step", "layer", "category_level", "category", "n_latents_read"),
    ),
)
