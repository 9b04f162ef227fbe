"""Worker functions that train SAEs on the rows of checkpoints and write one folder per layer; see `make.py`."""

import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from emergence_assets.activations.files.reading import read_attrs, read_spec
from emergence_assets.activations.forward.worker import LoadedCheckpoint, evict_file, loaded_checkpoint
from emergence_assets.checkpoints.models.loading import is_causal
from emergence_assets.checkpoints.training.training_state import TrainingState
from emergence_assets.saes.formats.folder import read_sae, write_sae
from emergence_assets.saes.held_out import held_out_texts
from emergence_assets.saes.layers.chart import draw_training
from emergence_assets.saes.layers.layer_rows import MASSIVE_RULE, LayerRows, stacks
from emergence_assets.saes.layers.make import LayerInputs, LayerSAEs, MeasureFidelity, make_saes
from emergence_assets.saes.layers.stack_size import layers_at_once
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.quality.fidelity import Fidelity, measure_fidelity
from emergence_assets.saes.spec import CURVE_NAME, METRICS_NAME, seed_folder
from emergence_assets.saes.training.batches import WarmStart
from emergence_assets.saes.variants.registry import VARIANTS
from emergence_assets.study.sae import SAESettings
from emergence_assets.texts.tokens import Tokens, known_tokens
from resources.compute.accelerator import choose_accelerator
from resources.files.atomic import clear_disk_errors, replacing_folder
from resources.files.provenance import Required
from resources.files.records import required_from_json, write_folder_record


def train_checkpoints(work: list[dict[str, Any]], evict: bool, report: Any) -> None:
    """Make the SAEs of one checkpoint after the other; if `evict`, evict the rows of each afterwards."""
    for number, part in enumerate(work):

        def report_part(done: int, total: int, note: str = "", number: int = number) -> None:
            report(number * total + done, len(work) * total, note)

        files = {int(layer): Path(place["activation_file"]) for layer, place in part["layers"].items()}
        for rows in stacks(part["origin"], files, part["mixing_rows"], report_part, _at_once(part)):
            train_on_rows(part, rows, report_part)
        if evict and not part["streamed"]:
            for path in files.values():
                evict_file(str(path), part["origin"]["lock"], lambda *_: None)


def _at_once(work: Mapping[str, Any]) -> int | None:
    """Return how many layers of a checkpoint the free memory of this worker's GPU holds; None without a GPU."""
    place = next(iter(work["layers"].values()))
    settings = required_from_json(place["required"]).recipe["sae"]
    d_model = read_spec(Path(place["activation_file"])).d_model
    device = choose_accelerator().device
    free_bytes = None if device == "cpu" else torch.cuda.mem_get_info(device)[0]
    return layers_at_once(len(settings["seeds"]), settings["n_latents"], d_model, settings["batch_size"], free_bytes)


def train_on_rows(work: Mapping[str, Any], rows: Sequence[LayerRows], report: Any) -> None:
    """Train an SAE per layer and seed in one stack, measure them on held-out rows, and write a folder per layer.

    Args:
        work: inputs and outputs of one checkpoint, see `saes.spec._work`.
        rows: rows of resid_post of the layers of one stack.
        report: called with SAE steps done, all steps, and a note.
    """
    places = {str(one.layer): work["layers"][str(one.layer)] for one in rows}
    wanted = {layer: required_from_json(place["required"]) for layer, place in places.items()}
    recipe = next(iter(wanted.values())).recipe
    settings, seeds = dict(recipe["sae"]), list(recipe["sae"]["seeds"])
    attrs = {layer: read_attrs(Path(place["activation_file"])) for layer, place in places.items()}
    tokens = known_tokens(Path(work["origin"]["tokens_file"]))
    layers = [
        LayerInputs(
            rows=own,
            imported={int(seed): read_sae(Path(folder))[0] for seed, folder in place["imported"].items()},
            warm_starts=_warm_starts(Path(place["start"]), seeds) if place["start"] else {},
            has_control=bool(wanted[layer].recipe.get("warm_start", {}).get("has_control")),
        )
        for own, (layer, place) in zip(rows, places.items(), strict=True)
    ]
    accelerator = choose_accelerator()
    states = _states(Path(next(iter(places.values()))["state"]), [want.fingerprint for want in wanted.values()])
    made = make_saes(
        layers,
        seeds,
        SAESettings.model_validate(settings),
        accelerator.device,
        report,
        warm_steps=recipe.get("warm_start", {}).get("n_steps"),
        fidelity=_fidelity_of(work["origin"], tokens, settings["fidelity_texts"], rows[0].loaded),
        states=states,
    )
    for (layer, place), found in zip(places.items(), made, strict=True):
        about = _about(attrs[layer], tokens, settings, wanted[layer])
        _write_cell(Path(place["folder"]), found, about, work["origin"]["facts"], wanted[layer], settings)
    for state in states:
        state.remove()


