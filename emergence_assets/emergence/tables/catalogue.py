"""All tables of the project by name, in the order in which they are made."""

from emergence_assets.checkpoints.tables import REGISTRY
from emergence_assets.emergence.tables.categorical import CATEGORICAL_FEATURES, FEATURE_COUNTS
from emergence_assets.emergence.tables.claims import CLAIMS, HEADLINE
from emergence_assets.emergence.tables.controls import CATEGORY_CONTROLS, CONTROL_PARTS
from emergence_assets.emergence.tables.cost import COMPRESSION_RETENTION, COST_UTILITY
from emergence_assets.emergence.tables.hazard import EMERGENCE_HAZARD
from emergence_assets.emergence.tables.lineage import FEATURE_LINEAGE, LINEAGE_NODES, MATCHED_LATENTS, SIZE_LINEAGE
from emergence_assets.emergence.tables.mechanism import REACTIVATION_MECHANISM
from emergence_assets.emergence.tables.presence import CATEGORY_PRESENCE, EXPANSION_PRESENCE
from emergence_assets.emergence.tables.reactivation import REACTIVATION
from emergence_assets.emergence.tables.saes import SAE_METRICS
from emergence_assets.emergence.tables.scale import EMERGENCE_OVER_SCALE, MODEL_SEEDS
from emergence_assets.emergence.tables.space import EMERGENCE_OVER_SPACE
from emergence_assets.emergence.tables.stability import LATENT_CARRY, LINEAGE_STABILITY, SIZE_STABILITY
from emergence_assets.emergence.tables.time import EMERGENCE_OVER_TIME
from emergence_assets.features.tables.categorical import CATEGORICAL_LATENTS, RULE_COUNTS
from emergence_assets.features.tables.presence import PRESENCE_CELLS
from emergence_assets.features.tables.statistics import LATENT_STATS
from emergence_assets.table import Table

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
