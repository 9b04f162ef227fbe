"""Retention of a changed model: complete without a change, lower for larger changes; and its weights are restored."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from emergence_assets.activations.forward.equal_lengths import text_read_outs
from emergence_assets.checkpoints.models.blocks import blocks
from emergence_assets.emergence.compression.compression_retention import Instruments, compression_retention
from emergence_assets.emergence.compression.spec import COMPRESSION_RETENTION as SPEC
from emergence_assets.emergence.compression.table import COMPRESSION_RETENTION
from emergence_assets.features.statistics.formulas import bootstrap_weights
from emergence_assets.saes.model.sae import SAE
from resources.tables.expectations import validate
from resources.tables.parquet import write_table
from resources.tables.relation import with_relations
from tests.activations.forward.test_contributions import N_LAYERS, made

N_TEXTS, LAYERS, SEEDS = 300, (0, 3), (0, 1)
KEYS = {"model": "m", "n_params_nonemb": 9, "step": 8, "tokens_seen": 8, "n_layers": N_LAYERS, "data_version": "v"}


@pytest.fixture(scope="module")
def model():
    return made("parallel")


@pytest.fixture(scope="module")
def instruments(model) -> Instruments:
    """Two categories that a token of the text determines; each has a latent from one mean towards the other."""
    draw = np.random.default_rng(0)
    category_p = (np.arange(N_TEXTS) % 2).astype(np.int16)
    texts = [np.array([1, *draw.integers(10, 50, 2), 2 + label, 5], np.int32) for label in category_p]
    read_out = text_read_outs(model, texts, LAYERS, 64, "cpu")
    saes = {}
    for layer in LAYERS:
        means = [read_out[layer][torch.from_numpy(category_p == label)].mean(0) for label in (0, 1)]
        towards_d = (means[1] - means[0]) / (means[1] - means[0]).norm()
        W_nd = torch.stack([-towards_d, towards_d])
        saes[layer] = {seed: SAE(W_nd, torch.zeros(2), W_nd, (means[0] + means[1]) / 2, k=1) for seed in SEEDS}
    return Instruments(
        texts=texts,
        category_p=category_p,
        kept_c=np.array([True, True]),
        weights_pb=bootstrap_weights(N_TEXTS, 100, 0),
        saes=saes,
        latents={layer: dict.fromkeys(SEEDS, np.array([0, 1])) for layer in LAYERS},
        loss=lambda changed: float(blocks(changed)[1].get_parameter("mlp.dense_h_to_4h.weight").abs().sum()),
        batch_size=64,
        device="cpu",
    )


@pytest.fixture(scope="module")
def table(model, instruments) -> pl.DataFrame:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    variants = ("int8", "int4", "prune50")
    frame = compression_retention(KEYS, "subject", model, variants, True, 0, instruments, lambda *_: None)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    return frame


def test_every_version_has_its_rows_and_its_control(table: pl.DataFrame) -> None:
    every_layer = {(name, control) for name in ("int8", "int4", "prune50") for control in ("none", "noise")}
    rows = {(row["variant"], row["control_id"], row["layer"]) for row in table.iter_rows(named=True)}
    assert rows == {(*version, layer) for version in (*every_layer, ("none", "none")) for layer in LAYERS} | {
        (f"skip_{layer}", "none", 3) for layer in range(N_LAYERS)
    }
    assert len(table) == len(rows)
    bits = table.filter(pl.col("bits").is_not_null()).select("variant", "control_id", "bits").unique().rows()
    assert set(bits) == {("int8", "none", 8), ("int4", "none", 4)}


def test_more_change_loses_more(table: pl.DataFrame) -> None:
    def of(variant: str, control: str = "none") -> dict:
        rows = table.filter(variant=variant, control_id=control, layer=3)
        return rows.row(0, named=True)

    own, int8, int4 = of("none"), of("int8"), of("int4")
    assert (own["mean_drop"], own["retention"], own["fvu_ratio"], own["loss_delta"]) == (0, 1, 1, 0)
    assert own["p_model"] > 0.9
    assert int8["retention"] == 1
    assert abs(int8["mean_drop"]) < 0.005
    assert int4["relative_norm"] > 5 * int8["relative_norm"]
    assert int4["fvu_ratio"] != 1
    assert of("prune50")["density"] == pytest.approx(0.5, abs=0.01)
    assert of("prune50", "noise")["relative_norm"] == pytest.approx(of("prune50")["relative_norm"], rel=1e-4)
    assert of("prune50")["loss_delta"] < 0  # this loss has the size of a matrix
    skipped = table.filter(pl.col("changed_layer").is_not_null())
    assert skipped["relative_norm"].is_null().all()
    assert skipped["mean_drop"].max() > int8["mean_drop"]


def test_the_table_is_as_declared_and_its_checks_find_what_is_broken(table: pl.DataFrame, tmp_path) -> None:
    write_table(tmp_path / "table.parquet", table, COMPRESSION_RETENTION, "")

    def failed(damage: pl.Expr | None = None) -> set[str]:
        frame = table if damage is None else table.with_columns(damage)
        found = validate(with_relations(frame, SPEC.relations), SPEC.checks)
        return {finding.check.name for finding in found if not finding.passed}

    first = pl.int_range(pl.len()) == 0
    assert failed() == set()
    assert failed(pl.when(first).then(0.9).otherwise("retention").alias("retention")) == {
        "unchanged_models_lose_nothing"
    }
    assert failed(pl.when(first).then(pl.lit("int8")).otherwise("variant").alias("variant")) == {"keys_are_unique"}
    assert failed(pl.when(first).then(1.2).otherwise("density").alias("density")) == {"values_are_in_range"}
    assert failed(pl.when(first).then(None).otherwise("p_model").alias("p_model")) == {"values_are_present"}


def test_a_model_that_predicts_nothing_has_no_loss(model, instruments) -> None:
    silent = replace(instruments, loss=lambda _model: None)
    frame = compression_retention(KEYS, "subject", model, ("int8",), False, 0, silent, lambda *_: None)
    assert frame["loss_delta"].is_null().all()
    assert len(frame) == 3 * len(LAYERS)
