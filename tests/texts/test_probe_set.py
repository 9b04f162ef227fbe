"""Probe sets are stable samples, and no latent is scored on a copy of a text on which it was chosen."""

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.texts import probe_set
from emergence_assets.texts.category_maps import category_map
from emergence_assets.texts.probe_set import ProbeSet, table_probes, wordnet_probes, wordnet_training_texts
from emergence_assets.texts.wordnet import corpus
from emergence_assets.texts.words import words
from resources.errors import EmergenceError


@pytest.fixture(scope="module")
def wordnet() -> ProbeSet:
    return wordnet_probes(texts_per_category=100, seed=0)


def user_table(n_per_category: int = 60) -> pl.DataFrame:
    categories = ["law", "food", "music"]
    return pl.DataFrame(
        {
            "text_id": [f"{c}-{i}" for c in categories for i in range(n_per_category)],
            "text": [f"text {i} about {c}" for c in categories for i in range(n_per_category)],
            "category": [c for c in categories for _ in range(n_per_category)],
        }
    )


NAMED: dict[str, Any] = {"text_id_column": "text_id"}


def write(table: pl.DataFrame, folder: Path) -> Path:
    table.write_parquet(folder / "mine.parquet")
    return folder / "mine.parquet"


def test_more_categories_than_codes_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(user_table().with_columns(kind=pl.col("category").replace("law", "food")), tmp_path)
    monkeypatch.setattr(probe_set, "MAX_CATEGORIES", 3)
    assert table_probes(path, ["kind", "category"], **NAMED).levels == ("kind", "category")
    monkeypatch.setattr(probe_set, "MAX_CATEGORIES", 2)
    with pytest.raises(EmergenceError, match="level category has 3 categories, more than 2") as caught:
        table_probes(path, ["kind", "category"], **NAMED)
    assert "min_texts_per_category" in caught.value.remedy


def test_wordnet_has_three_levels_of_enough_texts(wordnet: ProbeSet):
    assert wordnet.levels == ("subject", "area", "domain")
    assert wordnet.texts.columns == ["text_id", "text", "split", "unit", "subject", "area", "domain"]
    assert [wordnet.texts[level].drop_nulls().n_unique() for level in wordnet.levels] == [50, 19, 9]
    assert wordnet.texts["subject"].null_count() == 0
    for level in wordnet.levels:
        n_texts = wordnet.texts[level].drop_nulls().value_counts()["count"]
        assert n_texts.min() >= 40  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
        assert level != "subject" or n_texts.max() == 100


def test_wordnet_texts_are_heldout_synsets_in_the_probe_form(wordnet: ProbeSet):
    heldout = corpus.synsets_of("heldout").join(wordnet.texts, left_on="synset_id", right_on="text_id")
    assert len(heldout) == len(wordnet.texts)
    for lemmas, definition, text in heldout.select("lemmas", "definition", "text").iter_rows():
        assert text == corpus.synset_text(lemmas, definition)
    assert heldout.filter(pl.col("subject") != pl.col("subject_right")).is_empty()


def test_both_halves_are_equally_large_in_every_subject(wordnet: ProbeSet):
    is_select = wordnet.texts["split"] == "select"
    assert set(wordnet.texts["split"]) == {"select", "score"}
    # The hash that splits documents would leave 56 % on one side: held-out documents have a small first hash.
    assert 0.475 < is_select.sum() / len(is_select) < 0.525
    share = wordnet.texts.group_by("subject").agg((pl.col("split") == "select").mean())["split"]
    assert share.is_between(0.25, 0.75).all()


def test_the_texts_of_a_document_are_a_unit_on_one_side(wordnet: ProbeSet):
    document = corpus.document_of_synset("heldout")
    texts = wordnet.texts.with_columns(document=pl.col("text_id").replace_strict(document))
    assert texts["document"].n_unique() > 1000
    per_document = texts.group_by("document").agg(pl.col("split", "unit").n_unique())
    assert per_document["split"].max() == per_document["unit"].max() == 1
    # Few documents share a unit, through copies.
    assert texts["unit"].n_unique() > 0.95 * texts["document"].n_unique()


