"""Asset `cost_utility`: training compute and utility of every checkpoint."""

from emergence_assets.emergence.cost.table import COST_UTILITY as TABLE
from emergence_assets.emergence.relations import beside_every_row, measured_from_step_0
from emergence_assets.plan.table_spec import table_spec

COST_UTILITY = table_spec(
    TABLE,
    ("checkpoint_registry", "category_presence"),
    "emergence_assets.emergence.cost.cost_utility:cost_utility",
    grid="study",
    relations=(
        measured_from_step_0("u_excess", "u_excess_lo", "u_excess_hi"),
        beside_every_row("model", "step", "category_level"),
    ),
)
