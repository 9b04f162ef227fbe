"""Export of a study's SAEs to other libraries: a folder per SAE, an index and a model card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emergence_assets.plan.plan import Plan
from emergence_assets.plan.selection import Selection
from emergence_assets.saes.spec import METRICS_NAME, SAE, seed_folder
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.atomic import replacing_file

CARD = """# SAEs of study {study.name}

{n_saes} {study.sae.variant} SAEs on the residual stream, written for {layout}. `index.json` lists them with
model, step, layer, seed and quality, and whether they were trained here or imported.

* Models: {models}.
* Hook point: output of block `layer` (`resid_post`), counted from 0. The first token of a text is left out of training
  and of all figures.
* Trained on {positions} of {study.activations.training_texts} WordNet glosses; context {study.family.context} tokens,
  with a begin token in front.
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
    """Write the selected SAEs; existing folders are not changed.

    Args:
        plan: plan of the study.
        selection: cells to export.
        seeds: SAE seeds to export; all if empty.
        layout: key of `formats.layouts.LAYOUTS`.
        folder: parent of all SAE folders.

    Returns:
        Entries of the index.

    Raises:
        EmergenceError: a selected SAE is missing, stale or damaged, or the disk is full.
    """
    from emergence_assets.saes.formats.folder import read_sae
    from emergence_assets.saes.formats.layouts import LAYOUTS
    from emergence_assets.saes.variants.registry import VARIANTS

    written = []
    chosen = [seed for seed in plan.study.sae.seeds if not seeds or seed in seeds]
    for cell in selection.of(plan.cells(SAE)):
        path = SAE.path(plan.storage, cell)
        state = plan.state(SAE, cell)
        if state.state != "done":
            raise EmergenceError(
                f"The SAEs of {cell} are {state.state}{f': {state.reason}' if state.reason else ''}.",
                where=path,
                remedy="type `emergence run --stage saes`, or select other cells with --model, --step, --layer",
            )
        SAE.verify(path)
        quality = {entry["sae_seed"]: entry for entry in json.loads((path / METRICS_NAME).read_text("utf-8"))["seeds"]}
        for seed in chosen:
            sae, metadata = read_sae(seed_folder(path, seed))
            name = f"{cell}-seed{seed}".replace("/", "-")
            if not (folder / name).exists():
                LAYOUTS[layout].write(folder / name, sae, metadata)
            entry = {"folder": name, "model": cell.model, "step": cell.step, "layer": cell.layer, "seed": seed}
            entry |= {"hook_name": metadata["hook_name"], "hf_hook_name": metadata["hf_hook_name"]}
            entry |= {name: quality[seed][name] for name in ("start", "fvu", "l0", "dead_frac")}
            written.append(entry | {"fingerprint": metadata["fingerprint"]})
    _write_text(folder / "index.json", json.dumps({"layout": layout, "saes": written}, indent=2) + "\n")
    _write_text(
        folder / "README.md",
        _card(plan.study, VARIANTS[plan.study.sae.variant].description, layout, len(written), chosen),
    )
    return written


def _card(study: Study, description: str, layout: str, n_saes: int, seeds: Sequence[int]) -> str:
    return CARD.format(
        study=study,
        n_saes=n_saes,
        layout=layout,
        models=", ".join(study.models),
        positions="every token but the first" if study.activations.positions == "all" else "the last token",
        selection=description,
        prefixes=f", Matryoshka prefixes {study.sae.prefixes}" if study.sae.prefixes else "",
        seeds=", ".join(map(str, seeds)),
    )


def _write_text(path: Path, text: str) -> None:
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
