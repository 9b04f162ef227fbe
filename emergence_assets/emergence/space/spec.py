"""Assets about presence over layers."""

from emergence_assets.emergence.table_spec import table_rule
from emergence_assets.features.spec import N_CONTROLS
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study

SPACE_ROW_BYTES, SPACE_LAYER_BYTES = 59, 8
"""Of a profile over layers: a row, and what each layer adds to it; of compressed parquet, as below."""
REACTIVATION_ROW_BYTES, EMPTY_ROW_BYTES = 124, 50
"""Of a row about the thirds of the depth, and of one without a layer in the middle."""


def _profile_rows(study: Study, counts: TextCounts) -> int:
    """A row per checkpoint and category of a model, for the measurement and for shuffled labels."""
    return len(study.listed_steps or ()) * N_CONTROLS * len(counts.category_sizes)


def _space_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    n_layers = len(study.layers_of(str(cell.model)))
    return _profile_rows(study, counts) * (SPACE_ROW_BYTES + SPACE_LAYER_BYTES * n_layers)


def _reactivation_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    has_middle = len(study.layers_of(str(cell.model))) > 2
    return _profile_rows(study, counts) * (REACTIVATION_ROW_BYTES if has_middle else EMPTY_ROW_BYTES)


EMERGENCE_OVER_SPACE = table_rule(
    "emergence_over_space", ("category_presence",), ("space.over_space:emergence_over_space",), _space_bytes
)
REACTIVATION = table_rule(
    "reactivation", ("category_presence",), ("space.reactivation:reactivation",), _reactivation_bytes
)
