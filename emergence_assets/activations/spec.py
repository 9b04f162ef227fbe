"""Asset of the activation files: one file per model, step and layer, from one forward pass per checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from emergence_assets.activations.check_frame import activation_frame
from emergence_assets.activations.checks import ACTIVATION_CHECKS
from emergence_assets.checkpoints.architecture import is_language_model
from emergence_assets.checkpoints.sources.ahead import fetch_of
from emergence_assets.checkpoints.sources.of_family import source_arguments
from emergence_assets.checkpoints.sources.source import reference
from emergence_assets.checkpoints.spec import CHECKPOINT
from emergence_assets.plan.asset_spec import AssetSpec, Due, Job, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.table_inputs import FACTS
from emergence_assets.plan.text_counts import TextCounts
from emergence_assets.plan.timeline import entry_of
from emergence_assets.study.study import Study
from emergence_assets.texts.study_corpus import corpus_arguments, corpus_recipe
from emergence_assets.texts.study_texts import probe_recipe
from resources.compute.task import Fetch
from resources.errors import EmergenceError
from resources.files.provenance import Provenance, Required, canonical_json
from resources.files.records import now, required_to_json
from resources.files.storage import Storage


def _activations_recipe(study: Study, storage: Storage, _cell: Cell) -> dict[str, Any] | None:
    family, probes, corpus = study.family, probe_recipe(study), corpus_recipe(study, storage)
    if probes is None or corpus is None:
        return None
    return {
        "probe_set": probes,
        "activations": study.activations.model_dump(exclude={"retention"}),
        "context": family.context,
        "corpus": corpus,
        "begin_token": family.begin_token,
        "blocks": family.blocks,
    }


def activation_provenance(path: Path) -> Provenance | None:
    """Read the provenance of an activation file, with a summary of its statistics; None without a file.

    Raises:
        EmergenceError: the file is damaged.
    """
    from emergence_assets.activations.files.reading import read_attrs, read_stats

    if not path.exists():
        return None
    attrs, stats = read_attrs(path), read_stats(path)
    stored = Provenance.from_json(str(attrs.get("provenance", "")), path)
    summary = {
        **stored.summary,
        **{name: attrs[name] for name in ("n_rows", "n_probes", "d_model", "expected_d_model", "dtype")},
        "rows": str(attrs["residency"]),
        "nan_count": int(stats["nan_count"].sum()),
        "inf_count": int(stats["inf_count"].sum()),
        "norm_rms": float(((stats["mean"].astype("f8") ** 2 + stats["var"]).sum()) ** 0.5),
        "variance": float(stats["var"].sum(dtype="f8")),
        "constant_dimensions": int((stats["var"] == 0).sum()),
        "bytes": path.stat().st_size,
        **{name: attrs[name] for name in ("tokens_file", "tokens_fingerprint", "content_xxh3_128")},
    }
    return Provenance(stored.required, summary, stored.environment, stored.created)


def _verify(path: Path) -> None:
    from emergence_assets.activations.files.reading import verify_file

    verify_file(path)


def _activation_bytes(study: Study, cell: Cell, counts: TextCounts) -> float:
    """Compute the exact size of a file, whose shapes follow from the texts."""
    from emergence_assets.activations.files.layout import METADATA_BYTES, OVERHEAD_BYTES, ActivationSpec

    d_model, settings = study.family.models[str(cell.model)].d_model, study.activations
    kept = ActivationSpec(counts.n_rows, counts.n_probes, d_model, settings.dtype)
    evicted_rows = 0 if settings.retention == "keep" else counts.n_rows
    return kept.n_bytes - OVERHEAD_BYTES + METADATA_BYTES - evicted_rows * kept.row_bytes


def tokens_path(plan: Plan, checkpoint: Cell, recipe: Mapping[str, Any]) -> Path:
    """Return the path of the token file, shared by all layers of all checkpoints with the same tokenizer and kind."""
    registered = stored_provenance(CHECKPOINT, CHECKPOINT.path(plan.storage, checkpoint))
    is_decoder = registered is not None and is_language_model(registered.summary.get("architecture"))
    kind = "decoder" if is_decoder else "encoder"
    made_from = [_content(plan, checkpoint)["tokenizer_sha256"], kind, dict(recipe)]
    return plan.storage.tokens_file(sha256(canonical_json(made_from).encode()).hexdigest()[:16])


def _jobs(plan: Plan, due: Due) -> list[Job]:
    """List one job per checkpoint, for all layers that the checkpoint still lacks, selected or not.

    Dagster splits a backfill of many steps × few layers into one run per layer. The first run makes the forward pass
    for all layers; the other runs find their files.
    """
    jobs = []
    for checkpoint, selected in by_checkpoint(due).items():
        layers = list(selected.items()) + [
            (cell, plan.demand_inputs(ACTIVATIONS, cell))
            for cell in plan.cells(ACTIVATIONS, checkpoint.model)
            if cell.step == checkpoint.step and cell not in selected and plan.state(ACTIVATIONS, cell).state != "done"
        ]
        arguments = {
            "origin": capture_arguments(plan, checkpoint),
            "layers": {str(cell.layer): str(ACTIVATIONS.path(plan.storage, cell)) for cell, _ in layers},
            "required": {str(cell.layer): required_to_json(required) for cell, required in layers},
            "keep_rows": plan.study.activations.retention != "stream",
            "requested_at": now(),
        }
        jobs.append(Job(arguments, tuple(selected), str(checkpoint), checkpoint_fetch(plan, checkpoint)))
    return jobs


def by_checkpoint(due: Due) -> dict[Cell, dict[Cell, Required]]:
    """Group stale or missing cells by their checkpoint."""
    grouped: dict[Cell, dict[Cell, Required]] = {}
    for cell, required in due:
        grouped.setdefault(Cell(cell.model, cell.step), {})[cell] = required
    return grouped


def checkpoint_fetch(plan: Plan, checkpoint: Cell) -> Fetch | None:
    """Return the call that brings a checkpoint to this machine ahead of its job; None if there is nothing to bring."""
    ref = reference(str(checkpoint.model), entry_of(plan.storage, checkpoint))
    return fetch_of(plan.study.family, plan.storage, ref) if ref else None


def capture_arguments(plan: Plan, checkpoint: Cell) -> dict[str, Any]:
    """Return the plain values with which a worker runs a checkpoint over the texts of the study.

    Raises:
        EmergenceError: the checkpoint does not exist.
    """
    model, step = checkpoint.at_step
    recipe = _activations_recipe(plan.study, plan.storage, checkpoint) or {}
    ref = reference(model, entry_of(plan.storage, checkpoint))
    if ref is None:
        raise EmergenceError(f"There is no checkpoint {checkpoint}.", remedy="type `emergence checkpoints`")
    registered = stored_provenance(CHECKPOINT, CHECKPOINT.path(plan.storage, checkpoint))
    known = registered.summary if registered else {}
    return {
        "source": source_arguments(plan.study.family, plan.storage),
        "checkpoint": asdict(ref),
        "facts": {name: known[name] for name in FACTS if name in known},
        "weights_sha256": _content(plan, checkpoint)["weights_sha256"],
        "tokens_file": str(tokens_path(plan, checkpoint, recipe)),
        "expected_d_model": plan.study.family.models[model].d_model,
        "recipe": recipe,
        "corpus": corpus_arguments(plan.study, plan.storage),
        "lock": str(plan.storage.checkpoint_lock(model, step)),
    }


def _content(plan: Plan, checkpoint: Cell) -> Mapping[str, Any]:
    """Return the content hashes of a registered checkpoint."""
    required = plan.required(CHECKPOINT, checkpoint)
    if required is None:
        raise EmergenceError(f"{checkpoint} is not registered.", remedy="materialise its checkpoint first")
    return required.recipe


ACTIVATIONS = AssetSpec(
    name="activations",
    stage="activations",
    description="Residual stream of one layer of one checkpoint on training tokens and at the read-out of probe texts.",
    grid="cell",
    inputs=("checkpoint",),
    make="emergence_assets.activations.forward.worker:capture_layers",
    jobs=_jobs,
    recipe=_activations_recipe,
    path=lambda storage, cell: storage.activation_file(*cell.at_layer),
    stored=activation_provenance,
    verify=_verify,
    checks=ACTIVATION_CHECKS,
    frame=activation_frame,
    n_bytes=_activation_bytes,
    kinds=frozenset({"pytorch", "hdf5"}),
    on_accelerator=True,
    cells_per_run="all",
)
SPECS = (ACTIVATIONS,)
