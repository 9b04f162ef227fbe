"""Activations of latents at every token of the texts that show them, from one forward pass over these texts.

Shape suffixes: b texts of a batch · t positions · r rows · n latents.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from emergence_assets.activations.forward.capture import padded_ids
from emergence_assets.activations.forward.worker import LoadedCheckpoint
from emergence_assets.checkpoints.models.stream import residual_stream, run_up_to
from emergence_assets.features.examples.chosen import Dictionary
from emergence_assets.saes.model.sae import SAE

Activations = dict[tuple[int, int, int, int], NDArray[np.float32]]
"""(layer, number of the dictionary of the layer, latent, text) → activations at all tokens but the first."""


@torch.inference_mode()
def token_activations(
    loaded: LoadedCheckpoint, dictionaries: Mapping[int, Sequence[Dictionary]], report: Callable[[int, int, str], None]
) -> Activations:
    """Run every text that shows a latent of any layer once, up to the last such layer.

    Args:
        loaded: the checkpoint.
        dictionaries: layer to its dictionaries.
        report: called with texts done, all texts, and a note.
    """
    wanted: dict[int, dict[int, dict[int, list[int]]]] = {}
    for layer, of_layer in dictionaries.items():
        for number, dictionary in enumerate(of_layer):
            for one in dictionary.shown:
                for example in one.examples:
                    of_text = wanted.setdefault(example.text, {}).setdefault(layer, {})
                    of_text.setdefault(number, []).append(one.latent)
    device, found = torch.device(loaded.accelerator.device), {}
    deepest = {text: max(of_text) for text, of_text in wanted.items()}
    texts = sorted(wanted, key=lambda text: (deepest[text], len(loaded.tokens.probe_ids[text])))
    recipe, n_done = loaded.origin["recipe"], 0
    dtype = getattr(torch, recipe["activations"]["dtype"])
    saes = {layer: [one.sae.to(device) for one in of_layer] for layer, of_layer in dictionaries.items()}
    with residual_stream(loaded.model, sorted(dictionaries), recipe["blocks"]) as stream:
        for last, of_last in itertools.groupby(texts, key=deepest.__getitem__):
            ordered, size = list(of_last), loaded.accelerator.capture_batch
            for batch in (ordered[start : start + size] for start in range(0, len(ordered), size)):
                ids = [loaded.tokens.probe_ids[text] for text in batch]
                n_tokens_b = torch.tensor([len(one) for one in ids])
                run_up_to(loaded.model, last, padded_ids(ids).to(device), n_tokens_b.to(device), recipe["blocks"])
                for layer in sorted({layer for text in batch for layer in wanted[text]}):
                    _add(found, layer, stream[layer], batch, n_tokens_b.tolist(), wanted, saes[layer], dtype)
                report(n_done := n_done + len(batch), len(texts), "texts of latents")
    return found


def _add(
    found: Activations,
    layer: int,
    stream_btd: torch.Tensor,
    batch: Sequence[int],
    n_tokens: Sequence[int],
    wanted: Mapping[int, Mapping[int, Mapping[int, Sequence[int]]]],
    saes: Sequence[SAE],
    dtype: torch.dtype,
) -> None:
    """Encode the texts of a batch that show latents of a layer, and keep these latents."""
    for number, sae in enumerate(saes):
        own = [place for place, text in enumerate(batch) if number in wanted[text].get(layer, {})]
        if not own:
            continue
        # In the data type of the files, from which SAEs are trained and read-outs are encoded.
        x_rd = torch.cat([stream_btd[place, 1 : n_tokens[place]] for place in own]).to(dtype)
        codes_rn = sae.encode(x_rd).dense(sae.n_latents)
        row = 0
        for place in own:
            rows = slice(row, row := row + n_tokens[place] - 1)
            latents = wanted[batch[place]][layer][number]
            for latent, values_t in zip(latents, codes_rn[rows, latents].T.cpu().numpy(), strict=True):
                found[layer, number, latent, batch[place]] = values_t
