"""Collects the quality of all SAEs of a model."""

from typing import Any

from emergence_assets.emergence.sae_quality.sae_metrics import sae_metrics
from emergence_assets.emergence.table_worker import Made


def collect_metrics(sources: list[dict[str, Any]], design: dict[str, Any]) -> Made:
    """Rows of `sae_metrics` of one model.

    Args:
        sources: key columns of each SAE cell, and `file`, the metrics of its SAEs.
        design: n_latents, k, arch and d_model of the SAEs.
    """
    frame = sae_metrics(sources, design)
    summary = {"saes": len(frame), "mean_fvu": frame["fvu"].mean(), "mean_dead_frac": frame["dead_frac"].mean()}
    return Made(frame, summary)
