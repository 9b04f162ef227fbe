"""Joins the presence of all cells of a model."""

from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.presence.presence import category_presence
from emergence_assets.emergence.table_worker import Made, key_literals
from emergence_assets.features.statistics.linear_probes import bag_of_words_auroc
from emergence_assets.features.statistics.probe_labels import cell_labels
from emergence_assets.features.table import PRESENCE_CELLS
from emergence_assets.texts.study_texts import probe_set
from emergence_assets.texts.tokens import read_tokens
from resources.tables.parquet import read_table


def collect_presence(
    sources: list[dict[str, Any]], probes: str, tokens_file: str, n_shuffles: int, seed: int, report: Any
) -> Made:
    """Rows of `category_presence` of one model.

    Args:
        sources: key columns of each cell, and `file`, its presence table.
        probes: JSON of the probe set.
        tokens_file: tokens of the probe texts, for their order.
        n_shuffles: permutations of the labels.
        seed: of these permutations.
        report: called with cells done, all cells, and a note.
    """
    parts = []
    for position, source in enumerate(sources):
        part = read_table(Path(source["file"]), PRESENCE_CELLS)
        parts.append(part.with_columns(key_literals(source)))
        report(position + 1, len(sources), "")
    texts = dict(probe_set(probes).texts.select("text_id", "text").iter_rows())
    ordered = [texts[name] for name in read_tokens(Path(tokens_file)).probe_text_id]
    labels = cell_labels(probes, Path(tokens_file))
    bow = bag_of_words_auroc(ordered, labels, n_shuffles=n_shuffles, shuffle_seed=seed)
    frame = category_presence(pl.concat(parts), bow)
    last = frame.filter(pl.col("step") == frame["step"].max(), pl.col("control_id") == "none")
    return Made(frame, {"mean_p_best_at_last_step": last["p_best"].mean(), "mean_gain": last["gain"].mean()})
