"""Shipped study files load, and every error names field, value and remedy."""

import copy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from emergence_assets.study.family import MAX_MODELS, Hub
from emergence_assets.study.load import STUDIES_FOLDER, load_study, parse_study, shipped_studies
from emergence_assets.study.strict import MAX_ITEMS, MOST, MOST_SEED
from emergence_assets.study.study import MAX_CELLS, Study
from resources.errors import EmergenceError
from resources.files.plain_yaml import read_yaml


def declared(study: str = "quick", **changes: Any) -> dict[str, Any]:
    """Read a shipped study as plain values, with changes such as `sae__k=600`."""
    values = copy.deepcopy(read_yaml(STUDIES_FOLDER / f"{study}.yaml"))
    for place, value in changes.items():
        *parents, last = place.split("__")
        part = values
        for parent in parents:
            part = part[parent]
        part[last] = value
    return values


def refusal(values: Any) -> str:
    with pytest.raises(EmergenceError) as caught:
        parse_study(values, where="my.yaml")
    assert caught.value.where == "my.yaml"
    assert caught.value.remedy
    return caught.value.what


@pytest.mark.parametrize("name", ["quick", "default", "pretrained", "pythia"])
def test_shipped_studies_load(name: str) -> None:
    assert name in shipped_studies()
    study = load_study(name)
    assert study.name == name
    assert study.listed_steps is not None
    assert study.listed_steps[0] == 0
    for model, shape in study.family.models.items():
        assert study.layers_of(model) == list(range(shape.n_layers))


def test_the_environment_names_the_study_unless_an_argument_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMERGENCE_STUDY", raising=False)
    assert load_study().name == "default"
    monkeypatch.setenv("EMERGENCE_STUDY", "quick")
    assert load_study().name == "quick"
    assert load_study("pythia").name == "pythia"


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text((STUDIES_FOLDER / "quick.yaml").read_text())
    assert load_study("~/mine.yaml") == load_study("quick")
    with pytest.raises(EmergenceError, match="There is no study"):
        load_study("~nobody-of-this-name/mine.yaml")


