"""Files in a study's folder that belong to none of its cells."""

from collections.abc import Iterable
from pathlib import Path

from emergence_assets.checkpoints.spec import TRAINING_START
from emergence_assets.plan.plan import Plan

_EMPTY = (".lock", ".holder")
"""Suffixes of files without content."""


def orphans(plan: Plan, known: Iterable[Path]) -> list[Path]:
    """List unknown files; a folder without known files is one entry. `emergence run` deletes temporary files."""
    root = plan.storage.root
    wanted = set(known) | _kept_beside(plan)
    above = {parent for path in wanted for parent in path.parents}
    unknown: list[Path] = []
    pending = [root] if root.is_dir() else []
    while pending:
        for path in sorted(pending.pop().iterdir()):
            if path in wanted or path.suffix in _EMPTY or (path.name.startswith(".") and path.suffix == ".tmp"):
                continue
            if path.is_dir() and not path.is_symlink() and path in above:
                pending.append(path)
            else:
                unknown.append(path)
    return sorted(unknown)


def _kept_beside(plan: Plan) -> set[Path]:
    """Return the paths that a study keeps beside its cells."""
    storage, models = plan.storage, plan.study.models
    beside = {storage.run_lock().parent, storage.checkpoint_lock_file(), storage.imported_saes_folder}
    beside |= {storage.verdicts(name) for name in plan.specs} | {storage.timeline(model) for model in models}
    return beside | {storage.training_folder(model) / TRAINING_START for model in models}
