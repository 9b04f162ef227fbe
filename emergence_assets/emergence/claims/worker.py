"""Collect the claims of a study."""

import polars as pl

from emergence_assets.emergence.claims.claims import claims
from emergence_assets.emergence.claims.grading import GRADES
from emergence_assets.emergence.scale.table import MODEL_SEEDS
from emergence_assets.features.probe_quality.categories import surface_form_confounds
from emergence_assets.plan.table_worker import Made
from emergence_assets.texts.study_texts import probe_set


def collect_claims(probes: str, model_seeds: pl.DataFrame | None = None, **tables: pl.DataFrame) -> Made:
    """Make the rows of `claims`: every statement of the study, graded.

    Args:
        probes: JSON of the probe set.
        model_seeds: None for a family without a second training run of any model.
        tables: the other tables of `spec.EVIDENCE`.
    """
    runs = MODEL_SEEDS.schema.to_frame() if model_seeds is None else model_seeds
    texts = probe_set(probes)
    frame = claims({"model_seeds": runs, **tables}, texts.levels[0], surface_form_confounds(texts))
    counts = dict(frame.group_by("grade", maintain_order=True).len().iter_rows())
    return Made(frame, {f"grade_{grade}": counts.get(grade, 0) for grade in GRADES})
