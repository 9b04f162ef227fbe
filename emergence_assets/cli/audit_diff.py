"""`emergence audit --diff`: changes between two states of a study."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emergence_assets.cli.options import open_study, shortened, show, table
from resources.errors import EmergenceError

if TYPE_CHECKING:
    from emergence_assets.audit.states import StateDifference

KINDS = ("same", "changed", "added", "removed", "damaged")


def audit_diff(folders: tuple[Path, Path], as_json: bool) -> bool:
    """Print the differences of two data folders; return whether they are equal."""
    from emergence_assets.audit.states import compare_states
    from emergence_assets.plan.plan import Plan
    from resources.files.storage import Storage

    plan = open_study()
    storages = [Storage(folder.absolute(), plan.study.name) for folder in folders]
    for storage in storages:
        if not storage.root.is_dir():
            raise EmergenceError(f"There is no study {storage.study!r} here.", where=storage.data)
    difference = compare_states(*(Plan(plan.study, storage, list(plan.specs.values())) for storage in storages))
    cells = [(asset, *(counts.get(kind) for kind in KINDS)) for asset, counts in difference.cells.items()]
    show(
        difference.as_dict(),
        as_json,
        *_provenance_lines(difference),
        table(("asset", *KINDS), cells),
        *_result_lines(difference),
    )
    return difference.is_same


def _provenance_lines(difference: "StateDifference") -> Iterator[str]:
    """Yield lines about settings, code, environment and inputs."""
    yield f"from {difference.first}\nto   {difference.second}"
    for asset, settings in difference.settings.items():
        for name, (was, now) in settings.items():
            yield f"setting of {asset}: {name} was {was}, is {now}"
    for asset, (was, now) in difference.code.items():
        yield f"code of {asset}: {was}, now {now}"
    for name, (was, now) in difference.environment.items():
        yield f"{name}: {', '.join(was)}, now {', '.join(now)}"
    for asset, n_cells in difference.inputs.items():
        yield f"inputs of {asset}: others in {n_cells} cells, with the same settings and code"


def _result_lines(difference: "StateDifference") -> Iterator[str]:
    """Yield lines about tables and claims."""
    for change in difference.tables:
        rows = f"{change.changed} rows changed, {change.added} added, {change.removed} removed"
        yield f"{change.table}: {change.problem or rows}"
        for moved in change.largest:
            key = ", ".join(f"{name}={value}" for name, value in moved.key.items() if value is not None)
            yield f"    {moved.column} {moved.before:.4g} to {moved.after:.4g} at {key}"
    yield from shortened(
        [f"claim {claim['before']} to {claim['after']}: {claim['statement']}" for claim in difference.grades], " claims"
    )
    if difference.is_same:
        yield "nothing changed"
