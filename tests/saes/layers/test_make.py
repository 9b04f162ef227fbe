"""All SAEs of layers: stacks, imported SAEs, warm starts with their control, and their measurements."""

import numpy as np
import pytest
import torch

from emergence_assets.activations.files.reading import Rows
from emergence_assets.saes.layers.layer_rows import LayerRows
from emergence_assets.saes.layers.make import LayerInputs, LayerSAEs, make_saes
from emergence_assets.saes.quality.fidelity import Fidelity
from emergence_assets.saes.quality.quality import DENSITY_EDGES, measure_quality
from emergence_assets.saes.training.batches import WarmStart
from emergence_assets.study.sae import SAESettings
from tests.saes.planted import planted

SETTINGS = SAESettings(k=4, n_latents=64, n_steps=60, batch_size=128, learning_rate=1e-2)


def split(layer: int, rows_td: np.ndarray) -> LayerRows:
    """Hold out every tenth row."""
    is_held_out_t = np.arange(len(rows_td)) % 10 == 0
    return LayerRows(layer, Rows(rows_td, "float16"), Rows(rows_td[is_held_out_t], "float16"), ~is_held_out_t)


def layer_rows(layer: int = 0, seed: int = 0, **given: object) -> LayerInputs:
    x_td, _ = planted(n_rows=900, d_model=24, n_atoms=48, seed=seed)
    return LayerInputs(split(layer, x_td.half().numpy()), **given)  # pyright: ignore[reportArgumentType]


def made(*layers: LayerInputs, settings: SAESettings = SETTINGS, **options: object) -> list[LayerSAEs]:
    return make_saes(layers, [0, 1], settings, "cpu", lambda *_: None, **options)  # pyright: ignore[reportArgumentType]


def test_layers_in_one_stack_are_as_good_as_alone_and_start_from_other_directions() -> None:
    together = made(layer_rows(0), layer_rows(1))
    (alone,) = made(layer_rows(1))
    for seed in (0, 1):
        torch.testing.assert_close(together[1].saes[seed].W_dec_nd, alone.saes[seed].W_dec_nd, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(together[0].saes[0].W_dec_nd, together[1].saes[0].W_dec_nd, atol=0.1)


def test_the_numbers_of_each_seed_add_up() -> None:
    (found,) = made(layer_rows())
    rows = layer_rows()
    evaluation_td = rows.rows.held_out.tensor().float()
    for one in found.metrics:
        quality = measure_quality(found.saes[one["sae_seed"]], evaluation_td)
        assert one["fvu"] == quality.fvu
        assert len(one["density"]) == len(DENSITY_EDGES) - 1
        assert sum(one["density"]) == round(64 * (1 - one["eval_dead_frac"]))
        assert one["start"] == "cold"
        assert 0 < one["shared_frac"] <= 1
        assert one["kl_recovered"] is None
        assert one["cold_fvu"] is None
    assert set(found.inputs) == {0, 1}


def test_seeds_on_a_planted_dictionary_share_more_than_seeds_on_noise() -> None:
    noise = LayerInputs(split(0, np.random.default_rng(0).normal(size=(900, 24)).astype(np.float16)))
    (structured,), (unstructured,) = made(layer_rows()), made(noise)
    shared = [np.mean([one["shared_frac"] for one in found.metrics]) for found in (structured, unstructured)]
    assert shared[0] > 2 * shared[1]


def test_imported_saes_are_measured_and_not_trained() -> None:
    (trained,) = made(layer_rows())
    (found,) = made(layer_rows(imported={1: trained.saes[0]}))
    assert found.saes[1] is not trained.saes[1]
    assert torch.equal(found.saes[1].W_enc_nd, trained.saes[0].W_enc_nd)
    own, imported = found.metrics
    assert (own["start"], imported["start"]) == ("cold", "imported")
    assert imported["fvu"] == trained.metrics[0]["fvu"]
    assert imported["train_tokens"] is None
    # Seed 0 is the same SAE in both: all latents are shared.
    assert imported["shared_frac"] == own["shared_frac"] == 1.0
    assert set(found.curves) == {0}
    (only_imported,) = made(layer_rows(imported=trained.saes))
    assert only_imported.curves == {}


@pytest.mark.parametrize(("variant", "prefixes"), [("topk", []), ("batchtopk", [16]), ("jumprelu", [])])
def test_a_warm_start_keeps_its_latents_and_its_control_does_not(variant: str, prefixes: list[int]) -> None:
    settings = SETTINGS.model_copy(update={"variant": variant, "prefixes": prefixes})
    (before,) = made(layer_rows(), settings=settings)
    start = {
        seed: WarmStart(before.saes[seed], torch.tensor(before.inputs[seed]["mean"]), before.inputs[seed]["scale"])
        for seed in (0, 1)
    }
    (warm,) = made(layer_rows(seed=0, warm_starts=start, has_control=True), settings=settings, warm_steps=20)
    for one in warm.metrics:
        assert one["start"] == "warm"
        assert one["train_tokens"] == 20 * 128
        assert one["fvu"] < 1.1 * one["cold_fvu"]
        assert one["tokens_to_cold_fvu"] is None or one["tokens_to_cold_fvu"] <= 20 * 128
        assert one["kept_warm_frac"] > one["kept_cold_frac"] + 0.1


def test_fidelity_uses_the_mean_of_held_out_rows() -> None:
    asked = []

    def fidelity(layer, saes, mean_d):
        asked.append((layer, len(saes), mean_d))
        return [Fidelity(0.9, None, 7), Fidelity(0.8, 0.7, 7)]

    rows = layer_rows(layer=3)
    (found,) = made(rows, fidelity=fidelity)
    assert [one["kl_recovered"] for one in found.metrics] == [0.9, 0.8]
    assert [one["loss_recovered"] for one in found.metrics] == [None, 0.7]
    ((layer, n_saes, mean_d),) = asked
    assert (layer, n_saes) == (3, 2)
    expected_d = torch.from_numpy(rows.rows.held_out.array.astype(np.float32)).mean(0)
    torch.testing.assert_close(mean_d, expected_d)
