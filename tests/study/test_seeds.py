"""Another seed changes every random draw, and nothing else."""

from typing import Any

import pytest

from emergence_assets.study.load import load_study, shipped_studies
from emergence_assets.study.study import Study
from resources.errors import EmergenceError


def seeds_in(value: Any) -> list[int]:
    """List all seeds of a study, in the order of its fields."""
    if not isinstance(value, dict):
        return []
    found = []
    for name, part in value.items():
        if name in ("seed", "data_seed"):
            found += [] if part is None else [part]
        elif name == "seeds":
            found += part
        else:
            found += seeds_in(part)
    return found


def without_seeds(value: Any) -> Any:
    """Return all fields of a study except seeds."""
    if not isinstance(value, dict):
        return value
    return {name: without_seeds(part) for name, part in value.items() if name not in ("seed", "data_seed", "seeds")}


def reseeded(monkeypatch: pytest.MonkeyPatch, name: str, seed: str) -> Study:
    monkeypatch.setenv("EMERGENCE_SEED", seed)
    return load_study(name)


@pytest.mark.parametrize("name", shipped_studies())
def test_every_seed_moves_and_nothing_else(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("EMERGENCE_SEED", raising=False)
    first, second = load_study(name).model_dump(), reseeded(monkeypatch, name, "2").model_dump()
    before, after = seeds_in(first), seeds_in(second)
    assert before
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert not set(first["sae"]["seeds"]) & set(second["sae"]["seeds"])
    assert second["name"] == f"{first['name']}-seed2"
    assert without_seeds(first) | {"name": ""} == without_seeds(second) | {"name": ""}


def test_seed_zero_is_the_study_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMERGENCE_SEED", raising=False)
    assert load_study("quick") == reseeded(monkeypatch, "quick", "0")


@pytest.mark.parametrize("wanted", ["-1", "two", "301", "1.5", pytest.param("1" * 5000, id="digits")])
def test_an_impossible_seed_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    with pytest.raises(EmergenceError, match="EMERGENCE_SEED"):
        reseeded(monkeypatch, "quick", wanted)
