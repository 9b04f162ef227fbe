"""What changed between two states of a study, in the terminal."""

from rich.console import Console
from rich.table import Table

from emergence_assets.audit.states import StateDifference

KINDS = ("same", "changed", "added", "removed", "damaged")
SHOWN_GRADES = 20
"""Claims that are listed; --json has all."""


def print_states(console: Console, found: StateDifference) -> None:
    """Settings first, then code and what computed, then cells, numbers and claims."""
    console.print(f"from {found.first}\nto   {found.second}", highlight=False, markup=False)
    for asset, settings in found.settings.items():
        for name, (was, now) in settings.items():
            console.print(f"setting of {asset}: {name} was {was}, is {now}", highlight=False, markup=False)
    for asset, (was, now) in found.code.items():
        console.print(f"code of {asset}: {was}, now {now}", highlight=False)
    for name, (was, now) in found.environment.items():
        console.print(f"{name}: {', '.join(was)}, now {', '.join(now)}", highlight=False, markup=False)
    for asset, n_cells in found.inputs.items():
        console.print(f"inputs of {asset}: other ones in {n_cells} cells, with the same settings and code")
    table = Table("asset", *KINDS, box=None)
    for asset, counts in found.cells.items():
        table.add_row(asset, *(str(counts.get(kind, "·")) for kind in KINDS))
    console.print(table)
    for change in found.tables:
        rows = f"{change.changed} rows changed, {change.added} added, {change.removed} removed"
        console.print(f"{change.table}: {change.problem or rows}", highlight=False, markup=False)
        for moved in change.largest:
            key = ", ".join(f"{name}={value}" for name, value in moved.key.items() if value is not None)
            console.print(f"    {moved.column} {moved.before:.4g} to {moved.after:.4g} at {key}", highlight=False)
    for claim in found.grades[:SHOWN_GRADES]:
        console.print(
            f"claim {claim['before']} to {claim['after']}: {claim['statement']}", highlight=False, markup=False
        )
    if len(found.grades) > SHOWN_GRADES:
        console.print(f"and {len(found.grades) - SHOWN_GRADES} more claims")
    if found.is_same:
        console.print("nothing changed")
