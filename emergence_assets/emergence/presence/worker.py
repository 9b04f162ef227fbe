"""Worker of `category_presence`: join all layers and checkpoints of a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.presence.presence import category_presence
from emergence_assets.features.statistics.linear_probes import bag_of_words_auroc
from emergence_assets.features.statistics.probe_labels import cell_labels, probe_texts
from emergence_assets.plan.table_worker import Made


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
    tokens_file, statistics = Path(cells[0]["tokens_file"]), settings["statistics"]
    bow = bag_of_words_auroc(
        probe_texts(probes, tokens_file)["text"].to_list(),
        cell_labels(probes, tokens_file),
        n_shuffles=statistics["n_shuffles"],
        shuffle_seed=statistics["seed"],
    )
    frame = category_presence(presence_cells, bow)
    last = frame.filter(pl.col("step") == frame["step"].max(), pl.col("control_id") == "none")
    return Made(frame, {"mean_p_best_at_last_step": last["p_best"].mean(), "mean_gain": last["gain"].mean()})
