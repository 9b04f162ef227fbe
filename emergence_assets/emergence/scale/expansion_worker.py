"""Presence read through SAEs whose dictionary grows with the width of the model: the second design of the size axis.

They are not kept.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.activations.files.reading import Rows, open_rows
from emergence_assets.activations.forward.worker import training_rows
from emergence_assets.emergence.presence.presence import category_presence as presence_of_cells
from emergence_assets.emergence.presence.table import CATEGORY_PRESENCE
from emergence_assets.emergence.scale.table import EXPANSION_PRESENCE
from emergence_assets.emergence.table_worker import Made
from emergence_assets.features.statistics.cell_tables import CellRecipe, dense_scores, latent_stats, presence_cell
from emergence_assets.features.statistics.encoded import encoded
from emergence_assets.features.statistics.probe_labels import cell_labels
from emergence_assets.features.table import LATENT_STATS, PRESENCE_CELLS
from emergence_assets.saes.layers.make import LayerRows, make_saes
from emergence_assets.saes.spec import EVALUATION_SHARE, METRICS_NAME
from emergence_assets.saes.training.settings import SAERecipe
from emergence_assets.texts.tokens import known_tokens
from resources.compute.accelerator import choose_accelerator
from resources.tables.parquet import read_table

_CELL = ["model", "step", "layer"]


def measure_expansion(
    checkpoints: list[dict[str, Any]],
    probes: str,
    category_presence: pl.DataFrame,
    settings: Mapping[str, Any],
    report: Any,
) -> Made:
    """Rows of `expansion_presence`: some checkpoints of one model, all layers, with dictionaries of the wanted size.

    Args:
        checkpoints: `origin` (see `activations.cells.capture_arguments`) and `cells`: per layer the key columns,
            `activation_file`, and `made`, where its SAEs have that size already, the files of its cell.
        probes: JSON of the probe set.
        category_presence: of the model, for what words alone tell.
        settings: of SAEs and statistics.
        report: called with layers done, all layers, and a note.
    """
    n_cells = sum(len(one["cells"]) for one in checkpoints)
    parts, dictionaries = [], []
    for one in checkpoints:
        for cell, cells, about in _cells_of(one, probes, settings):
            keys = [pl.lit(cell[name], CATEGORY_PRESENCE.schema[name]).alias(name) for name in _KEYS]
            parts.append(cells.with_columns(keys))
            dictionaries.append(about.with_columns(keys).select(*_CELL, *about.columns))
            report(len(parts), n_cells, "")
    words = category_presence.unique(["control_id", "category_level", "category"])
    frame = expansion_presence(pl.concat(parts), pl.concat(dictionaries), words)
    return Made(frame, {"mean_fvu": frame["fvu"].mean()})


_KEYS = ("model", "n_params_nonemb", "step", "tokens_seen", "layer", "n_layers", "rel_depth", "data_version")


def expansion_presence(cells: pl.DataFrame, dictionaries: pl.DataFrame, words: pl.DataFrame) -> pl.DataFrame:
    """`category_presence` of these cells, with what is known of their dictionaries; see `EXPANSION_PRESENCE`.

    Args:
        cells: rows of `features.cell.presence_cell` with key columns and sae_seed.
        dictionaries: columns model, step, layer, sae_seed, n_latents, fvu, l0, and n_passing (see `categorical`).
        words: columns control_id, category_level, category, p_bow.
    """
    about = dictionaries.group_by(_CELL).agg(pl.col("n_latents").first(), pl.col("fvu", "l0").mean())
    counted = (
        dictionaries.select(*_CELL, "n_passing")
        .explode("n_passing")
        .unnest("n_passing")
        .group_by(*_CELL, "category_level", "category")
        .agg(pl.col("n_passing").sum())
        .join(dictionaries.group_by(_CELL).agg(n_seeds_counted=pl.len()), on=_CELL)
        .with_columns(n_passing=pl.col("n_passing") / pl.col("n_seeds_counted"), control_id=pl.lit("none"))
        .drop("n_seeds_counted")
    )
    return (
        presence_of_cells(cells, words)
        .join(about, on=_CELL, how="left")
        .join(counted, on=[*_CELL, "control_id", "category_level", "category"], how="left")
        .with_columns(n_passing=pl.when(pl.col("control_id") == "none").then(pl.col("n_passing").fill_null(0)))
        .select(pl.col(name).cast(dtype) for name, dtype in EXPANSION_PRESENCE.schema.items())
    )


def categorical(latents: pl.DataFrame) -> list[dict[str, Any]]:
    """Categorical latents of one SAE by level and category, those with at least one."""
    passing = latents.filter("passes").group_by("category_level", "category").agg(n_passing=pl.len())
    return passing.sort("category_level", "category").to_dicts()


def _cells_of(
    one: Mapping[str, Any], probes: str, recipe: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], pl.DataFrame, pl.DataFrame]]:
    """Per layer of a checkpoint its key columns, its presence cells by SAE seed, and a row per dictionary."""
    seeds = list(recipe["sae"]["seeds"])
    made = [cell for cell in one["cells"] if cell["made"]]
    for cell in made:
        yield cell, *_made_already(cell["made"], seeds)
    due = {int(cell["layer"]): cell for cell in one["cells"] if not cell["made"]}
    files = {layer: Path(cell["activation_file"]) for layer, cell in due.items()}
    for layer, rows in training_rows(one["origin"], files):
        tokens_file = Path(one["origin"]["tokens_file"])
        yield due[layer], *_trained(layer, rows, Path(due[layer]["activation_file"]), tokens_file, probes, recipe)


def _made_already(files: Mapping[str, str], seeds: Sequence[int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    latents = read_table(Path(files["latent_stats"]), LATENT_STATS)
    metrics = json.loads((Path(files["sae"]) / METRICS_NAME).read_text("utf-8"))["seeds"]
    return read_table(Path(files["presence_cells"]), PRESENCE_CELLS), _dictionaries(
        [one for one in metrics if one["sae_seed"] in seeds],
        int(files["n_latents"]),
        {seed: latents.filter(pl.col("sae_seed") == seed) for seed in seeds},
    )


def _trained(
    layer: int, rows: Rows, file: Path, tokens_file: Path, probes: str, recipe: Mapping[str, Any]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    is_evaluation_t = known_tokens(tokens_file).training_rows.text_index_t % EVALUATION_SHARE == 0
    [made] = make_saes(
        [LayerRows(layer, rows, is_evaluation_t)],
        list(recipe["sae"]["seeds"]),
        SAERecipe.from_settings(recipe["sae"]),
        choose_accelerator().device,
        lambda *_: None,
    )
    cell_recipe = CellRecipe.from_settings(recipe["statistics"])
    labels = cell_labels(probes, tokens_file)
    read_out_pd = np.ascontiguousarray(open_rows(file, "read_out", verify=True).float32())
    dense = dense_scores(read_out_pd, labels, cell_recipe)
    presence, latents = [], {}
    for seed, sae in made.saes.items():
        codes = encoded(sae, read_out_pd)
        latents[seed] = latent_stats(codes, labels, cell_recipe)
        cell = presence_cell(codes, read_out_pd, labels, cell_recipe, dense)
        presence.append(cell.with_columns(sae_seed=pl.lit(seed, pl.Int16)))
    return pl.concat(presence), _dictionaries(made.metrics, int(recipe["sae"]["n_latents"]), latents)


def _dictionaries(
    metrics: Sequence[Mapping[str, Any]], n_latents: int, latents: Mapping[int, pl.DataFrame]
) -> pl.DataFrame:
    counted = pl.Struct({"category_level": pl.String, "category": pl.String, "n_passing": pl.Int64})
    rows = [
        {name: one[name] for name in ("sae_seed", "fvu", "l0")}
        | {"n_latents": n_latents, "n_passing": categorical(latents[one["sae_seed"]])}
        for one in metrics
    ]
    return pl.DataFrame(
        rows,
        schema={
            "sae_seed": pl.Int16,
            "fvu": pl.Float64,
            "l0": pl.Float64,
            "n_latents": pl.Int32,
            "n_passing": pl.List(counted),
        },
    )
