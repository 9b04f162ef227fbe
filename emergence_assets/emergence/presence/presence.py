"""Category presence: AUROC of a cell's best latent for a category against all other texts, with its controls.

Presence is the primary quantity; most other tables of this stage are derived from it.

Shape suffixes: r rows, b bootstrap replicates.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl
import polars.selectors as cs

from emergence_assets.emergence.presence.net import RANDOM, net_columns
from emergence_assets.emergence.presence.replicates import CELL_KEYS, replicate_array, require_same_texts, with_step0
from emergence_assets.emergence.presence.seed_draws import nested_means
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from emergence_assets.features.statistics.formulas import bounds, estimate
from resources.errors import EmergenceError

TRIVIAL = 0.98
"""AUROC of an untrained network's best latent from which a category counts as lexical (design, 2.2)."""

_ROW = ("model", "step", "layer", "control_id", "category_level", "category")


def category_presence(cells: pl.DataFrame, bow: pl.DataFrame) -> pl.DataFrame:
    """Return the presence of every category in every cell: one row per (model, step, layer, control, level, category).

    * p_best: AUROC on split score of the latent chosen on split select, mean over SAE seeds (single seeds in
      `p_seeds`). Its interval is the percentile interval of replicates that draw texts and seeds (`seed_draws.py`);
      with one seed they draw texts only.
    * gain: p_best − p_step0 (same model, layer and control); null without step 0.
    * excess: gain / (1 − p_step0), the share of the possible gain; null without step 0 or if trivially_lexical.
    * trivially_lexical: p_step0 >= 0.98, as in the design. `p_bow` above `p_best` makes no category trivial, since a
      probe on all words nearly always beats one latent.
    * precision, recall, f1, mcc: of the best latent as a detector, means over SAE seeds. own_share: share of the seeds
      in which it is a latent of its own: the rule of the study accepts it, and it separates no other category of the
      level better. Both stand beside those of random encoders (own_share: of as many draws as there are SAE seeds).
    * alloc_gap: p_dense − p_best.
    * p_random: p_best of the random encoders of the same cell; net = p_best − p_random; net_gain: net minus that of
      step 0, a difference of differences. Only in rows with control `none`.

    Args:
        cells: rows of `presence_cell.presence_cell` with the key columns model, n_params_nonemb, step, tokens_seen,
            layer, n_layers, rel_depth, sae_seed, data_version.
        bow: result of `linear_probes.bag_of_words_auroc` for the same probe set.

    Returns:
        See `CATEGORY_PRESENCE`. AUROC columns: 0.5 = chance, 1 = perfect.

    Raises:
        EmergenceError: a cell appears twice, or cells were measured on different texts or with different replicates.
    """
    if cells.is_empty():
        return CATEGORY_PRESENCE.schema.to_frame()
    repeated = cells.filter(cells.select(*_ROW, "sae_seed").is_duplicated())
    if not repeated.is_empty():
        raise EmergenceError(
            "a cell is given twice",
            where="model {}, step {}, layer {}, SAE seed {}".format(
                *repeated.select("model", "step", "layer", "sae_seed").row(0)
            ),
            remedy="Give each materialised cell once.",
        )
    require_same_texts(cells)

    cells = cells.sort([*_ROW, "sae_seed"])
    table = cells.group_by(_ROW, maintain_order=True).agg(
        pl.col(*(key for key in CELL_KEYS if key not in _ROW), "n_category", "n_texts", "n_category_score").first(),
        pl.col("p_select", "p_best").mean(),
        # The raw read-out does not depend on the SAE.
        pl.col("p_dense", "p_dense_lo", "p_dense_hi", "replicates_dense").first(),
        pl.col("precision", "recall", "f1", "mcc").mean(),
        pl.col("data_version"),
        own_share=(pl.col("is_own") & pl.col("passes")).mean(),
        p_seeds=pl.col("p_best"),
        n_seeds=pl.len(),
    )
    replicates_rb = nested_means(
        replicate_array(cells),
        cells["p_best"].to_numpy(),
        table["n_seeds"].to_numpy().astype(np.int64),
        table.select("model", "step", "layer").rows(),
        table.select("control_id", "category_level").rows(),
    )
    keys = ("model", "layer", "control_id", "category_level", "category")
    p_best, p_step0, step0_rb = with_step0(table, keys, replicates_rb)
    gain, gain_rb = p_best - p_step0, replicates_rb - step0_rb
    room = np.where(p_step0 < TRIVIAL, 1 - p_step0, np.nan)
    # The denominator is resampled too: the possible gain is as uncertain as p_step0.
    room_rb = np.where((np.isfinite(room)[:, None]) & (step0_rb < 1), 1 - step0_rb, np.nan)
    columns = {
        "p_step0": p_step0,
        **bounds("p_best", replicates_rb),
        **estimate("gain", gain, gain_rb),
        **estimate("excess", gain / room, gain_rb / room_rb),
        **net_columns(table, replicates_rb),
    }
    # Words do not depend on the dictionary.
    words = pl.concat([bow, bow.filter(pl.col("control_id") == "none").with_columns(control_id=pl.lit(RANDOM))])
    table = table.join(
        words.select("control_id", "category_level", "category", "p_bow"),
        on=["control_id", "category_level", "category"],
        how="left",
        maintain_order="left",
        validate="m:1",
    ).with_columns(
        *pl.DataFrame(columns),
        pl.Series("replicates", replicates_rb.astype(np.float32), dtype=pl.List(pl.Float32)),
        pl.Series("data_version", [joined_version(versions) for versions in table["data_version"]], dtype=pl.String),
        alloc_gap=pl.col("p_dense") - pl.col("p_best"),
        n_boot=pl.lit(replicates_rb.shape[1]),
    )
    return (
        table.with_columns(cs.float().cast(pl.Float32).fill_nan(None))
        .with_columns(trivially_lexical=pl.col("p_step0") >= TRIVIAL)
        .select(pl.col(name).cast(dtype) for name, dtype in CATEGORY_PRESENCE.schema.items())
        .sort(_ROW)
    )


def joined_version(versions: Iterable[str]) -> str:
    """Join data versions into one: 16 hex digits of the sha256 of the sorted, distinct versions."""
    return hashlib.sha256("\n".join(sorted(set(versions))).encode()).hexdigest()[:16]
