"""Files of texts are read unchanged in every format; errors name the line and a remedy."""

import csv
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.texts import probe_file
from emergence_assets.texts.probe_file import read_probe_file
from emergence_assets.texts.text_limits import PROBE_FILE
from resources.errors import EmergenceError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30).filter(str.strip)


def write_as(folder: Path, suffix: str, frame: pl.DataFrame) -> Path:
    path = folder / f"mine{suffix}"
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(frame.iter_rows(named=True))]
        path.write_bytes("\n".join(lines).encode())
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",")
            writer.writerows([frame.columns, *frame.iter_rows()])
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@settings(max_examples=25)
@given(st.lists(st.tuples(TEXT, st.one_of(st.none(), TEXT)), min_size=1, max_size=8))
def test_reading_returns_the_written_tokens(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, rows: list[tuple[str, str]]
):
    frame = pl.DataFrame(rows, schema={"text": pl.String, "label": pl.String}, orient="row")
    path = write_as(tmp_path_factory.mktemp("round"), suffix, frame)
    read = read_probe_file(path, ["label", "text"], optional=["label"])
    assert read.select("text", "label").equals(frame)
    assert read["place"][0] == ("row 1" if suffix == ".parquet" else "line 2" if "sv" in suffix else "line 1")


def refused(path: Path, columns: tuple[str, ...] = ("text",)) -> EmergenceError:
    with pytest.raises(EmergenceError) as caught:
        read_probe_file(path, columns)
    assert caught.value.where == str(path)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.csv", b"", "no column text; it has none"),
        ("a.csv", b"question\nx\n", "no column text; it has question"),
        ("a.csv", b"text,text\nx,y\n", "more than one column text"),
        ("a.csv", b"text,label\nx,y\nx,y,z\n", "line 3 has 3 fields, the header has 2"),
        ("a.csv", b'text,label\n"a\nb",y\nx\n', "line 4 has 1 fields"),
        ("a.csv", b'text\nx\n"open\n', "line"),
        ("a.csv", b"text,label\nx,y\n ,y\n,y\n", "column text is empty in line 3, and so in 1 more"),
        ("a.csv", b"text\nx\n\xff\xfe\n", "line 3 is not UTF-8"),
        ("a.csv", b"text\n" + b"x" * 200_000 + b"\n", "line 2"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "line 2 is no JSON"),
        ("a.jsonl", b'{"text": "x"}\n\n["x"]\n', "line 3 is no JSON object"),
        ("a.jsonl", b'{"text": "x"}\n{"Text": "x"}\n', "line 2 has no text; it has Text"),
        ("a.jsonl", b'{"text": "x"}\n{"text": 0.5}\n', "text in line 2 is 0.5"),
        ("a.jsonl", b'{"text": true}\n', "text in line 1 is true"),
        ("a.jsonl", b'{"text": null}\n', "column text is empty in line 1"),
        ("a.jsonl", b'{"text": "a\\u0000b"}\n', "column text holds a NUL in line 1"),
        ("a.jsonl", b'{"text": "' + b"x" * 100_001 + b'"}\n', "more than 100000 characters in line 1"),
        ("a.jsonl", b'{"text": ' + b"[" * 100_000 + b"\n", "line 1 is no JSON"),
        ("a.parquet", b"", "no whole parquet file"),
        ("a.parquet", b"text\nx\n", "no whole parquet file"),
        ("a.txt", b"text\nx\n", "ends in '.txt'"),
        ("mine", b"text\nx\n", "ends in 'nothing'"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_line(tmp_path: Path, name: str, content: bytes, what: str):
    (tmp_path / name).write_bytes(content)
    assert what in refused(tmp_path / name).what


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path):
    assert "no such" in refused(tmp_path / "a.csv").what
    (tmp_path / "b.csv").mkdir()
    assert "no such" in refused(tmp_path / "b.csv").what


def test_a_byte_order_mark_and_other_line_ends_are_no_part_of_the_text(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext,n\r\nx,1\r\n\r\ny,2\r\n")
    read = read_probe_file(tmp_path / "a.csv", ["text", "n"])
    assert read.rows() == [("x", "1", "line 2"), ("y", "2", "line 4")]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_too_much_is_refused(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch):
    path = write_as(tmp_path, suffix, pl.DataFrame({"text": [f"text {i}" for i in range(30)]}))
    monkeypatch.setattr(probe_file, "PROBE_FILE", PROBE_FILE._replace(max_texts=30))
    assert len(read_probe_file(path, ["text"])) == 30
    monkeypatch.setattr(probe_file, "PROBE_FILE", PROBE_FILE._replace(max_texts=29))
    assert "more than 29" in refused(path).what
    monkeypatch.setattr(probe_file, "PROBE_FILE", PROBE_FILE._replace(max_bytes=path.stat().st_size - 1))
    assert "bytes, more than" in refused(path).what


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "bomb.parquet"
    pl.DataFrame({"text": [f"{i}" + "x" * 1000 for i in range(3000)]}).write_parquet(path, compression="zstd")
    monkeypatch.setattr(probe_file, "PROBE_FILE", PROBE_FILE._replace(max_bytes=1_000_000))
    assert path.stat().st_size < 1_000_000
    assert "columns take" in refused(path).what


def test_columns_of_other_types_are_refused(tmp_path: Path):
    path = write_as(tmp_path, ".parquet", pl.DataFrame({"text": [0.5], "n": [[1]], "k": [3]}))
    assert "holds double" in refused(path).what
    assert "holds large_list" in refused(path, ("n",)).what
    assert read_probe_file(path, ["k"])["k"].to_list() == ["3"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_damaged_byte_never_crashes(tmp_path: Path, suffix: str):
    path = write_as(tmp_path, suffix, pl.DataFrame({"text": [f"text {i}" for i in range(20)], "n": range(20)}))
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x81]) + content[position + 1 :])
        try:
            read = read_probe_file(path, ["text", "n"])
        except EmergenceError:
            continue  # any other error, including a panic, would fail the test
        assert read.columns == ["text", "n", "place"]
