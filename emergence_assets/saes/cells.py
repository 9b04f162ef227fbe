"""SAEs as cells: one folder per model, step and layer with an SAE per seed, their training curves and quality."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import ACTIVATIONS, by_checkpoint, harvest_origin
from emergence_assets.durable import clear_disk_errors, replacing_folder
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Required
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import (
    folder_provenance,
    required_from_json,
    required_to_json,
    verify_folder,
    write_folder_record,
)
from resources.storage import Storage

EVALUATION_SHARE = 10
"""Every so many-th training text is kept from the SAE and measures its quality."""
AFTER_SAE = {"drop-after-sae": "evict", "archive-after-sae": "archive"}
"""What becomes of the rows of a cell whose SAEs are trained, by the study's retention."""
METRICS_NAME = "metrics.json"
CURVE_NAME = "training_curve.png"


def _sae_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"sae": study.sae.model_dump(), "evaluation_share": EVALUATION_SHARE}


CURVE_BYTES, SEED_FILES_BYTES = 43_000, 4_400
"""The picture of a cell; config, metrics and header of each of its SAEs."""


def _sae_bytes(study: Study, cell: Cell, _counts: TextCounts) -> float:
    """Two matrices and two biases in float32 per seed."""
    d_model, n_latents = study.family.models[str(cell.model)].d_model, study.sae.n_latents
    weights = 4 * (2 * n_latents * d_model + n_latents + d_model)
    return CURVE_BYTES + len(study.sae.seeds) * (weights + SEED_FILES_BYTES)


SAE = Rule(
    name="sae",
    stage="saes",
    grid="cell",
    inputs=("activations",),
    recipe=_sae_recipe,
    code=("emergence_assets.saes.training", "emergence_assets.saes.quality", "emergence_assets.saes.folder"),
    path=lambda storage, cell: storage.sae_folder(str(cell.model), int(cell.step or 0), int(cell.layer or 0)),
    stored=folder_provenance,
    n_bytes=_sae_bytes,
    verify=verify_folder,
)
RULES = (SAE,)


def seed_folder(folder: Path, seed: int) -> Path:
    """Folder of one SAE, in the layout that sae_lens loads."""
    return folder / f"seed={seed}"


