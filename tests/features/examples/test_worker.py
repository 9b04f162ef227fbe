"""The texts of a latent are those on which it is active, with its activation at every token."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import emergence_assets as ea
from emergence_assets.checkpoints.models.loading import load_model
from emergence_assets.checkpoints.models.stream import residual_stream, run_texts
from emergence_assets.features.examples.chosen import N_STRONGEST, QUANTILES
from resources.files.storage import Storage
from tests.conftest import TINY

pytestmark = pytest.mark.slow
MODEL, STEP, LAYER = "gloss-tiny", 6, 1


@pytest.fixture(scope="module")
def study(finished_study: Path) -> ea.StudyResults:
    return ea.open_study(TINY, data=finished_study)


@pytest.fixture(scope="module")
def named(study: ea.StudyResults) -> pl.DataFrame:
    return study.table("named_latents", model=MODEL, step=STEP, layer=LAYER)


@pytest.fixture(scope="module")
def examples(study: ea.StudyResults) -> pl.DataFrame:
    return study.table("latent_examples", model=MODEL, step=STEP, layer=LAYER)


def test_every_latent_that_a_table_names_is_there(study: ea.StudyResults, named: pl.DataFrame) -> None:
    where = {"model": MODEL, "step": STEP, "layer": LAYER}
    best = study.table("presence_cells", **where).filter(
        pl.col("control_id") != "label_shuffle", pl.col("latent").is_not_null()
    )
    accepted = study.table("categorical_latents", **where).with_columns(control_id=pl.lit("none"))
    key = ["control_id", "sae_seed", "latent"]
    expected = pl.concat(
        [best.filter((pl.col("control_id") == "none") | (pl.col("sae_seed") == 0)).select(key), accepted.select(key)]
    )
    assert set(named.select(key).rows()) == set(expected.rows())
    row = best.filter(control_id="none").row(0, named=True)
    own = named.filter(**{name: row[name] for name in key})
    assert f"{row['category_level']}/{row['category']}" in own["best_of"][0]


def test_examples_are_the_strongest_read_outs_and_weaker_ones(study, named, examples) -> None:
    sae, activations = study.sae(MODEL, STEP, LAYER), study.activations(MODEL, STEP, LAYER)
    codes_pn = sae.encode(activations.read_out.float32()).numpy()
    for latent, of_latent in examples.filter(control_id="none", sae_seed=sae.seed).group_by("latent"):
        value_p = codes_pn[:, latent[0]]
        n_active = int((value_p > 0).sum())
        assert of_latent.height <= N_STRONGEST + len(QUANTILES)
        strongest = of_latent.filter(kind="strongest").sort("rank")["activation"].to_numpy()
        np.testing.assert_allclose(strongest, np.sort(value_p)[::-1][: len(strongest)], rtol=1e-5)
        assert len(strongest) == min(N_STRONGEST, n_active)
        one = named.filter(control_id="none", sae_seed=sae.seed, latent=latent[0]).row(0, named=True)
        assert one["n_active"] == n_active
        assert one["largest"] == pytest.approx(value_p.max(), rel=1e-5)
        for text_id, value, quantile in of_latent.select("text_id", "activation", "quantile").iter_rows():
            assert value_p[activations.probe_text_ids.index(text_id)] == pytest.approx(value, rel=1e-5)
            assert quantile == pytest.approx((value_p[value_p > 0] <= value).mean(), abs=0.05)


def test_activations_at_tokens_are_those_of_the_model_text_by_text(study, examples, finished_study: Path) -> None:
    storage, sae = Storage(finished_study, "tiny"), study.sae(MODEL, STEP, LAYER)
    model = load_model(storage.training_folder(MODEL) / f"step{STEP}", "cpu", torch.float32)
    activations = study.activations(MODEL, STEP, LAYER)
    texts = dict(activations.texts.select("text_id", "text").iter_rows())
    close: list[bool] = []
    for row in examples.filter(control_id="none", sae_seed=sae.seed).head(12).iter_rows(named=True):
        ids_t = activations._tokens.probe_ids[activations.probe_text_ids.index(row["text_id"])]
        with residual_stream(model, [LAYER]) as stream, torch.inference_mode():
            run_texts(model, torch.from_numpy(ids_t.astype(np.int64))[None])
            values = sae.encode(stream[LAYER][0, 1:].half())[:, row["latent"]]
        close += np.isclose(row["activations"][1:], values.numpy(), rtol=1e-2, atol=1e-6).tolist()
        assert len(row["tokens"]) == len(row["activations"]) == len(ids_t)
        assert "".join(row["tokens"][1:]) == texts[row["text_id"]]
    assert np.mean(close) > 0.98  # rounding in a batch of other texts may change who is among the k largest


def test_a_latent_is_read_from_python_with_its_neighbours(study, named) -> None:
    row = named.filter(control_id="none").row(0, named=True)
    latent = study.latent(MODEL, STEP, LAYER, row["latent"], seed=row["sae_seed"])
    assert (latent.name, latent.best_of) == (row["name"], row["best_of"])
    assert latent.examples.columns == ["rank", "kind", "quantile", "text_id", "activation", "tokens", "activations"]
    assert latent.raised["logit"].is_sorted(descending=True)
    assert set(latent.neighbours["axis"]) <= {"step", "layer", "seed", "size"}
    every = [
        study.latent(MODEL, STEP, LAYER, one, seed=row["sae_seed"]).neighbours.height
        for one in named.filter(control_id="none", sae_seed=row["sae_seed"])["latent"].head(15)
    ]
    assert sum(every) > 0
    with pytest.raises(ea.EmergenceError, match="No table names latent"):
        study.latent(MODEL, STEP, LAYER, 10**6)
