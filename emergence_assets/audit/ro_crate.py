"""Export of a study as an RO-Crate: one zip with its tables, claims, report, settings and records, for an archive.

Profile: Process Run Crate 0.5, whose actions list the inputs of each file, its date and its software. Weights,
activations and SAEs are named with their fingerprints, and included only on request.
"""

import json
import tempfile
import urllib.parse
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from emergence_assets.checkpoints.spec import TRAINING_RUN
from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.lineage_id import cell_id
from emergence_assets.plan.plan import Plan
from resources.environment import LIBRARIES
from resources.errors import EmergenceError, require_known
from resources.files.atomic import clear_disk_errors, replacing_file
from resources.files.provenance import Provenance

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate


PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
RECORDS = "records.jsonl"
SETTINGS = "study.yaml"
UNLICENSED = "Not stated; ask the authors."


def write_crate(plan: Plan, path: Path, licence: str, included: Collection[str] = ()) -> dict[str, Any]:
    """Write the zip of a study.

    Args:
        plan: plan of the study.
        path: path of the zip, which is replaced.
        licence: address of a licence; empty without a licence.
        included: assets whose files of single checkpoints and layers are included too.

    Returns:
        Path and bytes of the zip, number of cells, and number of cells with files.

    Raises:
        EmergenceError: a cell is not up to date or is damaged; an asset does not exist; the disk is full.
    """
    require_known("asset", included, plan.specs)
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    cells = list(_cells(plan))
    with tempfile.TemporaryDirectory() as written, clear_disk_errors(path):
        _describe(crate, plan, licence, cells)
        settings = yaml.safe_dump(plan.study.science(), sort_keys=False, allow_unicode=True)
        _write(crate, Path(written), SETTINGS, settings, "application/yaml", "The study file with all settings.")
        lines = "".join(record.to_json() + "\n" for _, _, record in cells)
        what = "One line per cell: its inputs, settings, code, environment and fingerprint."
        _write(crate, Path(written), RECORDS, lines, "application/jsonlines", what)
        named = {
            f"{spec.name} {cell}": _named(crate, plan, spec, cell, record, _is_in(spec, included))
            for spec, cell, record in cells
        }
        for spec, cell, record in cells:
            if _is_in(spec, included):
                _action(crate, named, spec, cell, record)
        with replacing_file(path) as temporary:
            crate.write_zip(temporary.with_suffix(".zip"))
            temporary.with_suffix(".zip").replace(temporary)
            with zipfile.ZipFile(temporary, "a") as archive:  # folders that the crate names are entries of their own
                for folder in sorted(one["@id"] for one in named.values() if one["@id"].endswith("/")):
                    archive.mkdir(urllib.parse.unquote(folder))
    return {
        "crate": str(path),
        "bytes": path.stat().st_size,
        "cells": len(cells),
        "with_files": sum(_is_in(spec, included) for spec, _, _ in cells),
    }


def _cells(plan: Plan) -> Iterator[tuple[AssetSpec, Cell, Provenance]]:
    for spec in plan.specs.values():
        for cell in plan.cells(spec):
            path, state = spec.path(plan.storage, cell), plan.state(spec, cell)
            record = stored_provenance(spec, path)
            if record is None or state.state != "done":
                raise EmergenceError(
                    f"{spec.name} of {cell} is {state.state}{f': {state.reason}' if state.reason else ''}.",
                    where=path,
                    remedy="type `emergence run`; a crate needs a finished study",
                )
            spec.verify(path)
            yield spec, cell, record


def _is_in(spec: AssetSpec, included: Collection[str]) -> bool:
    return spec.name in included or (spec.grid in ("study", "model") and spec.name != TRAINING_RUN.name)


def _write(crate: "ROCrate", folder: Path, name: str, text: str, kind: str, what: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    crate.add_file(folder / name, name, properties={"name": what, "encodingFormat": kind})


def _describe(crate: "ROCrate", plan: Plan, licence: str, cells: list[tuple[AssetSpec, Cell, Provenance]]) -> None:
    """Describe the root of the crate, its profile and the software."""
    study = plan.study
    crate.name = f"Study {study.name}"
    crate.description = study.description or f"When, where and from what model size on: study {study.name}."
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    crate.root_dataset["conformsTo"] = _reference(crate, PROFILE, profile)
    stated = {"@type": "CreativeWork", "name": licence or UNLICENSED}
    crate.license = _reference(crate, licence or "#licence", stated)
    latest = max((record for _, _, record in cells), key=lambda record: record.created)
    needs = [
        _reference(crate, f"#{name}-{version}", _software(name, version))
        for name in ("python", *LIBRARIES)
        if (version := latest.environment.get(name))
    ]
    commit = str(latest.environment.get("git_commit", "unknown"))
    tool = _software("emergence-assets", commit) | {"softwareRequirements": needs}
    _reference(crate, "#emergence-assets", tool)


def _reference(crate: "ROCrate", name: str, properties: Mapping[str, Any]) -> dict[str, str]:
    """Add an entity that is not a file of the crate; return the reference to it."""
    from rocrate.model.contextentity import ContextEntity

    entity = ContextEntity(crate, name, properties=dict(properties))
    crate.add(entity)
    return {"@id": str(entity.id)}


def _software(name: str, version: str) -> dict[str, Any]:
    return {"@type": "SoftwareApplication", "name": name, "version": str(version)}


def _named(
    crate: "ROCrate", plan: Plan, spec: AssetSpec, cell: Cell, record: Provenance, is_in: bool
) -> Mapping[str, str]:
    """Add the file or folder of a cell, or only its name; return the reference to it."""
    about = {"name": f"{spec.name} of {cell}", "identifier": [record.fingerprint, cell_id(record.fingerprint)]}
    if not is_in:
        properties = {"@type": "CreativeWork", **about, "description": "Not in the crate; its record has the hashes."}
        return _reference(crate, f"#{spec.name}/{cell}".replace(" ", "-"), properties)
    path = spec.path(plan.storage, cell)
    place = path.relative_to(plan.storage.root).as_posix()
    if path.is_dir():
        added: Any = crate.add_dataset(path, place, properties=about)
        return {"@id": added.id}
    kind = {".parquet": "application/vnd.apache.parquet", ".h5": "application/x-hdf5", ".json": "application/json"}
    for beside in spec.also(plan.storage, cell):
        if beside.is_file():
            crate.add_file(beside, beside.relative_to(plan.storage.root).as_posix(), properties={"name": beside.stem})
    properties = about | {"encodingFormat": kind.get(path.suffix, "application/octet-stream")}
    added = crate.add_file(path, place, properties=properties)
    return {"@id": added.id}


def _action(
    crate: "ROCrate", named: Mapping[str, Mapping[str, str]], spec: AssetSpec, cell: Cell, record: Provenance
) -> None:
    """Add the action that made a file: its inputs, software, settings and run."""
    settings = json.dumps(dict(record.required.recipe), sort_keys=True)
    properties = {
        "@type": "CreateAction",
        "name": f"Make {spec.name} of {cell}",
        "description": f"Settings: {settings}",
        "instrument": {"@id": "#emergence-assets"},
        "object": [named[name] for name in record.required.inputs if name in named],
        "result": named[f"{spec.name} {cell}"],
        "endTime": record.created,
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    if run := record.environment.get("run_id"):
        properties["identifier"] = str(run)
    made = _reference(crate, f"#make/{spec.name}/{cell}".replace(" ", "-"), properties)
    crate.root_dataset.append_to("mentions", made)
