"""All tables of the project by name, in the order in which they are made."""

from emergence_assets.checkpoints.table import REGISTRY
from emergence_assets.emergence.categorical_latents.table import CATEGORICAL_FEATURES, FEATURE_COUNTS
from emergence_assets.emergence.claims.table import CLAIMS, EMERGENCE_HAZARD
from emergence_assets.emergence.compression.table import COMPRESSION_RETENTION
from emergence_assets.emergence.controls.table import CATEGORY_CONTROLS, CONTROL_PARTS
from emergence_assets.emergence.cost.table import COST_UTILITY
from emergence_assets.emergence.lineage.stability_table import LATENT_CARRY, LINEAGE_STABILITY, SIZE_STABILITY
from emergence_assets.emergence.lineage.table import FEATURE_LINEAGE, LINEAGE_NODES, MATCHED_LATENTS, SIZE_LINEAGE
from emergence_assets.emergence.mechanism.table import REACTIVATION_MECHANISM
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE, HEADLINE
from emergence_assets.emergence.sae_quality.table import SAE_METRICS
from emergence_assets.emergence.scale.table import EMERGENCE_OVER_SCALE, EXPANSION_PRESENCE, MODEL_SEEDS
from emergence_assets.emergence.space.table import EMERGENCE_OVER_SPACE, REACTIVATION
from emergence_assets.emergence.time.table import EMERGENCE_OVER_TIME
from emergence_assets.features.table import CATEGORICAL_LATENTS, LATENT_STATS, PRESENCE_CELLS, RULE_COUNTS
from resources.tables.table import Table

CATALOGUE: dict[str, Table] = {
    table.name: table
    for table in (
        REGISTRY,
        *(LATENT_STATS, PRESENCE_CELLS, RULE_COUNTS, CATEGORICAL_LATENTS),
        *(SAE_METRICS, CATEGORY_PRESENCE, FEATURE_COUNTS, CATEGORICAL_FEATURES, CONTROL_PARTS, CATEGORY_CONTROLS),
        *(EMERGENCE_OVER_TIME, EMERGENCE_HAZARD, EMERGENCE_OVER_SPACE, REACTIVATION, REACTIVATION_MECHANISM),
        *(FEATURE_LINEAGE, MATCHED_LATENTS, LINEAGE_NODES, LINEAGE_STABILITY, LATENT_CARRY),
        *(SIZE_LINEAGE, SIZE_STABILITY),
        *(EXPANSION_PRESENCE, MODEL_SEEDS, EMERGENCE_OVER_SCALE, COMPRESSION_RETENTION, COST_UTILITY),
        *(CLAIMS, HEADLINE),
    )
}
