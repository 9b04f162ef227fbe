"""The heat map of checkpoint similarity contains every pair of steps."""

import struct
from dataclasses import replace

import polars as pl

from emergence_assets.checkpoints.identity.measurement import Measurement
from emergence_assets.checkpoints.identity.registry import registry_frame
from emergence_assets.checkpoints.identity.validation import validate_checkpoints
from emergence_assets.plan.timeline import TimelineEntry
from emergence_assets.report.charts.checkpoint_likeness import (
    MAX_PANELS,
    cosine_heat_map,
    models_worth_showing,
    registry_picture,
)
from tests.family import STEPS


def registry_of(found: dict[int, Measurement], model: str = "gloss-tiny", n_params: int | None = None) -> pl.DataFrame:
    if n_params is not None:
        found = {step: replace(one, facts=replace(one.facts, n_params=n_params)) for step, one in found.items()}
    entries = [
        TimelineEntry(step, said.status, said.reason, said.failed) for step, said in validate_checkpoints(found).items()
    ]
    return registry_frame(model, 64, entries, found)


def pairs_in(registry: pl.DataFrame, model: str) -> list[dict]:
    """Read the rows behind the squares of the chart."""
    return cosine_heat_map(registry, [model]).to_dict()["data"]["values"]


def test_the_picture_is_a_png_of_some_size(clean: dict[int, Measurement]) -> None:
    picture = registry_picture(registry_of(clean), "gloss-tiny")
    assert picture is not None
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert width > 300
    assert height > 300


def test_there_is_none_of_a_single_checkpoint_and_of_none(clean: dict[int, Measurement]) -> None:
    assert registry_picture(registry_of({8: clean[8]}), "gloss-tiny") is None
    assert registry_picture(registry_of({}), "gloss-tiny") is None
    assert registry_picture(registry_of(clean), "another model") is None


def test_two_checkpoints_are_enough(clean: dict[int, Measurement]) -> None:
    assert registry_picture(registry_of({8: clean[8], 16: clean[16]}), "gloss-tiny")


def test_every_pair_of_steps_is_shown_and_those_left_out_are_crossed(clean: dict[int, Measurement]) -> None:
    pairs = pairs_in(registry_of({**clean, 4: clean[64]}), "gloss-tiny")
    assert {(pair["step"], pair["other"]) for pair in pairs} == {(one, other) for one in STEPS for other in STEPS}
    assert {pair["is_out"] for pair in pairs if 4 in (pair["step"], pair["other"])} == {True}
    assert {pair["is_out"] for pair in pairs if 4 not in (pair["step"], pair["other"])} == {False}
    assert all(str(pair["step"]) in pair["note"] for pair in pairs)


def test_a_checkpoint_that_was_not_measured_has_no_row(clean: dict[int, Measurement]) -> None:
    found = {step: clean[step] for step in STEPS if step != 8}
    entries = [TimelineEntry(step, "ok" if step in found else "missing") for step in STEPS]
    pairs = pairs_in(registry_frame("gloss-tiny", 64, entries, found), "gloss-tiny")
    assert 8 not in {pair["step"] for pair in pairs}


def test_models_with_something_left_out_are_shown_first_and_then_the_largest(clean: dict[int, Measurement]) -> None:
    faulty = {**clean, 4: clean[64]}
    sizes = {"a": 100, "b": 200, "c": 300, "d": 400}
    families = {name: faulty if name == "a" else clean for name in sizes}
    registry = pl.concat([registry_of(families[name], name, size) for name, size in sizes.items()])
    assert len(models_worth_showing(registry)) == MAX_PANELS
    assert models_worth_showing(registry) == ["a", "c", "d"]
    assert models_worth_showing(registry_of({})) == []
