"""Measure one control of one model at its last step, in the layers whose claims it tests.

Shape suffixes: p texts, d d_model, t rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.activations.files.reading import Rows
from emergence_assets.activations.forward.capture import capture_checkpoint
from emergence_assets.activations.forward.worker import LoadedCheckpoint, loaded_checkpoint
from emergence_assets.checkpoints.models.loading import is_causal
from emergence_assets.emergence.controls.best_layers import layers_of_claims
from emergence_assets.emergence.controls.best_word import word_codes
from emergence_assets.emergence.controls.partly_trained_saes import frozen_decoder, gaussian_rows
from emergence_assets.emergence.controls.reinitialised_model import reinitialise
from emergence_assets.emergence.controls.rows import control_rows
from emergence_assets.emergence.controls.table import CONTROL_PARTS
from emergence_assets.emergence.controls.word_order import with_shuffled_words
from emergence_assets.features.statistics.cell_tables import CellRecipe
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.encoded import encoded, stored_read_outs
from emergence_assets.features.statistics.labels import length_strata
from emergence_assets.features.statistics.probe_labels import cell_labels, cell_texts, probe_texts
from emergence_assets.plan.table_worker import Made
from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.layers.layer_rows import LayerRows, rows_of_layer, stacks
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.seeds import derived_seed
from emergence_assets.saes.spec import seed_folder
from emergence_assets.saes.training.batches import SAEJob
from emergence_assets.saes.training.training import train_saes
from emergence_assets.study.sae import SAESettings
from emergence_assets.texts.study_texts import probe_set
from emergence_assets.texts.tokens import Tokens, known_tokens
from resources.compute.accelerator import choose_accelerator

Files = Mapping[int, Mapping[str, Path]]
"""Files of the inputs by layer and name."""
Captured = dict[tuple[int, str], np.ndarray]
"""Rows by layer and name: read_out and resid_post."""


def measure_control(
    control_id: str,
    cells: Sequence[Mapping[str, Any]],
    category_presence: pl.DataFrame,
    origins: Mapping[int, Mapping[str, Any]],
    probes: str,
    settings: Mapping[str, Any],
    report: Any,
) -> Made:
    """Make the rows of `control_parts`: one control of one model in its best layers at the last step.

    Args:
        control_id: one of `study.controls.MADE_CONTROLS`.
        cells: layers of all checkpoints of the model, see `input_cells`.
        category_presence: `category_presence` of the model; source of the best layer of each level.
        origins: see `origins.origins`.
        probes: JSON of the probe set.
        settings: sections statistics and sae of the study.
        report: called with layers done, all layers, and a note.
    """
    recipe, last = CellRecipe.from_settings(settings["statistics"]), max(origins)
    layers = layers_of_claims(category_presence)
    files = {
        cell["layer"]: {name: Path(file) for name, file in cell["files"].items()}
        for cell in cells
        if cell["step"] == last and cell["layer"] in layers.values()
    }
    tokens_file = Path(origins[last]["tokens_file"])
    labels = cell_labels(probes, tokens_file)
    strata = length_strata(cell_texts(probes, tokens_file).length_p) if control_id.endswith("within_length") else None
    frames = []
    encoders = _encoders(control_id, origins[last], files, settings, probes)
    for position, (layer, read_out_pd, drawn) in enumerate(encoders):
        own = [level for level in labels if layers.get(level.level) == layer]
        codes = (one if isinstance(one, Codes) else encoded(one, read_out_pd) for one in drawn)
        rows = control_rows(codes, read_out_pd, own, recipe, strata)
        frames.append(rows.with_columns(layer=pl.lit(layer, pl.Int16), control_id=pl.lit(control_id)))
        report(position + 1, len(files), control_id)
    frame = pl.concat(frames).select(CONTROL_PARTS.schema.names())
    return Made(frame, {"mean_p_best": frame["p_best"].mean()})


def _encoders(
    control_id: str, origin: Mapping[str, Any], files: Files, recipe: Mapping[str, Any], probes: str
) -> Iterator[tuple[int, np.ndarray, Sequence[SAE | Codes]]]:
    """Yield per layer the read-outs of the control and, per draw, the SAE that encodes them or finished codes."""
    device = choose_accelerator().device
    settings, seeds = SAESettings.model_validate(recipe["sae"]), list(recipe["sae"]["seeds"])

    def own_seed(*names: object) -> int:
        return derived_seed(control_id, recipe["statistics"]["seed"], *names)

    def jobs(rows: LayerRows) -> list[SAEJob]:
        """As many SAEs as the measurement has in a layer."""
        rows = rows.without_massive() if settings.massive == "leave_out" else rows
        return [rows.job(own_seed(rows.layer, draw)) for draw in range(len(seeds))]

    def trained(jobs: Sequence[SAEJob]) -> list[SAE]:
        return [made.sae for made in train_saes(jobs, settings, device)]

    def of_study(layer: int) -> list[SAE]:
        return [read_sae(seed_folder(files[layer]["sae"], seed))[0] for seed in seeds]

    if control_id == "label_shuffle_within_length":
        for layer, own in files.items():
            yield layer, stored_read_outs(own["activations"]), of_study(layer)
    elif control_id == "best_word":
        words = word_codes(cell_texts(probes, Path(origin["tokens_file"])))
        for layer, own in files.items():
            yield layer, stored_read_outs(own["activations"]), [words]
    elif control_id == "text_wordshuffle":
        shuffled = _shuffled(origin, list(files), probes, own_seed())
        for layer in files:
            yield layer, shuffled[layer, "read_out"], of_study(layer)
    elif control_id == "reinit_keep_embed":
        captured = _reinitialised(origin, list(files), own_seed())
        for layer in files:
            tokens = known_tokens(Path(origin["tokens_file"]))
            rows = rows_of_layer(layer, Rows(captured[layer, "resid_post"], "float32"), tokens, settings.mixing_rows)
            yield layer, captured[layer, "read_out"], trained(jobs(rows))
    else:
        own_files = {layer: own["activations"] for layer, own in files.items()}
        for stack in stacks(origin, own_files, settings.mixing_rows, lambda *_: None):
            for rows in stack:
                read_out_pd = stored_read_outs(own_files[rows.layer])
                if control_id == "dict_gauss":
                    gaussian_td = gaussian_rows(rows.first_slab(), own_seed("rows", rows.layer))
                    drawn = [SAEJob(gaussian_td, job.seed) for job in jobs(rows)]
                    yield rows.layer, read_out_pd, trained(drawn)
                else:
                    yield rows.layer, read_out_pd, frozen_decoder(jobs(rows), settings, device)


def _reinitialised(origin: Mapping[str, Any], layers: Sequence[int], seed: int) -> Captured:
    with loaded_checkpoint(origin, lambda *_: None) as loaded:
        reinitialise(loaded.model, seed, keep_embedding=True)
        return _captured(loaded, loaded.tokens, layers, with_training=True)


def _shuffled(origin: Mapping[str, Any], layers: Sequence[int], probes: str, seed: int) -> Captured:
    texts = probe_texts(probes, Path(origin["tokens_file"]))["text"].to_list()
    with loaded_checkpoint(origin, lambda *_: None) as loaded:
        tokens, _ = with_shuffled_words(
            loaded.tokens,
            texts,
            loaded.folder / "tokenizer.json",
            origin["recipe"]["begin_token"],
            is_encoder=not is_causal(loaded.model),
            template=probe_set(probes).template,
            seed=seed,
        )
        return _captured(loaded, tokens, layers, with_training=False)


def _captured(loaded: LoadedCheckpoint, tokens: Tokens, layers: Sequence[int], *, with_training: bool) -> Captured:
    """Capture all layers in memory, in single precision: activations of re-drawn weights may overflow float16."""
    parts: dict[tuple[int, str], list[np.ndarray]] = {}
    capture_checkpoint(
        loaded.model,
        tokens,
        layers,
        lambda layer, name, block_td: parts.setdefault((layer, name), []).append(block_td),
        "float32",
        loaded.accelerator.capture_batch,
        loaded.accelerator.device,
        blocks_name=loaded.origin["recipe"]["blocks"],
        training_texts=None if with_training else (),
    )
    return {key: np.concatenate(blocks) for key, blocks in parts.items()}
