"""Workers of the lineage tables of one model: they read the files of its layers."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.emergence.lineage.edges import edges_between
from emergence_assets.emergence.lineage.latent_persistence import latent_persistence
from emergence_assets.emergence.lineage.nodes import lineage_nodes
from emergence_assets.emergence.lineage.pairs import Pair, pairs_over_layers, pairs_over_steps
from emergence_assets.emergence.lineage.ratios import MIN_CEILING
from emergence_assets.emergence.lineage.read_latents import ReadSAE, SAEKey, Texts, read_latents
from emergence_assets.emergence.lineage.stability import lineage_stability as shares_found_again
from emergence_assets.emergence.lineage.table import FEATURE_LINEAGE, MATCHED_LATENTS
from emergence_assets.features.statistics.encoded import stored_read_outs
from emergence_assets.features.statistics.probe_labels import cell_labels
from emergence_assets.features.table import LATENT_STATS
from emergence_assets.plan.table_worker import Made
from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.spec import seed_folder
from resources.tables.parquet import read_table

KEPT_CELLS = 4
"""Layers whose latents are in memory at a time: two neighbours and the next of each."""
Layers = Sequence[Mapping[str, Any]]
"""Layers of checkpoints with the files of their inputs; see `input_cells`."""


def make_feature_lineage(cells: Layers, probes: str, model: str, settings: Mapping[str, Any], report: Any) -> Made:
    """Make the rows of `feature_lineage` and `matched_latents`: matches over steps, seeds and layers of one model.

    Args:
        cells: layers of all checkpoints of the model.
        probes: JSON of the probe set.
        model: name of the model.
        settings: section sae of the study.
        report: called with layers done, number of layers plus one, and a note.
    """
    read, seeds = reader(cells, probes, settings["sae"]), sorted(settings["sae"]["seeds"])
    steps, layers = (sorted({cell[name] for cell in blocks(cells)}) for name in ("step", "layer"))
    edges: list[pl.DataFrame] = [FEATURE_LINEAGE.schema.to_frame()]
    members: dict[SAEKey, pl.DataFrame] = {}

    def read_and_note(key: SAEKey) -> ReadSAE:
        found = read(key)
        members.setdefault(key, found.frame())
        return found

    def match(pairs: list[Pair]) -> None:
        for pair in pairs:
            edges.append(
                edges_between(pair.axis, read_and_note(pair.source), read_and_note(pair.target), (model, model))
            )

    for position, layer in enumerate(layers):
        match(pairs_over_steps(steps, layer, seeds))
        for key in (SAEKey(step, layer, seed) for step in steps for seed in seeds):
            if key not in members:  # the study has no SAE to compare it with
                read_and_note(key)
        report(position + 1, len(layers) + 1, "")
    match(pairs_over_layers(steps[-1], layers, cells[0]["n_layers"], seeds))
    frame, matched = pl.concat(edges), pl.concat(members.values()).sort(MATCHED_LATENTS.key)
    numbers = {"latents": len(matched), **edge_counts(frame, matched, matched)}
    return Made(frame, numbers, {MATCHED_LATENTS.name: matched})


def make_lineage_nodes(cells: Layers, feature_lineage: pl.DataFrame, matched_latents: pl.DataFrame, model: str) -> Made:
    """Make the rows of `lineage_nodes`: chains of matched latents of one model.

    Args:
        cells: layers with SAEs.
        feature_lineage: `feature_lineage` of the model.
        matched_latents: `matched_latents` of the model.
        model: name of the model.
    """
    folders = {(cell["step"], cell["layer"]): Path(cell["files"]["sae"]) for cell in cells}

    def directions(key: SAEKey) -> np.ndarray:
        return read_sae(seed_folder(folders[key.step, key.layer], key.sae_seed))[0].W_dec_nd.numpy()

    frame = lineage_nodes(feature_lineage, matched_latents, model, directions)
    owned = frame.select("layer", steps=pl.col("category_path").list.eval(pl.element().struct.field("step")))
    owned = pl.concat([owned, frame.select("sae_seeds", "latents")], how="horizontal")
    members = owned.explode("steps", "sae_seeds", "latents")
    numbers = {
        "mean_members": frame["n_members"].mean(),
        "latents_of_two_lineages": int(members.is_duplicated().sum()),
        "ends_before_it_begins": frame.filter(pl.col("death_step_lo") <= pl.col("birth_step_hi")).height,
    }
    return Made(frame, numbers)


def make_lineage_stability(
    feature_lineage: pl.DataFrame, matched_latents: pl.DataFrame, model: str, n_params_nonemb: int, n_layers: int
) -> Made:
    """Make the rows of `lineage_stability`: the share of latents of one model that is found again.

    For the arguments see `stability.lineage_stability`.
    """
    frame = shares_found_again(feature_lineage, matched_latents, model, n_params_nonemb, n_layers)
    whole = frame.filter(pl.col("layer").is_null(), pl.col("population") == "firing", pl.col("pairing") == "other_seed")
    last = whole.filter(pl.col("axis") == "step").sort("step_to").tail(1)
    numbers = {f"last_{name}": last[name].max() for name in ("s_raw", "s_ceiling", "s_norm")}
    return Made(frame, numbers | {"ratios_over_a_low_ceiling": ratios_over_a_low_ceiling(frame)})


def make_latent_persistence(
    cells: Layers,
    probes: str,
    feature_lineage: pl.DataFrame,
    lineage_stability: pl.DataFrame,
    settings: Mapping[str, Any],
) -> Made:
    """Make the rows of `latent_carry`: co-activation of latents of the first third with their matches in the last.

    Args:
        cells: layers of all checkpoints of the model; those of the last step are read.
        probes: JSON of the probe set.
        feature_lineage: `feature_lineage` of the model.
        lineage_stability: `lineage_stability` of the model.
        settings: sections sae and statistics of the study.
    """
    last = last_blocks(cells)
    frame = latent_persistence(
        feature_lineage,
        lineage_stability,
        reader(last, probes, settings["sae"]),
        [cell["layer"] for cell in last],
        last[0]["n_layers"],
        settings["statistics"]["n_bootstrap"],
        settings["statistics"]["seed"],
    )
    numbers = {
        "skipping_pairs": frame.filter("skips_middle").height,
        "median_carry_lift": frame["carry_lift"].median(),
        "median_carry_control": frame["carry_control"].median(),
        "joint_above_either": frame.filter(pl.col("n_joint") > pl.min_horizontal("n_early", "n_late")).height,
    }
    return Made(frame, numbers)


def blocks(cells: Layers) -> Layers:
    """Return the layers whose latents are compared, without the embedding: it is one vector for all texts."""
    return [cell for cell in cells if cell["layer"] >= 0]


def last_blocks(cells: Layers) -> Layers:
    """Return the blocks of the last step."""
    step = max(cell["step"] for cell in cells)
    return [cell for cell in blocks(cells) if cell["step"] == step]


def reader(cells: Layers, probes: str, sae: Mapping[str, Any]) -> Callable[[SAEKey], ReadSAE]:
    """Return a function that reads an SAE with its activity and keeps a few layers in memory.

    Args:
        cells: layers of one model.
        probes: JSON of the probe set.
        sae: section sae of the study.
    """
    by_cell = {(cell["step"], cell["layer"]): cell for cell in cells}

    @functools.lru_cache(KEPT_CELLS)
    def read_layer(step: int, layer: int) -> dict[int, ReadSAE]:
        cell = by_cell[step, layer]
        files = {name: Path(file) for name, file in cell["files"].items()}
        primary = cell_labels(probes, Path(cell["tokens_file"]))[0]
        texts = Texts(np.flatnonzero(primary.is_select_p), np.flatnonzero(~primary.is_select_p), primary.level)
        read_out_pd = stored_read_outs(files["activations"])
        saes = {seed: read_sae(seed_folder(files["sae"], seed))[0] for seed in sae["seeds"]}
        statistics = read_table(files[LATENT_STATS.name], LATENT_STATS)
        return read_latents(step, layer, read_out_pd, saes, statistics, sae["k"], texts)

    return lambda key: read_layer(key.step, key.layer)[key.sae_seed]


def edge_counts(frame: pl.DataFrame, sources: pl.DataFrame, targets: pl.DataFrame) -> dict[str, Any]:
    """Count the edges for the summary and the checks of an asset.

    Args:
        frame: edges.
        sources: `matched_latents` of the source models.
        targets: `matched_latents` of the target models.
    """
    accepted = frame.filter(pl.col("accepted"))
    return {
        "share_of_accepted_in_assignment": accepted["in_assignment"].mean(),
        "accepted_below_a_null": accepted.filter(
            (pl.col("score") <= pl.col("null_p995")) | (pl.col("score") <= pl.col("untrained_p995"))
        ).height,
        "accepted_not_mutual": accepted.filter(~pl.col("mutual")).height,
        "edges_of_unknown_latents": _unknown(frame, "src", sources) + _unknown(frame, "dst", targets),
    }


def ratios_over_a_low_ceiling(stability: pl.DataFrame) -> int:
    """Count the rows whose share is divided by a ceiling below `MIN_CEILING`."""
    return stability.filter(pl.col("s_norm").is_not_null() & (pl.col("s_ceiling") < MIN_CEILING)).height


def _unknown(frame: pl.DataFrame, side: str, matched: pl.DataFrame) -> int:
    """Count the ends of edges that are not among the matchable latents."""
    names = ("step", "layer", "sae_seed", "latent")
    ends = frame.select(pl.col(f"{side}_{name}").alias(name) for name in names)
    return ends.join(matched, on=names, how="anti").height
