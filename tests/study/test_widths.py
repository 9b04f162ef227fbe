"""Every number that a study file or its inputs may hold fits into the columns of the tables."""

import polars as pl
import pytest

from emergence_assets.pipeline import TABLES
from emergence_assets.study.family import MAX_MODELS
from emergence_assets.study.load import load_study, parse_study
from emergence_assets.study.seeds import MOST as MOST_VARIANTS
from emergence_assets.study.seeds import STRIDE, seeds_of
from emergence_assets.study.strict import MOST, MOST_SEED
from emergence_assets.texts.probe_set import MAX_CATEGORIES
from emergence_assets.texts.text_limits import PROBE_FILE
from resources.errors import EmergenceError

MOST_LAYERS, MOST_SAES, MOST_TOKENS = 10_000, 1000, MOST * (2**32 - 1)
BY_UNIT = {
    "blocks": MOST_LAYERS,
    "categories": MAX_CATEGORIES,
    "draws": MOST_SAES,
    "latents": MOST,
    "layers": MOST_LAYERS,
    "models": MAX_MODELS,
    "modes": MOST_LAYERS // 2,
    "runs": MAX_MODELS,
    "seed": MOST_SEED + STRIDE * MOST_VARIANTS,
    "seeds": MOST_SAES,
    "steps": MOST,
    "texts": PROBE_FILE.max_texts,
}
"""Unit of a column to the largest number that it may have to hold."""
BY_COLUMN = {
    "n_latents_read": 16,
    "tokens_seen": MOST_TOKENS,
    "half_tokens": MOST_TOKENS,
    **dict.fromkeys(("latent", "src_latent", "dst_latent", "latents"), MOST),
    **dict.fromkeys(("layer", "src_layer", "dst_layer", "peak_layer", "best_layer"), MOST_LAYERS),
}


def largest(dtype: pl.DataType) -> int:
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    return pl.select(inner.max()).item() if inner.is_integer() else 2**63  # pyright: ignore


@pytest.mark.parametrize("name", TABLES)
def test_a_column_holds_the_largest_number_that_a_study_may_have(name: str) -> None:
    for column in TABLES[name].columns:
        most = BY_COLUMN.get(column.name, BY_UNIT.get(column.unit, 0))
        assert most <= largest(column.dtype), f"{column.name} is {column.dtype}"


def test_the_largest_numbers_are_accepted_in_a_study() -> None:
    declared = load_study("quick").model_dump()
    declared["sae"]["seeds"] = [MOST_SEED]
    declared["family"] |= {"n_steps": MOST}
    declared["steps"] = [0, MOST]
    study = parse_study(declared)
    assert seeds_of(study.model_dump())["sae.seeds"] == [MOST_SEED]
    for place, value in (("seeds", [MOST_SEED + 1]), ("n_latents", MOST + 1)):
        with pytest.raises(EmergenceError, match=f"sae.{place}.* less than or equal to"):
            parse_study(declared | {"sae": declared["sae"] | {place: value}})