def test_a_number_with_an_exponent_is_a_number(tmp_path: Path) -> None:
    text = (STUDIES_FOLDER / "quick.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("learning_rate: 1.0e-2", "learning_rate: 1e-2"))
    assert "1e-2" in (tmp_path / "mine.yaml").read_text()
    assert load_study(str(tmp_path / "mine.yaml")) == load_study("quick")


def test_a_path_is_read_as_well_as_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((STUDIES_FOLDER / "quick.yaml").read_text())
    assert load_study(str(path)) == load_study("quick")


@pytest.mark.parametrize(
    "name", ["qiuck", "", "absent.yaml", "../studies/absent", "q" * 300, "q" * 300 + ".yaml", "a\0"]
)
def test_a_study_that_does_not_exist_is_answered_with_those_that_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERGENCE_STUDY", "qiuck")
    with pytest.raises(EmergenceError) as caught:
        load_study(name)
    assert repr(name or "qiuck") in caught.value.what
    assert all(shipped in caught.value.remedy for shipped in shipped_studies())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        # Field, value and remedy, in this order.
        ({"sae__n_latnets": 512}, ["sae.n_latnets", "unknown key", "check its spelling"]),
        ({"sample": 1}, ["sample", "unknown key"]),
        ({"family__models__gloss-25k__width": 3}, ["gloss-25k.width", "unknown key"]),
        ({"sae__k": 600}, ["sae", "k 600", "n_latents 512", "lower k or raise n_latents"]),
        ({"sae__k": 0}, ["sae.k", "greater than 0", "found 0"]),
        ({"sae__seeds": [0, 0]}, ["sae", "seed 0 is listed more than once", "list it once"]),
        ({"sae__seeds": [-1]}, ["sae.seeds.0", "greater than or equal to 0", "found -1"]),
        ({"sae__seeds": []}, ["sae.seeds", "at least 1 item"]),
        ({"sae__learning_rate": float("nan")}, ["sae.learning_rate", "finite", "found nan"]),
        ({"sae__learning_rate": float("inf")}, ["sae.learning_rate", "finite", "found inf"]),
        ({"statistics__seed": -3}, ["statistics.seed", "found -3"]),
        ({"statistics__n_bootstrap": 1}, ["statistics.n_bootstrap", "greater than or equal to 20", "found 1"]),
        ({"statistics__rule_id": "best"}, ["statistics.rule_id", "lift_fdr_v1", "found 'best'"]),
        ({"family__seed": -1}, ["seed", "found -1"]),
        ({"layers": [0, 5]}, ["layer 5 does not exist in gloss-25k", "2 layers", "0 to 1", "remove it"]),
        ({"layers": [-2]}, ["layer -2 does not exist in gloss-25k", "-1 for the embedding"]),
        ({"layers": [0, 0]}, ["layer 0 is listed more than once", "list it once"]),
        ({"layers": []}, ["layers lists none for gloss-25k", "at least one"]),
        ({"layers": {"gloss-25k": [], "gloss-200k": [0]}}, ["layers lists none for gloss-25k"]),
        ({"layers": {"gloss-25k": [0]}}, ["layers does not name ['gloss-200k']", "list the layers of every model"]),
        ({"layers": {"gloss-9k": [0]}}, ["layers names ['gloss-9k']", "gloss-25k"]),
        ({"layers": "some"}, ["layers", "'all'", "found 'some'"]),
        ({"layers": [-1]}, ["layer -1", "embedding", "set activations.positions to all"]),
        ({"steps": [0, 8, 8]}, ["steps", "step 8 is listed more than once", "list it once"]),
        ({"steps": [0, 8, 1]}, ["steps", "must ascend", "1 follows 8", "sort them"]),
        ({"steps": [1, 8]}, ["steps", "the first step is 1", "step 0 is the control", "add it"]),
        ({"steps": [0, 1000]}, ["step 1000", "n_steps 512", "raise n_steps or remove the step"]),
        ({"steps": [0, -8]}, ["steps.1", "greater than or equal to 0", "found -8"]),
        ({"steps": []}, ["steps", "no step is listed", "write all"]),
        ({"steps": "all"}, ["steps has to list them", "trained here"]),
        ({"admit": ["gloss-9k/step8"]}, ["'gloss-9k/step8' is no checkpoint", "gloss-25k/step1000"]),
        ({"admit": ["gloss-25k/step8", "gloss-25k/step8"]}, ["admitted checkpoint gloss-25k/step8", "list it once"]),
        ({"automation": "sometimes"}, ["automation", "boolean", "found 'sometimes'"]),
        ({"name": "measurements"}, ["name", "a folder that all studies share", "another name"]),
        (
            {
                "family__models": {
                    name: {"d_model": 16, "n_layers": 1, "n_heads": 2, "learning_rate": 0.01} for name in ("a-b", "a.b")
                }
            },
            ["family", "a.b and a-b differ in dots, dashes and capitals alone"],
        ),
        ({"name": "my study"}, ["name", "should match pattern", "found 'my study'"]),
        ({"name": "../escape"}, ["name", "found '../escape'"]),
        ({"name": "quick\n"}, ["name", r"found 'quick\n'"]),
        ({"family__source": "cloud"}, ["family", "'cloud'", "'trained-here', 'hub', 'local'"]),
        ({"family__models": {}}, ["models", "at least 1 item"]),
        ({"family__models__gloss-25k__n_heads": 3}, ["n_heads 3", "d_model 32", "choose a divisor"]),
        ({"family__context": 4}, ["context", "greater than or equal to 8", "found 4"]),
        ({"activations__dtype": "int8"}, ["activations.dtype", "'float16'", "found 'int8'"]),
        (
            {"activations__retention": "archive-after-sae"},
            ["activations.retention", "'keep', 'drop-after-sae' or 'stream'", "found 'archive-after-sae'"],
        ),
        ({"probe_set": {"source": "table", "path": "x", "levels": ["a", "a"]}}, ["levels", "level a", "list it once"]),
        ({"probe_set": {"source": "table", "levels": ["a"]}}, ["path", "is required", "add it"]),
        ({"probe_set": {"source": "table", "path": "x", "levels": ["unit"]}}, ["level unit", "rename the column"]),
        ({"probe_set": {"source": "mmlu", "template": "Answer:"}}, ["template", "{text} exactly once"]),
        ({"probe_set": {"source": "mmlu", "template": "{text} {x}"}}, ["template", "another brace"]),
        ({"probe_set": {"source": "mmlu", "repository": "mmlu"}}, ["repository", "found 'mmlu'"]),
        ({"probe_set": {"source": "mmlu", "file": "../x.parquet"}}, ["file", "found '../x.parquet'"]),
    ],
)
def test_a_mistake_is_answered_with_field_value_and_remedy(changes: dict[str, Any], said: list[str]) -> None:
    what = refusal(declared(**changes))
    position = 0
    for part in said:
        assert part in what[position:], f"{part!r} is not in {what[position:]!r}"
        position = what.index(part, position)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("sae__k", "16"),
        ("sae__k", 16.0),
        ("sae__k", True),
        ("sae__k", None),
        ("steps", ["0", "1"]),
        ("steps", [0, True]),
        ("name", 7),
        ("name", None),
        ("description", ["text"]),
        ("sae__learning_rate", "3e-3"),
        ("activations__training_texts", 5e3),
    ],
)
def test_values_of_another_kind_are_refused_and_not_converted(place: str, value: object) -> None:
    changes: dict[str, Any] = {place: value}
    assert place.replace("__", ".") in refusal(declared(**changes))


