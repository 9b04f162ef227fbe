"""Layers of a possible return: best early, worst middle and best late layer, by thirds of the depth."""

import polars as pl
import pytest

from emergence_assets.emergence.mechanism.layers import mechanism_layers


def cells(presence: dict[str, list[list[float]]]) -> pl.DataFrame:
    rows = [
        {"category": category, "sae_seed": seed, "layer": layer, "p_select": p}
        for category, seeds in presence.items()
        for seed, profile in enumerate(seeds)
        for layer, p in enumerate(profile)
    ]
    return pl.DataFrame(rows, schema_overrides={"layer": pl.Int16, "p_select": pl.Float32})


def test_the_largest_drop_comes_first_and_seeds_are_averaged() -> None:
    table = cells(
        {
            "flat": [[0.7] * 6, [0.7] * 6],
            "falls and returns": [[0.9, 0.6, 0.5, 0.6, 0.7, 0.8], [0.7, 0.8, 0.5, 0.4, 0.7, 0.8]],
            "rises": [[0.5, 0.6, 0.7, 0.7, 0.8, 0.9]] * 2,
        }
    )
    found = mechanism_layers(table, 6, 2)
    assert found.rows(named=True) == [
        {"category": "falls and returns", "early_layer": 0, "trough_layer": 2, "late_layer": 5}
        | {"drop_select": pytest.approx(0.3)},
        {"category": "flat", "early_layer": 0, "trough_layer": 2, "late_layer": 4, "drop_select": pytest.approx(0)},
    ]


def test_a_model_without_a_middle_has_no_rows() -> None:
    assert mechanism_layers(cells({"a": [[0.7, 0.8]]}), 2, 5).is_empty()
    with_embedding = cells({"a": [[0.9, 0.5, 0.7, 0.8]]}).with_columns(layer=pl.col("layer") - 1)
    assert mechanism_layers(with_embedding, 3, 5)["early_layer"].to_list() == [0]
