"""Activation files as cells: probe set and tokens of a study, one forward pass per checkpoint for all its layers.

Like every `cells.py` it is read when Dagster loads the definitions: what is slow to import is imported by functions.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emergence_assets.checkpoints.cells import CHECKPOINT
from emergence_assets.checkpoints.listing import reference
from emergence_assets.checkpoints.sources.choice import is_offline, source_arguments
from emergence_assets.code_version import code_version
from emergence_assets.errors import EmergenceError
from emergence_assets.family import TrainedHere
from emergence_assets.plan import Cell, Plan, Rule, stored_provenance
from emergence_assets.probe_design import WordNetProbes
from emergence_assets.provenance import Provenance, Required, canonical_json
from emergence_assets.study import Study
from emergence_assets.text_counts import TextCounts
from resources.compute import Task
from resources.records import now, required_to_json
from resources.storage import Storage

if TYPE_CHECKING:
    from emergence_assets.activations.probes import ProbeSet


def probe_recipe(study: Study) -> dict[str, Any] | None:
    """What decides the probe set: its declaration, the bytes of its source, and how it is read; None before a fetch.

    Raises:
        EmergenceError: the file of the probe set cannot be read.
    """
    from emergence_assets.activations.probe_source import file_sha256, probe_file
    from emergence_assets.wordnet import corpus

    settings = study.probe_set.model_dump()
    if isinstance(study.probe_set, WordNetProbes):
        source = corpus.corpus_sha256()
    elif (path := probe_file(settings)) is not None:
        source = file_sha256(path)
    else:
        return None
    return {**settings, "source_sha256": source, "code": code_version("emergence_assets.activations.cells:probe_set")}


def _activations_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any] | None:
    from emergence_assets.wordnet import corpus

    family, probes = study.family, probe_recipe(study)
    if probes is None:
        return None
    return {
        "probe_set": probes,
        "activations": study.activations.model_dump(exclude={"retention"}),
        "context": family.context,
        "corpus_sha256": corpus.corpus_sha256(),
        "begin_token": None if isinstance(family, TrainedHere) else family.begin_token,
        "blocks": None if isinstance(family, TrainedHere) else family.blocks,
    }


def activation_provenance(path: Path) -> Provenance | None:
    """Provenance in the attributes of an activation file, with a summary from its statistics; None without a file.

    Raises:
        EmergenceError: the file is damaged.
    """
    from emergence_assets.activations.reading import read_attrs, read_stats

    if not path.exists():
        return None
    attrs, stats = read_attrs(path), read_stats(path)
    stored = Provenance.from_json(str(attrs.get("provenance", "")), path)
    summary = {
        "n_rows": int(attrs["n_rows"]),
        "n_probes": int(attrs["n_probes"]),
        "d_model": int(attrs["d_model"]),
        "expected_d_model": int(attrs["expected_d_model"]),
        "dtype": str(attrs["dtype"]),
        "rows": str(attrs["residency"]),
        "nan_count": int(stats.nan_count.sum()),
        "inf_count": int(stats.inf_count.sum()),
        "norm_rms": float(((stats.mean.astype("f8") ** 2 + stats.var).sum()) ** 0.5),
        "variance": float(stats.var.sum(dtype="f8")),
        "constant_dimensions": int((stats.var == 0).sum()),
        "bytes": path.stat().st_size,
        "tokens_file": str(attrs["tokens_file"]),
        "tokens_fingerprint": str(attrs["tokens_fingerprint"]),
        "content_xxh3_128": str(attrs["content_xxh3_128"]),
    }
    return Provenance(stored.required, summary, stored.environment, stored.created)


def _verify(path: Path) -> None:
    from emergence_assets.activations.reading import verify_file

    verify_file(path)


ARCHIVED_SHARE = {"float16": 0.83, "bfloat16": 0.63, "float32": 0.81}
"""What is left of rows in the archive; docs/measurements.md."""


def _activation_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """Exact but for the archive: shapes follow from the texts."""
    from emergence_assets.activations.layout import METADATA_BYTES, OVERHEAD_BYTES, ActivationSpec

    d_model, settings = study.family.models[str(cell.model)].d_model, study.activations
    kept = ActivationSpec(counts.n_rows, counts.n_probes, d_model, settings.dtype)
    share = {"keep": 1.0, "archive-after-sae": ARCHIVED_SHARE[settings.dtype]}.get(settings.retention, 0.0)
    return kept.n_bytes - OVERHEAD_BYTES + METADATA_BYTES - (1 - share) * counts.n_rows * kept.row_bytes


ACTIVATIONS = Rule(
    name="activations",
    stage="activations",
    grid="cell",
    inputs=("checkpoint",),
    recipe=_activations_recipe,
    code=("emergence_assets.activations.harvest:capture_layers",),
    path=lambda storage, cell: storage.activation_file(str(cell.model), int(cell.step or 0), int(cell.layer or 0)),
    stored=activation_provenance,
    verify=_verify,
    n_bytes=_activation_bytes,
)
RULES = (ACTIVATIONS,)


@functools.cache
def probe_set(declared: str) -> "ProbeSet":
    """The probe set of a study, from the JSON of its declaration; built once per process."""
    from emergence_assets.activations.category_maps import category_map
    from emergence_assets.activations.probe_source import probe_file
    from emergence_assets.activations.probes import table_probes, wordnet_probes

    settings = json.loads(declared)
    if settings["source"] == "wordnet":
        return wordnet_probes(settings["texts_per_category"], settings["seed"], settings["min_texts_per_category"])
    path = probe_file(settings)
    if path is None:
        raise EmergenceError(
            "The probe set was not fetched yet.",
            where=settings["repository"],
            remedy="type `emergence probes` or `emergence run`, which fetch it",
        )
    prompted = {name: settings[name] for name in ("template", "min_texts_per_category")}
    if settings["source"] == "mmlu":
        return table_probes(path, ["subject"], text_column="question", coarser=category_map("mmlu"), **prompted)
    return table_probes(
        path,
        settings["levels"],
        text_column=settings["text_column"],
        text_id_column=settings["text_id_column"],
        coarser=category_map(settings["category_map"]) if settings["category_map"] else None,
        **prompted,
    )


def study_probe_set(study: Study) -> "ProbeSet":
    """The probe set of a study.

    Raises:
        EmergenceError: it has to be fetched first, or cannot be read.
    """
    return probe_set(canonical_json(study.probe_set.model_dump()))


def bring_probe_set(study: Study) -> None:
    """Fetch the probe set of a study, if it comes from a hub and is not here.

    Raises:
        EmergenceError: see `probe_source.fetch`.
    """
    from emergence_assets.activations.probe_source import fetch

    if not isinstance(study.probe_set, WordNetProbes):
        fetch(study.probe_set.model_dump(), lambda *_: None, offline=is_offline(study.family))


def tokens_path(plan: Plan, checkpoint: Cell, recipe: Mapping[str, Any]) -> Path:
    """One file for all checkpoints with the same tokenizer and all layers."""
    made_from = [_content(plan, checkpoint)["tokenizer_sha256"], dict(recipe)]
    return plan.storage.tokens_file(sha256(canonical_json(made_from).encode()).hexdigest()[:16])


def stored_tokens_file(plan: Plan, cell: Cell) -> Path:
    """Token file that the activations of a cell were made from.

    Raises:
        EmergenceError: the activations are missing or damaged.
    """
    path = ACTIVATIONS.path(plan.storage, cell)
    stored = stored_provenance(ACTIVATIONS, path)
    if stored is None:
        raise EmergenceError(f"There are no activations of {cell}.", where=path, remedy="materialise activations first")
    return plan.storage.tokens_file(Path(str(stored.summary["tokens_file"])).stem)


def activation_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task per checkpoint, which makes all layers that the checkpoint still lacks and not only the selected ones.

    Dagster cuts a backfill of many steps × few layers into one run per layer. The first of them makes the forward pass
    for all; the others find their files.
    """
    work = []
    for checkpoint, selected in by_checkpoint(due).items():
        layers = list(selected.items()) + [
            (cell, plan.demand_inputs(ACTIVATIONS, cell))
            for cell in plan.cells(ACTIVATIONS, checkpoint.model)
            if cell.step == checkpoint.step and cell not in selected and plan.state(ACTIVATIONS, cell).state != "done"
        ]
        arguments = {
            "origin": harvest_origin(plan, checkpoint, layers[0][1].recipe),
            "layers": {str(cell.layer): str(ACTIVATIONS.path(plan.storage, cell)) for cell, _ in layers},
            "required": {str(cell.layer): required_to_json(required) for cell, required in layers},
            "keep_rows": plan.study.activations.retention != "stream",
            "asked": now(),
        }
        task = Task("emergence_assets.activations.harvest:capture_layers", arguments, str(checkpoint))
        work.append((task, list(selected)))
    return work


