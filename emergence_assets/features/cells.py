"""Latent statistics as cells: two tables per model, step and layer, one of latents and one of category presence."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import ACTIVATIONS, probe_recipe, probe_set
from emergence_assets.durable import clear_disk_errors
from emergence_assets.features.table_sizes import expected_pairs, latent_stats_bytes, presence_bytes
from emergence_assets.features.tables import LATENT_STATS, PRESENCE_CELLS
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Provenance, Required, canonical_json
from emergence_assets.saes.cells import SAE, seed_folder
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import now, required_from_json, required_to_json
from resources.storage import Storage
from resources.tables import parquet_provenance, verify_table, write_table


def _statistics_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {
        "statistics": study.statistics.model_dump(),
        "probe_set": probe_recipe(study),
        "seeds": list(study.sae.seeds),
    }


def _statistics_bytes(study: Study, _cell: Cell, counts: TextCounts) -> float:
    n_seeds = len(study.sae.seeds)
    n_pairs = n_seeds * expected_pairs(counts.category_sizes, study.sae.n_latents, study.sae.k)
    return latent_stats_bytes(n_pairs) + presence_bytes(
        n_seeds * len(counts.category_sizes), study.statistics.n_bootstrap
    )


LATENT_STATISTICS = Rule(
    name="latent_stats",
    stage="features",
    grid="cell",
    inputs=("activations", "sae"),
    recipe=_statistics_recipe,
    code=("emergence_assets.features.cell", "emergence_assets.features.labels"),
    path=lambda storage, cell: _table_path(storage, "latent_stats", cell),
    stored=parquet_provenance,
    verify=verify_table,
    also=lambda storage, cell: (presence_cells_path(storage, cell),),
    n_bytes=_statistics_bytes,
)
RULES = (LATENT_STATISTICS,)


def presence_cells_path(storage: Storage, cell: Cell) -> Path:
    """The cell's part of the presence table; written before the latent statistics, whose file marks it as done."""
    return _table_path(storage, "presence_cells", cell)


def _table_path(storage: Storage, table: str, cell: Cell) -> Path:
    return storage.cell_table(table, str(cell.model), int(cell.step or 0), int(cell.layer or 0))


def statistics_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per cell."""
    work = []
    for cell, required in due:
        arguments = {
            "activation_file": str(ACTIVATIONS.path(plan.storage, cell)),
            "sae_folder": str(SAE.path(plan.storage, cell)),
            "latents_path": str(LATENT_STATISTICS.path(plan.storage, cell)),
            "presence_path": str(presence_cells_path(plan.storage, cell)),
            "required": required_to_json(required),
            "probes": canonical_json(plan.study.probe_set.model_dump()),
            "seeds": list(plan.study.sae.seeds),
        }
        work.append(
            (Task("emergence_assets.features.cells:measure_cell", arguments, str(cell), on_accelerator=False), [cell])
        )
    return work


def measure_cell(
    activation_file: str,
    sae_folder: str,
    latents_path: str,
    presence_path: str,
    required: str,
    probes: str,
    seeds: list[int],
    report: Any,
) -> None:
    """Worker: encode the read-outs of a cell with its SAEs and compare latents with categories."""
    import numpy as np
    import polars as pl
    import torch

    from emergence_assets.activations.reading import open_rows, read_attrs
    from emergence_assets.features.cell import CellRecipe, latent_stats, presence_cell
    from emergence_assets.features.codes import Codes
    from emergence_assets.saes.folder import read_sae

    want = required_from_json(required)
    settings = want.recipe["statistics"]
    recipe = CellRecipe(
        rule_id=settings["rule_id"],
        n_boot=settings["n_bootstrap"],
        boot_seed=settings["seed"],
        n_shuffles=settings["n_shuffles"],
        shuffle_seed=settings["seed"],
    )
    attrs = read_attrs(Path(activation_file))
    tokens_file = Path(activation_file).parents[3] / "tokens" / str(attrs["tokens_file"])
    labels = cell_labels(probes, tokens_file)
    read_out_pd = np.ascontiguousarray(open_rows(Path(activation_file), "read_out", verify=True).float32())
    latents, presence = [], []
    for seed in seeds:
        sae, _ = read_sae(seed_folder(Path(sae_folder), seed))
        values_pk, indices_pk = sae.encode(torch.from_numpy(read_out_pd)).padded()
        codes = Codes(values_pk.numpy(), indices_pk.numpy().astype(np.int32), sae.n_latents)
        latents.append(latent_stats(codes, labels, recipe).with_columns(sae_seed=pl.lit(seed, pl.Int16)))
        presence.append(presence_cell(codes, read_out_pd, labels, recipe).with_columns(sae_seed=pl.lit(seed, pl.Int16)))
        report(len(presence), len(seeds), "")
    latent_frame, presence_frame = pl.concat(latents), pl.concat(presence)
    record = Provenance(want, _summary(latent_frame, presence_frame), {}, now()).to_json()
    with clear_disk_errors(Path(latents_path)):
        write_table(Path(presence_path), presence_frame, PRESENCE_CELLS, record)
        write_table(Path(latents_path), latent_frame, LATENT_STATS, record)


@functools.cache
def cell_labels(probes: str, tokens_file: Path) -> tuple[Any, ...]:
    """Labels of the probe texts in the order of the read-outs, a level each; built once per process."""
    import polars as pl

    from emergence_assets.activations.tokens import read_tokens
    from emergence_assets.features.labels import Labels

    declared = probe_set(probes)
    order = pl.DataFrame({"text_id": list(read_tokens(tokens_file).probe_text_id)})
    texts = order.join(declared.texts, on="text_id", how="left", maintain_order="left")
    is_select = (texts["split"] == "select").to_numpy()
    return tuple(Labels.from_values(level, texts[level].to_list(), is_select) for level in declared.levels)


def _summary(latents: Any, presence: Any) -> dict[str, Any]:
    import polars as pl

    primary = presence.filter(pl.col("category_level") == presence["category_level"][0])
    real = primary.filter(pl.col("control_id") == "none")
    shuffled = primary.filter(pl.col("control_id") == "label_shuffle")
    return {
        "level": str(presence["category_level"][0]),
        "categories": real["category"].n_unique(),
        "mean_best_auroc": float(real["p_best"].mean()),
        "mean_dense_auroc": float(real["p_dense"].mean()),
        "mean_shuffled_auroc": float(shuffled["p_best"].mean()),
        "categorical_latents": int(latents["passes"].sum()),
        "pairs": len(latents),
        "repeated_keys": sum(
            int(frame.select(table.key).is_duplicated().sum())
            for frame, table in ((latents, LATENT_STATS), (presence, PRESENCE_CELLS))
        ),
    }
