"""Verdicts of blocking checks on stored cells, kept beside the cells: a line of JSON each, in a file per asset.

A verdict belongs to one version of a cell (fingerprint, time of making, summary) and to the declared checks. A lost
line costs one validation: a cell without a verdict is validated when its state is asked for.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from resources.files.provenance import Provenance, canonical_json
from resources.files.storage import Storage
from resources.files.versions import per_version

Verdict = tuple[str, str]
"""Version of a cell, and the failed blocking checks; empty when all pass."""


def known_failures(storage: Storage, spec: AssetSpec, cell: Cell, stored: Provenance) -> str | None:
    """Return the failed blocking checks of a stored cell, empty without any; None when there is no verdict yet."""
    version, failures = per_version(storage.verdicts(spec.name), _read).get(str(cell), ("", ""))
    return failures if version == _version(spec, stored) else None


def keep_verdicts(storage: Storage, spec: AssetSpec, failures: Mapping[Cell, tuple[Provenance, str]]) -> None:
    """Append the verdicts of cells: their stored provenance, and their failed blocking checks.

    Nothing is written into a folder that cannot be written, for example that of a colleague.
    """
    known = per_version(path := storage.verdicts(spec.name), _read)
    verdicts = {str(cell): (_version(spec, stored), failed) for cell, (stored, failed) in failures.items()}
    new = [[cell, *verdict] for cell, verdict in verdicts.items() if known.get(cell) != verdict]
    if not new:
        return
    # One write, so that two processes do not mix their lines; a line break first, so that a line cut short by a kill
    # leaves the next line intact.
    text = "".join(f"\n{json.dumps(line)}" for line in new)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _version(spec: AssetSpec, stored: Provenance) -> str:
    summary = sha256(canonical_json(dict(stored.summary)).encode()).hexdigest()[:16]
    return f"{stored.fingerprint} {stored.created} {summary} {_declared(spec)}"


@lru_cache
def _declared(spec: AssetSpec) -> str:
    return sha256(repr([check for check in spec.checks if check.blocking]).encode()).hexdigest()[:16]


def _read(path: Path) -> Mapping[str, Verdict]:
    """Read the latest verdict of every cell; lines that are no verdicts are ignored."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, Verdict] = {}
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            match json.loads(line):
                case [str(cell), str(version), str(failures)]:
                    found[cell] = (version, failures)
    return found