def _warm_starts(folder: Path, seeds: Sequence[int]) -> dict[int, WarmStart]:
    """Read the SAEs of a cell, with the mean and scale of their training rows."""
    inputs = json.loads((folder / METRICS_NAME).read_text("utf-8"))["inputs"]
    starts = {}
    for seed in seeds:
        sae, _ = read_sae(seed_folder(folder, seed))
        known = inputs.get(str(seed))  # an imported SAE has none
        starts[seed] = WarmStart(sae, torch.tensor(known["mean"]), known["scale"]) if known else WarmStart(sae)
    return starts


def _states(path: Path, fingerprints: Sequence[str]) -> tuple[TrainingState, TrainingState]:
    belongs_to = ",".join(fingerprints)
    return TrainingState(path, belongs_to), TrainingState(path.with_suffix(".control.safetensors"), belongs_to)


def _fidelity_of(
    origin: Mapping[str, Any], tokens: Tokens, n_texts: int, known: LoadedCheckpoint | None
) -> MeasureFidelity | None:
    """Make the function that measures fidelity on the first held-out texts; None if `n_texts` is 0.

    Args:
        origin: see `activations.spec.capture_arguments`.
        tokens: tokens of the study.
        n_texts: number of texts.
        known: the checkpoint, if it is in memory.
    """
    if n_texts == 0:
        return None
    texts = [tokens.training_ids[text] for text in held_out_texts(tokens)[:n_texts]]

    def measure(layer: int, saes: Sequence[Any], mean_d: Any) -> list[Fidelity]:
        with nullcontext(known) if known else loaded_checkpoint(origin, lambda *_: None) as loaded:
            if not is_causal(loaded.model):  # an encoder predicts no next token
                return [Fidelity(None, None, 0)] * len(saes)
            last_only, blocks_name = tokens.positions == "read_out", origin["recipe"]["blocks"]
            return measure_fidelity(
                loaded.model, texts, layer, saes, mean_d, last_only=last_only, blocks_name=blocks_name
            )

    return measure


def _about(attrs: Mapping[str, Any], tokens: Tokens, settings: Mapping[str, Any], want: Required) -> dict[str, Any]:
    """Return the metadata of an SAE's folder: model, hook point, tokens, training settings."""
    return {
        "model_name": str(attrs["model"]),
        "hook_name": f"blocks.{attrs['layer']}.hook_resid_post",
        "hf_hook_name": str(attrs["hook_point"]),
        "prepend_bos": True,
        "first_token_excluded": True,
        "positions": tokens.positions,
        "rows_left_out": MASSIVE_RULE if settings["massive"] == "leave_out" else "none",
        "context_size": tokens.context,
        "tokens_fingerprint": str(attrs["tokens_fingerprint"]),
        "training_step": int(attrs["step"]),
        "checkpoint_sha256": str(attrs["checkpoint_sha256"]),
        "variant": settings["variant"],
        "k": settings["k"],
        "prefixes": settings["prefixes"],
        "fvu_definition": "sum |x - xhat|^2 / sum |x - mean|^2 over the evaluation rows",
        "fingerprint": want.fingerprint,
    }


def _write_cell(
    folder: Path,
    found: LayerSAEs,
    about: Mapping[str, Any],
    facts: Mapping[str, Any],
    want: Required,
    settings: Mapping[str, Any],
) -> None:
    with clear_disk_errors(folder), replacing_folder(folder) as temporary:
        for entry in found.metrics:
            seed = entry["sae_seed"]
            write_sae(
                seed_folder(temporary, seed), found.saes[seed], {**about, "fvu": entry["fvu"], "start": entry["start"]}
            )
        text = json.dumps({"seeds": found.metrics, "curves": found.curves, "inputs": found.inputs}, allow_nan=False)
        (temporary / METRICS_NAME).write_text(text + "\n", encoding="utf-8")
        draw_training(
            found.curves, {entry["sae_seed"]: entry["density"] for entry in found.metrics}, temporary / CURVE_NAME
        )
        exactly_k = VARIANTS[settings["variant"]].exactly_k
        summary = _summary(found.metrics) | {
            **facts,
            **_agreement(found.saes),
            "n_seeds": len(found.metrics),
            "n_imported": sum(entry["start"] == "imported" for entry in found.metrics),
            "k": settings["k"],
            "twice_k": 2 * settings["k"],
            "l0_limit": settings["k"] if exactly_k else settings["n_latents"],
            "l0_least": (0.9 if exactly_k else 0.5) * settings["k"],
            "l0_wanted": 1.5 * settings["k"],
            "n_latents": settings["n_latents"],
        }
        write_folder_record(temporary, want, summary)


def _agreement(saes: Mapping[int, SAE]) -> dict[str, float]:
    """Return the largest deviation of a decoder row from unit length, and the number of seed pairs with equal SAEs."""
    decoders = [sae.W_dec_nd for sae in saes.values()]
    return {
        "decoder_norm_off": max(float((rows.norm(dim=1) - 1).abs().max()) for rows in decoders),
        "equal_seeds": sum(torch.equal(first, second) for first, second in itertools.combinations(decoders, 2)),
    }


def _summary(metrics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Average every number over the seeds that have it."""
    names = [name for name, value in metrics[0].items() if name != "sae_seed" and not isinstance(value, str | list)]
    found = {name: [entry[name] for entry in metrics if entry[name] is not None] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items() if values}
