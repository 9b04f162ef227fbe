"""The folder of an export: a folder per SAE, each replaced as a whole; an index and a card are written last."""

import filecmp
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.selection import Selection
from resources.errors import EmergenceError, require_known
from resources.files.atomic import clear_disk_errors, replacing_file, replacing_folder
from resources.files.checked_json import read_checked

INDEX_NAME, CARD_NAME = "index.json", "README.md"
MAX_INDEX_BYTES = 2**28
"""Half a million SAEs."""
_ENTRY = {"folder": str, "model": str, "step": int, "layer": int, "seed": int, "fingerprint": str}


@dataclass(frozen=True)
class _Index:
    layout: str
    saes: list[dict[str, Any]]


def selected_cells(plan: Plan, spec: AssetSpec, selection: Selection, named: str) -> list[Cell]:
    """Return the selected cells of an asset; nothing is exported unless all of them are done.

    Args:
        plan: plan of the study.
        spec: asset that is exported.
        selection: cells to export.
        named: what the asset is called in a message, in the plural, such as `The SAEs`.

    Raises:
        EmergenceError: no cell is selected, or one is missing, stale, failed or damaged.
    """
    cells = selection.of(plan.cells(spec))
    advice = f"type `emergence run --stage {spec.stage}`, or select other cells with --model, --step, --layer"
    if not cells:
        raise EmergenceError(f"{named} to export are none: no checkpoint is selected.", remedy=advice)
    for cell in cells:
        if (state := plan.state(spec, cell)).state != "done":
            raise EmergenceError(
                f"{named} of {cell} are {state.state}{f': {state.reason}' if state.reason else ''}.",
                where=spec.path(plan.storage, cell),
                remedy=advice,
            )
    return cells


def selected_seeds(plan: Plan, seeds: Sequence[int]) -> list[int]:
    """Return the seeds of the SAEs to export, in the order of the study; all if none is named.

    Raises:
        EmergenceError: the study has no SAEs of a named seed.
    """
    require_known("SAE seed", seeds, plan.study.sae.seeds)
    return [seed for seed in plan.study.sae.seeds if not seeds or seed in seeds]


def folder_name(cell: Cell, seed: int) -> str:
    """Return the name of the folder of an SAE, such as `gloss-671k-step002000-L05-seed0`."""
    return f"{cell}-seed{seed}".replace("/", "-")


def earlier_entries(folder: Path, layout: str) -> dict[str, dict[str, Any]]:
    """Return the entries of an earlier index whose SAEs are still there, by folder.

    Raises:
        EmergenceError: the folder holds an export in another layout, or an index of something else.
    """
    path = folder / INDEX_NAME
    if not path.exists():
        return {}
    try:
        if not path.is_file():  # reading a pipe would block
            raise ValueError("it is not a file")
        index = read_checked(path, TypeAdapter(_Index), MAX_INDEX_BYTES)
        if not all(_is_entry(one) for one in index.saes):
            raise ValueError("an entry is not that of an SAE")
    except ValueError as error:
        raise EmergenceError(
            f"There is another index in the folder: {error!s:.200}.",
            where=path,
            remedy="name a folder that is new, or an earlier export",
        ) from None
    if index.layout != layout:
        raise EmergenceError(
            f"The folder holds an export for {index.layout:.80}.",
            where=folder,
            remedy=f"name another folder for {layout}",
        )
    return {one["folder"]: one for one in index.saes if (folder / Path(one["folder"]).name).is_dir()}


def _is_entry(entry: dict[str, Any]) -> bool:
    return all(isinstance(entry.get(name), kind) for name, kind in _ENTRY.items())


def place(new: Path, target: Path) -> None:
    """Put the files of an SAE in their folder, which changes as a whole; equal files stay.

    Args:
        new: folder with the files.
        target: their folder in the export.

    Raises:
        EmergenceError: other files lie where the SAE belongs, or the disk is full.
    """
    files = sorted(path.name for path in new.iterdir())
    present = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    if files == present and filecmp.cmpfiles(new, target, files, shallow=False)[1:] == ([], []):
        return
    if (target.exists() and not target.is_dir()) or not set(present) <= set(files):
        raise EmergenceError(
            f"There is something else where {target.name} belongs.", where=target, remedy="name another folder"
        )
    with clear_disk_errors(target), replacing_folder(target) as temporary:
        for name in files:
            shutil.copyfile(new / name, temporary / name)


def write_index(folder: Path, layout: str, entries: Iterable[dict[str, Any]], card: str) -> None:
    """Write the index and the card of an export, after all its SAEs.

    Args:
        folder: folder of the export.
        layout: layout of all its SAEs.
        entries: an entry per SAE, with its folder, model, step, layer, seed and fingerprint.
        card: text of README.md.
    """
    index = {"layout": layout, "saes": list(entries)}
    _write_text(folder / INDEX_NAME, json.dumps(index, indent=2) + "\n")
    _write_text(folder / CARD_NAME, card)


def _write_text(path: Path, text: str) -> None:
    with clear_disk_errors(path), replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
