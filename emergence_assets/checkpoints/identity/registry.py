"""Rows of `checkpoint_registry`: identity of each checkpoint, its similarity to other steps, and its status."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.checkpoints.identity.measurement import Measurement
from emergence_assets.checkpoints.identity.validation import cosine_matrix
from emergence_assets.checkpoints.table import REGISTRY
from emergence_assets.plan.timeline import MADE_HERE, TimelineEntry, is_used

OF_ENTRY = ("step", "location", "revision", "commit_sha", "dup_of_step", "status", "reason", "upstream")


def registry_frame(
    model: str, tokens_per_step: int, entries: Sequence[TimelineEntry], measurements: Mapping[int, Measurement]
) -> pl.DataFrame:
    """Make the rows of `REGISTRY` for one model, by step; columns of an unmeasured checkpoint are null.

    Args:
        model: name of the model.
        tokens_per_step: training tokens per step.
        entries: checkpoint timeline of the model.
        measurements: step to measurement with sample. Cosines are estimated from the samples, for steps of the most
            frequent architecture only.
    """
    steps, cosines_ss = cosine_matrix(measurements)
    place = {step: position for position, step in enumerate(steps)}
    rows = []
    for entry in sorted(entries, key=lambda entry: entry.step):
        measured = measurements.get(entry.step)
        at = place.get(entry.step)
        cosines = None if at is None else cosines_ss[at].astype(np.float32)
        rows.append(
            {
                **{name: getattr(entry, name) for name in OF_ENTRY},
                "model": model,
                "tokens_seen": entry.step * tokens_per_step,
                "bytes": entry.weights_bytes,
                "failed": list(entry.failed),
                "on_time_axis": is_used(entry.status),
                "made_here": entry.location == MADE_HERE,
                "cosine_steps": [] if cosines is None else list(steps),
                "cosines": [] if cosines is None else cosines.tolist(),
                "cos_to_step0": None if cosines is None or 0 not in place else float(cosines[place[0]]),
                "cos_to_prev": None if cosines is None or not at else float(cosines[at - 1]),
                "cos_to_last": None if cosines is None else float(cosines[-1]),
                **_measured(measured),
            }
        )
    return pl.DataFrame(rows, schema=REGISTRY.schema)


def _measured(measured: Measurement | None) -> dict[str, Any]:
    if measured is None:
        return {"groups": [], "group_hashes": [], "group_norms": []}
    facts = ("weights_sha256", "architecture", "n_layers", "d_model", "n_params", "n_params_nonemb")
    return {
        **{name: getattr(measured.facts, name) for name in facts},
        "embed_norm_median": measured.embed_norm_median,
        "weight_norm": float(np.sqrt(np.square(measured.group_norms).sum())),
        "loss": measured.loss,
        "groups": list(measured.groups),
        "group_hashes": list(measured.group_hashes),
        "group_norms": list(measured.group_norms),
    }
