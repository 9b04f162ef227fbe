"""All assets of the pipeline as rules, in flow order."""

import emergence_assets.activations.cells
import emergence_assets.checkpoints.cells
import emergence_assets.emergence.cells
import emergence_assets.emergence.compression_cells
import emergence_assets.emergence.feature_cells
import emergence_assets.emergence.mechanism_cells
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
    *emergence_assets.emergence.compression_cells.RULES,
    *emergence_assets.report.cells.RULES,
)


def rules_for(study: Study) -> tuple[Rule, ...]:
    """The assets of one study: a family that is not trained here has no training runs, and compression is optional."""
    left_out = []
    if not isinstance(study.family, TrainedHere):
        left_out.append(emergence_assets.checkpoints.cells.TRAINING_RUN)
    if study.compression is None:
        left_out.append(emergence_assets.emergence.compression_cells.COMPRESSION_RETENTION)
    return tuple(rule for rule in RULES if rule not in left_out)
