"""Asset `category_controls`: presence with other weights, texts or dictionaries, at the last step."""

from pathlib import Path
from typing import Any

import polars as pl

from emergence_assets.emergence.controls.table import CATEGORY_CONTROLS as TABLE
from emergence_assets.emergence.controls.table import CONTROL_PARTS
from emergence_assets.emergence.origins import origins
from emergence_assets.emergence.relations import IS_SHUFFLED, at_chance, beside_every_row
from emergence_assets.features.spec import presence_bytes, sections
from emergence_assets.plan.asset_spec import Due, Job
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.table_spec import table_job, table_spec
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.study.controls import MADE_CONTROLS
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.provenance import Required
from resources.files.records import required_from_json, required_to_json
from resources.files.storage import Storage
from resources.tables.parquet import parquet_provenance

LARGEST_FIRST = ("reinit_keep_embed", "text_wordshuffle", "dict_gauss", "dict_frozen_decoder")
MEASURE = "emergence_assets.emergence.controls.measurement:measure_control"


def _n_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """Estimate bytes: every draw of every control in one layer per level, with replicates."""
    return presence_bytes(study, counts, len(_made(study)) * len(study.sae.seeds))


def _part_jobs(plan: Plan, due: Due) -> list[Job]:
    """List one job per missing control of a model, the longest first."""
    jobs = []
    for cell, required in due:
        arguments = origins(plan, cell)
        for control in _made(plan.study):
            path = _part(plan.storage, cell, control)
            if not _is_made(path, required):
                more, label = arguments | {"control_id": control}, f"{control} {cell}"
                outputs = [(CONTROL_PARTS, path)]
                jobs.append(table_job(plan, CATEGORY_CONTROLS, cell, required, MEASURE, outputs, label, more))
    return jobs


def _arguments(plan: Plan, cell: Cell) -> dict[str, Any]:
    return {"parts": [str(_part(plan.storage, cell, control)) for control in _made(plan.study)]}


def _made(study: Study) -> list[str]:
    """List the controls of the study that need computation of their own, the longest first."""
    made = [control for control in study.statistics.controls if control in MADE_CONTROLS]
    return sorted(made, key=lambda one: LARGEST_FIRST.index(one) if one in LARGEST_FIRST else len(LARGEST_FIRST))


def _part(storage: Storage, cell: Cell, control: str) -> Path:
    return storage.control_parts(str(cell.model)) / f"{control}.parquet"


def _is_made(path: Path, required: Required) -> bool:
    """Return whether an interrupted run already finished this part from the same inputs."""
    try:
        stored = parquet_provenance(path)
        return stored is not None and stored.required == required_from_json(required_to_json(required))
    except EmergenceError:
        return False


CATEGORY_CONTROLS = table_spec(
    TABLE,
    ("checkpoint", "activations", "sae", "category_presence"),
    "emergence_assets.emergence.controls.worker:join_controls",
    recipe=sections("statistics", "sae", "probe_set"),
    arguments=_arguments,
    relations=(
        at_chance(pl.col("p_best"), IS_SHUFFLED & (pl.col("aggregate") == "mean")),
        beside_every_row("model", "layer", "aggregate", "category_level", "category"),
    ),
    parts=(CONTROL_PARTS,),
    prepare=(MEASURE, _part_jobs),
    also=lambda storage, cell: (storage.control_parts(str(cell.model)),),
    n_bytes=_n_bytes,
)
