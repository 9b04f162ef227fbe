"""The checkpoint timeline: written and read unchanged, refused when invalid."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emergence_assets.plan.timeline import LEFT_OUT, USED, Timeline, TimelineEntry, read_timeline, write_timeline
from resources.errors import EmergenceError

AXIS = Timeline(
    (
        TimelineEntry(0, "ok", identity="a" * 32, weights_bytes=10),
        TimelineEntry(1, "unjudged", identity="b" * 32),
        TimelineEntry(2, "duplicate", "it has the weights of step 8", ("weights_are_unique",), 8, identity="c" * 32),
        TimelineEntry(4, "missing", "model.safetensors is missing"),
        TimelineEntry(8, "admitted", "named in the study", identity="c" * 32, upstream="moved"),
        TimelineEntry(16, "expected"),
    ),
    "rules",
)


def test_only_valid_steps_are_used_and_unvalidated_ones_on_request() -> None:
    assert AXIS.steps() == [0, 8, 16]
    assert AXIS.steps(unvalidated=True) == [0, 1, 8, 16]
    assert [entry.step for entry in AXIS.left_out] == [2]
    assert not set(USED) & set(LEFT_OUT)


def test_an_axis_survives_its_file(tmp_path: Path) -> None:
    write_timeline(tmp_path / "model" / "axis.json", AXIS)
    assert read_timeline(tmp_path / "model" / "axis.json") == AXIS
    assert read_timeline(tmp_path / "other.json") is None


def test_writing_the_same_again_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "axis.json"
    write_timeline(path, AXIS)
    before = path.stat()
    write_timeline(path, AXIS)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "axis.json"
    write_timeline(path, AXIS)
    read_timeline(path)
    write_timeline(path, Timeline(AXIS.entries[:1]))
    assert read_timeline(path) == Timeline(AXIS.entries[:1])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step", -1),
        ("step", "0"),
        ("step", True),
        ("status", "fine"),
        ("reason", None),
        ("failed", "weights"),
        ("failed", [1]),
        ("dup_of_step", "8"),
        ("weights_bytes", 1.5),
        ("unknown", 1),
    ],
)
def test_a_file_with_an_odd_field_is_refused(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "axis.json"
    write_timeline(path, AXIS)
    record = json.loads(path.read_text())
    record["entries"][0][field] = value
    path.write_text(json.dumps(record))
    with pytest.raises(EmergenceError, match=rf"checkpoint timeline.*entries\.0\.{field}") as refused:
        read_timeline(path)
    assert "delete it" in refused.value.remedy


@given(text=st.one_of(st.text(), st.just("[" * 100_000), st.just('{"format": "emergence-time-axis"}')))
def test_whatever_stands_in_the_file_it_is_an_error_with_a_remedy(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("odd") / "axis.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EmergenceError):
        read_timeline(path)


def test_steps_that_do_not_ascend_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "axis.json"
    write_timeline(path, Timeline((AXIS.entries[1], AXIS.entries[0])))
    with pytest.raises(EmergenceError, match="ascend"):
        read_timeline(path)