def by_checkpoint(due: Sequence[tuple[Cell, Required]]) -> dict[Cell, dict[Cell, Required]]:
    """Cells that are due, by the checkpoint that they are layers of."""
    grouped: dict[Cell, dict[Cell, Required]] = {}
    for cell, required in due:
        grouped.setdefault(Cell(cell.model, cell.step), {})[cell] = required
    return grouped


def harvest_origin(plan: Plan, checkpoint: Cell, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker has to know to run a checkpoint over the texts of the study, as plain values.

    Raises:
        EmergenceError: there is no such checkpoint.
    """
    model, step = str(checkpoint.model), int(checkpoint.step or 0)
    axis = plan.time_axis(model)
    ref = reference(axis, model, step) if axis else None
    if ref is None:
        raise EmergenceError(f"There is no checkpoint {checkpoint}.", remedy="type `emergence checkpoints`")
    return {
        "source": source_arguments(plan.study.family, plan.storage),
        "checkpoint": asdict(ref),
        "weights_sha256": _content(plan, checkpoint)["weights_sha256"],
        "tokens_file": str(tokens_path(plan, checkpoint, recipe)),
        "expected_d_model": plan.study.family.models[model].d_model,
        "recipe": dict(recipe),
        "lock": str(plan.storage.checkpoint_lock(model, step)),
    }


def _content(plan: Plan, checkpoint: Cell) -> Mapping[str, Any]:
    """Hashes of a registered checkpoint's files."""
    required = plan.required(CHECKPOINT, checkpoint)
    if required is None:
        raise EmergenceError(f"{checkpoint} is not registered.", remedy="materialise its checkpoint first")
    return required.recipe
