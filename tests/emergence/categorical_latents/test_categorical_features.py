"""The study's latents: corrected over all tests, and compared with the untrained network in the same layer and seed."""

import polars as pl
import pytest

from emergence_assets.emergence.categorical_latents.categorical_features import categorical_features, study_p_values
from emergence_assets.emergence.categorical_latents.table import CATEGORICAL_FEATURES

KEYS = {"model": "m", "n_params_nonemb": 10, "step": 8, "tokens_seen": 8, "layer": 1, "n_layers": 2, "rel_depth": 1.0}
LATENT = {
    **KEYS,
    **{"sae_seed": 1, "category_level": "subject", "latent": 4, "category": "a", "n_categories_passing": 1},
    **{"auroc_score": 0.8, "auroc_score_lo": 0.7, "auroc_score_hi": 0.9, "tpr": 0.5, "lift": 9.0, "p_hyper": 1e-6},
    **{"q_cell": 1e-4, "strength": 0.2, "length_corr": 0.0, "word": "w", "word_excess": 0.5, "data_version": "v"},
    "top_examples": [{"text_id": "t", "activation": 1.0}],
}


def before(layer: int, seed: int, p_best: float) -> dict:
    return {
        "model": "m",
        "layer": layer,
        "sae_seed": seed,
        "category_level": "subject",
        "category": "a",
        "p_best": p_best,
    }


def test_q_is_over_the_study_and_the_excess_over_the_same_layer_and_seed() -> None:
    p_values = study_p_values([(pl.DataFrame({"p_hyper": [1e-6, 0.5]}), 100), (pl.DataFrame({"p_hyper": [1e-6]}), 900)])
    step0 = pl.DataFrame([before(0, 1, 0.51), before(1, 0, 0.52), before(1, 1, 0.6)])
    table = categorical_features(pl.DataFrame([LATENT, LATENT | {"latent": 5, "word_excess": 0.4}]), step0, p_values)
    assert table.schema == CATEGORICAL_FEATURES.schema
    assert table["q_global"].to_list() == pytest.approx([1e-6 * 1000 / 2] * 2)
    assert table["excess_vs_step0"].to_list() == pytest.approx([0.2] * 2, abs=1e-6)
    assert table["lexical_flag"].to_list() == [True, False]


def test_without_step_0_there_is_no_excess_and_without_latents_no_row() -> None:
    p_values = study_p_values([(pl.DataFrame({"p_hyper": [1e-6]}), 10)])
    nothing = pl.DataFrame([before(0, 0, 0.5)]).clear()
    assert categorical_features(pl.DataFrame([LATENT]), nothing, p_values)["excess_vs_step0"].to_list() == [None]
    assert categorical_features(pl.DataFrame([LATENT]).clear(), nothing, p_values).is_empty()
