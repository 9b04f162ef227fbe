"""The latents of a cell that are shown, and the probe texts that show them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.encoded import encoded, random_encoders, stored_read_outs
from emergence_assets.features.table import CATEGORICAL_LATENTS, PRESENCE_CELLS
from emergence_assets.saes.formats.folder import read_sae
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.spec import seed_folder
from resources.tables.parquet import read_table

N_STRONGEST = 5
"""Strongest texts of a latent."""
QUANTILES = (0.75, 0.5, 0.25)
"""Quantiles of a latent's active texts that are shown beside the strongest."""


class Example(NamedTuple):
    """A text of a latent."""

    text: int
    """Index of the probe text."""
    kind: str
    quantile: float
    """Share of the active texts that are not stronger."""
    activation: float


@dataclass(frozen=True, eq=False)
class Shown:
    """A latent with its texts."""

    latent: int
    best_of: tuple[str, ...]
    accepted_for: tuple[str, ...]
    examples: tuple[Example, ...]
    active_p: NDArray[np.intp]
    """Probe texts on which it is active, the strongest first."""


@dataclass(frozen=True, eq=False)
class Dictionary:
    """An SAE, or a random encoder, with the latents of it that are shown."""

    control_id: str
    seed: int
    sae: SAE
    shown: tuple[Shown, ...]


def chosen_latents(files: Mapping[str, str], layer: int, settings: Mapping[str, Any]) -> Iterator[Dictionary]:
    """Yield the SAEs of a cell and its first random encoder, each with the latents that a table names.

    Args:
        files: files of the cell by asset and table.
        layer: layer of the cell.
        settings: sections sae and statistics of the study.
    """
    read_out_pd = stored_read_outs(Path(files["activations"]))
    best = read_table(Path(files[PRESENCE_CELLS.name]), PRESENCE_CELLS).filter(pl.col("latent").is_not_null())
    accepted = read_table(Path(files[CATEGORICAL_LATENTS.name]), CATEGORICAL_LATENTS)
    n_latents = 0
    for seed in settings["sae"]["seeds"]:
        sae, _ = read_sae(seed_folder(Path(files["sae"]), seed))
        n_latents = sae.n_latents
        own = _of(best.filter(control_id="none"), seed), _of(accepted, seed)
        yield Dictionary("none", seed, sae, _shown(encoded(sae, read_out_pd), *own))
    for number, random in enumerate(random_encoders(Path(files["activations"]), layer, n_latents, settings, 1)):
        own = _of(best.filter(control_id="random_encoder"), number)
        yield Dictionary("random_encoder", number, random, _shown(encoded(random, read_out_pd), own, {}))


def _of(rows: pl.DataFrame, seed: int) -> dict[int, list[str]]:
    """Return latent → its categories as level/category."""
    found: dict[int, list[str]] = {}
    for level, category, latent in (
        rows.filter(sae_seed=seed).select("category_level", "category", "latent").iter_rows()
    ):
        found.setdefault(latent, []).append(f"{level}/{category}")
    return found


def _shown(
    codes: Codes, best_of: Mapping[int, Sequence[str]], accepted_for: Mapping[int, Sequence[str]]
) -> tuple[Shown, ...]:
    entries = codes.entries(np.arange(len(codes.values_pk)))
    shown = []
    for latent in sorted({*best_of, *accepted_for}):
        start, stop = (int(entries.start_n[latent + offset]) for offset in (0, 1))
        # The strongest first; equal values in the order of the texts.
        active_p, value_p = entries.text_e[start:stop], entries.value_e[start:stop]
        order = np.lexsort((active_p, -value_p))
        examples = _examples(active_p[order], value_p[order])
        texts = active_p[order]
        shown.append(
            Shown(latent, tuple(best_of.get(latent, ())), tuple(accepted_for.get(latent, ())), examples, texts)
        )
    return tuple(shown)


def _examples(active_p: NDArray[np.intp], value_p: NDArray[np.float32]) -> tuple[Example, ...]:
    """Take the strongest texts, and of the others those nearest to the quantiles of all active texts."""
    n_active = len(active_p)
    places = dict.fromkeys(range(min(N_STRONGEST, n_active)), "strongest")
    for quantile in QUANTILES if n_active > N_STRONGEST else ():
        places.setdefault(min(n_active - 1, round((1 - quantile) * n_active)), "quantile")
    return tuple(
        Example(int(active_p[place]), kind, (n_active - place) / n_active, float(value_p[place]))
        for place, kind in sorted(places.items())
    )
