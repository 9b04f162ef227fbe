"""The audit of a copy of the finished study, called as by the command."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from emergence_assets.audit.events import open_event_log
from emergence_assets.audit.verify import verify_study
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import load_study
from resources.files.storage import Storage
from tests.conftest import TINY


def audit_of(data: Path, home: Path | None = None) -> dict[str, Any]:
    """Audit the tiny study in a data folder."""
    study = load_study(str(TINY))
    plan = Plan(study, Storage(data, study.name), specs_for(study))
    with open_event_log(home or data / "dagster", study.name) as events:
        return verify_study(plan, events).as_dict()


def fingerprints_of(folder: Path) -> dict[str, str]:
    """Read every file with its content and time."""
    return {
        str(path.relative_to(folder)): f"{sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in folder.rglob("*")
        if path.is_file()
    }
