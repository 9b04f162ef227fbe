"""Import SAEs that were trained elsewhere: the study uses them in place of its own."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.selection import Selection
from emergence_assets.saes.spec import SAE, imported_folder
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.atomic import clear_disk_errors
from resources.files.versions import file_sha256

BLOCK_OUTPUT = re.compile(r"(?:blocks\.(\d+)\.hook_resid_(pre|post))|(?:(?:\w+\.)*(?:layers|h|blocks|block)\.(\d+))")
"""Names of hook points in the residual stream: names of TransformerLens, and module paths of blocks."""
SEED_FOLDER = re.compile(r"seed[=_-]?(\d+)")


class Place(NamedTuple):
    """Place of an imported SAE in the study; a value of None is read from its settings or its folder name."""

    model: str
    step: int
    layer: int | None = None
    seed: int | None = None


def import_saes(
    plan: Plan, folder: Path, place: Place, layout: str | None = None, *, normalise_decoder: bool = False
) -> list[dict[str, Any]]:
    """Import every SAE in a folder or below it; earlier imports in the same places are replaced.

    All SAEs are read and checked before any is written.

    Args:
        plan: plan of the study.
        folder: folder of sae_lens or sparsify, or a tree of such folders.
        place: place of the SAEs in the study; layer and seed only for a single SAE.
        layout: see `read_foreign_sae`.
        normalise_decoder: see `read_foreign_sae`.

    Returns:
        Source, cell, seed and notes of each SAE.

    Raises:
        EmergenceError: there is no SAE, one cannot be read or does not fit the study, or the disk is full.
    """
    from emergence_assets.saes.formats.folder import write_sae
    from emergence_assets.saes.formats.layouts import LAYOUTS, find_foreign_saes, read_foreign_sae

    found = find_foreign_saes(folder)
    if not found:
        raise EmergenceError(
            "There is no SAE here.",
            where=folder,
            remedy="choose a folder with cfg.json and a safetensors file of sae_lens or sparsify, or a folder above it",
        )
    if len(found) > 1 and place.layer is not None:
        raise EmergenceError(
            f"{len(found)} SAEs cannot all belong to layer {place.layer}.", where=folder, remedy="omit --layer"
        )
    taken: dict[Path, tuple[Any, dict[str, Any], dict[str, Any]]] = {}
    for source in found:
        sae, about = read_foreign_sae(source, layout, normalise_decoder=normalise_decoder)
        layer = _layer(source, about) if place.layer is None else place.layer
        named = SEED_FOLDER.fullmatch(source.name)
        seed = place.seed if place.seed is not None else int(named[1]) if named else plan.study.sae.seeds[0]
        cell = Cell(place.model, place.step, layer)
        _require_fit(plan, source, cell, seed, sae)
        target = imported_folder(plan.storage, cell, seed)
        if target in taken:
            raise EmergenceError(
                f"Two SAEs would be seed {seed} of {cell}.", where=source, remedy="import them one by one, with --seed"
            )
        weights = source / LAYOUTS[about["library"]].weights_name
        origin = {"folder": source.name, "weights_sha256": file_sha256(weights), **about}
        metadata = {"model_name": place.model, "hook_name": f"blocks.{layer}.hook_resid_post", "imported": origin}
        line = {"from": str(source), "cell": str(cell), "seed": seed, "notes": _notes(about), **origin}
        taken[target] = (sae, metadata, line)
    for target, (sae, metadata, _) in taken.items():
        with clear_disk_errors(target):
            shutil.rmtree(target, ignore_errors=True)
            write_sae(target, sae, metadata)
    return [line for _, _, line in taken.values()]


def forget_imported(plan: Plan, selection: Selection, seeds: Sequence[int]) -> list[str]:
    """Remove imported SAEs, so that the study trains its own; returns the cells and seeds of the removed SAEs."""
    removed = []
    for cell in selection.of(plan.cells(SAE)):
        for seed in plan.study.sae.seeds:
            folder = imported_folder(plan.storage, cell, seed)
            if folder.is_dir() and (not seeds or seed in seeds):
                with clear_disk_errors(folder):
                    shutil.rmtree(folder)
                removed.append(f"{cell} seed {seed}")
    return removed


def _layer(source: Path, about: dict[str, Any]) -> int:
    """Return the block of an SAE, by its hook point.

    Raises:
        EmergenceError: the hook point is missing or not in the residual stream.
    """
    name = str(about.get("hf_hook_name") or about.get("hook_name") or source.name)
    match = BLOCK_OUTPUT.fullmatch(name)
    if match is None:
        raise EmergenceError(
            f"The hook point {name!r:.80} is not known to be the output of a block.",
            where=source,
            remedy="if it is, set the block with --layer; SAEs of MLPs or attention cannot be imported",
        )
    if match[1] is None:
        return int(match[3])
    # The input of a block is the output of the previous block; the input of the first block is the embedding.
    return int(match[1]) - (match[2] == "pre")


def _require_fit(plan: Plan, source: Path, cell: Cell, seed: int, sae: Any) -> None:
    """Raise EmergenceError if the study has no such cell or seed, or has SAEs of another design."""
    from emergence_assets.saes.variants.registry import VARIANTS

    study: Study = plan.study
    design = study.sae
    demands = [
        (cell in plan.cells(SAE, cell.model), f"the study has no cell {cell}", "correct --model, --step or --layer"),
        (seed in design.seeds, f"the study has no SAE seed {seed}", f"choose --seed from {design.seeds}"),
    ]
    for is_met, what, remedy in demands:
        if not is_met:
            raise EmergenceError(f"An SAE cannot be imported: {what}.", where=source, remedy=remedy)
    d_model = study.family.models[str(cell.model)].d_model
    wanted: dict[str, tuple[int | str, int | str]] = {
        "sae.n_latents": (design.n_latents, sae.n_latents),
        "d_model": (d_model, sae.d_model),
    }
    if VARIANTS[design.variant].exactly_k != (sae.k is not None):
        wanted["sae.variant"] = (design.variant, sae.architecture)
    elif sae.k is not None:
        wanted["sae.k"] = (design.k, sae.k)
    for name, (of_study, of_sae) in wanted.items():
        if of_study != of_sae:
            raise EmergenceError(
                f"An SAE cannot be imported: its {name.removeprefix('sae.')} is {of_sae}, the study has {of_study}.",
                where=source,
                remedy=f"set {name} of the study to {of_sae}: all its SAEs are of one design"
                if name != "d_model"
                else "choose the model that it was trained on",
            )


def _notes(about: dict[str, Any]) -> list[str]:
    """Describe settings of the SAE by which its training activations differ from those of this study."""
    notes = []
    if about["library"] == "sae_lens" and about.get("center_writing_weights") is not False:
        notes.append(
            "its settings do not exclude a centred residual stream; TransformerLens centres it by default, and such an "
            "SAE does not fit raw activations: look at fvu in sae_metrics"
        )
    if about.get("prepend_bos") is False:
        notes.append("it was trained on texts without a begin token; here every text has one")
    return notes
