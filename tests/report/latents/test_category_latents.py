"""Latents of the report belong to the claims that may be repeated, one per category."""

from pathlib import Path

import polars as pl
import pytest

from emergence_assets.emergence.claims.table import CLAIMS
from emergence_assets.plan.cell import Cell
from emergence_assets.report.latents.category_latents import category_latents, supported_categories
from emergence_assets.report.page.latents_section import N_OPEN, latents_section
from resources.errors import EmergenceError
from resources.files.storage import Storage
from tests.features.planted_latents import latent_examples, named_latents, plant

HOSTILE = "<script>alert(1)</script>"


def claims(*changes: dict) -> list[dict]:
    """Make claims that a dog emerges in the large model, with changes."""
    shared = dict.fromkeys(CLAIMS.schema) | {"kind": "emergence", "model": "large", "category_level": "subject"}
    shared |= {"category": "dog", "step": 512, "layer": 1, "estimate": 0.1, "lo": 0.05, "hi": 0.2, "unit": "AUROC"}
    return [shared | {"claim_id": number, "grade": "B"} | change for number, change in enumerate(changes, 1)]


def chosen(*changes: dict) -> list[int]:
    frame = pl.DataFrame(claims(*changes), schema=CLAIMS.schema)
    return [claim["claim_id"] for claim in supported_categories(frame, ["small", "large"])]


def test_a_category_is_shown_once_in_its_largest_model_with_a_claim_that_may_be_repeated() -> None:
    assert chosen({"model": "small"}, {}, {"model": "small", "category": "cat"}) == [2, 3]
    assert chosen({"grade": "C"}, {"grade": "reject"}, {"model": "small"}) == [3]
    assert chosen({"kind": "timing"}, {"category": None}) == []


def test_the_best_grade_and_the_largest_rise_come_first() -> None:
    rows = ({"category": "cat", "estimate": 0.3}, {}, {"category": "cow", "estimate": 0.01, "grade": "A"})
    assert chosen(*rows) == [3, 1, 2]


def test_the_latent_of_a_category_is_read_from_the_cell_of_its_claim(tmp_path: Path) -> None:
    named = named_latents({3: "quiet", 7: HOSTILE}).filter(latent=7)
    plant(tmp_path, "planted", Cell("large", 512, 1), named, latent_examples(named))
    storage = Storage(tmp_path, "planted")
    dog, cat = category_latents(claims({}, {"category": "cat"}), storage, seed=1)
    assert (dog.latent["latent"], dog.latent["sae_seed"], dog.latent["control_id"]) == (7, 1, "none")
    assert dog.examples["sae_seed"].unique().to_list() == [1]
    assert dog.examples["control_id"].unique().to_list() == ["none"]
    assert cat.latent is None
    assert cat.examples.is_empty()
    html = latents_section([dog, *[cat] * N_OPEN, dog])
    assert HOSTILE not in html
    assert html.count("<details") == 1 + N_OPEN  # the latent of both dogs is shown once
    assert html.count(" open>") == N_OPEN
    assert "<strong>dog, dog</strong>" in html
    assert "no latent is named" in html
    with pytest.raises(EmergenceError, match=r"layer=002"):
        category_latents(claims({"layer": 2}), storage, seed=1)


def test_a_study_without_such_claims_points_to_the_explorer() -> None:
    assert "emergence explore" in latents_section([])
