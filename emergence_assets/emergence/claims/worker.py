"""Worker that collects the claims of a study."""

from pathlib import Path
from typing import Any

from emergence_assets.emergence.claims.spec import CLAIMS, EVIDENCE
from emergence_assets.emergence.table_spec import write_cell
from emergence_assets.texts.study_texts import probe_set
from resources.tables.parquet import read_tables


def collect_claims(tables: dict[str, list[str]], probes: str, path: str, required: str, report: Any) -> None:
    """Worker: everything that may or may not be said, graded."""
    from emergence_assets.emergence.catalogue import CATALOGUE
    from emergence_assets.emergence.claims.claims import Evidence, claims
    from emergence_assets.emergence.claims.grading import GRADES
    from emergence_assets.features.probe_quality.categories import told_by_form

    # A family without second runs of a model has no table of them.
    read = {name: read_tables([Path(part) for part in tables.get(name, ())], CATALOGUE[name]) for name in EVIDENCE}
    evidence = Evidence(**read)
    texts = probe_set(probes)
    frame = claims(evidence, texts.levels[0], told_by_form(texts))
    counts = dict(frame.group_by("grade").len().iter_rows())
    summary = {f"grade_{grade}": counts.get(grade, 0) for grade in GRADES}
    write_cell(Path(path), frame, CATALOGUE[CLAIMS.name], required, {"statements": len(frame), **summary})
