"""Fingerprints, and the provenance record inside a result."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import EmergenceError
from resources.files.provenance import Provenance, Required, canonical_json, difference

TEXT = st.text(max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(TEXT, PLAIN, max_size=4)
REQUIRED = st.builds(Required, TEXT, TEXT, MAPPINGS, st.dictionaries(TEXT, TEXT, max_size=3), TEXT)

REFERENCE = Required("sae", "m/step000008/L01", {"k": 16, "seeds": [0]}, {"activations m/step000008/L01": "ab"}, "c0de")


@given(REQUIRED, MAPPINGS, MAPPINGS, TEXT)
def test_a_record_is_read_as_it_was_written(
    required: Required, summary: dict[str, Any], environment: dict[str, Any], created: str
) -> None:
    record = Provenance(required, summary, environment, created)
    assert Provenance.from_json(record.to_json(), "here") == record
    assert Provenance.from_json(record.to_json(), "here").to_json() == record.to_json()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("asset", "activations"),
        ("cell", "m/step000008/L02"),
        ("recipe", {"k": 17, "seeds": [0]}),
        ("recipe", {"k": 16.0, "seeds": [0]}),
        ("recipe", [["k", 16], ["seeds", [0]]]),
        ("inputs", {}),
        ("inputs", [["activations m/step000008/L01", "ab"]]),
        ("code_version", "c0df"),
        ("fingerprint", "0" * 32),
        ("fingerprint", None),
        ("summary", []),
        ("summary", "text"),
        ("environment", None),
    ],
)
def test_an_altered_record_is_refused(part: str, value: object) -> None:
    record = json.loads(Provenance(REFERENCE, {"fvu": 0.1}).to_json())
    with pytest.raises(EmergenceError) as caught:
        Provenance.from_json(json.dumps(record | {part: value}), "sae/provenance.json")
    assert caught.value.where == "sae/provenance.json"
    assert "delete it" in caught.value.remedy


@pytest.mark.parametrize(
    "part", ["asset", "cell", "recipe", "inputs", "code_version", "fingerprint", "summary", "environment", "created"]
)
def test_a_record_that_lacks_a_part_is_refused(part: str) -> None:
    record = json.loads(Provenance(REFERENCE).to_json())
    del record[part]
    with pytest.raises(EmergenceError, match="cannot be read"):
        Provenance.from_json(json.dumps(record), "here")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"', "[" * 100_000, '{"recipe": NaN}', "\x00"])
def test_a_text_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(EmergenceError, match="cannot be read"):
        Provenance.from_json(text, "here")


@given(st.data())
def test_a_record_cut_short_is_refused(data: st.DataObject) -> None:
    text = Provenance(REFERENCE, {"fvu": 0.1}).to_json()
    with pytest.raises(EmergenceError):
        Provenance.from_json(text[: data.draw(st.integers(0, len(text) - 1))], "here")


def test_not_a_number_is_not_recorded() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Provenance(REFERENCE, {"fvu": float("nan")}).to_json()


@given(MAPPINGS, st.randoms())
def test_the_order_of_keys_does_not_count(recipe: dict[str, Any], random: Any) -> None:
    keys = list(recipe)
    random.shuffle(keys)
    shuffled = {key: recipe[key] for key in keys}
    assert canonical_json(shuffled) == canonical_json(recipe)
    assert Required("a", "c", shuffled, {}, "v").fingerprint == Required("a", "c", recipe, {}, "v").fingerprint


@given(REQUIRED, REQUIRED)
def test_there_is_a_difference_exactly_when_fingerprints_differ(stored: Required, required: Required) -> None:
    assert (difference(stored, required) == "") == (stored.fingerprint == required.fingerprint)
    assert difference(required, required) == ""


@given(MAPPINGS, MAPPINGS)
def test_recipes_differ_exactly_when_fingerprints_do(stored: dict[str, Any], required: dict[str, Any]) -> None:
    left, right = Required("a", "c", stored, {}, "v"), Required("a", "c", required, {}, "v")
    assert (difference(left, right) == "") == (left.fingerprint == right.fingerprint)


@pytest.mark.parametrize(
    ("stored", "required"), [({"k": 1}, {"k": 1.0}), ({"k": 1}, {"k": True}), ({"k": None}, {}), ({}, {"k": None})]
)
def test_values_that_only_python_holds_equal_are_a_difference(stored: dict[str, Any], required: dict[str, Any]) -> None:
    assert "k was" in difference(Required("a", "c", stored, {}, "v"), Required("a", "c", required, {}, "v"))


def test_a_difference_names_the_change() -> None:
    def changed(**parts: Any) -> str:
        return difference(REFERENCE, Required(**(vars(REFERENCE) | parts)))

    assert changed(recipe={"k": 32, "seeds": [0]}) == "k was 16, is 32"
    assert changed(inputs={"activations m/step000008/L01": "cd"}) == "input activations m/step000008/L01 changed"
    assert changed(inputs={"x": "1", "y": "2"}) == "input activations m/step000008/L01 and 2 more changed"
    assert changed(code_version="0000") == "the code changed"
    assert changed(cell="m/step000008/L02") == "it is sae of m/step000008/L01"
    assert "scheme 1, which cannot be compared with scheme 2" in changed(code_version="2-0000")
    both = changed(recipe={"k": 32, "seeds": [1]}, code_version="0000")
    assert both == "k was 16, is 32; seeds was [0], is [1]; the code changed"


def test_a_setting_inside_a_long_section_is_named_by_its_whole_name() -> None:
    section = {f"option_{n}": n for n in range(50)}
    before, after = (Required("sae", "c", {"sae": section | {"k": k, "aux": {"every": k}}}, {}, "v") for k in (4, 8))
    assert difference(before, after) == "sae.aux.every was 4, is 8; sae.k was 4, is 8"


def test_a_list_that_no_message_holds_is_described_by_what_changed_in_it() -> None:
    entries = [{"step": step, "status": "ok", "commit_sha": f"{step:040x}"} for step in range(5)]
    later = [entry | {"status": "duplicate"} if entry["step"] > 2 else entry for entry in entries]

    def changed(before: object, after: object) -> str:
        return difference(
            Required("registry", "m", {"time_axis": before}, {}, "v"),
            Required("registry", "m", {"time_axis": after}, {}, "v"),
        )

    assert changed(entries, later) == "time_axis changed in 2 of its 5 entries"
    assert changed(entries, entries[:1]) == "time_axis had 5 entries, has 1"
    assert changed([], entries) == "time_axis had 0 entries, has 5"
    assert changed("none", entries).startswith("time_axis was 'none', is [{")
