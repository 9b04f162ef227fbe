"""Tokens become rows, and a damaged or foreign token file is refused."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from emergence_assets.texts.tokenising import tokenise
from emergence_assets.texts.tokens import Positions, Tokens, read_tokens, write_tokens
from resources.errors import EmergenceError
from resources.hdf5.hdf5 import write_attrs
from tests.activations.files.sample_file import SAMPLE

WORDS = ["<|endoftext|>", "a", "b", "c", "end"]


def word_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def texts(**named: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"text_id": list(named), "text": list(named.values())}, schema={"text_id": pl.String, "text": pl.String}
    )


TRAINING = texts(t0="a b end", t1="c end", t2="a a a a a a a end", t3="b")
PROBES = texts(p0="a end", p1="b c a end")


def some_tokens(positions: Positions = "all") -> Tokens:
    return tokenise(word_tokenizer(), TRAINING, PROBES, 6, positions)


def test_texts_become_ids_behind_the_begin_token():
    tokens = some_tokens()
    assert [ids.tolist() for ids in tokens.training_ids] == [[0, 1, 2, 4], [0, 3, 4], [0, 2]]
    assert [ids.tolist() for ids in tokens.probe_ids] == [[0, 1, 4], [0, 2, 3, 1, 4]]


def test_texts_that_do_not_fit_are_dropped_and_named():
    tokens = some_tokens()
    assert tokens.training_text_id == ("t0", "t1", "t3")
    assert tokens.dropped_training == ("t2",)
    assert tokens.dropped_probe == ()


def test_a_text_that_just_fits_is_kept():
    assert tokenise(word_tokenizer(), TRAINING, PROBES, 5, "all").probe_text_id == ("p0", "p1")
    assert tokenise(word_tokenizer(), TRAINING, PROBES, 4, "all").dropped_probe == ("p1",)


def test_all_positions_but_the_first_become_rows():
    rows = some_tokens("all").training_rows
    assert rows.token_id_t.tolist() == [1, 2, 4, 3, 4, 2]
    assert rows.text_index_t.tolist() == [0, 0, 0, 1, 1, 2]
    assert rows.position_t.tolist() == [1, 2, 3, 1, 2, 1]
    assert rows.text_offsets.tolist() == [0, 3, 5, 6]


def test_the_read_out_is_the_last_token():
    rows = some_tokens("read_out").training_rows
    assert rows.token_id_t.tolist() == [4, 4, 2]
    assert rows.position_t.tolist() == [3, 2, 1]
    assert rows.text_offsets.tolist() == [0, 1, 2, 3]


def test_a_tokenizer_with_habits_is_tamed_and_left_as_it_was():
    tokenizer = word_tokenizer()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.post_processor = TemplateProcessing(single="$A end", special_tokens=[("end", 4)])
    tokens = tokenise(tokenizer, TRAINING, PROBES, 6, "all")
    assert tokens.fingerprint == some_tokens().fingerprint
    assert tokenizer.truncation is not None
    assert tokenizer.padding is not None


def test_an_added_end_token_is_the_read_out_of_encoders_alone():
    tokenizer = word_tokenizer()
    special = [("<|endoftext|>", 0), ("c", 3)]
    tokenizer.post_processor = TemplateProcessing(single="<|endoftext|> $A c", special_tokens=special)
    assert tokenise(tokenizer, TRAINING, PROBES, 6, "all").fingerprint == some_tokens().fingerprint
    of_encoder = tokenise(tokenizer, TRAINING, PROBES, 6, "all", is_encoder=True)
    assert [ids.tolist() for ids in of_encoder.probe_ids] == [[0, 1, 4, 3], [0, 2, 3, 1, 4, 3]]


def test_a_tokenizer_file_gives_the_same_tokens(tmp_path):
    word_tokenizer().save(str(tmp_path / "tokenizer.json"))
    assert tokenise(tmp_path / "tokenizer.json", TRAINING, PROBES, 6, "all").fingerprint == some_tokens().fingerprint


@pytest.mark.parametrize(
    ("training", "probes", "message"),
    [
        (TRAINING.rename({"text": "prompt"}), PROBES, "training texts need a text column text "),
        (TRAINING, PROBES.with_columns(text=pl.lit(None, pl.String)), "probe texts need a text column text "),
        (TRAINING, pl.concat([PROBES, PROBES]), "occurs twice"),
        (TRAINING.with_columns(text_id=pl.lit("x\0") + pl.col("text_id")), PROBES, "NUL"),
        (TRAINING, texts(p0="a", p1=" "), "1 of the probe texts have no tokens, such as 'p1'"),
        (TRAINING, texts(p0="a a a a a a a a"), "None of the 1 probe texts fits into 6 tokens"),
        (TRAINING.clear(), PROBES, "None of the 0 training texts"),
    ],
)
def test_unusable_texts_are_refused(training, probes, message):
    with pytest.raises(EmergenceError, match=message):
        tokenise(word_tokenizer(), training, probes, 6, "all")


def test_ids_that_do_not_fit_into_the_token_file_are_refused(tmp_path):
    model = {"type": "WordLevel", "vocab": {"a": 2**31, "<|endoftext|>": 0}, "unk_token": "<|endoftext|>"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    with pytest.raises(EmergenceError, match="larger than 2147483647"):
        tokenise(tmp_path / "tokenizer.json", texts(one="a"), texts(two="a"), 8, "all")


def test_an_unusable_tokenizer_is_refused(tmp_path):
    with pytest.raises(EmergenceError, match="cannot be read"):
        tokenise(tmp_path / "tokenizer.json", TRAINING, PROBES, 6, "all")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EmergenceError, match="cannot be read"):
        tokenise(tmp_path / "tokenizer.json", TRAINING, PROBES, 6, "all")
    with pytest.raises(EmergenceError, match="no token '<s>'"):
        tokenise(word_tokenizer(), TRAINING, PROBES, 6, "all", begin_token="<s>")


@pytest.mark.parametrize(
    "change",
    [
        {"positions": "middle"},
        {"context": 3},
        {"training_text_id": ("t0", "t1")},
        {"training_text_id": ("t0", "t1", "t1")},
        {"probe_ids": ()},
        {"probe_ids": (np.array([0], np.int32), np.array([0, 1], np.int32))},
        {"probe_ids": (np.array([0, 1], np.int64), np.array([0, 1], np.int64))},
    ],
)
def test_tokens_check_themselves(change):
    tokens = some_tokens()
    whole = {name: getattr(tokens, name) for name in ("training_text_id", "training_ids", "probe_text_id", "probe_ids")}
    with pytest.raises(ValueError, match=r"text|positions"):
        Tokens(**({**whole, "positions": "all", "context": 6} | change))


# --- the fingerprint --------------------------------------------------------------------------------------------------


def test_the_fingerprint_sees_everything_that_moves_a_row():
    word = word_tokenizer()
    variants = [
        some_tokens(),
        some_tokens("read_out"),
        tokenise(word, TRAINING, PROBES, 7, "all"),
        tokenise(word, TRAINING.reverse(), PROBES, 6, "all"),
        tokenise(word, TRAINING, PROBES.reverse(), 6, "all"),
        tokenise(word, TRAINING, PROBES.with_columns(text_id="q" + pl.col("text_id")), 6, "all"),
        tokenise(word, TRAINING, texts(p0="a end", p1="b c b end"), 6, "all"),
        tokenise(word, PROBES, TRAINING.filter(pl.col("text_id") != "t3"), 6, "all"),
    ]
    assert len({tokens.fingerprint for tokens in variants}) == len(variants)


# --- the file ---------------------------------------------------------------------------------------------------------

ids_st = st.lists(st.integers(0, 2**31 - 1), min_size=2, max_size=12).map(lambda ids: np.array(ids, np.int32))
name_st = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
names_st = st.lists(name_st, min_size=1, max_size=6, unique=True)


@st.composite
def tokens_st(draw) -> Tokens:
    training, probe = ({name: draw(ids_st) for name in draw(names_st)} for _ in range(2))
    texts = (tuple(training), tuple(training.values()), tuple(probe), tuple(probe.values()))
    return Tokens(*texts, draw(st.sampled_from(["read_out", "all"])), draw(st.integers(12, 99)))


@settings(max_examples=25, deadline=None)
@given(tokens_st())
def test_tokens_come_back_as_written(tmp_path_factory, tokens):
    path = tmp_path_factory.mktemp("tokens") / "tokens.h5"
    write_tokens(path, tokens)
    back = read_tokens(path)
    assert back.fingerprint == tokens.fingerprint
    assert back.training_text_id == tokens.training_text_id
    assert back.probe_text_id == tokens.probe_text_id
    assert (back.positions, back.context, back.n_rows) == (tokens.positions, tokens.context, tokens.n_rows)
    for one, other in zip(
        (*back.training_ids, *back.probe_ids), (*tokens.training_ids, *tokens.probe_ids), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_tokens(tmp_path / "tokens.h5", some_tokens())
    return tmp_path / "tokens.h5"


def column(file: h5py.File, name: str) -> list:
    """Read a dataset with h5py alone."""
    found = file[name]
    assert isinstance(found, h5py.Dataset)
    return found[()].tolist()


def test_the_file_is_as_documented(path):
    with h5py.File(path) as file:
        assert column(file, "training/token_id") == [1, 2, 4, 3, 4, 2]
        assert column(file, "training/text_offsets") == [0, 3, 5, 6]
        assert column(file, "training/text_id") == [b"t0", b"t1", b"t3"]
        assert column(file, "training/ids_offsets") == [0, 4, 7, 9]
        assert column(file, "probe/ids") == [0, 1, 4, 0, 2, 3, 1, 4]
        assert column(file, "probe/read_out_token_id") == [4, 4]
        assert column(file, "probe/read_out_position") == [2, 4]
        assert file.attrs["fingerprint"] == some_tokens().fingerprint.encode()


def test_writing_leaves_one_file_and_the_same_bytes(path):
    before = path.read_bytes()
    write_tokens(path, some_tokens())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_explained_and_left_empty(small_disk):
    many = tuple(np.arange(5000, dtype=np.int32) for _ in range(50))
    names = tuple(map(str, range(50)))
    tokens = Tokens(names, many, names, many, "all", 5000)
    with pytest.raises(EmergenceError, match="No space for a file of 5"):
        write_tokens(small_disk / "tokens.h5", tokens)
    assert list(small_disk.iterdir()) == []


def test_a_flipped_byte_anywhere_is_found_or_harmless(path):
    whole, expected = path.read_bytes(), some_tokens().fingerprint
    with h5py.File(path) as file:
        ids = []
        file.visititems(lambda _, found: ids.append(found.id) if isinstance(found, h5py.Dataset) else None)
        in_data = {place for one in ids for place in range(one.get_offset(), one.get_offset() + one.get_storage_size())}
    others = np.random.default_rng(0).permutation(sorted(set(range(len(whole))) - in_data))[:200]
    for place in [*sorted(in_data), *others]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (int(place) % 8)
        path.write_bytes(damaged)
        try:
            assert read_tokens(path).fingerprint == expected
            assert place not in in_data
        except EmergenceError:
            pass


def test_truncation_is_found(path):
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(EmergenceError, match="truncated"):
        read_tokens(path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("training/ids_offsets", np.array([0, 4, 7, 8], "<i8"), "does not divide"),
        ("training/ids_offsets", np.array([0, 7, 4, 9], "<i8"), "does not divide"),
        ("training/ids_offsets", np.array([-4, 4, 7, 9], "<i8"), "does not divide"),
        ("training/ids_offsets", np.array([0, 4, 7, 9], "<i4"), "int64"),
        ("training/text_id", np.array([b"t0", b"t1"]), "text"),
        ("training/text_id", np.array([b"t0", b"t1", b"\xff"]), "decode"),
        ("training/position", np.array([1, 2, 3, 1, 2, 2], "<i4"), "training/position does not follow"),
        ("training/position", np.ones((6, 1), "<i4"), "2 dimensions"),
        ("probe/read_out_position", np.array([1, 4], "<i4"), "probe/read_out_position does not follow"),
        ("probe/ids", np.array([0, 1, 4, 0, 2, 3, 1, 3], "<i4"), "Fingerprint mismatch"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(path, name, values, message):
    with h5py.File(path, "r+", libver="latest") as file:
        del file[name]
        file[name] = values
    with pytest.raises(EmergenceError, match=message):
        read_tokens(path)


@pytest.mark.parametrize(
    "attrs", [{"positions": "middle"}, {"context": "long"}, {"context": 4}, {"fingerprint": "0" * 64}]
)
def test_attributes_that_contradict_the_file_are_refused(path, attrs):
    with h5py.File(path, "r+") as file:
        write_attrs(file, attrs)
    with pytest.raises(EmergenceError):
        read_tokens(path)


def test_links_and_foreign_files_are_refused(path, tmp_path):
    other = shutil.copy(path, tmp_path / "other.h5")
    with h5py.File(path, "r+", libver="latest") as file:
        del file["probe"]
        file["probe"] = h5py.ExternalLink(str(other), "/probe")
    with pytest.raises(EmergenceError, match="ExternalLink"):
        read_tokens(path)
    with pytest.raises(EmergenceError, match="format is 'emergence-activations'"):
        read_tokens(SAMPLE)
