"""All assets of the pipeline as rules, in flow order."""

import emergence_assets.activations.cells
import emergence_assets.checkpoints.cells
import emergence_assets.emergence.cells
import emergence_assets.emergence.claim_cells
import emergence_assets.emergence.compression_cells
import emergence_assets.emergence.control_cells
import emergence_assets.emergence.cost_cells
import emergence_assets.emergence.feature_cells
import emergence_assets.emergence.lineage_cells
import emergence_assets.emergence.mechanism_cells
import emergence_assets.emergence.size_cells
import emergence_assets.features.cells
import emergence_assets.report.cells
import emergence_assets.saes.cells
from emergence_assets.family import TrainedHere
from emergence_assets.plan import Rule
from emergence_assets.study import Study

RULES: tuple[Rule, ...] = (
    *emergence_assets.checkpoints.cells.RULES,
    *emergence_assets.activations.cells.RULES,
    *emergence_assets.saes.cells.RULES,
    *emergence_assets.features.cells.RULES,
    *emergence_assets.emergence.cells.RULES,
    *emergence_assets.emergence.feature_cells.RULES,
    *emergence_assets.emergence.mechanism_cells.RULES,
    *emergence_assets.emergence.lineage_cells.RULES,
    *emergence_assets.emergence.control_cells.RULES,
    *emergence_assets.emergence.size_cells.RULES,
    *emergence_assets.emergence.cost_cells.RULES,
    *emergence_assets.emergence.compression_cells.RULES,
    *emergence_assets.emergence.claim_cells.RULES,
    *emergence_assets.emergence.cells.FROM_CLAIMS,
    *emergence_assets.report.cells.RULES,
)


def rules_for(study: Study) -> tuple[Rule, ...]:
    """The assets of one study: without what it declares no reason for."""
    is_wanted = {
        emergence_assets.checkpoints.cells.TRAINING_RUN.name: isinstance(study.family, TrainedHere),
        emergence_assets.emergence.size_cells.EXPANSION_PRESENCE.name: study.fixed_expansion,
        emergence_assets.emergence.lineage_cells.SIZE_LINEAGE.name: len(study.models) > 1,
        emergence_assets.emergence.size_cells.MODEL_SEEDS.name: bool(study.family.replicates),
        emergence_assets.emergence.compression_cells.COMPRESSION_RETENTION.name: study.compression is not None,
    }
    return tuple(rule for rule in RULES if is_wanted.get(rule.name, True))
