"""Small files that unpack to much are refused before the memory is taken, whatever they state about themselves."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emergence_assets.texts import probe_file
from emergence_assets.texts.probe_file import read_probe_file
from emergence_assets.texts.text_limits import PROBE_FILE
from resources.errors import EmergenceError

READ = """
import resource, sys
from pathlib import Path
import polars, pyarrow, pyarrow.compute, pyarrow.parquet
from emergence_assets.texts.probe_file import read_probe_file
from resources.errors import EmergenceError

taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[2]),) * 2)
try:
    read_probe_file(Path(sys.argv[1]), ["text"])
except EmergenceError as error:
    print(error.what)
"""


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")


def what_reading_ends_in(path: Path, memory: int) -> str:
    """Read a file in a process that may take this many bytes of memory."""
    read = subprocess.run([sys.executable, "-c", READ, str(path), str(memory)], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    return read.stdout


def write(path: Path, array: pa.Array, **options: object) -> Path:
    pq.write_table(pa.table({"text": array}), path, compression="zstd", **options)
    return path


def refusal(path: Path, column: str = "text") -> str:
    with pytest.raises(EmergenceError) as caught:
        read_probe_file(path, [column])
    assert caught.value.where == str(path)
    assert caught.value.remedy
    assert len(caught.value.what) < 1000
    return caught.value.what


@on_linux
@pytest.mark.parametrize("keeps_dictionary", [True, False], ids=["dictionary", "string"])
def test_a_million_references_to_one_text_do_not_take_the_memory_of_a_million_texts(
    tmp_path: Path, keeps_dictionary: bool
):
    array = pa.DictionaryArray.from_arrays(pa.array([0] * 900_000, pa.int32()), pa.array(["x" * 100_000]))
    path = write(tmp_path / "bomb.parquet", array, store_schema=keeps_dictionary)
    assert path.stat().st_size < 20_000
    assert pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size < 200_000
    # As strings they take 90 GB.
    assert f"its columns take more than {PROBE_FILE.max_bytes} bytes" in what_reading_ends_in(path, 2 * 2**30)


def test_texts_that_share_their_beginnings_are_refused(tmp_path: Path):
    path = tmp_path / "bomb.parquet"
    pq.write_table(
        pa.table({"text": ["x" * 50_000] * 1000}),
        path,
        use_dictionary=False,
        column_encoding={"text": "DELTA_BYTE_ARRAY"},
    )
    assert path.stat().st_size < 200_000
    assert "column text has an encoding that is not read (number 7" in refusal(path)


def varint(value: int, n_bytes: int) -> bytes:
    """Return the bytes of a number in the footer of a parquet file, padded to a length."""
    value *= 2  # zigzag
    return bytes(value >> 7 * i & 0x7F | (0x80 if i < n_bytes - 1 else 0) for i in range(n_bytes))


def test_a_footer_that_states_less_than_the_pages_hold_does_not_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "bomb.parquet", pa.array([f"{i}" + "x" * 1000 for i in range(3000)]), use_dictionary=False)
    stated = pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size
    n_bytes = (2 * stated).bit_length() // 7 + 1
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[:footer] + content[footer:].replace(varint(stated, n_bytes), varint(7, n_bytes)))
    assert pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size == 7
    assert len(read_probe_file(path, ["text"])) == 3000
    monkeypatch.setattr(probe_file, "PROBE_FILE", PROBE_FILE._replace(max_bytes=1_000_000))
    assert "its columns take" in refusal(path)


def test_one_text_of_gigabytes_is_refused_by_its_row(tmp_path: Path):
    texts = ["a", "x" * (4 * PROBE_FILE.max_characters + 1)]
    assert "column text has more than 100000 characters in row 2" in refusal(
        write(tmp_path / "a.parquet", pa.array(texts))
    )


def test_a_large_page_is_read_in_small_batches(tmp_path: Path):
    texts = [f"{i}" + "x" * 90_000 for i in range(2_000)]
    path = write(tmp_path / "a.parquet", pa.array(texts), use_dictionary=False, data_page_size=2**30)
    assert read_probe_file(path, ["text"])["text"].to_list() == texts


NESTED = {
    "list": pa.array([["a"]]),
    "struct": pa.array([{"a": "b"}]),
    "map": pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string())),
    "binary": pa.array([b"a"]),
    "dictionary-of-numbers": pa.array([0.5]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", NESTED)
def test_a_column_of_another_kind_is_refused_before_it_is_read(tmp_path: Path, kind: str):
    assert "not text" in refusal(write(tmp_path / "a.parquet", NESTED[kind]))


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        pytest.param("a.jsonl", b'{"text": "x", "n": ' + b"9" * 10**6 + b"}", "line 1 is no JSON", id="digits"),
        pytest.param("a.jsonl", b'{"text": ' + b"9" * 5000 + b"}", "line 1 is no JSON", id="text-of-digits"),
        pytest.param("a.jsonl", b'{"text": ' + b"[" * 150 + b"]" * 150 + b"}", "is a list or an object", id="nested"),
        pytest.param("a.jsonl", b'{"text": "x", "n": [' + b"0," * 2**22 + b"0]}", "line 1 has more than", id="long"),
        pytest.param("a.jsonl", b'{"' + b"x" * 10**6 + b'": 1}', "line 1 has no text; it has xxx", id="long-key"),
        pytest.param("a.csv", b"x" * 10**5 + b",b\n1,2", "it has no column text; it has xxx", id="long-name"),
        pytest.param("a.csv", b"text," + b"," * 2**23 + b"\n", "line 1 has more than", id="many-names"),
    ],
)
def test_a_line_that_takes_much_more_memory_than_its_length_is_refused(
    tmp_path: Path, name: str, content: bytes, what: str
):
    (tmp_path / name).write_bytes(content)
    assert what in refusal(tmp_path / name)


@on_linux
def test_lines_are_not_held_all_at_once(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b"\n" * 20_000_000 + json.dumps({"text": ""}).encode())
    # A list of the lines takes 160 MB.
    assert "column text is empty in line 20000001" in what_reading_ends_in(tmp_path / "a.jsonl", 128 * 2**20)