def test_documents_of_a_users_table_are_units(tmp_path: Path):
    number = pl.int_range(pl.len())
    table = user_table().with_columns(
        source=pl.when(number % 60 < 40).then(pl.format("book {}", number // 4)).otherwise(pl.lit(" "))
    )
    probes = table_probes(write(table, tmp_path), ["category"], document_column="source", **NAMED)
    joined = probes.texts.join(table.select("text_id", "source"), on="text_id")
    named, unnamed = (joined.filter((pl.col("source") != " ") == has_name) for has_name in (True, False))
    per_source = named.group_by("source").agg(pl.col("unit", "split").n_unique())
    assert len(per_source) == named["unit"].n_unique() == 30
    assert per_source["unit"].max() == per_source["split"].max() == 1
    assert unnamed["unit"].n_unique() == len(unnamed) == 60


def test_same_seed_gives_the_same_sample_and_another_seed_another(wordnet: ProbeSet):
    assert wordnet_probes(100, seed=0).texts.equals(wordnet.texts)
    other = set(wordnet_probes(100, seed=1).texts["text_id"])
    shared = len(other & set(wordnet.texts["text_id"])) / len(other)
    assert 0.4 < shared < 0.95  # small subjects are complete


def test_larger_sample_holds_the_smaller_with_the_same_halves(wordnet: ProbeSet):
    larger = wordnet_probes(150, seed=0).texts
    shared = wordnet.texts.join(larger, on="text_id", suffix="_larger")
    assert len(shared) == len(wordnet.texts)
    moved = shared.filter(pl.col("split") != pl.col("split_larger"))
    assert (moved["unit"] != moved["unit_larger"]).all()  # a copy with an earlier name has joined it
    assert len(moved) < 0.01 * len(shared)


def test_wordnet_refuses_more_texts_than_there_are():
    with pytest.raises(EmergenceError, match="fewer than two categories"):
        wordnet_probes(100, seed=0, min_texts_per_category=5000)


def test_training_texts_are_nouns_that_are_not_probed(wordnet: ProbeSet):
    texts = wordnet_training_texts(5000, seed=0)
    assert texts.columns == ["text_id", "text"]
    assert len(texts) == texts["text_id"].n_unique() == 5000
    assert texts["text_id"].str.starts_with("n").all()
    assert not set(texts["text_id"]) & set(corpus.synsets_of("heldout")["synset_id"])
    assert texts["text"].str.ends_with(".\n").all()
    assert texts.equals(wordnet_training_texts(5000, seed=0))
    assert set(texts["text_id"]) != set(wordnet_training_texts(5000, seed=1)["text_id"])
    with pytest.raises(EmergenceError, match="nouns"):
        wordnet_training_texts(100_000, seed=0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(alphabet="aA bB.\t\n", min_size=1, max_size=4), min_size=1, max_size=30))
def test_texts_that_read_the_same_share_a_half_and_a_unit(texts: list[str]):
    texts = [text for text in texts if text.strip()]
    copies = pl.DataFrame({"text": texts, "category": "law"}, schema_overrides={"text": pl.String})
    copies = copies.with_row_index("i").select(pl.format("copy{}", "i").alias("text_id"), "text", "category")
    with tempfile.TemporaryDirectory() as folder:
        probes = table_probes(write(pl.concat([user_table(), copies]), Path(folder)), ["category"], **NAMED)
    placed = {row[0]: row[1:] for row in probes.texts.select("text_id", "split", "unit").iter_rows()}
    seen: dict[str, tuple[str, str]] = {}
    for text_id, text in copies.select("text_id", "text").iter_rows():
        folded = " ".join(words(text)) or text
        assert seen.setdefault(folded, placed[text_id]) == placed[text_id]
    assert len({unit for _, unit in placed.values()}) == 180 + len(seen)


def test_half_of_a_text_does_not_depend_on_other_texts(tmp_path: Path):
    table = user_table()
    some = pl.concat([table.filter(pl.col("category") == c).head(45) for c in ("law", "food")])
    halves, fewer = (
        dict(table_probes(write(one, tmp_path), ["category"], **NAMED).texts.select("text_id", "split").iter_rows())
        for one in (table, some)
    )
    assert all(halves[text_id] == half for text_id, half in fewer.items())


def test_copies_with_a_changed_word_stay_on_one_side(tmp_path: Path):
    """A split by the hash of each text would separate a pair with probability 1 - 2^-30."""
    passages = [" ".join(f"w{i}x{j}" for j in range(40)) for i in range(30)]
    rows = [
        (f"{i}-{end}", f"{text} {end}", "law") for i, text in enumerate(passages) for end in ("who wrote", "when was")
    ]
    copies = pl.DataFrame(rows, schema=["text_id", "text", "category"], orient="row")
    probes = table_probes(write(pl.concat([user_table(), copies]), tmp_path), ["category"], **NAMED)
    pairs = probes.texts.filter(pl.col("text_id").str.contains("who|when")).with_columns(
        pl.col("text_id").str.split("-").list.first().alias("passage")
    )
    found = pairs.group_by("passage").agg(pl.col("split").n_unique(), pl.col("unit").n_unique())
    assert len(found) == 30
    assert (found["split"] == 1).all()
    assert (found["unit"] == 1).all()
    assert pairs["split"].n_unique() == 2


def test_users_table_becomes_a_probe_set(tmp_path: Path):
    probes = table_probes(write(user_table(), tmp_path), ["category"], template="Q: {text}\nAnswer:", **NAMED)
    assert (probes.name, probes.levels) == ("mine", ("category",))
    assert probes.texts.columns == ["text_id", "text", "split", "unit", "category"]
    assert len(probes.texts) == 180
    assert probes.texts["text"].str.ends_with("\nAnswer:").all()
    assert probes.texts["text"].str.starts_with("Q: text ").all()
    assert set(probes.stems) == set(user_table()["text"])
    assert probes.texts["text_id"].is_sorted()


def test_texts_without_ids_are_named_by_their_hash(tmp_path: Path):
    table = user_table().drop("text_id")
    probes = table_probes(write(table, tmp_path), ["category"])
    assert probes.texts["text_id"].n_unique() == 180
    assert probes.texts["text_id"].str.contains("^[0-9a-f]{32}$").all()
    # Repeated rows count once; the same text with another label is another row of the same unit.
    other = table.head(3).with_columns(category=pl.lit("music"))
    again = table_probes(write(pl.concat([table, table, other]), tmp_path), ["category"])
    assert len(again.texts) == 183
    assert set(probes.texts["text_id"]) <= set(again.texts["text_id"])
    twice = again.texts.filter(pl.col("text").is_in(table["text"].head(3).to_list()))
    assert (
        sorted(twice.group_by("text").agg(pl.col("category").sort()).get_column("category").to_list())
        == [["law", "music"]] * 3
    )
    assert twice["unit"].n_unique() == 3
    backwards = table_probes(write(pl.concat([other, table]).reverse(), tmp_path), ["category"])
    assert backwards.texts.equals(again.texts)


def test_training_texts_end_like_the_probes():
    plain = wordnet_training_texts(50, seed=0)["text"]
    prompted = wordnet_training_texts(50, seed=0, template="Q: {text}\nAnswer:")["text"]
    assert prompted.to_list() == [f"Q: {text.removesuffix(chr(10))}\nAnswer:" for text in plain]


def test_small_categories_lose_their_label_and_unlabelled_texts_go(tmp_path: Path):
    few = pl.DataFrame({"text_id": ["x", "y"], "text": ["t", "u"], "category": ["rare", None]})
    probes = table_probes(write(pl.concat([user_table(), few]), tmp_path), ["category"], **NAMED)
    assert set(probes.texts["category"]) == {"law", "food", "music"}
    assert len(probes.texts) == 180
    assert probes.left_out.rows() == [("category", "rare", 1, "1 texts; 40 are needed")]
    with_level = pl.concat([user_table(), few]).with_columns(kind=pl.lit("all"))
    probes = table_probes(write(with_level, tmp_path), ["category", "kind"], **NAMED)
    assert probes.texts.filter(pl.col("category").is_null())["text_id"].to_list() == ["x", "y"]


def test_category_without_texts_in_both_halves_is_removed(tmp_path: Path):
    same = pl.DataFrame({"text_id": [f"s{i}" for i in range(50)], "text": "the same", "category": "repeated"})
    probes = table_probes(write(pl.concat([user_table(), same]), tmp_path), ["category"], **NAMED)
    assert "repeated" not in set(probes.texts["category"])
    (reason,) = probes.left_out.filter(pl.col("category") == "repeated")["reason"]
    assert "copies" in reason


def test_numbers_and_categoricals_are_labels_too(tmp_path: Path):
    table = user_table().with_row_index("number")
    table = table.select(
        text_id="number", question="text", kind=pl.col("category").cast(pl.Categorical), group=pl.col("number") % 2
    )
    probes = table_probes(write(table, tmp_path), ["kind", "group"], text_column="question")
    assert [set(probes.texts[level]) for level in probes.levels] == [{"law", "food", "music"}, {"0", "1"}]


def test_category_map_follow_from_the_first(tmp_path: Path):
    maps = category_map("mmlu")
    assert {len(of_subject) for of_subject in maps.values()} == {57}
    assert [len(set(maps[level].values())) for level in ("area", "domain")] == [17, 4]
    names = {"law": "professional_law", "food": "nutrition", "music": "virology"}
    table = user_table().with_columns(pl.col("category").replace(names).alias("subject"))
    probes = table_probes(write(table, tmp_path), ["subject"], coarser=maps)
    assert probes.levels == ("subject", "area", "domain")
    found = set(probes.texts.select(probes.levels).iter_rows())
    assert found == {
        ("professional_law", "law", "humanities"),
        ("nutrition", "health", "other"),
        ("virology", "health", "other"),
    }
    with pytest.raises(EmergenceError, match="area has no entry for the category 'law' in row 1"):
        table_probes(write(user_table(), tmp_path), ["category"], coarser=maps)
    with pytest.raises(EmergenceError, match="no category map"):
        category_map("mine")


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (user_table().drop("text_id"), "no column text_id"),
        (user_table().drop("text"), "no column text"),
        (user_table().drop("category"), "no column category"),
        (user_table().with_columns(text_id=pl.lit("same")), "of row 1 is repeated"),
        (user_table().with_columns(text_id=pl.lit(None, dtype=pl.String)), "text_id"),
        (user_table().with_columns(pl.col("text_id") + "\0"), "NUL"),
        (user_table().with_columns(category=pl.lit("one")), "fewer than two categories"),
        (user_table().with_columns(category=pl.lit(None, dtype=pl.String)), "fewer than two categories"),
        (user_table(5), "fewer than two categories"),
        (user_table().clear(), "fewer than two categories"),
    ],
)
def test_broken_table_is_refused_with_a_way_out(tmp_path: Path, broken: pl.DataFrame, what: str):
    with pytest.raises(EmergenceError, match=what) as caught:
        table_probes(write(broken, tmp_path), ["category"], **NAMED)
    assert caught.value.remedy


@pytest.mark.parametrize("levels", [[], ["text"], ["split"], ["unit"], ["text_id"], ["category", "category"]], ids=str)
def test_impossible_levels_are_refused(tmp_path: Path, levels: list[str]):
    with pytest.raises(EmergenceError, match="levels"):
        table_probes(write(user_table(), tmp_path), levels)
