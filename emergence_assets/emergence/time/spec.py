"""The asset `emergence_over_time`."""

from emergence_assets.emergence.table_spec import table_rule
from emergence_assets.features.spec import N_CONTROLS
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.study import Study

TIME_TABLE_BYTES, TIME_ROW_BYTES = 24_000, 95.0
"""Of emergence_over_time: what 65 columns take without rows, and a row."""


def _time_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """A row per series: layers and the best of them again, measurement and shuffled labels, categories and means."""
    n_layers = len(study.layers_of(str(cell.model))) + 1
    return TIME_TABLE_BYTES + TIME_ROW_BYTES * N_CONTROLS * n_layers * len(counts.category_sizes)


EMERGENCE_OVER_TIME = table_rule(
    "emergence_over_time", ("category_presence",), ("time.over_time:emergence_over_time",), _time_bytes
)
