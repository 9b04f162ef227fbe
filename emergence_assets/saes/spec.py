"""Asset of the SAEs: one folder per model, step and layer with one SAE per seed, training curves and quality.

SAEs are made by `layers/worker.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.spec import ACTIVATIONS, by_checkpoint, capture_arguments, checkpoint_fetch
from emergence_assets.plan.asset_spec import AssetSpec, Due, Job
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.saes.checks import SAE_CHECKS
from emergence_assets.study.study import Study
from resources.files.provenance import Required
from resources.files.records import folder_provenance, required_to_json, verify_folder
from resources.files.storage import Storage
from resources.files.versions import file_sha256

METRICS_NAME = "metrics.json"
WEIGHTS_NAME = "sae_weights.safetensors"
CURVE_NAME = "training_curve.png"


def _sae_recipe(study: Study, storage: Storage, cell: Cell) -> Mapping[str, Any]:
    settings = study.sae.model_dump(exclude={"warm_start"})
    recipe: dict[str, Any] = {"sae": settings}
    weights = {str(seed): imported_folder(storage, cell, seed) / WEIGHTS_NAME for seed in study.sae.seeds}
    imported = {seed: file_sha256(path) for seed, path in weights.items() if path.exists()}
    if imported:
        recipe["imported"] = imported
    if study.sae.warm_start:
        start = study.sae.warm_start
        recipe["warm_start"] = {"n_steps": start.n_steps, "has_control": cell.step in start.control_steps}
    return recipe


def _step_before(study: Study, steps: Sequence[int], cell: Cell) -> Cell | None:
    """Return the cell of a warm start: the same layer at the previous step; None if there is none."""
    before = [step for step in steps if step < int(cell.step or 0)]
    if study.sae.warm_start is None or not before:
        return None
    return Cell(cell.model, before[-1], cell.layer)


def imported_folder(storage: Storage, cell: Cell, seed: int) -> Path:
    """Return the folder of an imported SAE, whether it exists or not."""
    return storage.imported_sae(*cell.at_layer, seed)


CELL_BYTES, SEED_BYTES, MEAN_BYTES = 59_000, 5_000, 20
"""Bytes of chart and record of a cell; of config, metrics and header of an SAE; of one dimension of its input mean."""


def _sae_bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    """Compute the size of a cell: two matrices and two biases in float32 per seed, and the small files."""
    d_model, n_latents = study.family.models[str(cell.model)].d_model, study.sae.n_latents
    weights = 4 * (2 * n_latents * d_model + n_latents + d_model)
    return CELL_BYTES + len(study.sae.seeds) * (weights + SEED_BYTES + MEAN_BYTES * d_model)


def seed_folder(folder: Path, seed: int) -> Path:
    """Return the folder of one SAE, in the layout of sae_lens."""
    return folder / f"seed={seed}"


def _jobs(plan: Plan, due: Due) -> list[Job]:
    """List the jobs; a job trains the SAEs of one or more checkpoints in order.

    On a GPU all layers of a checkpoint are one stack; on a CPU a stack is not faster, and every layer is a job. If rows
    are not stored, all layers of a checkpoint are captured at once. With warm starts a job covers all steps in order.
    """
    by_layer = plan.n_accelerators == 0 and plan.study.sae.warm_start is not None
    chains: dict[tuple[Any, ...], list[tuple[dict[str, Any], list[Cell]]]] = {}
    for checkpoint, selected in by_checkpoint(due).items():
        stored = {cell for cell in selected if _keeps_rows(plan, cell)}
        without_rows = [cell for cell in selected if cell not in stored]
        groups = [[cell] for cell in selected if cell in stored] if plan.n_accelerators == 0 else [sorted(stored)]
        groups += [[cell] for cell in without_rows] if by_layer else [without_rows]
        for cells in filter(None, groups):
            work = _work(plan, checkpoint, {cell: selected[cell] for cell in cells}, streamed=cells[0] not in stored)
            # With warm starts the checkpoints of a model are a chain.
            alone = () if plan.study.sae.warm_start else cells
            key = (checkpoint.model, cells[0].layer) if by_layer else (checkpoint.model, *alone)
            chains.setdefault(key, []).append((work, cells))
    return [
        Job(
            {"work": [work for work, _ in chain], "evict": plan.study.activations.retention == "drop-after-sae"},
            tuple(cell for _, cells in chain for cell in cells),
            str(chain[0][1][0] if len(chain[0][1]) == 1 else Cell(*chain[0][1][0][:2])),
            checkpoint_fetch(plan, Cell(*chain[0][1][0][:2])) if chain[0][0]["streamed"] else None,
        )
        for chain in chains.values()
    ]


def _keeps_rows(plan: Plan, cell: Cell) -> bool:
    from emergence_assets.activations.files.reading import read_spec

    return read_spec(ACTIVATIONS.path(plan.storage, cell)).storage_state == "stored"


def _work(plan: Plan, checkpoint: Cell, selected: Mapping[Cell, Required], streamed: bool) -> dict[str, Any]:
    """Return plain values for a worker: inputs and outputs of the layers of one checkpoint."""
    layers = {}
    for cell, required in selected.items():
        start = plan.start_of(SAE, cell)
        layers[str(cell.layer)] = {
            "activation_file": str(ACTIVATIONS.path(plan.storage, cell)),
            "folder": str(SAE.path(plan.storage, cell)),
            "required": required_to_json(required),
            "state": str(plan.storage.sae_training_state(*cell.at_layer)),
            "start": None if start is None else str(SAE.path(plan.storage, start)),
            "imported": {
                str(seed): str(imported_folder(plan.storage, cell, seed))
                for seed in required.recipe.get("imported", ())
            },
        }
    return {
        "origin": capture_arguments(plan, checkpoint),
        "layers": layers,
        "streamed": streamed,
        "mixing_rows": plan.study.sae.mixing_rows,
    }


SAE = AssetSpec(
    name="sae",
    stage="saes",
    description="Sparse autoencoders of one layer of one checkpoint, one per seed, in the layout that sae_lens loads.",
    grid="cell",
    inputs=("checkpoint", "activations"),
    make="emergence_assets.saes.layers.worker:train_checkpoints",
    jobs=_jobs,
    recipe=_sae_recipe,
    path=lambda storage, cell: storage.sae_folder(*cell.at_layer),
    also=lambda storage, cell: (storage.sae_training_state(*cell.at_layer),),
    stored=folder_provenance,
    verify=verify_folder,
    checks=SAE_CHECKS,
    starts_from=_step_before,
    n_bytes=_sae_bytes,
    kinds=frozenset({"pytorch", "safetensors"}),
    on_accelerator=True,
    cells_per_run=200,
)
SPECS = (SAE,)
