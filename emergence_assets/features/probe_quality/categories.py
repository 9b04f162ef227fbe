"""Quality of a probe set, a row per level and category: copies, form, length, statistical power."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.features.probe_quality.power import RATES, acceptance_chance, auroc_standard_error, smallest_rise
from emergence_assets.features.probe_quality.templates import wording
from emergence_assets.texts.near_duplicates import Shingles, shingles
from emergence_assets.texts.probe_set import ProbeSet

LOW_POWER_CHANCE = 0.8
"""A category has low power if a latent with the second rates of `RATES` (active on 15 % of its texts and on 1 % of
others) is accepted with a smaller probability."""
MOST_RISE = 0.5
"""Rise from chance to a perfect AUROC; a smallest rise above it is impossible, and stored as null."""
CHANCES = tuple(f"chance_{round(100 * tpr):02d}_{round(100 * fpr):02d}" for tpr, fpr in RATES)
"""Columns of the chances, as in `chance_10_01`: TPR .10, FPR .01."""
FORM = ("median_words", "length_auroc", "template_share", "prefix_share", "suffix_share", "is_template", "is_long")
"""Columns of the form of the texts, from `templates.wording`."""
PROBE_CATEGORY_SCHEMA: dict[str, Any] = {
    "category_level": pl.String,
    "category": pl.String,
    "n_texts": pl.Int32,
    "n_units": pl.Int32,
    "n_select": pl.Int32,
    "n_score": pl.Int32,
    "median_words": pl.Float32,
    "median_tokens": pl.Float32,
    "n_not_read": pl.Int32,
    "length_auroc": pl.Float32,
    "share_duplicates": pl.Float32,
    "template_share": pl.Float32,
    "prefix_share": pl.Float32,
    "suffix_share": pl.Float32,
    "is_template": pl.Boolean,
    "is_long": pl.Boolean,
    "n_confusable": pl.Int32,
    "confusable_with": pl.String,
    "se_auroc": pl.Float32,
    "min_rise": pl.Float32,
    **dict.fromkeys(CHANCES, pl.Float32),
    "is_low_power": pl.Boolean,
    "reason": pl.String,
}


def probe_categories(
    probes: ProbeSet, n_latents: int, n_checkpoints: int, n_tokens: Mapping[str, int] | None = None
) -> pl.DataFrame:
    """Make one row per level and category, removed categories last; see `PROBE_CATEGORY_SCHEMA`.

    Counts are texts; `n_units` counts copies once. Standard errors, rises and chances are based on units.

    Args:
        probes: the texts with their labels.
        n_latents: number of latents of the SAE, for the correction in `chance_…`.
        n_checkpoints: number of checkpoints, for `min_rise`.
        n_tokens: text_id to number of tokens; texts without an entry are too long, or end in another token. None if no
            tokenizer is available.
    """
    found, stems = shingles(probes.stems), probes.stems
    levels = [_level(probes, level, stems, found, n_latents, n_checkpoints, n_tokens) for level in probes.levels]
    gone = probes.left_out.select(
        pl.col(name) if name in probes.left_out.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in PROBE_CATEGORY_SCHEMA.items()
    )
    return pl.concat([*levels, gone])


def surface_form_confounds(probes: ProbeSet) -> Mapping[tuple[str, str], bool | None]:
    """Tell for every (level, category) whether a shared wording or the length of its texts alone could separate it.

    None where no words are found in the texts.
    """
    shared, found = shingles(probes.stems), dict[tuple[str, str], bool | None]()
    for level in probes.levels:
        names, codes = _coded(probes, level)
        form = wording(probes.stems, shared, codes, len(names))
        flagged = form.is_template_c | form.is_long_c
        found |= {
            (level, name): bool(flagged[c]) if flagged[c] or form.is_seen_c[c] else None for c, name in enumerate(names)
        }
    return found


def _coded(probes: ProbeSet, level: str) -> tuple[list[str], NDArray[np.int64]]:
    """Return the sorted categories of a level, and the index of the category of every text; -1 is none."""
    names = probes.texts[level].drop_nulls().unique().sort().to_list()
    index = {name: c for c, name in enumerate(names)}
    return names, np.array([-1 if name is None else index[name] for name in probes.texts[level]])


def _level(
    probes: ProbeSet,
    level: str,
    stems: list[str],
    found: Shingles,
    n_latents: int,
    n_checkpoints: int,
    n_tokens: Mapping[str, int] | None,
) -> pl.DataFrame:
    texts = probes.texts.select("text_id", "unit", "split", pl.col(level).alias("category"))
    texts = texts.with_columns(
        pl.Series("tokens", [(n_tokens or {}).get(name) for name in texts["text_id"]], dtype=pl.Int32),
        (pl.col("category").drop_nulls().n_unique().over("unit") > 1).alias("is_confusable"),
    )
    labelled = texts.filter(pl.col("category").is_not_null())
    in_split = [(pl.col("unit").filter(pl.col("split") == split).n_unique(), split) for split in ("select", "score")]
    rows = labelled.group_by("category", maintain_order=True).agg(
        pl.len().alias("n_texts"),
        pl.col("unit").n_unique().alias("n_units"),
        *((pl.col("split") == split).sum().alias(f"n_{split}") for split in ("select", "score")),
        *(units.alias(f"units_{split}") for units, split in in_split),
        pl.col("tokens").median().alias("median_tokens"),
        pl.col("tokens").null_count().alias("n_not_read"),
        (1 - pl.col("unit").n_unique() / pl.len()).alias("share_duplicates"),
        pl.col("is_confusable").sum().alias("n_confusable"),
    )
    rows = rows.sort("category").join(confusable_pairs(texts), on="category", how="left", maintain_order="left")
    names, codes = _coded(probes, level)
    form = wording(stems, found, codes, len(names))
    totals = [int(labelled.filter(pl.col("split") == split)["unit"].n_unique()) for split in ("select", "score")]
    power = [_power(row, totals, n_latents, n_checkpoints) for row in rows.iter_rows(named=True)]
    rows = rows.with_columns(
        *(pl.Series(name, getattr(form, f"{name}_c")) for name in FORM),
        *(pl.Series(name, [row[name] for row in power], dtype=pl.Float64) for name in power[0]),
        category_level=pl.lit(level),
        confusable_with=pl.col("confusable_with").fill_null(""),
        reason=pl.lit(""),
    ).with_columns(is_low_power=pl.col(CHANCES[1]) < LOW_POWER_CHANCE)
    if n_tokens is None:
        rows = rows.with_columns(n_not_read=None)
    return rows.select(pl.col(name).cast(dtype) for name, dtype in PROBE_CATEGORY_SCHEMA.items())


def confusable_pairs(texts: pl.DataFrame) -> pl.DataFrame:
    """Find categories that share copies of a text: columns category and confusable_with, `law (3), food (1)`.

    Args:
        texts: columns unit and category.
    """
    pairs = texts.filter(pl.col("category").is_not_null()).select("unit", "category").unique()
    pairs = pairs.join(pairs, on="unit", suffix="_other").filter(pl.col("category") != pl.col("category_other"))
    counted = (
        pairs.group_by("category", "category_other", maintain_order=True)
        .len()
        .sort("len", "category_other", descending=[True, False])
    )
    named = counted.with_columns(pl.format("{} ({})", "category_other", "len").alias("named"))
    return named.group_by("category", maintain_order=True).agg(pl.col("named").str.join(", ").alias("confusable_with"))


def _power(row: Mapping[str, Any], totals: list[int], n_latents: int, n_checkpoints: int) -> dict[str, float | None]:
    select, score = (
        (row[f"units_{split}"], total - row[f"units_{split}"])
        for split, total in zip(("select", "score"), totals, strict=True)
    )
    error = auroc_standard_error(*score)
    chances = [acceptance_chance(tpr, fpr, select, score, 0.05 / n_latents) for tpr, fpr in RATES]
    return {
        "se_auroc": error,
        "min_rise": rise if (rise := smallest_rise(error, n_checkpoints)) <= MOST_RISE else None,
        **dict(zip(CHANCES, chances, strict=True)),
    }


def warnings(categories: pl.DataFrame) -> list[str]:
    """Describe every confound of the categories of the table, one line each."""
    used = categories.filter(pl.col("reason") == "")
    confounds = (
        (pl.col("is_template"), "a wording that its texts share can separate {}"),
        (pl.col("is_long"), "the length of its texts alone can separate {}"),
        (_many("n_confusable"), "more than a tenth of the texts of {} are also in other categories"),
        (_many("n_not_read"), "more than a tenth of the texts of {} are too long, or end in another token"),
    )
    lines = [
        f"{level}: {confound.format(_listed(names))}"
        for (level,), rows in used.group_by("category_level", maintain_order=True)
        for is_found, confound in confounds
        if (names := rows.filter(is_found)["category"].to_list())
    ]
    if len(gone := categories.filter(pl.col("reason") != "")):
        lines.append(f"{len(gone)} categories are left out: {_listed(gone['category'].to_list())}")
    return lines


def _many(column: str) -> pl.Expr:
    return pl.col(column) > 0.1 * pl.col("n_texts")


def _listed(names: list[str], most: int = 8) -> str:
    return (
        ", ".join(names) if len(names) <= most else f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    )
