"""Worker of `category_presence`: join all layers and checkpoints of a model."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.presence.presence import category_presence
from emergence_assets.features.statistics.linear_probes import bag_of_words_auroc
from emergence_assets.features.statistics.probe_labels import cell_labels, probe_texts
from emergence_assets.plan.table_worker import Made


@functools.cache
def _bag_of_words(probes: str, tokens_file: Path, n_shuffles: int, seed: int) -> pl.DataFrame:
    """Measure the bag of words; once per process, because it is the same for all models with these tokens."""
    texts, labels = probe_texts(probes, tokens_file)["text"].to_list(), cell_labels(probes, tokens_file)
    return bag_of_words_auroc(texts, labels, n_shuffles=n_shuffles, shuffle_seed=seed)


def collect_presence(
    presence_cells: pl.DataFrame, cells: Sequence[Mapping[str, Any]], probes: str, settings: Mapping[str, Any]
) -> Made:
    """Make the rows of `category_presence` of one model.

    Args:
        presence_cells: `presence_cells` of all layers and checkpoints, with key columns.
        cells: layers of all checkpoints of the model, see `input_cells`.
        probes: JSON of the probe set.
        settings: section statistics of the study.
    """
    statistics = settings["statistics"]
    words = _bag_of_words(probes, Path(cells[0]["tokens_file"]), statistics["n_shuffles"], statistics["seed"])
    frame = category_presence(presence_cells, words)
    last = frame.filter(pl.col("step") == frame["step"].max(), pl.col("control_id") == "none")
    means = {f"mean_{name}_at_last_step": last[name].mean() for name in ("p_best", "net", "gain", "net_gain")}
    return Made(frame, means)
