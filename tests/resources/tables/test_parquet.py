"""Writing and reading a table enforce its declaration; damaged files are refused."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import EmergenceError
from resources.files.provenance import Provenance, Required
from resources.tables import parquet_memory
from resources.tables.parquet import (
    CHECKSUM_KEY,
    PROVENANCE_KEY,
    read_table,
    read_tables,
    table_provenance,
    verify_table,
    write_table,
)
from resources.tables.table import Column, Table

TABLE = Table(
    "presence",
    "one row per category",
    (
        Column("category", pl.String, "what the label names"),
        Column("step", pl.Int32, "training step", "steps", 0),
        Column("p_best", pl.Float64, "AUROC", "1", 0, 1, nullable=True),
        Column("replicates", pl.List(pl.Float32), "bootstrap"),
    ),
    ("category", "step"),
)
RECORD = Provenance(Required("presence", "m", {"k": 16}, {"sae m": "ab"}, "c0de"), {"rows": 50}).to_json()


def frame(n_rows: int = 50) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "category": [f"c{row}" for row in range(n_rows)],
            "step": range(n_rows),
            "p_best": [None if row % 7 == 3 else row / n_rows for row in range(n_rows)],
            "replicates": [[row / 2, 0.5] for row in range(n_rows)],
        },
        schema=TABLE.schema,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A written table."""
    path = tmp_path / "tables" / "presence.parquet"
    write_table(path, frame(), TABLE, RECORD)
    return path


def test_a_table_comes_back_with_its_provenance(path: Path) -> None:
    assert read_table(path, TABLE).equals(frame())
    assert table_provenance(path) == RECORD
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_columns_are_written_in_the_declared_order(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", frame().select(sorted(TABLE.schema)), TABLE, "")
    assert read_table(tmp_path / "t.parquet", TABLE).schema == TABLE.schema


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", frame(0), TABLE, "p")
    assert read_table(tmp_path / "t.parquet", TABLE).schema == TABLE.schema
    assert read_tables([], TABLE).schema == TABLE.schema


def test_the_same_rows_make_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "again.parquet", frame(), TABLE, RECORD)
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "name", ["x[1]/t.parquet", "*/t?.parquet", "model=m/step=000008/layer=001.parquet", "a b/ü.parquet"]
)
def test_a_path_is_no_pattern_and_adds_no_columns(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / name, frame(), TABLE, "p")
    (tmp_path / name).with_name("tx.parquet").write_bytes(b"another file")
    assert read_table(tmp_path / name, TABLE).equals(frame())
    assert table_provenance(tmp_path / name) == "p"


def test_parts_are_read_below_each_other(tmp_path: Path) -> None:
    for part in range(3):
        write_table(tmp_path / f"{part}.parquet", frame().slice(part * 10, 10), TABLE, "")
    assert read_tables([tmp_path / f"{part}.parquet" for part in range(3)], TABLE).equals(frame()[:30])


WRONG: dict[str, tuple[pl.DataFrame, str]] = {
    "a column is missing": (frame().drop("step"), r"lacks \['step'\]"),
    "a column is not declared": (frame().with_columns(extra=1), r"unknown \['extra'\]"),
    "a column is misspelt": (frame().rename({"step": "steps"}), r"lacks \['step'\] and has unknown \['steps'\]"),
    "integers are too wide": (frame().with_columns(pl.col("step").cast(pl.Int64)), "step is Int64, not Int32"),
    "numbers are text": (frame().with_columns(pl.col("p_best").cast(pl.String)), "p_best is String, not Float64"),
    "lists are flat": (frame().with_columns(pl.col("replicates").list.first()), r"replicates is Float32, not List"),
    "a column has no type": (frame().with_columns(category=None), "category is Null, not String"),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_frame_that_is_not_as_declared_is_refused_and_the_old_file_stays(path: Path, how: str) -> None:
    before = path.read_bytes()
    wrong, said = WRONG[how]
    with pytest.raises(EmergenceError, match=said) as caught:
        write_table(path, wrong, TABLE, "p")
    assert caught.value.where == str(path)
    assert path.read_bytes() == before


def test_a_table_is_not_taken_for_another(path: Path) -> None:
    other = Table("scale", "one row per model", (Column("model", pl.String, "name"),), ("model",))
    with pytest.raises(EmergenceError, match=r"table scale lacks \['model'\]"):
        read_table(path, other)


def test_a_foreign_parquet_file_has_no_provenance(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "t.parquet")
    with pytest.raises(EmergenceError, match="it has no checksum"):
        read_table(tmp_path / "t.parquet", TABLE)
    with pytest.raises(EmergenceError, match="it has no provenance") as caught:
        table_provenance(tmp_path / "t.parquet")
    assert caught.value.where == str(tmp_path / "t.parquet")


def test_without_a_file_there_is_no_provenance_and_nothing_to_read(tmp_path: Path) -> None:
    assert table_provenance(tmp_path / "absent.parquet") is None
    with pytest.raises(EmergenceError, match="cannot be used"):
        read_table(tmp_path / "absent.parquet", TABLE)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 4, b"text,of,another\nkind", bytes(1000)])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    for read in (lambda: read_table(path, TABLE), lambda: table_provenance(path)):
        with pytest.raises(EmergenceError, match="cannot be used") as caught:
            read()
        assert "delete it" in caught.value.remedy


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(EmergenceError):
            read_table(path, TABLE)
        with pytest.raises(EmergenceError):
            table_provenance(path)


