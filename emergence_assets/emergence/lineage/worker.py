"""Workers that make the tables about lineages, each with its files opened for the science that knows no files."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.activations.files.reading import open_rows
from emergence_assets.emergence.lineage.edges import edges_between
from emergence_assets.emergence.lineage.latent_persistence import latent_carry
from emergence_assets.emergence.lineage.nodes import lineage_nodes
from emergence_assets.emergence.lineage.pairs import Pair, pairs_over_layers, pairs_over_steps
from emergence_assets.emergence.lineage.read_latents import ReadSAE, SAEKey, Texts, read_latents
from emergence_assets.emergence.lineage.stability import lineage_stability as shares_found_again
from emergence_assets.emergence.lineage.stability_table import LATENT_CARRY, LINEAGE_STABILITY
from emergence_assets.emergence.lineage.table import FEATURE_LINEAGE, LINEAGE_NODES, MATCHED_LATENTS
from emergence_assets.emergence.table_worker import Made
from emergence_assets.features.statistics.probe_labels import cell_labels
from emergence_assets.features.table import LATENT_STATS
from emergence_assets.saes.formats.folder import read_sae
from resources.tables.parquet import read_table
from resources.tables.table import Table
from resources.tables.violations import violations

KEPT_CELLS = 4
"""Cells whose latents are in memory at a time: two neighbours, and their next."""


def make_feature_lineage(sources: list[dict[str, Any]], probes: str, facts: dict[str, Any], report: Any) -> Made:
    """Rows of `feature_lineage` and `matched_latents`: latents of one model matched over steps, seeds and layers."""
    read = reader(sources, probes)
    steps, layers = (sorted({source[name] for source in sources}) for name in ("step", "layer"))
    seeds = sorted(int(seed) for seed in sources[0]["sae_folders"])
    models = (facts["model"], facts["model"])
    edges: list[pl.DataFrame] = [FEATURE_LINEAGE.schema.to_frame()]
    members: dict[SAEKey, pl.DataFrame] = {}

    def read_and_note(key: SAEKey) -> ReadSAE:
        found = read(key)
        members.setdefault(key, found.frame())
        return found

    def match(pairs: list[Pair]) -> None:
        for pair in pairs:
            edges.append(edges_between(pair.axis, read_and_note(pair.source), read_and_note(pair.target), models))

    for position, layer in enumerate(layers):
        match(pairs_over_steps(steps, layer, seeds))
        for key in (SAEKey(step, layer, seed) for step in steps for seed in seeds):
            if key not in members:  # of a study with nothing to compare it with
                read_and_note(key)
        report(position + 1, len(layers) + 1, "")
    match(pairs_over_layers(steps[-1], layers, facts["n_layers"], seeds))
    frame, matched = pl.concat(edges), pl.concat(members.values()).sort(MATCHED_LATENTS.key)
    numbers = {"latents": len(matched), **edge_counts(frame, matched, matched)}
    return _made(frame, FEATURE_LINEAGE, numbers, {MATCHED_LATENTS.name: matched})


def make_lineage_nodes(sources: list[dict[str, Any]], feature_lineage: pl.DataFrame, latents: str, model: str) -> Made:
    """Rows of `lineage_nodes`: chains of matched latents of one model."""
    folders = {
        SAEKey(source["step"], source["layer"], int(seed)): folder
        for source in sources
        for seed, folder in source["sae_folders"].items()
    }

    def directions(key: SAEKey) -> np.ndarray:
        return read_sae(Path(folders[key]))[0].W_dec_nd.numpy()

    frame = lineage_nodes(feature_lineage, _latents(latents), model, directions)
    owned = frame.select("layer", steps=pl.col("category_path").list.eval(pl.element().struct.field("step")))
    owned = pl.concat([owned, frame.select("sae_seeds", "latents")], how="horizontal")
    members = owned.explode("steps", "sae_seeds", "latents")
    numbers = {
        "lineages": len(frame),
        "mean_members": frame["n_members"].mean(),
        "latents_of_two_lineages": int(members.is_duplicated().sum()),
        "ends_before_it_begins": frame.filter(pl.col("death_step_lo") <= pl.col("birth_step_hi")).height,
    }
    return _made(frame, LINEAGE_NODES, numbers)


def make_lineage_stability(feature_lineage: pl.DataFrame, latents: str, facts: dict[str, Any]) -> Made:
    """Rows of `lineage_stability`: the share of latents of one model that is found again."""
    frame = shares_found_again(feature_lineage, _latents(latents), **facts)
    whole = frame.filter(pl.col("layer").is_null(), pl.col("population") == "firing", pl.col("pairing") == "other_seed")
    last = whole.filter(pl.col("axis") == "step").sort("step_to").tail(1)
    numbers = {
        "last_s_raw": last["s_raw"].max(),
        "last_s_ceiling": last["s_ceiling"].max(),
        "last_s_norm": last["s_norm"].max(),
        "ratios_over_a_low_ceiling": frame.filter(pl.col("s_norm").is_not_null() & (pl.col("s_ceiling") < 0.1)).height,
    }
    return _made(frame, LINEAGE_STABILITY, numbers)


def make_latent_carry(
    sources: list[dict[str, Any]],
    probes: str,
    feature_lineage: pl.DataFrame,
    lineage_stability: pl.DataFrame,
    facts: dict[str, Any],
    settings: Mapping[str, Any],
) -> Made:
    """Rows of `latent_carry`: what latents of the first third of the layers share with their matches in the last."""
    layers = [source["layer"] for source in sources]
    read = reader(sources, probes)
    frame = latent_carry(
        feature_lineage,
        lineage_stability,
        read,
        layers,
        facts["n_layers"],
        settings["n_boot"],
        settings["seed"],
    )
    skipping = frame.filter("skips_middle")
    numbers = {
        "pairs": len(frame),
        "skipping_pairs": len(skipping),
        "median_carry_lift": frame["carry_lift"].median(),
        "median_carry_control": frame["carry_control"].median(),
        "joint_above_either": frame.filter(pl.col("n_joint") > pl.min_horizontal("n_early", "n_late")).height,
    }
    return _made(frame, LATENT_CARRY, numbers)


def reader(sources: list[dict[str, Any]], probes: str) -> Callable[[SAEKey], ReadSAE]:
    """Gives an SAE with its activity; a few cells stay in memory."""
    by_cell = {(source["step"], source["layer"]): source for source in sources}

    @functools.lru_cache(KEPT_CELLS)
    def cell(step: int, layer: int) -> dict[int, ReadSAE]:
        source = by_cell[step, layer]
        file = Path(source["activation_file"])
        primary = cell_labels(probes, Path(source["tokens_file"]))[0]
        texts = Texts(np.flatnonzero(primary.is_select_p), np.flatnonzero(~primary.is_select_p), primary.level)
        read_out_pd = np.ascontiguousarray(open_rows(file, "read_out", verify=True).float32())
        saes = {int(seed): read_sae(Path(folder))[0] for seed, folder in source["sae_folders"].items()}
        statistics = read_table(Path(source["latent_stats"]), LATENT_STATS)
        return read_latents(step, layer, read_out_pd, saes, statistics, source["k"], texts)

    return lambda key: cell(key.step, key.layer)[key.sae_seed]


def _latents(path: str) -> pl.DataFrame:
    return read_table(Path(path), MATCHED_LATENTS)


def edge_counts(frame: pl.DataFrame, sources: pl.DataFrame, targets: pl.DataFrame) -> dict[str, Any]:
    """What is told and checked of edges.

    Args:
        frame: the edges.
        sources: `matched_latents` of the models that edges start from.
        targets: of those that they end in.
    """
    accepted = frame.filter(pl.col("accepted"))
    return {
        "edges": len(frame),
        "share_of_accepted_in_assignment": accepted["in_assignment"].mean(),
        "accepted_below_a_null": accepted.filter(
            (pl.col("score") <= pl.col("null_p995")) | (pl.col("score") <= pl.col("untrained_p995"))
        ).height,
        "accepted_not_mutual": accepted.filter(~pl.col("mutual")).height,
        "edges_of_unknown_latents": _unknown(frame, "src", sources) + _unknown(frame, "dst", targets),
    }


def _unknown(frame: pl.DataFrame, side: str, matched: pl.DataFrame) -> int:
    """Ends of edges that are not among the latents that could be matched."""
    names = ("step", "layer", "sae_seed", "latent")
    ends = frame.select(pl.col(f"{side}_{name}").alias(name) for name in names)
    return ends.join(matched, on=names, how="anti").height


def _made(
    frame: pl.DataFrame, table: Table, numbers: dict[str, Any], beside: Mapping[str, pl.DataFrame] | None = None
) -> Made:
    return Made(frame, violations(frame, table) | numbers, beside or {})
