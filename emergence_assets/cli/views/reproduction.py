"""A reproduction in the terminal: a line per asset, and every difference."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from emergence_assets.orchestration.reproduce import Reproduced, Reproduction

SHOWN = 20
"""Differences that are listed; --json has all."""


def print_reproduction(console: Console, found: Reproduction) -> None:
    """Show what was equal, what differed and by how much."""
    table = Table(title=f"{found.address}, made again from {found.start}", box=None, title_justify="left")
    for column in ("asset", "made again", "equal bit for bit", "within tolerance", "differ"):
        table.add_column(column, justify="left" if column == "asset" else "right")
    for asset, cells in _by_asset(found).items():
        counts = Counter("equal" if one.is_equal else "within" if one.agrees else "differ" for one in cells)
        table.add_row(asset, str(len(cells)), *(str(counts[name] or "·") for name in ("equal", "within", "differ")))
    console.print(table)
    if found.given:
        listed = ", ".join(f"{asset} {n}" for asset, n in found.given.items())
        console.print(f"taken as they are, hashes verified: {listed}", highlight=False)
    unpromised = [one for one in found.cells if not one.promised]
    if unpromised:
        names = sorted({name for one in unpromised for name in one.differs_in})
        console.print(f"not promised bit for bit: {', '.join(names)} differ from where it was made", highlight=False)
    listed = [difference for one in found.cells for difference in one.differences]
    for difference in listed[:SHOWN]:
        size = (
            ""
            if difference.largest is None
            else f", by at most {difference.largest:.3g} ({difference.relative:.3g} of it)"
        )
        where = f"{difference.path} {difference.name}".strip()
        console.print(f"  {where}: {difference.what}, {difference.n_differing} values{size}", highlight=False)
    if len(listed) > SHOWN:
        console.print(f"  and {len(listed) - SHOWN} more; --json has all", highlight=False)
    console.print("reproduced" if found.agrees else "[red]not reproduced[/red]")


def _by_asset(found: Reproduction) -> dict[str, list[Reproduced]]:
    assets: dict[str, list[Reproduced]] = {}
    for cell in found.cells:
        assets.setdefault(cell.asset, []).append(cell)
    return assets