def sae_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per cell; where no file keeps the rows, one per checkpoint, which harvests all its layers at once."""
    from emergence_assets.activations.reading import read_spec

    after = plan.study.activations.retention
    work, without_rows = [], []
    for cell, required in due:
        path = ACTIVATIONS.path(plan.storage, cell)
        if read_spec(path).residency == "evicted":
            without_rows.append((cell, required))
            continue
        arguments = {
            "activation_file": str(path),
            "folder": str(SAE.path(plan.storage, cell)),
            "required": required_to_json(required),
            "retention": after,
            "lock": str(plan.storage.checkpoint_lock(str(cell.model), int(cell.step or 0))),
        }
        work.append((Task("emergence_assets.saes.cells:train_cell", arguments, str(cell)), [cell]))
    for checkpoint, selected in by_checkpoint(without_rows).items():
        recipe = ACTIVATIONS.recipe(plan.study, plan.storage, checkpoint) or {}
        arguments = {
            "origin": harvest_origin(plan, checkpoint, recipe),
            "activation_files": {str(cell.layer): str(ACTIVATIONS.path(plan.storage, cell)) for cell in selected},
            "folders": {str(cell.layer): str(SAE.path(plan.storage, cell)) for cell in selected},
            "required": {str(cell.layer): required_to_json(required) for cell, required in selected.items()},
        }
        task = Task("emergence_assets.saes.cells:train_streamed", arguments, str(checkpoint))
        work.append((task, list(selected)))
    return work


def train_cell(activation_file: str, folder: str, required: str, retention: str, lock: str, report: Any) -> None:
    """Worker: train the SAEs of a cell from its activation file, then do with its rows what the study says."""
    from emergence_assets.activations.harvest import let_rows_go
    from emergence_assets.activations.reading import open_rows, read_spec, unarchive_rows

    path = Path(activation_file)
    archived = read_spec(path).residency == "archived"
    rows = unarchive_rows(path) if archived else open_rows(path, "resid_post", verify=True)
    train_on_rows(path, rows, Path(folder), required, report)
    if retention in AFTER_SAE:
        let_rows_go(activation_file, AFTER_SAE[retention], lock, lambda *_: None)


def train_streamed(
    origin: dict[str, Any],
    activation_files: dict[str, str],
    folders: dict[str, str],
    required: dict[str, str],
    report: Any,
) -> None:
    """Worker: harvest the rows of several layers of one checkpoint into memory and train their SAEs from there."""
    from emergence_assets.activations.harvest import harvest_rows
    from emergence_assets.activations.residency import require_same_rows

    for layer, rows in harvest_rows(origin, [int(layer) for layer in folders], report):
        path = Path(activation_files[str(layer)])
        require_same_rows(path, rows)
        train_on_rows(path, rows, Path(folders[str(layer)]), required[str(layer)], report)


def train_on_rows(path: Path, rows: Any, folder: Path, required: str, report: Any) -> None:
    """Train one SAE per seed on the training rows of a cell and measure it on held-out rows.

    Args:
        path: Activation file of the cell, which need not hold the rows.
        rows: `activations.reading.Rows` of resid_post.
        folder: Where the SAEs go.
        required: JSON of what they must be made from.
        report: Called with SAE steps done, all steps of all seeds, and a note.
    """
    import numpy as np

    from emergence_assets.activations.reading import Rows, read_attrs
    from emergence_assets.activations.tokens import read_tokens
    from emergence_assets.checkpoints.environment import environment
    from emergence_assets.saes.folder import write_sae
    from emergence_assets.saes.quality import measure_quality
    from emergence_assets.saes.activation import TopK
    from emergence_assets.saes.recipe import SAERecipe
    from emergence_assets.saes.training import Member, train_saes
    from emergence_assets.saes.training_chart import draw_training_curves
    from resources.accelerator import choose_accelerator

    want = required_from_json(required)
    settings = dict(want.recipe["sae"])
    recipe = SAERecipe(
        activation=TopK(settings["k"]),
        **{
            name: settings[name]
            for name in ("n_latents", "n_steps", "batch_size", "learning_rate", "dead_window_tokens")
        },
    )
    accelerator = choose_accelerator()
    attrs = read_attrs(path)
    tokens_file = path.parents[3] / "tokens" / str(attrs["tokens_file"])
    tokens = read_tokens(tokens_file)
    is_evaluation_t = tokens.training_rows.text_index_t % EVALUATION_SHARE == 0
    evaluation_td = Rows(rows.array[is_evaluation_t], rows.dtype).tensor().float()

    seeds: list[dict[str, Any]] = []
    curves: dict[int, list[list[float]]] = {}
    with clear_disk_errors(folder), replacing_folder(folder) as temporary:
        # Layers get initialisations of their own, so that matching across layers is not matching of seeds.
        members = [Member(rows, seed * 1_000 + int(attrs["layer"]) + 1, ~is_evaluation_t) for seed in settings["seeds"]]
        stack = train_saes(members, recipe, accelerator.device, report)
        for seed, trained in zip(settings["seeds"], stack, strict=True):
            quality = measure_quality(trained.sae, evaluation_td)
            curves[seed] = [[float(step), loss] for step, loss in trained.curve]
            seeds.append(
                {
                    "sae_seed": seed,
                    "fvu": quality.fvu,
                    "explained_variance": quality.explained_variance,
                    "l0": quality.l0,
                    "dead_frac": trained.dead_fraction,
                    "eval_dead_frac": quality.dead_fraction,
                    "dense_frac": quality.dense_fraction,
                    "cosine": quality.cosine,
                    "final_loss": trained.curve[-1][1],
                    "train_tokens": trained.n_tokens,
                    "n_eval_tokens": quality.n_tokens,
                    "norm_scale": trained.input_scale,
                }
            )
            metadata = {
                "model_name": str(attrs["model"]),
                "hook_name": f"blocks.{attrs['layer']}.hook_resid_post",
                "hf_hook_name": str(attrs["hook_point"]),
                "prepend_bos": True,
                "first_token_excluded": True,
                "positions": tokens.positions,
                "context_size": tokens.context,
                "tokens_fingerprint": str(attrs["tokens_fingerprint"]),
                "training_step": int(attrs["step"]),
                "checkpoint_sha256": str(attrs["checkpoint_sha256"]),
                "fvu_definition": "sum |x - xhat|^2 / sum |x - mean|^2 over the evaluation rows",
                "fvu": quality.fvu,
                "fingerprint": want.fingerprint,
            }
            write_sae(seed_folder(temporary, seed), trained.sae, metadata)
        (temporary / METRICS_NAME).write_text(json.dumps({"seeds": seeds, "curves": curves}) + "\n", encoding="utf-8")
        draw_training_curves(curves, temporary / CURVE_NAME)
        summary = {name: float(np.mean([one[name] for one in seeds])) for name in seeds[0] if name != "sae_seed"}
        summary |= {"n_seeds": len(seeds), "k": settings["k"], "n_latents": settings["n_latents"]}
        write_folder_record(temporary, want, summary, {**environment(), "device": accelerator.name})
