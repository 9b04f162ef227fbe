"""A hand-built network with known parts and causes of a late latent.

The stream consists of directions (e_2k - e_2k+1) / √2, which a layer norm only scales. Block 0 attends to a category's
own token and writes EARLY at the read-out. Block 2's MLP turns EARLY into COPY; head 1 of block 2 attends to the
category's token itself and writes ANEW. All other weights of the blocks are zero.
"""

import numpy as np
import polars as pl
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from emergence_assets.emergence.mechanism.forward_pass import Target, measure_mechanism
from emergence_assets.emergence.mechanism.rows import reactivation_mechanism, without_mechanism
from emergence_assets.emergence.mechanism.targets import mechanism_targets
from emergence_assets.features.statistics.codes import Codes
from emergence_assets.features.statistics.formulas import bootstrap_weights
from emergence_assets.features.statistics.labels import Labels
from emergence_assets.saes.model.sae import SAE

D_MODEL, N_LAYERS, N_HEADS = 32, 3, 2
OWN, OTHER, END, EARLY, COPY, ANEW = range(6)
"""Directions; the first three are tokens too."""
LATENTS = (EARLY, COPY, ANEW, END)
CARRIED_ROW, COPY_ROW, ANEW_ROW, CONTROL_ROW = range(4)
N_TEXTS = 160


def direction(k: int) -> torch.Tensor:
    vector = torch.zeros(D_MODEL)
    vector[2 * k], vector[2 * k + 1] = 2**-0.5, -(2**-0.5)
    return vector


