"""Controls of the last step as cells: per model one table, made from a part per control."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import ACTIVATIONS, harvest_origin, probe_recipe
from emergence_assets.control_ids import MADE_CONTROLS
from emergence_assets.emergence.cells import CATEGORY_PRESENCE
from emergence_assets.emergence.table_cells import table_rule, write_cell
from emergence_assets.errors import EmergenceError
from emergence_assets.features.table_sizes import REPLICATE_BYTES
from emergence_assets.features.tables.control_draws import ENCODER_DRAWS
from emergence_assets.plan import Cell, Plan
from emergence_assets.provenance import Required, canonical_json
from emergence_assets.saes.cells import SAE
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import required_from_json, required_to_json
from resources.storage import Storage
from resources.tables import parquet_provenance, read_table

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


CATEGORY_CONTROLS = table_rule(
    "category_controls",
    ("checkpoint", "activations", "sae", "category_presence"),
    ("control_measurement:measure_control", "control_cells:join_controls"),
    _n_bytes,
    recipe=_recipe,
    also=lambda storage, cell: (storage.control_parts(str(cell.model)),),
)
RULES = (CATEGORY_CONTROLS,)


def part_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per control of a model that has to be made, those that take longest first."""
    work = []
    for cell, required in due:
        checkpoint = Cell(cell.model, plan.steps_of(str(cell.model))[-1])
        recipe = ACTIVATIONS.recipe(plan.study, plan.storage, checkpoint) or {}
        arguments = {
            "origin": harvest_origin(plan, checkpoint, recipe),
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
                function = "emergence_assets.emergence.control_measurement:measure_control"
                more = {"control_id": control, "path": str(path)}
                work.append((Task(function, arguments | more, f"{control} {cell}"), [cell]))
    return work


def join_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per model, once its parts are there."""
    work = []
    for cell, required in due:
        arguments = {
            "parts": [str(_part(plan.storage, cell, control)) for control in _made(plan.study)],
            "presence": str(CATEGORY_PRESENCE.path(plan.storage, cell)),
            "chosen": list(plan.study.statistics.controls),
            "path": str(CATEGORY_CONTROLS.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        function = "emergence_assets.emergence.control_cells:join_controls"
        work.append((Task(function, arguments, f"category_controls {cell}", on_accelerator=False), [cell]))
    return work


def join_controls(parts: list[str], presence: str, chosen: list[str], path: str, required: str, report: Any) -> None:
    """Worker: all controls of one model as a table."""
    import polars as pl

    from emergence_assets.emergence.controls import category_controls
    from emergence_assets.emergence.tables.controls import CATEGORY_CONTROLS as TABLE
    from emergence_assets.emergence.tables.controls import CONTROL_PARTS
    from emergence_assets.emergence.tables.presence import CATEGORY_PRESENCE as PRESENCE

    nothing = CONTROL_PARTS.schema.to_frame()
    made = pl.concat([nothing, *(read_table(Path(part), CONTROL_PARTS) for part in parts)])
    measured = read_table(Path(presence), PRESENCE)
    frame = category_controls(made, measured, chosen)
    # A model whose step 0 is left out cannot be compared with it; the claims say that it was not measured.
    possible = set(chosen) if (measured["step"] == 0).any() else set(chosen) - {"step0"}
    missing = possible - set(frame["control_id"])
    if missing:
        raise EmergenceError(f"Controls {sorted(missing)} have no rows.", where=path, remedy="run again")
    means = frame.filter(pl.col("aggregate") == "mean", pl.col("category_level") == frame["category_level"][0])
    above = means.group_by("control_id").agg(pl.col("above_control").mean())
    numbers = {f"above_{name}": value for name, value in sorted(above.iter_rows())}
    write_cell(Path(path), frame, TABLE, required, {"rows": len(frame), **numbers})


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
