"""SAEs as cells: one folder per model, step and layer with an SAE per seed, their training curves and quality."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import ACTIVATIONS
from emergence_assets.durable import clear_disk_errors, replacing_folder
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Required
from emergence_assets.study import Study
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
METRICS_NAME = "metrics.json"
CURVE_NAME = "training_curve.png"


def _sae_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"sae": study.sae.model_dump(), "evaluation_share": EVALUATION_SHARE}


SAE = Rule(
    name="sae",
    stage="saes",
    grid="cell",
    inputs=("activations",),
    recipe=_sae_recipe,
    code=("emergence_assets.saes.training", "emergence_assets.saes.quality", "emergence_assets.saes.folder"),
    path=lambda storage, cell: storage.sae_folder(str(cell.model), int(cell.step or 0), int(cell.layer or 0)),
    stored=folder_provenance,
    verify=verify_folder,
)
RULES = (SAE,)


def seed_folder(folder: Path, seed: int) -> Path:
    """Folder of one SAE, in the layout that sae_lens loads."""
    return folder / f"seed={seed}"


def sae_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per cell."""
    work = []
    for cell, required in due:
        arguments = {
            "activation_file": str(ACTIVATIONS.path(plan.storage, cell)),
            "folder": str(SAE.path(plan.storage, cell)),
            "required": required_to_json(required),
        }
        work.append((Task("emergence_assets.saes.cells:train_cell", arguments, str(cell)), [cell]))
    return work


def train_cell(activation_file: str, folder: str, required: str, report: Any) -> None:
    """Worker: train one SAE per seed on the training rows of a cell and measure it on held-out rows."""
    import numpy as np
    import torch

    from emergence_assets.activations.reading import open_rows, read_attrs
    from emergence_assets.activations.tokens import read_tokens
    from emergence_assets.checkpoints.environment import environment
    from emergence_assets.saes.folder import write_sae
    from emergence_assets.saes.quality import measure_quality
    from emergence_assets.saes.sae import TopK
    from emergence_assets.saes.training import SAERecipe, train_sae
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
    attrs = read_attrs(Path(activation_file))
    tokens_file = Path(activation_file).parents[3] / "tokens" / str(attrs["tokens_file"])
    tokens = read_tokens(tokens_file)
    text_index_t = tokens.training_rows.text_index_t
    is_evaluation_t = text_index_t % EVALUATION_SHARE == 0
    x_td = open_rows(Path(activation_file), "resid_post", verify=True).float32()
    training_td = torch.from_numpy(np.ascontiguousarray(x_td[~is_evaluation_t]))
    evaluation_td = torch.from_numpy(np.ascontiguousarray(x_td[is_evaluation_t]))

    seeds: list[dict[str, Any]] = []
    curves: dict[int, list[list[float]]] = {}
    with clear_disk_errors(Path(folder)), replacing_folder(Path(folder)) as temporary:
        for position, seed in enumerate(settings["seeds"]):
            # Layers get initialisations of their own, so that matching across layers is not matching of seeds.
            initial = seed * 1_000 + int(attrs["layer"]) + 1
            trained = train_sae(
                training_td,
                recipe,
                initial,
                accelerator.device,
                lambda done, total, note, offset=position: report(
                    offset * total + done, len(settings["seeds"]) * total, note
                ),
            )
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
