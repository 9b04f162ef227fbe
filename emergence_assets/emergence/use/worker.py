"""Worker of `feature_use`: remove the best latents of a model's last checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emergence_assets.activations.forward.worker import LoadedCheckpoint, loaded_checkpoint
from emergence_assets.checkpoints.models.loading import is_causal
from emergence_assets.emergence.last_checkpoint import LastCheckpoint
from emergence_assets.emergence.use.estimates import Measured, feature_use, wrong_differences
from emergence_assets.emergence.use.losses import Removal, latent_energies, losses_without
from emergence_assets.emergence.use.removals import best_latents, equally_strong, risen_categories, texts_of
from emergence_assets.emergence.use.table import FEATURE_USE
from emergence_assets.features.statistics.encoded import random_encoders
from emergence_assets.features.statistics.labels import Labels
from emergence_assets.plan.table_worker import Made
from emergence_assets.saes.model.sae import SAE


def measure_use(
    cells: Sequence[Mapping[str, Any]],
    emergence_over_time: pl.DataFrame,
    origins: Mapping[int, Mapping[str, Any]],
    probes: str,
    settings: Mapping[str, Any],
    fingerprint: str,
    report: Any,
) -> Made:
    """Make the rows of `feature_use` of one model, none if no category rises or the model predicts no tokens.

    Args:
        emergence_over_time: table of the model, from which its categories and their layers are taken.
        cells: layers of all checkpoints of the model; for this and the other arguments see `LastCheckpoint`.
        origins: run metadata of checkpoints by step.
        probes: JSON of the probe set.
        settings: sections feature_use, sae and statistics of the study.
        fingerprint: fingerprint of the table to make.
        report: called with categories done, all categories, and a note.
    """
    chosen, frames = risen_categories(emergence_over_time), [FEATURE_USE.schema.to_frame()]
    if not chosen.is_empty():
        last = LastCheckpoint(cells, origins, probes, settings, fingerprint)
        with loaded_checkpoint(last.origin, report) as loaded:
            if is_causal(loaded.model):
                frames += _measured(last, loaded, chosen, settings, report)
    frame = pl.concat(frames).sort(FEATURE_USE.key, nulls_last=True)
    means = frame.filter(aggregate="mean")
    summary: dict[str, Any] = {"wrong_differences": wrong_differences(frame)}
    summary |= dict(means.select("above_control_" + pl.col("category_level"), "above_control").iter_rows())
    return Made(frame, summary)


def _measured(
    last: LastCheckpoint, loaded: LoadedCheckpoint, chosen: pl.DataFrame, settings: Mapping[str, Any], report: Any
) -> Iterator[pl.DataFrame]:
    """Yield the rows of each level."""
    latents, done = last.best_latents(), 0
    for (level, layer), part in chosen.group_by("category_level", "layer", maintain_order=True):
        labels = next(one for one in last.levels if one.level == level)
        rows = latents.filter(category_level=level, layer=layer)
        measured = []
        for one in _categories(last, loaded, labels, int(layer), part["category"].to_list(), rows, settings):
            measured += [one] if one else []
            done += 1
            report(done, chosen.height, "categories")
        if measured:
            yield feature_use(last.keys | {"layer": layer}, str(level), measured)


def _categories(
    last: LastCheckpoint,
    loaded: LoadedCheckpoint,
    labels: Labels,
    layer: int,
    categories: Sequence[str],
    rows: pl.DataFrame,
    settings: Mapping[str, Any],
) -> Iterator[Measured | None]:
    """Yield the losses of each category; None where no SAE has a latent for it."""
    limits, device, blocks_name = settings["feature_use"], loaded.accelerator.device, last.origin["recipe"]["blocks"]
    saes = last.saes(layer, device)
    n_latents = next(iter(saes.values())).n_latents
    n_random = min(len(saes), settings["statistics"]["n_random_encoders"])
    drawn = random_encoders(Path(last.files[layer]["activations"]), layer, n_latents, settings, n_random)
    randoms: Mapping[int, SAE] = {number: one.to(device) for number, one in enumerate(drawn)}
    of_sae = best_latents(rows.filter(control_id="none"), list(saes))
    of_random = best_latents(rows.filter(control_id="random_encoder"), list(randoms))
    for category in categories:
        chosen = texts_of(
            labels,
            labels.categories.index(category),
            limits["n_texts"],
            limits["n_other_texts"],
            settings["statistics"]["seed"],
        )
        seeds = [seed for seed in saes if (category, seed) in of_sae]
        if not seeds:
            yield None
            continue
        own = [loaded.tokens.probe_ids[text] for text in chosen.own]
        energies = latent_energies(loaded.model, own, layer, [saes[seed] for seed in seeds], blocks_name)
        removals, roles = [], []
        for seed, energy_n in zip(seeds, energies, strict=True):
            latent = of_sae[category, seed]
            removals.append(Removal(saes[seed], latent))
            roles.append(("latent", seed))
            for other in equally_strong(energy_n, latent, limits["n_controls"]):
                removals.append(Removal(saes[seed], int(other)))
                roles.append(("control", seed))
        for number, random in randoms.items():
            if (category, number) in of_random:
                removals.append(Removal(random, of_random[category, number]))
                roles.append(("random", number))
        texts = [*own, *(loaded.tokens.probe_ids[text] for text in chosen.other)]
        yield Measured(
            category,
            losses_without(loaded.model, texts, layer, removals, blocks_name),
            np.arange(len(texts)) < len(own),
            last.weights_pb[np.concatenate(chosen)],
            np.array([role for role, _ in roles]),
            np.array([number for _, number in roles]),
        )
