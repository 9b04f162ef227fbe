"""The asset `category_controls`: presence with other weights, texts or dictionaries, at the last step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.activations.spec import ACTIVATIONS, capture_arguments
from emergence_assets.emergence.controls.table import CATEGORY_CONTROLS as TABLE
from emergence_assets.emergence.controls.table import CONTROL_PARTS, ENCODER_DRAWS
from emergence_assets.emergence.relations import IS_SHUFFLED, at_chance, beside_every_row
from emergence_assets.emergence.table_spec import table_spec
from emergence_assets.features.spec import REPLICATE_BYTES
from emergence_assets.plan.asset_spec import Due, Job, Prepare
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.saes.spec import SAE
from emergence_assets.study.controls import MADE_CONTROLS
from emergence_assets.study.study import Study
from emergence_assets.texts.study_texts import probe_recipe
from resources.errors import EmergenceError
from resources.files.provenance import Required, canonical_json
from resources.files.records import required_from_json, required_to_json
from resources.files.storage import Storage
from resources.tables.parquet import parquet_provenance

PART_BYTES, CONTROL_ROW_BYTES, N_CONTROLS = 6_000, 30.0, 11
"""What a part and a row of the table take beside replicates; controls when none is left out."""
LARGEST_FIRST = ("reinit_full", "reinit_keep_embed", "text_wordshuffle", "act_gauss", "dict_frozen_decoder")


def _recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {
        "statistics": study.statistics.model_dump(),
        "sae": study.sae.model_dump(exclude={"warm_start"}),
        "probe_set": probe_recipe(study),
    }


def _n_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    n_rows = len(study.layers_of(str(cell.model))) * len(counts.category_sizes)
    made = [control for control in study.statistics.controls if control in MADE_CONTROLS]
    n_draws = len(made) + (ENCODER_DRAWS - 1 if "dict_frozen_encoder" in made else 0)
    parts = n_draws * (PART_BYTES + n_rows * (10 + REPLICATE_BYTES * study.statistics.n_bootstrap))
    return parts + PART_BYTES + CONTROL_ROW_BYTES * n_rows * len(study.statistics.controls)


def _part_jobs(plan: Plan, due: Due) -> list[Job]:
    """One job per control of a model that has to be made, those that take longest first."""
    work = []
    for cell, required in due:
        checkpoint = Cell(cell.model, plan.steps_of(str(cell.model))[-1])
        recipe = ACTIVATIONS.recipe(plan.study, plan.storage, checkpoint) or {}
        arguments = {
            "origin": capture_arguments(plan, checkpoint, recipe),
            "layers": {
                str(layer): {
                    "activation_file": str(ACTIVATIONS.path(plan.storage, Cell(*checkpoint[:2], layer))),
                    "sae_folder": str(SAE.path(plan.storage, Cell(*checkpoint[:2], layer))),
                }
                for layer in plan.study.layers_of(str(cell.model))
            },
            "required": required_to_json(required),
            "probes": canonical_json(plan.study.probe_set.model_dump()),
        }
        for control in _made(plan.study):
            path = _part(plan.storage, cell, control)
            if not _is_made(path, required):
                more = {"control_id": control, "path": str(path)}
                work.append(Job(arguments | more, (cell,), f"{control} {cell}"))
    return work


def _arguments(plan: Plan, cell: Cell, _required: Required) -> dict[str, Any]:
    return {
        "parts": [str(_part(plan.storage, cell, control)) for control in _made(plan.study)],
        "chosen": list(plan.study.statistics.controls),
    }


def _made(study: Study) -> list[str]:
    """Controls of the study that have to be made, those that take longest first."""
    made = [control for control in study.statistics.controls if control in MADE_CONTROLS]
    return sorted(made, key=lambda one: LARGEST_FIRST.index(one) if one in LARGEST_FIRST else len(LARGEST_FIRST))


def _part(storage: Storage, cell: Cell, control: str) -> Path:
    return storage.control_parts(str(cell.model)) / f"{control}.parquet"


def _is_made(path: Path, required: Required) -> bool:
    """Whether a run that was stopped made this very part."""
    try:
        stored = parquet_provenance(path)
        return stored is not None and stored.required == required_from_json(required_to_json(required))
    except EmergenceError:
        return False


CATEGORY_CONTROLS = table_spec(
    TABLE,
    ("checkpoint", "activations", "sae", "category_presence"),
    "emergence_assets.emergence.controls.worker:join_controls",
    recipe=_recipe,
    arguments=_arguments,
    relations=(
        at_chance(pl.col("p_best"), IS_SHUFFLED & (pl.col("aggregate") == "mean")),
        beside_every_row("model", "layer", "aggregate", "category_level", "category"),
    ),
    parts=(CONTROL_PARTS,),
    prepare=Prepare("emergence_assets.emergence.controls.measurement:measure_control", _part_jobs),
    also=lambda storage, cell: (storage.control_parts(str(cell.model)),),
    n_bytes=_n_bytes,
)
