"""Files in a study's folder that belong to none of its cells."""

from collections.abc import Iterable
from pathlib import Path

from emergence_assets.plan import Plan

_OWN_ENDINGS = (".lock", ".holder")
"""Of files without content."""


def strays(plan: Plan, known: Iterable[Path]) -> list[Path]:
    """What nothing knows: whole folders where nothing in them is known. Temporary files are left to `emergence run`."""
    root = plan.storage.root
    wanted = set(known)
    above = {parent for path in wanted for parent in path.parents}
    above |= {root / "locks", root / "imported_saes"}
    found: list[Path] = []
    pending = [root] if root.is_dir() else []
    while pending:
        for path in sorted(pending.pop().iterdir()):
            if path in wanted or path == root / "locks" or _is_own(path, plan):
                continue
            if path.is_dir() and not path.is_symlink() and path in above:
                pending.append(path)
            else:
                found.append(path)
    return sorted(found)


def _is_own(path: Path, plan: Plan) -> bool:
    """What a study keeps beside its cells."""
    if path.suffix in _OWN_ENDINGS or (path.name.startswith(".") and path.suffix == ".tmp"):
        return True
    storage = plan.storage
    beside = {storage.time_axis(model) for model in plan.study.models}
    beside |= {storage.training_folder(model) / "started.json" for model in plan.study.models}
    folders = (storage.data_docs_folder(), storage.root / "imported_saes")
    return path in beside or path in (storage.checkpoint_lock_file(), *folders)
