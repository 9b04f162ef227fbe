"""Data docs of a study: what was validated last of every cell, by which checks, and what they found.

A folder in the data folder: `results/<asset>.json` for programs, a page per asset and an index for people. They are
brought up to date with every validation, so that no run has to build them and a kill leaves them whole.

great_expectations has pages of its own. They are not used: they load their style sheets and scripts from eight hosts,
and hold one validation each, while a study has a few per asset and tens of thousands of cells.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from emergence_assets.orchestration.assets.checks import CheckResult
from emergence_assets.orchestration.assets.data_docs_pages import asset_page, index_page, words
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from resources.files.atomic import clear_disk_errors, replacing_file
from resources.files.records import now
from resources.files.storage import Storage

INDEX_NAME = "index.html"


def record_validation(
    plan: Plan, spec: AssetSpec, cells: Sequence[Cell], found: Sequence[CheckResult], run_id: str
) -> Path:
    """Put a validation into the data docs, in place of earlier ones of the same cells.

    Args:
        plan: of the study.
        spec: the asset.
        cells: what was validated.
        found: check_results of all checks.
        run_id: Dagster's run.

    Returns:
        The asset's page.

    Raises:
        EmergenceError: the disk refuses.
    """
    storage, spec = plan.storage, spec
    folder = storage.data_docs_folder()
    names = [str(cell) for cell in cells]
    newest = {"at": now(), "run_id": run_id, "cells": names, "checks": [_check(verdict) for verdict in found]}
    page = folder / f"{spec.name}.html"
    with clear_disk_errors(folder), FileLock(storage.data_docs_lock()):
        record = {"asset": spec.name, "stage": spec.stage, "description": spec.description}
        record |= {"place": list(plan.specs).index(spec.name)}
        record |= {"validations": [newest, *_others(_results(folder) / f"{spec.name}.json", set(names))]}
        _write(_results(folder) / f"{spec.name}.json", json.dumps(record, indent=1, allow_nan=False))
        _write(page, asset_page(storage.study, record))
        _write(folder / INDEX_NAME, index_page(storage.study, recorded(storage)))
    return page


def recorded(storage: Storage) -> list[dict[str, Any]]:
    """Records of all assets that were validated, in flow order; what cannot be read is passed over."""
    found = (_read(path) for path in _results(storage.data_docs_folder()).glob("*.json"))
    return sorted((record for record in found if record), key=lambda record: record["place"])


def _results(folder: Path) -> Path:
    return folder / "results"


def _check(verdict: CheckResult) -> dict[str, Any]:
    check, finding = verdict.finding.check, verdict.finding
    return {
        "name": check.name,
        "description": check.description,
        "severity": "error" if check.blocking else "warning",
        "passed": finding.passed,
        "conditions": [words(condition) for condition in check.conditions],
        "failed_cells": sorted(verdict.cells),
        "found": list(finding.details),
    }


def _others(path: Path, names: set[str]) -> list[dict[str, Any]]:
    """Earlier validations without these cells."""
    record = _read(path)
    found = []
    for validation in record["validations"] if record else []:
        kept = [name for name in validation["cells"] if name not in names]
        checks = [
            check | {"failed_cells": [name for name in check["failed_cells"] if name not in names]}
            for check in validation["checks"]
        ]
        found += [validation | {"cells": kept, "checks": checks}] if kept else []
    return found


def _read(path: Path) -> dict[str, Any] | None:
    """A record; None where there is none, or one that was not written by us: it is made anew."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        complete = all(
            set(validation) >= {"at", "run_id", "cells", "checks"} for validation in record["validations"]
        ) and set(record) >= {"asset", "stage", "description", "place"}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if complete else None


def _write(path: Path, text: str) -> None:
    with replacing_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
