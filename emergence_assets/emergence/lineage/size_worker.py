"""Match the latents of a model with those of the next larger model."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from emergence_assets.emergence.lineage.edges import edges_between
from emergence_assets.emergence.lineage.pairs import pairs_over_sizes
from emergence_assets.emergence.lineage.stability import size_stability
from emergence_assets.emergence.lineage.stability_table import SIZE_STABILITY
from emergence_assets.emergence.lineage.table import MATCHED_LATENTS, SIZE_LINEAGE
from emergence_assets.emergence.lineage.worker import (
    Layers,
    edge_counts,
    last_blocks,
    ratios_over_a_low_ceiling,
    reader,
)
from emergence_assets.plan.table_worker import Made
from resources.tables.parquet import read_table


class _Size(NamedTuple):
    """One model at its last step."""

    n_params_nonemb: int
    name: str
    n_layers: int
    step: int
    cells: Layers
    latents: pl.DataFrame
    """`matched_latents` of the model at that step."""

    @property
    def layers(self) -> list[int]:
        """Blocks with SAEs."""
        return [cell["layer"] for cell in self.cells]


def make_size_lineage(
    cells: Layers,
    files: Mapping[str, Sequence[str]],
    feature_lineage: pl.DataFrame,
    probes: str,
    settings: Mapping[str, Any],
    report: Any,
) -> Made:
    """Make the rows of `size_lineage` and `size_stability`: edges between neighbouring sizes at their last steps.

    Models with different tokenizers read different tokens. Such a pair is left out and counted.

    Args:
        cells: layers of all checkpoints of all models.
        files: files of `matched_latents`, in the order of the models.
        feature_lineage: `feature_lineage` of all models.
        probes: JSON of the probe set.
        settings: section sae of the study.
        report: called with pairs of models done, all pairs, and a note.
    """
    ordered = sorted(_sizes(cells, files[MATCHED_LATENTS.name]), key=lambda size: size[:2])
    edges, found = [SIZE_LINEAGE.schema.to_frame()], [SIZE_STABILITY.schema.to_frame()]
    unlike, sources, targets = 0, [], []
    for position, (small, large) in enumerate(pairwise(ordered)):
        if small.cells[0]["tokens_file"] != large.cells[0]["tokens_file"]:
            unlike += 1
            continue
        frame, stability = _compared(small, large, feature_lineage, probes, settings["sae"])
        edges.append(frame)
        found.append(stability)
        sources.append(small.latents)
        targets.append(large.latents)
        report(position + 1, len(ordered) - 1, "")
    frame, stability = pl.concat(edges), pl.concat(found)
    none = MATCHED_LATENTS.schema.to_frame()
    pooled = stability.filter(pl.col("layer").is_null(), pl.col("population") == "firing")
    numbers = {
        "pairs_of_models": len(ordered) - 1,
        "pairs_without_common_texts": unlike,
        **edge_counts(frame, pl.concat([none, *sources]), pl.concat([none, *targets])),
        "largest_s_raw": pooled["s_raw"].max(),
        "ratios_over_a_low_ceiling": ratios_over_a_low_ceiling(stability),
    }
    return Made(frame, numbers, {SIZE_STABILITY.name: stability})


def _sizes(cells: Layers, latents: Sequence[str]) -> list[_Size]:
    models = dict.fromkeys(cell["model"] for cell in cells)
    sizes = []
    for model, file in zip(models, latents, strict=True):
        last = last_blocks([cell for cell in cells if cell["model"] == model])
        one, matched = last[0], read_table(Path(file), MATCHED_LATENTS)
        own = matched.filter(pl.col("step") == one["step"])
        sizes.append(_Size(one["n_params_nonemb"], model, one["n_layers"], one["step"], last, own))
    return sizes


def _compared(
    small: _Size, large: _Size, feature_lineage: pl.DataFrame, probes: str, sae: Mapping[str, Any]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    read, read_to = (reader(size.cells, probes, sae) for size in (small, large))
    names = small.name, large.name
    pairs = pairs_over_sizes(
        (small.step, large.step), (small.layers, large.layers), (small.n_layers, large.n_layers), sorted(sae["seeds"])
    )
    edges = pl.concat(
        [
            SIZE_LINEAGE.schema.to_frame(),
            # Decoder directions of two models cannot be compared; activations on the same texts can.
            *(
                edges_between("size", read(pair.source), read_to(pair.target), names, share_space=False)
                for pair in pairs
            ),
        ]
    )
    seed_edges = feature_lineage.filter(model=large.name, axis="seed", src_step=large.step)
    stability = size_stability(pairs, edges, small.latents, seed_edges, large.latents, names, small.n_params_nonemb)
    return edges, stability
