"""Probe sets are samples that hold still, split so that nothing is scored on what it was chosen on."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emergence_assets.activations.category_maps import category_map
from emergence_assets.activations.probes import (
    ProbeSet,
    _split,
    table_probes,
    wordnet_probes,
    wordnet_training_texts,
)
from emergence_assets.errors import EmergenceError
from emergence_assets.wordnet import corpus


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


def write(table: pl.DataFrame, folder: Path) -> Path:
    table.write_parquet(folder / "mine.parquet")
    return folder / "mine.parquet"


def test_wordnet_has_three_levels_of_enough_texts(wordnet: ProbeSet):
    assert wordnet.levels == ("subject", "area", "domain")
    assert wordnet.texts.columns == ["text_id", "text", "split", "subject", "area", "domain"]
    assert [wordnet.texts[level].drop_nulls().n_unique() for level in wordnet.levels] == [49, 19, 9]
    assert wordnet.texts["subject"].null_count() == 0
    for level in wordnet.levels:
        n_texts = wordnet.texts[level].drop_nulls().value_counts()["count"]
        assert n_texts.min() >= 40  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
        assert level != "subject" or n_texts.max() == 100


def test_wordnet_texts_are_heldout_synsets_in_the_probe_form(wordnet: ProbeSet):
    heldout = corpus.heldout_synsets().join(wordnet.texts, left_on="synset_id", right_on="text_id")
    assert len(heldout) == len(wordnet.texts)
    for lemmas, definition, text in heldout.select("lemmas", "definition", "text").iter_rows():
        assert text == corpus.synset_text(lemmas, definition)
    assert heldout.filter(pl.col("subject") != pl.col("subject_right")).is_empty()


def test_both_halves_are_equally_large_in_every_subject(wordnet: ProbeSet):
    is_select = wordnet.texts["split"] == "select"
    assert set(wordnet.texts["split"]) == {"select", "score"}
    # The hash that splits documents would leave 56 % on one side: in every held-out document the first has a small one.
    assert 0.475 < is_select.sum() / len(is_select) < 0.525
    share = wordnet.texts.group_by("subject").agg((pl.col("split") == "select").mean())["split"]
    assert share.is_between(0.25, 0.75).all()


def test_same_seed_gives_the_same_sample_and_another_seed_another(wordnet: ProbeSet):
    assert wordnet_probes(100, seed=0).texts.equals(wordnet.texts)
    other = set(wordnet_probes(100, seed=1).texts["text_id"])
    shared = len(other & set(wordnet.texts["text_id"])) / len(other)
    assert 0.4 < shared < 0.95  # small subjects are taken whole


def test_larger_sample_holds_the_smaller_with_the_same_halves(wordnet: ProbeSet):
    larger = wordnet_probes(150, seed=0).texts
    shared = wordnet.texts.join(larger, on="text_id", suffix="_larger")
    assert len(shared) == len(wordnet.texts)
    assert shared["split"].equals(shared["split_larger"], check_names=False)


def test_wordnet_refuses_more_texts_than_there_are():
    with pytest.raises(EmergenceError, match="fewer than two categories"):
        wordnet_probes(100, seed=0, min_texts_per_category=5000)


def test_training_texts_are_nouns_that_are_not_probed(wordnet: ProbeSet):
    texts = wordnet_training_texts(5000, seed=0)
    assert texts.columns == ["text_id", "text"]
    assert len(texts) == texts["text_id"].n_unique() == 5000
    assert texts["text_id"].str.starts_with("n").all()
    assert not set(texts["text_id"]) & set(corpus.heldout_synsets()["synset_id"])
    assert texts["text"].str.ends_with(".\n").all()
    assert texts.equals(wordnet_training_texts(5000, seed=0))
    assert set(texts["text_id"]) != set(wordnet_training_texts(5000, seed=1)["text_id"])
    with pytest.raises(EmergenceError, match="nouns"):
        wordnet_training_texts(100_000, seed=0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(alphabet="aA bB\t\n", max_size=4), min_size=1, max_size=30))
def test_texts_that_read_the_same_share_a_half(texts: list[str]):
    table = pl.DataFrame({"text_id": [str(i) for i in range(len(texts))], "text": texts})
    half_of: dict[str, str] = {}
    for text, half in zip(texts, _split(table), strict=True):
        assert half_of.setdefault(" ".join(text.lower().split()), half) == half


def test_half_of_a_text_does_not_depend_on_other_texts():
    table = user_table()
    some = table.sample(fraction=0.3, seed=0)
    halves = dict(zip(table["text_id"], _split(table), strict=True))
    assert all(halves[i] == half for i, half in zip(some["text_id"], _split(some), strict=True))


def test_users_table_becomes_a_probe_set(tmp_path: Path):
    probes = table_probes(write(user_table(), tmp_path), ["category"], suffix="\nAnswer:")
    assert (probes.name, probes.levels) == ("mine", ("category",))
    assert probes.texts.columns == ["text_id", "text", "split", "category"]
    assert len(probes.texts) == 180
    assert probes.texts["text"].str.ends_with("\nAnswer:").all()
    assert probes.texts["text_id"].is_sorted()


def test_order_of_a_users_rows_does_not_matter(tmp_path: Path):
    in_order = table_probes(write(user_table(), tmp_path), ["category"])
    shuffled = table_probes(write(user_table().sample(fraction=1, shuffle=True, seed=3), tmp_path), ["category"])
    assert shuffled.texts.equals(in_order.texts)


def test_small_categories_lose_their_label_and_unlabelled_texts_go(tmp_path: Path):
    few = pl.DataFrame({"text_id": ["x", "y"], "text": ["t", "u"], "category": ["rare", None]})
    probes = table_probes(write(pl.concat([user_table(), few]), tmp_path), ["category"])
    assert set(probes.texts["category"]) == {"law", "food", "music"}
    assert len(probes.texts) == 180
    with_level = pl.concat([user_table(), few]).with_columns(kind=pl.lit("all"))
    probes = table_probes(write(with_level, tmp_path), ["category", "kind"])
    assert probes.texts.filter(pl.col("category").is_null())["text_id"].to_list() == ["x", "y"]


def test_category_without_texts_in_both_halves_is_removed(tmp_path: Path):
    same = pl.DataFrame({"text_id": [f"s{i}" for i in range(50)], "text": "the same", "category": "repeated"})
    probes = table_probes(write(pl.concat([user_table(), same]), tmp_path), ["category"])
    assert "repeated" not in set(probes.texts["category"])


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
    with pytest.raises(EmergenceError, match="area has no entry for the category 'food'"):
        table_probes(write(user_table(), tmp_path), ["category"], coarser=maps)
    with pytest.raises(EmergenceError, match="no category map"):
        category_map("mine")


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (user_table().drop("text_id"), "no column text_id"),
        (user_table().drop("text"), "no column text"),
        (user_table().drop("category"), "no column category"),
        (user_table().with_columns(text_id=pl.lit("same")), "text_id"),
        (user_table().with_columns(text_id=pl.lit(None, dtype=pl.String)), "text_id"),
        (user_table().with_columns(pl.col("text_id") + "\0"), "NUL"),
        (user_table().with_columns(text=pl.lit(" \n")), "empty"),
        (user_table().with_columns(text=pl.lit(None, dtype=pl.String)), "empty"),
        (user_table().with_columns(category=pl.lit(0.5)), "Float64"),
        (user_table().with_columns(text=pl.lit([1])), "List"),
        (user_table().with_columns(category=pl.lit("one")), "fewer than two categories"),
        (user_table().with_columns(category=pl.lit(None, dtype=pl.String)), "fewer than two categories"),
        (user_table(5), "fewer than two categories"),
        (user_table().clear(), "fewer than two categories"),
    ],
)
def test_broken_table_is_refused_with_a_way_out(tmp_path: Path, broken: pl.DataFrame, what: str):
    with pytest.raises(EmergenceError, match=what) as caught:
        table_probes(write(broken, tmp_path), ["category"])
    assert caught.value.remedy


@pytest.mark.parametrize("content", [None, b"", b"text_id,text\n1,a\n"])
def test_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes | None):
    path = tmp_path / "mine.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EmergenceError, match="cannot read") as caught:
        table_probes(path, ["category"])
    assert caught.value.where == str(path)


@pytest.mark.parametrize("levels", [[], ["text"], ["split"], ["text_id"], ["category", "category"]], ids=str)
def test_impossible_levels_are_refused(tmp_path: Path, levels: list[str]):
    with pytest.raises(EmergenceError, match="levels"):
        table_probes(write(user_table(), tmp_path), levels)
