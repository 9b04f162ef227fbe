"""Documents come out of every kind of file in its order; a file that cannot be used is named with line and remedy."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from emergence_assets.texts.corpus import documents as reading
from emergence_assets.texts.corpus.documents import documents
from emergence_assets.texts.corpus.files import corpus_files
from emergence_assets.texts.text_limits import CORPUS_FILE
from resources.errors import EmergenceError
from resources.files.storage import Storage

TEXTS = ["first é", "second\nwith a line", "生物学"]


def read(folder: Path, pattern: str, column: str = "text") -> list[str]:
    files = corpus_files(str(folder / pattern), Storage(folder / "data", "study"))
    return list(documents(files, column))


def refusal(folder: Path, pattern: str, column: str = "text") -> EmergenceError:
    with pytest.raises(EmergenceError) as caught:
        read(folder, pattern, column)
    assert caught.value.remedy
    return caught.value


def json_lines(texts: list[str]) -> bytes:
    return "".join(json.dumps({"text": text, "other": 1}) + "\n" for text in texts).encode()


def packed_zst(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def parquet(texts: list[str]) -> bytes:
    import io

    sink = io.BytesIO()
    pl.DataFrame({"text": texts}).write_parquet(sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", json_lines),
        ("a.ndjson.gz", lambda texts: gzip.compress(json_lines(texts))),
        ("a.JSONL.zst", lambda texts: packed_zst(json_lines(texts))),
        ("a.parquet", parquet),
        ("a.csv", lambda texts: pl.DataFrame({"text": texts}).write_csv().encode()),
        ("a.txt", lambda texts: "\n\n".join(texts).encode()),
    ],
    ids=["json", "gz", "zst", "parquet", "csv", "txt"],
)
def test_every_kind_of_file_gives_its_documents(tmp_path: Path, name: str, write: Callable[[list[str]], bytes]) -> None:
    (tmp_path / name).write_bytes(write(TEXTS))
    assert [text.rstrip("\n") for text in read(tmp_path, name)] == TEXTS


def test_files_are_read_by_name_and_empty_documents_left_out(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(json_lines(["second", " \n"]))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.jsonl").write_bytes(json_lines(["third"]))
    (tmp_path / "a.jsonl").write_bytes(b'{"text": null}\n' + json_lines(["", "first"]))
    assert read(tmp_path, "**/*.jsonl") == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("name", "content", "column", "what"),
    [
        ("a.jsonl", json_lines(["x"]) + b"{broken\n", "text", "line 2 is no JSON"),
        ("a.jsonl", json_lines(["x"]), "content", "line 1 has no content; it has text, other"),
        ("a.jsonl", b'{"text": ["nested"]}\n', "text", "text in line 1 is a list or an object"),
        ("a.jsonl", json_lines(["x"]) + b'{"text": "\xff"}\n', "text", "line 2 is not UTF-8"),
        ("a.jsonl.gz", gzip.compress(json_lines(["x"] * 999))[:-20], "text", "Truncated"),
        ("a.jsonl.zst", b"no archive", "text", "ZSTD"),
        ("a.parquet", parquet(["x"] * 99)[:-30], "text", "no whole parquet file"),
        ("a.parquet", parquet(["x"]), "content", "it has no column content; it has text"),
    ],
    ids=["json", "column", "nested", "utf-8", "cut off", "no archive", "broken shard", "parquet column"],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes, column: str, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    error = refusal(tmp_path, name, column)
    assert what in error.what
    assert error.where == str(tmp_path / name)


@pytest.mark.parametrize(
    ("pattern", "what"),
    [("*.jsonl", "has no files"), ("a.bin", "ends in '.bin'"), ("a.parquet.gz", "ends in '.parquet.gz'"), ("**a", "")],
    ids=["none", "kind", "packed parquet", "no glob"],
)
def test_files_that_are_none_of_a_corpus_are_refused(tmp_path: Path, pattern: str, what: str) -> None:
    for name in ("a.bin", "a.parquet.gz"):
        (tmp_path / name).touch()
    assert what in refusal(tmp_path, pattern).what


def test_a_document_of_ten_megabytes_is_one_and_a_larger_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_bytes(json_lines(["x " * 5_000_000]))
    (tmp_path / "a.txt").write_text("x\n" * 3000)
    assert [len(text) for text in read(tmp_path, "a.jsonl")] == [10_000_000]
    monkeypatch.setattr(reading, "CORPUS_FILE", CORPUS_FILE._replace(max_characters=5000))
    assert "line 1 has more than 5000 characters" in refusal(tmp_path, "a.jsonl").what
    assert "a document has more than 5000 characters" in refusal(tmp_path, "a.txt").what


def test_a_file_is_hashed_once_and_again_when_it_changed(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "data", "study")
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines(TEXTS))
    (first,) = corpus_files(str(path), storage)
    (stored,) = (tmp_path / "data").rglob("*.sha256")
    stored.write_text("0" * 64)  # is believed: the file itself is not read again
    assert corpus_files(str(path), storage)[0].sha256 == "0" * 64
    path.write_bytes(json_lines([*TEXTS, "more"]))
    (second,) = corpus_files(str(path), storage)
    assert len({first.sha256, second.sha256, "0" * 64}) == 3
    with pytest.raises(EmergenceError, match="changed while"):
        list(documents([first], "text"))
