"""The shipped WordNet files, and the documents, texts and token ids made from them."""

import hashlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer

from emergence_assets.texts.wordnet import corpus
from resources.errors import EmergenceError

BUILD_SCRIPT = Path(__file__).parents[3] / "scripts" / "build_wordnet.py"
DATA_FILES = Path(os.environ.get("WORDNET_DATA_FILES", "/usr/share/wordnet"))


def _texts(split: corpus.Split) -> list[str]:
    return [text for text, _ in corpus.documents(corpus.read_synsets(), split)]


@pytest.fixture(scope="module")
def build():
    specification = importlib.util.spec_from_file_location("build_wordnet", BUILD_SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_shipped_table_is_all_of_wordnet_3_0_and_small():
    synsets = corpus.read_synsets()
    assert synsets.schema == corpus.SCHEMA
    assert len(synsets) == synsets["synset_id"].n_unique() == 117_659
    assert synsets["subject"].is_not_null().sum() == 28_364
    assert synsets["subject"].drop_nulls().n_unique() == 51
    assert synsets["domain"].drop_nulls().n_unique() == 9
    assert synsets["lexname"].n_unique() == 45
    assert corpus.SYNSETS_PATH.stat().st_size < 3.8e6


def test_shipped_texts_are_clean():
    synsets = corpus.read_synsets()
    assert synsets.select("synset_id", "lexname", "lemmas", "definition").null_count().sum_horizontal().item() == 0
    assert synsets["lemmas"].list.len().is_between(1, 3).all()
    for column in ("definition", "example"):
        texts = synsets[column].drop_nulls()
        assert not texts.str.contains(r"\n|  ").any()
        assert (texts.str.len_chars() > 1).all()
    assert not synsets["lemmas"].explode().str.contains("_").any()


def test_a_well_known_synset_is_where_it_belongs():
    dog = corpus.read_synsets().row(by_predicate=pl.col("synset_id") == "n02084071", named=True)
    assert dog["lemmas"] == ["dog", "domestic dog", "Canis familiaris"]
    assert (dog["lexname"], dog["subject"], dog["domain"]) == ("noun.animal", "mammal", "living")
    assert dog["definition"].startswith("a member of the genus Canis")


def test_licence_is_shipped_with_the_data():
    licence = (corpus.SYNSETS_PATH.parent / "LICENSE").read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence
    assert "Permission to use, copy, modify and distribute" in licence
    assert "Notice of changes" in licence


def test_documents_hold_every_synset_once_and_half_of_them_are_for_training():
    synsets = corpus.read_synsets()
    training, heldout = corpus.synsets_of("training"), corpus.synsets_of("heldout")
    assert set(training["synset_id"]) | set(heldout["synset_id"]) == set(synsets["synset_id"])
    assert len(training) + len(heldout) == len(synsets)
    assert 0.49 < len(training) / len(synsets) < 0.51
    n_documents = len(_texts("training")) + len(_texts("heldout"))
    assert 0.49 < len(_texts("training")) / n_documents < 0.51


def test_a_document_is_eight_lines_of_one_lexicographer_file():
    lexname = dict(corpus.read_synsets().select("synset_id", "lexname").iter_rows())
    documents = corpus.documents(corpus.read_synsets(), "heldout")
    assert max(len(synset_ids) for _, synset_ids in documents) == corpus.SYNSETS_PER_DOCUMENT
    for text, synset_ids in documents:
        assert text.count("\n") == len(synset_ids)
        assert text.endswith(".\n")
        assert len({lexname[synset_id] for synset_id in synset_ids}) == 1


def test_side_of_a_document_does_not_depend_on_other_documents():
    synsets = corpus.read_synsets()
    animals = synsets.filter(pl.col("lexname") == "noun.animal")
    assert set(corpus.documents(animals, "heldout")[0][1]) <= set(corpus.synsets_of("heldout")["synset_id"])
    animal_ids = set(animals["synset_id"])
    alone = [ids for _, ids in corpus.documents(animals, "training")]
    among_all = [ids for _, ids in corpus.documents(synsets, "training") if ids[0] in animal_ids]
    assert alone == among_all


def test_probe_form_has_two_lemmas_and_ends_with_a_token_that_all_share():
    text = corpus.synset_text(["dog", "domestic dog", "Canis familiaris"], "an animal (that barks)")
    assert text == "dog, domestic dog: an animal (that barks).\n"
    tokenizer = Tokenizer.from_file(str(corpus.TOKENIZER_PATH))
    line_break = tokenizer.encode("\n").ids
    assert len(line_break) == 1
    synsets = corpus.synsets_of("heldout").sample(300, seed=0)
    for lemmas, definition in synsets.select("lemmas", "definition").iter_rows():
        assert tokenizer.encode(corpus.synset_text(lemmas, definition)).ids[-1] == line_break[0]


def test_tokenizer_has_2048_tokens_and_gives_any_text_back():
    tokenizer = Tokenizer.from_file(str(corpus.TOKENIZER_PATH))
    assert tokenizer.get_vocab_size() == 2048
    assert [tokenizer.token_to_id(token) for token in (corpus.END_OF_TEXT, corpus.PADDING)] == [0, 1]
    for text in ("golden retriever: a dog.\n", " Ünïcode 漢字 \t\n", _texts("heldout")[7]):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_token_ids_hold_the_documents_in_another_order():
    token_ids = corpus.corpus_token_ids("heldout")
    assert token_ids.dtype == np.uint16
    assert not token_ids.flags.writeable
    assert token_ids[0] == 0
    assert np.count_nonzero(token_ids == 0) == len(_texts("heldout"))
    tokenizer = Tokenizer.from_file(str(corpus.TOKENIZER_PATH))
    ends = np.flatnonzero(token_ids == 0)[1:41]
    first_documents = [tokenizer.decode(ids.tolist()) for ids in np.split(token_ids, ends)[:40]]
    assert set(first_documents) <= set(_texts("heldout"))
    assert first_documents != _texts("heldout")[:40]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["training", "heldout"])