@pytest.mark.parametrize("field", ["name", "family", "steps", "probe_set", "activations", "sae"])
def test_a_missing_field_is_named(field: str) -> None:
    values = declared()
    del values[field]
    assert f"{field}: is required; add it" in refusal(values)


@pytest.mark.parametrize("values", [None, [], "quick", 3, {}])
def test_a_file_that_is_no_study_is_refused(values: object) -> None:
    assert "error" in refusal(values)


def test_all_mistakes_are_reported_at_once() -> None:
    what = refusal(declared(sae__k=0, steps=[1], name="X"))
    assert "3 errors" in what
    assert all(f"  - {field}" in what for field in ("sae.k", "steps", "name"))


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((STUDIES_FOLDER / "quick.yaml").read_text().replace("k: 4", "k: 1600"))
    with pytest.raises(EmergenceError, match=r"k 1600 .* n_latents 512") as caught:
        load_study(str(path))
    assert caught.value.where == str(path)


def test_layers_of_a_model_ascend_and_may_differ_per_model() -> None:
    study = parse_study(declared(layers={"gloss-200k": [3, 0], "gloss-25k": [1]}))
    assert (study.layers_of("gloss-25k"), study.layers_of("gloss-200k")) == ([1], [0, 3])


def test_the_embedding_is_a_layer_when_all_positions_are_kept() -> None:
    study = parse_study(declared(layers=[0, -1], activations__positions="all"))
    assert study.layers_of("gloss-25k") == [-1, 0]


def test_a_study_does_not_change() -> None:
    study = load_study("quick")
    with pytest.raises(ValidationError):
        study.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


HUGE = 10**5000
"""More digits than Python writes."""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"steps": [0, HUGE]}, ["steps.1", f"equal to {MOST}", "a number of 16610 bits"], id="huge-step"),
        pytest.param({"steps": [0, 2**31]}, ["steps.1", f"equal to {MOST}", "found 2147483648"], id="step"),
        pytest.param({"steps": list(range(10_000_000))}, ["steps", f"{MAX_ITEMS} items"], id="steps"),
        pytest.param({"steps": [0, *[-1] * 9_000]}, ["9000 errors", "steps.1", "and 8980 more"], id="wrong-steps"),
        pytest.param({"layers": [0] * 10_000_000}, ["layers", f"{MAX_ITEMS} items"], id="layers"),
        pytest.param({"layers": {"gloss-25k": [0] * 100_000}}, ["layers", f"{MAX_ITEMS} items"], id="layers-of-model"),
        pytest.param({"admit": ["gloss-25k/step8"] * 100_000}, ["admit", f"{MAX_ITEMS} items"], id="admit"),
        pytest.param({"admit": ["gloss-25k/step" + "9" * 5000]}, ["is no checkpoint"], id="admitted-step"),
        pytest.param({"sae__seeds": list(range(100_000))}, ["sae.seeds", "1000 items"], id="seeds"),
        pytest.param({"sae__prefixes": [1] * 100_000}, ["sae.prefixes", "100 items"], id="prefixes"),
        pytest.param({"sae__seeds": [HUGE]}, ["sae.seeds.0", f"equal to {MOST_SEED}"], id="seed"),
        pytest.param({"sae__n_latents": HUGE}, ["sae.n_latents", f"equal to {MOST}"], id="latents"),
        pytest.param({"sae__batch_size": 2**30}, ["batch_size 1073741824", f"more than {MOST}"], id="active-latents"),
        pytest.param({"sae__learning_rate": HUGE}, ["sae.learning_rate", "valid number"], id="rate"),
        pytest.param({"statistics__n_bootstrap": HUGE}, ["statistics.n_bootstrap", "equal to 10000"], id="bootstrap"),
        pytest.param(
            {"family__models__gloss-25k__n_layers": 10**12}, ["gloss-25k.n_layers", "equal to 10000"], id="model-layers"
        ),
        pytest.param(
            {"family__models__gloss-25k__d_model": 10**12}, ["gloss-25k.d_model", "equal to 1000000"], id="width"
        ),
        pytest.param({"steps": {"every": 1, "to": 10**12}}, ["steps", "valid list"], id="range"),
        pytest.param({"description": ["a"] * 10**6}, ["description", "valid string"], id="description"),
        pytest.param({"name": "x" * 10**6}, ["name", "found 'xxx"], id="name"),
        pytest.param({"x" * 10**6: 1}, ["xxx", "unknown key"], id="key"),
        pytest.param(
            {"probe_set": {"source": "table", "path": "x", "levels": [str(i) for i in range(10**6)]}},
            ["levels", "100 items"],
            id="levels",
        ),
    ],
)
def test_what_is_too_large_is_refused_at_once_with_field_and_limit(changes: dict[str, Any], said: list[str]) -> None:
    what = refusal(declared(**changes))
    assert all(part in what for part in said), what
    assert len(what) < 5_000


