"""Metadata of a run for the records that it writes: run id, study, seeds and commit."""

from hashlib import sha256
from typing import Any

from emergence_assets.study.seeds import seeds_of
from emergence_assets.study.study import Study
from resources.files.provenance import canonical_json
from resources.git_commit import checkout


def run_metadata(run_id: str, study: Study) -> dict[str, Any]:
    """Return run_id, study, study_sha256 (of settings that decide results), seeds by field, git_commit, git_dirty."""
    science = study.science()
    return {
        "run_id": run_id,
        "study": study.name,
        "study_sha256": sha256(canonical_json(science).encode()).hexdigest(),
        "seeds": seeds_of(science),
        **checkout(),
    }
