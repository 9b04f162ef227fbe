"""`emergence audit --reproduce`: make a result again and list all differences."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emergence_assets.cli.options import coloured, display, open_study, shortened, show, table

if TYPE_CHECKING:
    from emergence_assets.audit.comparison import Difference
    from emergence_assets.orchestration.reproduce import Reproduction


def audit_reproduce(
    address: str, filters: tuple[str, ...], into: Path | None, start: Literal["checkpoints", "training"], as_json: bool
) -> bool:
    """Print the equal cells and the differences; return whether all cells agree."""
    from emergence_assets.audit.address import parse_filters, resolve
    from emergence_assets.audit.events import open_event_log
    from emergence_assets.audit.records import AuditPlan
    from emergence_assets.orchestration.instance.interruption import interruptions_kept
    from emergence_assets.orchestration.reproduce import reproduce
    from resources.files.storage import instance_home

    plan = open_study()
    with open_event_log(instance_home(plan.storage.data), plan.study.name) as events:
        target = resolve(address, parse_filters(filters), AuditPlan(plan), events)
    with (
        contextlib.nullcontext(into) if into else tempfile.TemporaryDirectory() as folder,
        interruptions_kept(),
        display() as progress,
    ):
        reproduction = reproduce(target, " ".join((address, *filters)), plan, Path(folder).absolute(), start, progress)
    counts: dict[str, Counter[str]] = {}
    for cell in reproduction.cells:
        kind = "equal" if cell.is_equal else "within" if cell.agrees else "differ"
        counts.setdefault(cell.asset, Counter())[kind] += 1
    rows = [
        (asset, n.total(), *(n[kind] or None for kind in ("equal", "within", "differ"))) for asset, n in counts.items()
    ]
    columns = ("asset", "made again", "equal bit for bit", "within tolerance", "differ")
    listed = table(columns, rows, f"{reproduction.address}, made again from {reproduction.start}")
    show(reproduction.as_dict(), as_json, listed, *_lines(reproduction))
    return reproduction.agrees


def _lines(reproduction: "Reproduction") -> Iterator[str]:
    if reproduction.given:
        listed = ", ".join(f"{asset} {n}" for asset, n in reproduction.given.items())
        yield f"taken as they are, hashes verified: {listed}"
    if names := sorted({name for one in reproduction.cells if not one.promised for name in one.differs_in}):
        yield f"not promised bit for bit: {', '.join(names)} differ from the original environment"
    yield from shortened([_difference(one) for cell in reproduction.cells for one in cell.differences])
    yield "reproduced" if reproduction.agrees else coloured("not reproduced", "red")


def _difference(one: "Difference") -> str:
    size = "" if one.largest is None else f", by at most {one.largest:.3g} ({one.relative:.3g} of it)"
    return f"  {f'{one.path} {one.name}'.strip()}: {one.what}, {one.n_differing} values{size}"
