"""All assets of the pipeline, in flow order."""

import emergence_assets.activations.spec
import emergence_assets.checkpoints.spec
import emergence_assets.emergence.specs
import emergence_assets.features.spec
import emergence_assets.report.spec
import emergence_assets.saes.spec
from emergence_assets.emergence.compression.spec import COMPRESSION_RETENTION
from emergence_assets.emergence.lineage.spec import SIZE_LINEAGE
from emergence_assets.emergence.scale.spec import EXPANSION_PRESENCE, MODEL_SEEDS
from emergence_assets.plan.asset_spec import CellAsset, Rule
from emergence_assets.study.family import TrainedHere
from emergence_assets.study.study import Study

ASSETS: tuple[CellAsset, ...] = (
    *emergence_assets.checkpoints.spec.ASSETS,
    *emergence_assets.activations.spec.ASSETS,
    *emergence_assets.saes.spec.ASSETS,
    *emergence_assets.features.spec.ASSETS,
    *emergence_assets.emergence.specs.ASSETS,
    *emergence_assets.report.spec.ASSETS,
)
RULES: tuple[Rule, ...] = tuple(asset.rule for asset in ASSETS)


def rules_for(study: Study) -> tuple[Rule, ...]:
    """The assets of one study: without what it declares no reason for."""
    is_wanted = {
        emergence_assets.checkpoints.spec.TRAINING_RUN.name: isinstance(study.family, TrainedHere),
        EXPANSION_PRESENCE.name: study.fixed_expansion,
        SIZE_LINEAGE.name: len(study.models) > 1,
        MODEL_SEEDS.name: bool(study.family.replicates),
        COMPRESSION_RETENTION.name: study.compression is not None,
    }
    return tuple(rule for rule in RULES if is_wanted.get(rule.name, True))
