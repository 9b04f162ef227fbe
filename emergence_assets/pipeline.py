"""All assets of the pipeline, in flow order."""

import emergence_assets.activations.spec
import emergence_assets.checkpoints.spec
import emergence_assets.emergence.specs
import emergence_assets.features.examples_spec
import emergence_assets.features.spec
import emergence_assets.report.spec
import emergence_assets.saes.spec
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.study.study import Study
from resources.tables.table import Table

SPECS: tuple[AssetSpec, ...] = (
    *emergence_assets.checkpoints.spec.SPECS,
    *emergence_assets.activations.spec.SPECS,
    *emergence_assets.saes.spec.SPECS,
    emergence_assets.features.spec.LATENT_STATISTICS,
    emergence_assets.features.examples_spec.LATENT_EXAMPLES,
    *emergence_assets.emergence.specs.SPECS,
    *emergence_assets.report.spec.SPECS,
)
TABLES: dict[str, Table] = {table.name: table for spec in SPECS for table in (*spec.tables, *spec.parts)}
"""All tables by name, in flow order."""


def specs_for(study: Study) -> tuple[AssetSpec, ...]:
    """Assets of one study, in flow order."""
    return tuple(spec for spec in SPECS if spec.wanted(study))
