"""Workers that compare model sizes and training runs."""

from pathlib import Path
from typing import Any

from emergence_assets.emergence.categorical_latents.spec import FEATURE_COUNTS
from emergence_assets.emergence.presence.spec import CATEGORY_PRESENCE
from emergence_assets.emergence.sae_quality.spec import SAE_METRICS
from emergence_assets.emergence.scale.spec import EMERGENCE_OVER_SCALE, EXPANSION_PRESENCE, MODEL_SEEDS
from emergence_assets.emergence.table_spec import write_cell
from emergence_assets.emergence.time.spec import EMERGENCE_OVER_TIME
from resources.tables.parquet import read_table, read_tables


def compare_runs(
    presence: list[str], over_time: list[str], replicates: dict[str, str], path: str, required: str, report: Any
) -> None:
    """Worker: how far training runs of one model differ."""
    from emergence_assets.emergence.catalogue import CATALOGUE
    from emergence_assets.emergence.scale.model_seeds import model_seeds

    frame = model_seeds(
        read_tables([Path(part) for part in presence], CATALOGUE[CATEGORY_PRESENCE.name]),
        read_tables([Path(part) for part in over_time], CATALOGUE[EMERGENCE_OVER_TIME.name]),
        replicates,
    )
    write_cell(Path(path), frame, CATALOGUE[MODEL_SEEDS.name], required, {"rows": len(frame)})


def compare_sizes(
    presence: list[str],
    metrics: list[str],
    counts: list[str],
    rule_id: str,
    expansion: list[str],
    seeds: str | None,
    path: str,
    required: str,
    report: Any,
) -> None:
    """Worker: presence over the sizes of the family, under every SAE design that there is."""
    import polars as pl

    from emergence_assets.emergence.catalogue import CATALOGUE
    from emergence_assets.emergence.scale.model_seeds import run_spread
    from emergence_assets.emergence.scale.over_scale import (
        FIXED_EXPANSION,
        FIXED_WIDTH,
        SizeReading,
        emergence_over_scale,
    )

    cell = ["model", "step", "layer"]
    width = read_tables([Path(part) for part in presence], CATALOGUE[CATEGORY_PRESENCE.name])
    counted = read_tables([Path(part) for part in counts], CATALOGUE[FEATURE_COUNTS.name])
    is_real = (pl.col("control_id") == "none") & (pl.col("aggregate") == "none")
    named = [*cell, "category_level", "category", "n_passing"]
    dictionaries = read_tables([Path(part) for part in metrics], CATALOGUE[SAE_METRICS.name])
    readings = {
        FIXED_WIDTH: SizeReading(
            width,
            dictionaries.group_by(cell).agg(pl.col("n_latents").first(), pl.col("fvu", "l0").mean()),
            counted.filter(is_real, pl.col("rule_id") == rule_id).select(named),
        )
    }
    if expansion:
        frame = read_tables([Path(part) for part in expansion], CATALOGUE[EXPANSION_PRESENCE.name])
        readings[FIXED_EXPANSION] = SizeReading(
            frame.select(list(CATALOGUE[CATEGORY_PRESENCE.name].schema)),
            frame.group_by(cell).agg(pl.col("n_latents", "fvu", "l0").first()),
            frame.filter(pl.col("control_id") == "none").select(named),
        )
    spread = run_spread(read_table(Path(seeds), CATALOGUE[MODEL_SEEDS.name])) if seeds else None
    frame = emergence_over_scale(readings, spread)
    verdicts = frame.filter(pl.col("control_id") == "none")["verdict"].value_counts().sort("verdict")
    numbers = {"rows": len(frame), "verdicts": ", ".join(f"{n} {verdict}" for verdict, n in verdicts.iter_rows())}
    write_cell(Path(path), frame, CATALOGUE[EMERGENCE_OVER_SCALE.name], required, numbers)
