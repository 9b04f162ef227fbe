"""Presence of every category in the codes of a control: one row per category and draw, with replicates."""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.emergence.controls.table import CONTROL_PARTS
from emergence_assets.features.statistics.cell_tables import CellRecipe
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.labels import Labels, shuffled_labels, text_weights
from emergence_assets.features.statistics.linear_probes import dense_probe_auroc
from emergence_assets.features.statistics.presence_cell import score_labelling

_SCHEMA = CONTROL_PARTS.schema_without("control_id", "layer")


def control_rows(
    drawn: Iterable[Codes],
    read_out_pd: NDArray[np.floating],
    labels: Sequence[Labels],
    recipe: CellRecipe,
    stratum_p: NDArray[np.integer] | None = None,
) -> pl.DataFrame:
    """Measure presence as in `presence_cell.presence_cell`, without permuted labels; see `CONTROL_PARTS`.

    Args:
        drawn: codes of the control, one item per random draw of its SAE.
        read_out_pd: encoded read-outs, texts × d_model; also the input of the dense probe.
        labels: labels of every level.
        recipe: settings of the study's cells: replicates weight the same texts, so that differences are paired.
        stratum_p: permute the labels within these strata, `recipe.n_shuffles` times, and take means.
    """
    frames, every_draw = [pl.DataFrame(schema=_SCHEMA)], list(drawn)
    for level in labels:
        kept = np.flatnonzero(level.is_usable(recipe.min_texts_per_split))
        if not len(kept):
            continue
        shuffled = (
            [] if stratum_p is None else shuffled_labels(level, recipe.n_shuffles, recipe.shuffle_seed, stratum_p)
        )
        weights_pb = text_weights(level, recipe.n_boot, recipe.boot_seed)
        dense = dense_probe_auroc(read_out_pd, level, shuffled, recipe.ridge_strength, weights_pb)
        p_dense_c = dense.shuffled_c if shuffled else dense.p_c
        for draw, codes in enumerate(every_draw):
            select, score = (codes.entries(level.rows(select=side)) for side in (True, False))
            found = [score_labelling(select, score, one, kept, weights_pb) for one in shuffled or [level]]
            replicates_cb = np.mean([one.replicates_cb for one in found], axis=0)[kept]
            frames.append(
                pl.DataFrame(
                    {
                        "draw": draw,
                        "category_level": level.level,
                        "category": [level.categories[c] for c in kept],
                        "p_select": np.mean([one.p_select_c for one in found], axis=0)[kept],
                        "p_best": np.mean([one.p_best_c for one in found], axis=0)[kept],
                        "p_dense": p_dense_c[kept],
                        "replicates": replicates_cb.astype(np.float32),
                    },
                    schema=_SCHEMA,
                )
            )
    return pl.concat(frames)
