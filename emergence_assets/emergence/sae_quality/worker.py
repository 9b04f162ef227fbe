"""Worker that collects the quality of all SAEs of a model."""

from pathlib import Path
from typing import Any

from emergence_assets.emergence.table_spec import write_cell


def collect_metrics(
    sources: list[dict[str, Any]], design: dict[str, Any], path: str, required: str, report: Any
) -> None:
    """Worker: the quality of all SAEs of one model as a table."""
    from emergence_assets.emergence.sae_quality.sae_metrics import sae_metrics
    from emergence_assets.emergence.sae_quality.table import SAE_METRICS as TABLE

    frame = sae_metrics(sources, design)
    numbers = {"saes": len(frame), "mean_fvu": frame["fvu"].mean(), "mean_dead_frac": frame["dead_frac"].mean()}
    write_cell(Path(path), frame, TABLE, required, numbers)