def test_shipped_token_ids_are_those_of_the_shipped_table_and_tokenizer(build, split):
    tokenizer = Tokenizer.from_file(str(corpus.TOKENIZER_PATH))
    expected = build.encode(tokenizer, corpus.read_synsets(), split)
    np.testing.assert_array_equal(corpus.corpus_token_ids(split), expected)


def test_token_ids_of_another_tokenizer_are_refused(tmp_path, monkeypatch):
    other = tmp_path / "tokenizer.json"
    other.write_bytes(corpus.TOKENIZER_PATH.read_bytes() + b"\n")
    monkeypatch.setattr(corpus, "TOKENIZER_PATH", other)
    with pytest.raises(EmergenceError, match="of another table or tokenizer"):
        corpus.corpus_token_ids.__wrapped__("heldout")


def test_hashes_are_those_of_the_files():
    assert corpus.corpus_sha256() == hashlib.sha256(corpus.SYNSETS_PATH.read_bytes()).hexdigest()
    assert corpus.tokenizer_sha256() == hashlib.sha256(corpus.TOKENIZER_PATH.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("gloss", "definition", "example"),
    [
        ("a small dog", "a small dog", None),
        ('to bark;  "the dog barked"; "it barks" ', "to bark", "the dog barked"),
        ('one; two; "an unclosed example', "one; two", "an unclosed example"),
        ('the "dog" days; "it is hot"- Virgil', 'the "dog" days', "it is hot"),
        ('"a quotation only"', "a quotation only", None),
    ],
)
def test_glosses_come_apart_into_definition_and_first_example(build, gloss, definition, example):
    assert build.split_gloss(gloss) == (definition, example)


def test_a_line_of_a_data_file_is_read(build):
    line = '00014490 00 s 02 galore(ip) 0 a_lot_of 0 001 @ 00014358 a 0000 | in great numbers; "daffodils galore"  '
    assert build.parse_synset(line) == (
        "s00014490", "adj.all", ["galore", "a lot of"], "in great numbers", "daffodils galore", ["a00014358"],
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.skipif(not DATA_FILES.exists(), reason="needs Debian's wordnet-base")
def test_shipped_files_are_what_the_script_builds(build, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["build_wordnet.py", str(DATA_FILES), "--into", str(tmp_path)])
    build.main()
    shipped = (
        corpus.SYNSETS_PATH,
        corpus.TOKENIZER_PATH,
        corpus.TOKEN_IDS_PATH,
        corpus.SYNSETS_PATH.parent / "LICENSE",
    )
    for path in shipped:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
