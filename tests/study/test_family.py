"""Replicates in a study file share the shape of their model and are no sizes."""

from typing import Any

import pytest

from emergence_assets.checkpoints.spec import TRAINING_RUN
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.cell import Cell
from emergence_assets.study.load import parse_study
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from tests.conftest import TINY


def tiny(models: dict[str, Any], **more: Any) -> Study:
    declared = dict(read_yaml(TINY))
    declared["family"] = declared["family"] | {"models": declared["family"]["models"] | models}
    return parse_study(declared | more)


def test_a_replicate_has_the_shape_of_its_model_and_seeds_of_its_own(tmp_path: Any) -> None:
    study = tiny({"gloss-tiny-seed1": {"replicate_of": "gloss-tiny", "seed": 1}})
    assert study.models == ["gloss-tiny", "gloss-tinier", "gloss-tiny-seed1"]
    assert study.sizes == ["gloss-tiny", "gloss-tinier"]
    assert study.family.replicates == {"gloss-tiny-seed1": "gloss-tiny"}
    recipes = [TRAINING_RUN.recipe(study, Storage(tmp_path, "s"), Cell(model)) for model in study.models]
    original, _, other = (dict(recipe or {}) for recipe in recipes)
    different = {key for key in original if original[key] != other[key]}
    assert different == {"seed", "data_seed"}
    assert parse_study(study.model_dump()) == study


def test_only_a_family_with_replicates_compares_runs() -> None:
    assert "model_seeds" not in {spec.name for spec in specs_for(tiny({}))}
    with_one = tiny({"other": {"replicate_of": "gloss-tiny", "seed": 3}})
    assert "model_seeds" in {spec.name for spec in specs_for(with_one)}
    assert "expansion_presence" not in {spec.name for spec in specs_for(tiny({}, fixed_expansion=False))}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"other": {"replicate_of": "gloss-large", "seed": 1}}, "not among"),
        ({"other": {"replicate_of": "gloss-tiny"}}, "belong together"),
        ({"other": {"d_model": 8, "n_layers": 1, "n_heads": 2, "learning_rate": 0.01, "seed": 1}}, "belong together"),
        ({"other": {"replicate_of": "gloss-tiny", "seed": 0}}, "give each its own"),
        (
            {"a": {"replicate_of": "gloss-tiny", "seed": 1}, "b": {"replicate_of": "gloss-tiny", "seed": 1}},
            "give each its own",
        ),
        ({"other": {"replicate_of": "gloss-tiny", "seed": 1, "learning_rate": 0.02}}, "the same shape"),
        ({"a": {"replicate_of": "gloss-tiny", "seed": 1}, "b": {"replicate_of": "a", "seed": 2}}, "not among"),
    ],
)
def test_a_mistake_about_replicates_is_answered(models: dict[str, Any], said: str) -> None:
    with pytest.raises(EmergenceError, match=said):
        tiny(models)


def test_layers_of_a_replicate_are_those_of_its_model() -> None:
    models = {"other": {"replicate_of": "gloss-tiny", "seed": 1}}
    with pytest.raises(EmergenceError, match="another run"):
        tiny(models, layers={"gloss-tiny": [0, 1], "gloss-tinier": [0], "other": [0]})


def test_published_runs_are_replicates_of_the_published_model() -> None:
    declared = dict(read_yaml(TINY))
    family = {"source": "hub", "preset": "pythia-seeds", "models": ["pythia-14m", "pythia-14m-seed3"]}
    study = parse_study(declared | {"family": family})
    assert study.sizes == ["pythia-14m"]
    assert study.family.replicates == {"pythia-14m-seed3": "pythia-14m"}
    with pytest.raises(EmergenceError, match="add it"):
        parse_study(declared | {"family": family | {"models": ["pythia-14m-seed3"]}})