def test_a_flipped_bit_anywhere_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ (1 << position % 8)]) + content[position + 1 :]
        )
        with pytest.raises(EmergenceError, match="cannot be used"):
            read_table(path, TABLE)
        with pytest.raises(EmergenceError):
            verify_table(path)


def test_a_flipped_bit_anywhere_leaves_the_provenance_or_is_detected(path: Path) -> None:
    written, content = Provenance.from_json(RECORD, path).required, path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ (1 << position % 8)]) + content[position + 1 :]
        )
        try:
            found = Provenance.from_json(str(table_provenance(path)), path)
        except EmergenceError:
            continue
        assert found.required == written


def test_bytes_after_the_end_are_noticed(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")
    for read in (verify_table, table_provenance):
        with pytest.raises(EmergenceError):
            read(path)


@given(st.binary(max_size=64))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    for tail in (b"", PROVENANCE_KEY.encode() + b"\x18", CHECKSUM_KEY.encode() + b"\x18@" + b"0" * 64):
        path.write_bytes(content + tail + content + len(tail + content).to_bytes(4, "little") + b"PAR1")
        with pytest.raises(EmergenceError):
            read_table(path, TABLE)


def test_provenance_may_name_the_keys_and_so_may_the_data(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    text = f"{CHECKSUM_KEY} {PROVENANCE_KEY} é " + "long " * 10_000
    named = frame().with_columns(category=pl.lit(f"{CHECKSUM_KEY}\x18@{PROVENANCE_KEY}\x18\x01"))
    write_table(path, named, TABLE, text)
    assert table_provenance(path) == text
    assert read_table(path, TABLE).equals(named)


def test_other_programs_can_read_a_table(path: Path) -> None:
    assert pl.read_parquet(path).equals(frame())
    assert pl.read_parquet_metadata(path)[PROVENANCE_KEY] == table_provenance(path)


def test_a_table_is_read_only_if_its_values_fit_into_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_bytes = 50 * (16 + 4 + 8) + 2 * 50 * 4  # text, step, number, and two numbers of a list
    monkeypatch.setattr(parquet_memory, "ALWAYS_READ", 0)
    monkeypatch.setattr(parquet_memory, "available_memory", lambda: n_bytes)
    assert len(read_table(path, TABLE)) == 50
    monkeypatch.setattr(parquet_memory, "available_memory", lambda: n_bytes - 1)
    for read in (lambda: read_table(path, TABLE), lambda: verify_table(path)):
        with pytest.raises(EmergenceError, match=f"takes {n_bytes} bytes of memory, and {n_bytes - 1}") as caught:
            read()
        assert caught.value.where == str(path)


def test_millions_of_equal_rows_in_kilobytes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.DataFrame({"category": pl.repeat("c", 10_000_000, eager=True)}).with_columns(
        step=pl.lit(0, pl.Int32), p_best=pl.lit(0.5), replicates=pl.lit(None, pl.List(pl.Float32))
    )
    write_table(tmp_path / "t.parquet", rows, TABLE, RECORD)
    assert (tmp_path / "t.parquet").stat().st_size < 100_000
    monkeypatch.setattr(parquet_memory, "available_memory", lambda: 100 * 2**20)
    with pytest.raises(EmergenceError, match="takes 320000000 bytes of memory"):
        read_table(tmp_path / "t.parquet", TABLE)


def test_a_full_disk_is_explained_and_leaves_nothing(small_disk: Path) -> None:
    path = small_disk / "t.parquet"
    rows = pl.DataFrame({"category": [f"{(row * 7919) ** 3 % 10**17}" for row in range(200_000)]}).with_columns(
        step=pl.lit(0, pl.Int32), p_best=pl.lit(0.5), replicates=pl.lit([0.5], pl.List(pl.Float32))
    )
    with pytest.raises(EmergenceError, match="The disk is full"):
        write_table(path, rows, TABLE, "p")
    assert list(small_disk.iterdir()) == []