def test_too_many_models_and_too_many_cells_are_refused() -> None:
    shape = {"d_model": 16, "n_layers": 10_000, "n_heads": 2, "learning_rate": 0.01}
    models = {f"m{i}": shape for i in range(200)}
    assert f"are 8000000 cells, more than {MAX_CELLS}" in refusal(declared(family__models=models, steps=[0, 1, 2, 3]))
    models = {f"m{i}": shape for i in range(100_000)}
    assert f"at most {MAX_MODELS} items" in refusal(declared(family__models=models))


@pytest.mark.parametrize("field", ["cache_gb", "settle_seconds"])
def test_an_infinite_number_is_refused(field: str) -> None:
    family = PYTHIA if field == "cache_gb" else FOLDER
    for value in (float("inf"), 1e308):
        assert field in refusal(declared(family=family | {field: value}))


def test_a_study_survives_its_own_plain_values() -> None:
    for name in shipped_studies():
        study = load_study(name)
        assert Study.model_validate(study.model_dump()) == study


PYTHIA = {"source": "hub", "preset": "pythia", "models": ["pythia-14m", "pythia-70m"]}
SHAPES = {"small": {"d_model": 8, "n_layers": 2}}
FOLDER = {"source": "local", "root": "runs", "models": SHAPES, "tokens_per_step": 1000}


def test_a_preset_fills_in_missing_fields() -> None:
    family = parse_study(declared(family=PYTHIA | {"tokens_per_step": 5})).family
    assert isinstance(family, Hub)
    assert list(family.models) == ["pythia-14m", "pythia-70m"]
    assert family.models["pythia-70m"].d_model == 512
    assert family.repository_of("pythia-14m") == "EleutherAI/pythia-14m"
    assert (family.revision, family.tokens_per_step) == ("step{step}", 5)


@pytest.mark.parametrize(
    ("family", "said"),
    [
        (PYTHIA | {"preset": "python"}, ["python", "pythia"]),
        (PYTHIA | {"models": ["pythia-9b"]}, ["preset pythia has no model 'pythia-9b'", "pythia-70m"]),
        (PYTHIA | {"revision": "main"}, ["revision", "{step} exactly once"]),
        (PYTHIA | {"trust_remote_code": ["other"]}, ["trust_remote_code names ['other']"]),
        (PYTHIA | {"cache_gb": 0.0}, ["cache_gb", "greater than 0"]),
        (FOLDER | {"folder": "../{model}/step{step}"}, ["folder", "leaves the root"]),
        (FOLDER | {"folder": "/{model}/step{step}"}, ["folder", "leaves the root"]),
        (FOLDER | {"folder": "{model}"}, ["folder", "{step} exactly once"]),
        (FOLDER | {"marker": "../DONE"}, ["marker", "found '../DONE'"]),
        (FOLDER | {"blocks": "encoder layer"}, ["blocks", "found 'encoder layer'"]),
    ],
)
def test_a_mistake_in_a_published_family_is_answered(family: dict[str, Any], said: list[str]) -> None:
    what = refusal(declared(family=family))
    assert all(part in what for part in said), what


def test_all_steps_may_be_taken_of_a_family_from_outside() -> None:
    study = parse_study(declared(family=FOLDER, steps="all", admit=["small/step7"], automation=True))
    assert study.listed_steps is None
    assert study.allow_failed("small") == [7]


def test_how_checkpoints_come_decides_no_result() -> None:
    plain = parse_study(declared(family=FOLDER, steps="all"))
    other = parse_study(declared(family=FOLDER | {"settle_seconds": 3.0}, steps="all", automation=True))
    assert plain.science() == other.science()
    assert plain.science() != parse_study(declared(family=FOLDER | {"context": 32}, steps="all")).science()
