"""What computes on a device, rehearsed on a pretended one: no tensor is left on the CPU, and no wait is needless."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from emergence_assets.activations.files.reading import Rows
from emergence_assets.activations.forward.capture import capture_checkpoint
from emergence_assets.activations.forward.row_stream import RowStream
from emergence_assets.emergence.use.losses import Removal, latent_energies, losses_without
from emergence_assets.saes.layers.layer_rows import LayerRows, rows_of_layer
from emergence_assets.saes.layers.make import LayerInputs, make_saes
from emergence_assets.saes.model.sae import SAE
from emergence_assets.saes.quality.fidelity import measure_fidelity
from emergence_assets.saes.quality.quality import measure_quality
from emergence_assets.saes.training.batches import SAEJob
from emergence_assets.saes.training.training import train_saes
from emergence_assets.study.sae import AuxK, SAESettings, VariantName
from emergence_assets.texts.tokens import Positions, Tokens
from tests.pretended_device import DEVICE, pretended_device
from tests.saes.planted import planted
from tests.tiny_decoder import D_MODEL, tiny_decoder

VOCABULARY, CONTEXT = 40, 12


@contextmanager
def places() -> Iterator[dict[str, Counter[str]]]:
    """Yield both places of computation, with the waits counted there."""
    with pretended_device() as waits:
        yield {"cpu": Counter(), str(DEVICE): waits}


def some_texts(n: int, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, VOCABULARY, length).astype(np.int32) for length in draw.integers(3, CONTEXT, n)]


def decoder(device: str) -> GPTNeoXForCausalLM:
    return tiny_decoder(VOCABULARY, n_layers=3).to(device)


def some_saes(device: str) -> list[SAE]:
    """Dictionaries selected by number and by threshold."""
    generator = torch.Generator().manual_seed(1)
    W_nd = torch.nn.functional.normalize(torch.randn(20, D_MODEL, generator=generator), dim=1).to(device)
    zeros_n, zeros_d = torch.zeros(20).to(device), torch.zeros(D_MODEL).to(device)
    return [
        SAE(W_nd, zeros_n, W_nd, zeros_d, k=3),
        SAE(W_nd, zeros_n, W_nd, zeros_d + 0.1, threshold_n=zeros_n + 0.2),
    ]


@pytest.mark.parametrize("prefixes", [[], [24]])
@pytest.mark.parametrize("variant", get_args(VariantName))
def test_saes_train_without_waiting_for_the_device(variant: VariantName, prefixes: list[int]) -> None:
    rows_td, _ = planted(n_rows=1000, d_model=16, n_atoms=32)
    aux_k = AuxK(every_steps=3)

    def trained(device: str, n_steps: int) -> list[Any]:
        settings = SAESettings(
            variant=variant,
            k=4,
            prefixes=prefixes,
            n_latents=48,
            n_steps=n_steps,
            batch_size=128,
            learning_rate=4e-3,
            aux_k=aux_k,
            dead_window_tokens=256,
        )
        return train_saes([SAEJob(rows_td, 0), SAEJob(rows_td[:500], 1)], settings, device)

    with places() as waits:
        n_waits = []
        for n_steps in (6, 12):
            waits[str(DEVICE)].clear()
            on_device = trained(str(DEVICE), n_steps)
            n_waits.append(waits[str(DEVICE)].total())
        for one, other in zip(on_device, trained("cpu", 12), strict=True):
            torch.testing.assert_close(one.sae.W_dec_nd.cpu(), other.sae.W_dec_nd, rtol=1e-3, atol=1e-4)
        quality = [measure_quality(one.sae, rows_td.to(one.sae.device)).fvu for one in on_device]
    assert all(0 < fvu < 1 for fvu in quality)
    if variant != "jumprelu":
        assert n_waits[1] - n_waits[0] == 2 * 6 / aux_k.every_steps, waits  # to list the dead latents of both SAEs


@pytest.mark.parametrize("positions", ["all", "read_out"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_captured_rows_are_those_of_the_cpu(positions: Positions, dtype: str) -> None:
    training, probes = some_texts(9), some_texts(7, seed=1)
    tokens = Tokens(tuple("abcdefghi"), tuple(training), tuple("jklmnop"), tuple(probes), positions, CONTEXT)
    found: dict[str, list[Any]] = {}
    with places() as waits:
        for device in waits:
            rows = found.setdefault(device, [])
            capture_checkpoint(
                decoder(device),
                tokens,
                (-1, 0, 2),
                lambda layer, name, rows_td, rows=rows: rows.append((layer, name, rows_td)),
                dtype,
                4,
                device,
            )
    for (layer, name, one), (other_layer, other_name, other) in zip(*found.values(), strict=True):
        assert (layer, name) == (other_layer, other_name)
        np.testing.assert_array_equal(one, other)


def test_fidelity_and_removals_are_those_of_the_cpu() -> None:
    texts, found = some_texts(21), {}
    with places() as waits:
        for device in waits:
            model, saes = decoder(device), some_saes(device)
            mean_d = torch.linspace(-1, 1, D_MODEL).to(device)
            removals = [Removal(saes[0], 4), Removal(saes[1], 7), Removal(saes[0], 11)]
            lost = losses_without(model, texts, 1, removals)
            found[device] = [
                [
                    one
                    for last_only in (True, False)
                    for one in measure_fidelity(model, texts, 1, saes, mean_d, last_only=last_only)
                ],
                [lost.clean_p, lost.without_rp, lost.n_tokens_p, lost.active_rp],
                latent_energies(model, texts, 1, saes),
            ]
    (fidelity, losses, energies), (on_cpu, losses_on_cpu, energies_on_cpu) = found[str(DEVICE)], found["cpu"]
    for one, other in zip(fidelity, on_cpu, strict=True):
        assert vars(one) == pytest.approx(vars(other), rel=1e-5)
    for one, other in zip(losses + energies, losses_on_cpu + energies_on_cpu, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_saes_on_a_stream_are_those_of_the_cpu() -> None:
    settings = SAESettings(k=4, n_latents=64, n_steps=30, batch_size=128, learning_rate=1e-2, mixing_rows=200)
    n_texts, context, d_model, layers = 100, 10, 24, (0, 1)
    ids = tuple(np.zeros(context, np.int32) for _ in range(n_texts))
    tokens = Tokens(tuple(map(str, range(n_texts))), ids, ("p",), ids[:1], "all", context)
    stored: dict[int, LayerRows] = {}
    for layer in layers:
        x_td, _ = planted(n_rows=n_texts * (context - 1), d_model=d_model, n_atoms=48, seed=layer)
        stored[layer] = rows_of_layer(layer, Rows(x_td.half().numpy(), "float16"), tokens, settings.mixing_rows)
    rows = tokens.training_rows.text_offsets

    def compute(chosen: Any, append: Any) -> None:
        for text in chosen:
            for layer, one in stored.items():
                append(layer, one.training.array[rows[text] : rows[text + 1]])

    fvu = {}
    with places() as waits:
        for device in waits:
            texts = np.arange(len(stored[0].training.array) // (context - 1))
            stream = RowStream(layers, texts, np.full(len(texts), context - 1), d_model, "float16", 9600, compute)
            inputs = [LayerInputs(LayerRows(one, stream.of_layer(one), stored[one].held_out)) for one in layers]
            made = make_saes(inputs, [0, 1], settings, device, lambda *_: None)
            fvu[device] = [metrics["fvu"] for layer in made for metrics in layer.metrics]
    assert fvu[str(DEVICE)] == pytest.approx(fvu["cpu"], rel=1e-3)
