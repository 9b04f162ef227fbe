"""The worker that matches latents of a model with those of the next larger one."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.lineage.edges import edges_between
from emergence_assets.emergence.lineage.pairs import pairs_over_sizes
from emergence_assets.emergence.lineage.stability import size_stability
from emergence_assets.emergence.lineage.stability_table import SIZE_STABILITY
from emergence_assets.emergence.lineage.table import FEATURE_LINEAGE, MATCHED_LATENTS, SIZE_LINEAGE
from emergence_assets.emergence.lineage.worker import edge_counts, reader
from emergence_assets.emergence.table_worker import Made
from resources.tables.parquet import read_table
from resources.tables.violations import violations


def make_size_lineage(models: list[dict[str, Any]], probes: str, report: Any) -> Made:
    """Rows of `size_lineage` and `size_stability`: edges between neighbouring sizes at their last steps.

    Two models whose texts became other tokens read other texts: they are passed over and counted.
    """
    ordered = sorted(models, key=lambda model: (model["facts"]["n_params_nonemb"], model["facts"]["model"]))
    edges, found = [SIZE_LINEAGE.schema.to_frame()], [SIZE_STABILITY.schema.to_frame()]
    unlike, sources, targets = 0, [], []
    for position, (small, large) in enumerate(pairwise(ordered)):
        if _tokens_file(small) != _tokens_file(large):
            unlike += 1
            continue
        frame, stability = _compared(small, large, probes)
        edges.append(frame)
        found.append(stability)
        sources.append(_latents(small))
        targets.append(_latents(large))
        report(position + 1, len(ordered) - 1, "")
    frame, stability = pl.concat(edges), pl.concat(found)
    nobody = MATCHED_LATENTS.schema.to_frame()
    pooled = stability.filter(pl.col("layer").is_null(), pl.col("population") == "firing")
    numbers = {
        "pairs_of_models": len(ordered) - 1,
        "pairs_without_common_texts": unlike,
        **edge_counts(frame, pl.concat([nobody, *sources]), pl.concat([nobody, *targets])),
        "largest_s_raw": pooled["s_raw"].max(),
        "ratios_over_a_low_ceiling": stability.filter(
            pl.col("s_norm").is_not_null() & (pl.col("s_ceiling") < 0.1)
        ).height,
    }
    return Made(frame, violations(frame, SIZE_LINEAGE) | numbers, {SIZE_STABILITY.name: stability})


def _compared(small: dict[str, Any], large: dict[str, Any], probes: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    read, read_to = (reader(model["sources"], probes) for model in (small, large))
    steps = small["sources"][0]["step"], large["sources"][0]["step"]
    layers = tuple([source["layer"] for source in model["sources"]] for model in (small, large))
    depths = small["facts"]["n_layers"], large["facts"]["n_layers"]
    names = small["facts"]["model"], large["facts"]["model"]
    seeds = sorted(int(seed) for seed in small["sources"][0]["sae_folders"])
    pairs = pairs_over_sizes(steps, (layers[0], layers[1]), depths, seeds)
    edges = pl.concat(
        [
            SIZE_LINEAGE.schema.to_frame(),
            # Models have spaces of their own: what is compared is when latents are active.
            *(
                edges_between("size", read(pair.source), read_to(pair.target), names, share_space=False)
                for pair in pairs
            ),
        ]
    )
    seed_edges = read_table(Path(large["edges"]), FEATURE_LINEAGE).filter(
        pl.col("axis") == "seed", pl.col("src_step") == steps[1]
    )
    stability = size_stability(
        pairs, edges, _latents(small), seed_edges, _latents(large), names, small["facts"]["n_params_nonemb"]
    )
    return edges, stability


def _latents(model: dict[str, Any]) -> pl.DataFrame:
    """Latents of a model's last step that could be matched."""
    return read_table(Path(model["latents"]), MATCHED_LATENTS).filter(pl.col("step") == model["sources"][0]["step"])


def _tokens_file(model: dict[str, Any]) -> str:
    return str(model["sources"][0]["tokens_file"])