@pytest.fixture(scope="module")
def model() -> GPTNeoXForCausalLM:
    config = GPTNeoXConfig(
        vocab_size=10,
        hidden_size=D_MODEL,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    config.architectures = ["GPTNeoXForCausalLM"]
    model = GPTNeoXForCausalLM(config).eval().requires_grad_(False)
    for block in model.gpt_neox.layers:
        for module in (*block.attention.children(), *block.mlp.children()):
            for parameter in module.parameters():
                parameter.zero_()
    embedding = model.gpt_neox.embed_in.weight
    for token in range(10):  # tokens 3 to 9 fill
        embedding[token] = direction(token if token <= END else token + 4)
    attend(model, layer=0, head=0, read=OWN, write=EARLY)
    attend(model, layer=2, head=1, read=OWN, write=ANEW)
    mlp = model.gpt_neox.layers[2].mlp
    mlp.dense_h_to_4h.weight[0] = 4 * direction(EARLY)
    mlp.dense_4h_to_h.weight[:, 0] = direction(COPY)
    return model


def attend(model: GPTNeoXForCausalLM, layer: int, head: int, read: int, write: int) -> None:
    """Set uniform attention of one head, from one direction to another."""
    attention, size = model.gpt_neox.layers[layer].attention, D_MODEL // N_HEADS
    attention.query_key_value.weight[head * 3 * size + 2 * size] = direction(read)
    attention.dense.weight[:, head * size] = 3 * direction(write)


def dictionary() -> SAE:
    """A latent for each of `LATENTS`, active where its direction is in the stream."""
    W_nd = torch.stack([direction(k) for k in LATENTS])
    return SAE(W_nd, torch.zeros(4), W_nd, torch.zeros(D_MODEL), threshold_n=torch.full((4,), 0.05))


@pytest.fixture(scope="module")
def texts() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    made = []
    for number in range(N_TEXTS):
        filler = draw.integers(3, 10, draw.integers(3, 7))
        filler[draw.integers(len(filler))] = OWN if number % 2 else OTHER
        made.append(np.array([3, *filler, END], np.int32))
    return made


CATEGORY = (1 - np.arange(N_TEXTS) % 2).astype(np.int16)
"""0 is the category with a direction of its own."""


def target(late: int) -> Target:
    changed = np.array([CARRIED_ROW, CARRIED_ROW, CONTROL_ROW])
    return Target(0, 0, 0, 1, 2, late, changed, np.zeros((3, N_TEXTS), np.float32))


@pytest.mark.parametrize("batch_size", [3, 64])
def test_planted_mechanisms_are_found(model, texts, batch_size: int) -> None:
    """Present in the trough layer, made by an MLP from the early latent, made anew by a head: each is identified."""
    saes = {(0, 0): dictionary(), (2, 0): dictionary()}
    targets = [target(late) for late in (CARRIED_ROW, COPY_ROW, ANEW_ROW)]
    labels = Labels("subject", ("own", "other"), CATEGORY, np.zeros(N_TEXTS, bool))
    found = measure_mechanism(model, texts, CATEGORY, targets, saes, batch_size)
    weights_pb = bootstrap_weights(N_TEXTS, 100, 0)
    keys = {"model": "m", "n_params_nonemb": 1, "step": 1, "tokens_seen": 1, "n_layers": 3, "data_version": "v"}
    chosen = pl.DataFrame({"category": ["own"], "early_layer": [0], "trough_layer": [1], "late_layer": [2]})
    chosen = chosen.with_columns(drop_select=pl.lit(0.1))
    carried, copied, anew = (
        reactivation_mechanism(keys, chosen, labels, [one], [measured], weights_pb).row(0, named=True)
        for one, measured in zip(targets, found, strict=True)
    )
    shares = ("share_carried", "share_attn", "share_mlp")
    assert [carried[name] for name in shares] == pytest.approx([1, 0, 0], abs=1e-4)
    assert [copied[name] for name in shares] == pytest.approx([0, 0, 1], abs=1e-4)
    assert [anew[name] for name in shares] == pytest.approx([0, 1, 0], abs=1e-4)
    assert carried["top_heads"] == copied["top_heads"] == []
    assert anew["top_heads"] == [{"layer": 2, "head": 1, "share": pytest.approx(1, abs=1e-4)}]
    for row in (carried, copied):
        assert row["cdi"] == pytest.approx(1, abs=0.02)
        assert row["cdi_excess_lo"] > 0.8
    assert anew["cdi"] == pytest.approx(0, abs=0.02)
    assert -0.05 < anew["cdi_lo"] <= anew["cdi_hi"] < 0.05
    for row in (carried, copied, anew):
        assert row["cdi_control"] == pytest.approx(
            0, abs=0.15
        )  # END is in every stream; without it all other directions are larger
        assert row["early_rate"] == row["control_rate"] == 1
        assert (row["n_seeds"], row["n_seeds_agree_parts"], row["undefined_because"]) == (1, 1, "none")


def test_a_value_that_stays_changes_nothing_and_others_are_not_run(model, texts) -> None:
    sae = dictionary()
    plain = measure_mechanism(model, texts, CATEGORY, [target(COPY_ROW)], {(0, 0): sae, (2, 0): sae}, 64)[0]
    assert np.isnan(plain.clean_p[CATEGORY == 1]).all()
    own = CATEGORY == 0
    assert (plain.clean_p[own] > 0.05).all()
    assert (plain.changed_vp[0, own] == 0).all()
    # With half of its activation, the early latent leaves less of the late latent, but some.
    with torch.no_grad():
        prefix_free = model.gpt_neox(torch.from_numpy(texts[1][None].astype(np.int64)), output_hidden_states=True)
    early = float(prefix_free.hidden_states[1][0, -1] @ direction(EARLY))
    new_vp = np.zeros((3, N_TEXTS), np.float32)
    new_vp[0, 1] = early
    new_vp[1, 1] = early / 2
    changed = Target(0, 0, 0, 1, 2, COPY_ROW, np.array([CARRIED_ROW] * 3), new_vp)
    kept = measure_mechanism(model, texts, CATEGORY, [changed], {(0, 0): sae, (2, 0): sae}, 64)[0]
    assert kept.changed_vp[0, 1] == pytest.approx(kept.clean_p[1], abs=1e-5)
    assert 0 < kept.changed_vp[1, 1] < kept.clean_p[1]


def test_targets_take_the_best_latents_of_a_seed_and_controls_that_fire_as_often() -> None:
    n_texts = 40
    labels = Labels(
        "subject", ("own", "other"), (np.arange(n_texts) % 2).astype(np.int16), np.arange(n_texts) < n_texts // 2
    )
    is_own = labels.codes_p == 0
    values = np.stack([is_own * 1.0, is_own * 2.0, np.ones(n_texts) * (np.arange(n_texts) % 8 == 0)], axis=1)
    codes = Codes(values.astype(np.float32), np.tile(np.arange(3, dtype=np.int32), (n_texts, 1)), 5)
    chosen = pl.DataFrame({"category": ["own"], "early_layer": [0], "trough_layer": [1], "late_layer": [2]})
    cells = pl.DataFrame(
        {
            "category": ["own"] * 4,
            "layer": [0, 2, 0, 2],
            "sae_seed": [0, 0, 1, 1],
            "latent": [0, 4, 0, None],
        }
    )
    (found,) = mechanism_targets(chosen, cells, {(0, 0): codes, (0, 1): codes}, labels, 3, 0)
    assert (found.category, found.seed, found.late_latent) == (0, 0, 4)
    assert found.changed_latents_v.tolist() == [
        0,
        0,
        1,
        2,
        1,
    ]  # two other latents are active: the nearest is used again
    assert found.new_value_vp.shape == (5, n_texts // 2)
    assert (found.new_value_vp == 0).all()  # texts of other categories do not have the early latent


def test_an_unmeasured_row_has_a_reason() -> None:
    keys = {"model": "m", "n_params_nonemb": 1, "step": 1, "tokens_seen": 1, "n_layers": 2, "data_version": "v"}
    row = without_mechanism(keys, "subject", "layers").row(0, named=True)
    assert (row["undefined_because"], row["category"], row["cdi"], row["n_seeds"]) == ("layers", None, None, None)
