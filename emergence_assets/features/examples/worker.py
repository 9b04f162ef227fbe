"""Make `named_latents` and `latent_examples` of all layers of one checkpoint, with one forward pass."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from emergence_assets.activations.forward.worker import LoadedCheckpoint, loaded_checkpoint
from emergence_assets.features.examples.chosen import Dictionary, Shown, chosen_latents
from emergence_assets.features.examples.distinctive_words import distinctive_words
from emergence_assets.features.examples.logit_lens import LogitLens, logit_lens
from emergence_assets.features.examples.naming import automatic_name
from emergence_assets.features.examples.pieces import Pieces
from emergence_assets.features.examples.token_activations import Activations, token_activations
from emergence_assets.features.examples_table import LATENT_EXAMPLES, NAMED_LATENTS
from emergence_assets.features.statistics.probe_labels import cell_texts, probe_texts
from emergence_assets.plan.table_worker import Made, make_table

N_TOKENS = 8
"""Tokens that a latent raises, and tokens that it lowers."""
DIRECTIONS_AT_ONCE = 32
TOLERANCE = 0.01
"""Largest difference of an activation from that of the stored read-out, of the latter, that is rounding."""


def show_checkpoint(origin: Mapping[str, Any], probes: str, work: Sequence[Mapping[str, Any]], report: Any) -> None:
    """Make the tables of the layers of one checkpoint.

    Args:
        origin: see `activations.spec.capture_arguments`.
        probes: JSON of the probe set.
        work: arguments of `make_table` for each layer.
        report: called with texts done, all texts, and a note.
    """
    cells = {one["cells"][0]["layer"]: one for one in work}
    with loaded_checkpoint(origin, report) as loaded:
        dictionaries = {
            layer: list(chosen_latents(one["cells"][0]["files"], layer, one["arguments"]["settings_of_cell"]))
            for layer, one in cells.items()
        }
        activations = token_activations(loaded, dictionaries, report)
        first = torch.from_numpy(loaded.tokens.probe_ids[0].astype(np.int64)).to(loaded.accelerator.device)
        lens = logit_lens(loaded.model, first, origin["recipe"]["blocks"])
        for layer, one in cells.items():
            arguments = {"probes": probes, "layer": layer, "loaded": loaded, "lens": lens}
            arguments |= {"dictionaries": dictionaries[layer], "activations": activations}
            make_table(**{**one, "arguments": arguments}, report=report)


def show_cell(
    layer: int,
    dictionaries: Sequence[Dictionary],
    activations: Activations,
    loaded: LoadedCheckpoint,
    lens: LogitLens | None,
    probes: str,
) -> Made:
    """Make the rows of one layer.

    Args:
        layer: block index from 0; -1 is the embedding.
        dictionaries: dictionaries of the layer with their latents.
        activations: see `token_activations`.
        loaded: the checkpoint.
        lens: its logit lens; None where the architecture has none.
        probes: JSON of the probe set.
    """
    tokens_file = Path(loaded.origin["tokens_file"])
    facts, texts = cell_texts(probes, tokens_file), probe_texts(probes, tokens_file)
    pieces = Pieces(loaded.folder / "tokenizer.json")
    named: list[dict[str, Any]] = []
    examples: list[dict[str, Any]] = []
    split: dict[int, list[str]] = {}
    for number, dictionary in enumerate(dictionaries):
        key = {"control_id": dictionary.control_id, "sae_seed": dictionary.seed}
        for one, tokens in zip(dictionary.shown, _tokens(dictionary, lens, pieces), strict=True):
            words = distinctive_words(facts, one.active_p)
            named.append(key | _named(one, words, tokens, len(texts)))
            for rank, example in enumerate(one.examples):
                ids_t = loaded.tokens.probe_ids[example.text]
                if example.text not in split:
                    split[example.text] = pieces.of_text(texts["text"][example.text], ids_t)
                own_t = activations[layer, number, one.latent, example.text]
                examples.append(
                    key
                    | {"latent": one.latent, "rank": rank, "kind": example.kind, "quantile": example.quantile}
                    | {"text_id": facts.text_id[example.text], "activation": example.activation}
                    | {"tokens": split[example.text], "activations": [None, *own_t.tolist()]}
                )
    frame = pl.DataFrame(examples, schema=LATENT_EXAMPLES.schema).sort(LATENT_EXAMPLES.key)
    beside = pl.DataFrame(named, schema=NAMED_LATENTS.schema).sort(NAMED_LATENTS.key)
    at_end = frame["activations"].list.last()
    # The read-out was captured beside other texts, which changes its rounding, and with it who is among the k largest.
    is_unlike = (at_end - frame["activation"]).abs() > TOLERANCE * frame["activation"]
    summary = {
        "latents": beside.height,
        "unlike_read_outs": is_unlike.sum() / max(1, frame.height),
        "has_logit_lens": lens is not None,
    }
    return Made(frame, summary, {NAMED_LATENTS.name: beside})


def _named(one: Shown, words: Sequence[tuple[str, float]], tokens: Mapping[str, Any], n_texts: int) -> dict[str, Any]:
    return {
        "latent": one.latent,
        "name": automatic_name([word for word, _ in words], tokens["raised"]),
        "best_of": list(one.best_of),
        "accepted_for": list(one.accepted_for),
        "density": len(one.active_p) / n_texts,
        "n_active": len(one.active_p),
        "largest": max((example.activation for example in one.examples), default=0.0),
        "words": [word for word, _ in words],
        "words_z": [z for _, z in words],
        **tokens,
    }


def _tokens(dictionary: Dictionary, lens: LogitLens | None, pieces: Pieces) -> list[dict[str, Any]]:
    """Return the tokens that each latent raises and lowers most."""
    found: list[dict[str, Any]] = []
    latents = [one.latent for one in dictionary.shown]
    if lens is None:
        return [{"raised": [], "raised_by": [], "lowered": [], "lowered_by": []} for _ in latents]
    for start in range(0, len(latents), DIRECTIONS_AT_ONCE):
        logits_nv = lens.logits(dictionary.sae.W_dec_nd[latents[start : start + DIRECTIONS_AT_ONCE]].to(lens.device))
        for sign, which in ((1, "raised"), (-1, "lowered")):
            values, ids = (sign * logits_nv).topk(min(N_TOKENS, logits_nv.shape[1]))
            for place, (value, token) in enumerate(zip((sign * values).tolist(), ids.tolist(), strict=True)):
                if sign > 0:
                    found.append({})
                found[start + place] |= {which: [pieces.of_token(one) for one in token], f"{which}_by": value}
    return found
