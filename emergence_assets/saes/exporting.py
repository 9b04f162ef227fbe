"""Export of a study's SAEs to other libraries: a folder per SAE, an index and a model card."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emergence_assets.plan.plan import Plan
from emergence_assets.plan.selection import Selection
from emergence_assets.saes.export_folder import (
    earlier_entries,
    folder_name,
    place,
    selected_cells,
    selected_seeds,
    write_index,
)
from emergence_assets.saes.spec import METRICS_NAME, SAE, seed_folder
from emergence_assets.texts.study_corpus import corpus_sentence

CARD = """# SAEs of study {study.name}

{n_saes} {study.sae.variant} SAEs on the residual stream, written for {layout}. `index.json` lists them with
model, step, layer, seed and quality, and whether they were trained here or imported.

* Models: {models}.
* Hook point: output of block `layer` (`resid_post`), counted from 0. The first token of a text is left out of training
  and of all figures.
* Trained on {corpus}; context {study.family.context} tokens, with a begin token in front.
* {study.sae.n_latents} latents, {study.sae.k} active per token{prefixes}, {study.sae.n_steps} steps of
  {study.sae.batch_size} rows; seeds {seeds}.
* Active latents of a token: {selection}.
* FVU: sum of squared errors over sum of squared deviations from the mean, over the whole held-out set; 0 is perfect,
  1 is the mean alone.
* The input scale of training is folded into biases and thresholds: the SAEs take raw activations.
"""


def export_saes(
    plan: Plan, selection: Selection, seeds: Sequence[int], layout: str, folder: Path
) -> list[dict[str, Any]]:
    """Write the selected SAEs, and list them in the index with those that earlier exports left in the folder.

    The folder of an SAE is replaced where its files differ from what is exported now, and kept where they are equal.

    Args:
        plan: plan of the study.
        selection: cells to export.
        seeds: SAE seeds to export; all if empty.
        layout: key of `formats.layouts.LAYOUTS`.
        folder: parent of all SAE folders.

    Returns:
        Entries of the selected SAEs.

    Raises:
        EmergenceError: no SAE is selected, or one is not done or damaged; the folder holds an export in another
            layout, or other files where an SAE belongs; or the disk is full.
    """
    from emergence_assets.saes.formats.folder import read_sae
    from emergence_assets.saes.formats.layouts import LAYOUTS
    from emergence_assets.saes.variants.registry import VARIANTS

    earlier = earlier_entries(folder, layout)
    chosen = selected_seeds(plan, seeds)
    written = []
    for cell in selected_cells(plan, SAE, selection, "The SAEs"):
        path = SAE.path(plan.storage, cell)
        SAE.verify(path)
        quality = {entry["sae_seed"]: entry for entry in json.loads((path / METRICS_NAME).read_text("utf-8"))["seeds"]}
        for seed in chosen:
            sae, metadata = read_sae(seed_folder(path, seed))
            name = folder_name(cell, seed)
            with TemporaryDirectory() as new:
                LAYOUTS[layout].write(Path(new) / name, sae, metadata)
                place(Path(new) / name, folder / name)
            entry = {"folder": name, "model": cell.model, "step": cell.step, "layer": cell.layer, "seed": seed}
            entry |= {"hook_name": metadata["hook_name"], "hf_hook_name": metadata["hf_hook_name"]}
            entry |= {name: quality[seed][name] for name in ("start", "fvu", "l0", "dead_frac")}
            written.append(entry | {"fingerprint": metadata["fingerprint"]})
    every = earlier | {entry["folder"]: entry for entry in written}
    seeds_of_all = sorted({int(entry["seed"]) for entry in every.values()})
    card = _card(plan, VARIANTS[plan.study.sae.variant].description, layout, len(every), seeds_of_all)
    write_index(folder, layout, every.values(), card)
    return written


def _card(plan: Plan, description: str, layout: str, n_saes: int, seeds: Sequence[int]) -> str:
    study = plan.study
    return CARD.format(
        study=study,
        n_saes=n_saes,
        layout=layout,
        models=", ".join(study.models),
        corpus=corpus_sentence(study, plan.storage),
        selection=description,
        prefixes=f", Matryoshka prefixes {study.sae.prefixes}" if study.sae.prefixes else "",
        seeds=", ".join(map(str, seeds)),
    )
