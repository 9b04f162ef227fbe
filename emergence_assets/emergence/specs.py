"""Asset specs of this stage, in flow order."""

from emergence_assets.emergence.categorical_latents.spec import CATEGORICAL_FEATURES, FEATURE_COUNTS
from emergence_assets.emergence.claims.spec import CLAIMS, EMERGENCE_HAZARD
from emergence_assets.emergence.compression.spec import COMPRESSION_RETENTION
from emergence_assets.emergence.controls.spec import CATEGORY_CONTROLS
from emergence_assets.emergence.cost.spec import COST_UTILITY
from emergence_assets.emergence.lineage.spec import (
    FEATURE_LINEAGE,
    LATENT_CARRY,
    LINEAGE_NODES,
    LINEAGE_STABILITY,
    SIZE_LINEAGE,
)
from emergence_assets.emergence.mechanism.spec import REACTIVATION_MECHANISM
from emergence_assets.emergence.presence.spec import CATEGORY_PRESENCE
from emergence_assets.emergence.sae_quality.spec import SAE_METRICS
from emergence_assets.emergence.scale.spec import EMERGENCE_OVER_SCALE, EXPANSION_PRESENCE, MODEL_SEEDS
from emergence_assets.emergence.space.spec import EMERGENCE_OVER_SPACE, REACTIVATION
from emergence_assets.emergence.sparse_probes.spec import SPARSE_PRESENCE
from emergence_assets.emergence.time.spec import EMERGENCE_OVER_TIME
from emergence_assets.emergence.use.spec import FEATURE_USE
from emergence_assets.plan.table_spec import TableSpec

SPECS: tuple[TableSpec, ...] = (
    SAE_METRICS,
    CATEGORY_PRESENCE,
    SPARSE_PRESENCE,
    EMERGENCE_OVER_TIME,
    EMERGENCE_OVER_SPACE,
    REACTIVATION,
    FEATURE_COUNTS,
    CATEGORICAL_FEATURES,
    REACTIVATION_MECHANISM,
    FEATURE_LINEAGE,
    LINEAGE_NODES,
    LINEAGE_STABILITY,
    LATENT_CARRY,
    SIZE_LINEAGE,
    CATEGORY_CONTROLS,
    FEATURE_USE,
    EXPANSION_PRESENCE,
    MODEL_SEEDS,
    EMERGENCE_OVER_SCALE,
    COST_UTILITY,
    COMPRESSION_RETENTION,
    CLAIMS,
    EMERGENCE_HAZARD,
)
