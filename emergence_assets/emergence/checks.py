"""Claims about the emergence tables: what their declarations demand."""

from emergence_assets.emergence import tables
from resources.expectations import Check, table_checks
from resources.tables import Table

CHECKS: dict[str, tuple[Table, tuple[Check, ...]]] = {
    table.name: (table, table_checks(table))
    for table in (
        tables.SAE_METRICS,
        tables.CATEGORY_PRESENCE,
        tables.EMERGENCE_OVER_TIME,
        tables.EMERGENCE_OVER_SPACE,
        tables.EMERGENCE_OVER_SCALE,
    )
}
