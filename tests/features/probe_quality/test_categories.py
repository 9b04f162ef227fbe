"""The quality of a probe set reflects its planted properties."""

import numpy as np
import polars as pl
import pytest

from emergence_assets.features.probe_quality.categories import (
    PROBE_CATEGORY_SCHEMA,
    confusable_pairs,
    probe_categories,
    warnings,
)
from emergence_assets.texts.probe_set import ProbeSet, table_probes


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> ProbeSet:
    rng = np.random.default_rng(0)
    vocabulary = [f"word{i}" for i in range(3000)]

    def texts(n: int, n_words: int = 15) -> list[str]:
        return [" ".join(rng.choice(vocabulary, n_words)) for _ in range(n)]

    shared = texts(12)
    passages = texts(20, 40)
    planted = {
        "plain": texts(100),
        "first": texts(88) + shared,
        "second": texts(88) + shared,
        "template": [f"read this passage and then answer {text}" for text in texts(100)],
        "long": texts(100, 60),
        "copied": [f"{passage} question {i}" for passage in passages for i in range(4)],
        "rare": texts(5),
    }
    rows = [(text, name, "all" if name != "rare" else None) for name, own in planted.items() for text in own]
    path = tmp_path_factory.mktemp("probes") / "planted.csv"
    pl.DataFrame(rows, schema=["text", "category", "kind"], orient="row").write_csv(path)
    return table_probes(path, ["category"], template="Q: {text}\nAnswer:")


@pytest.fixture(scope="module")
def table(probes: ProbeSet) -> pl.DataFrame:
    return probe_categories(probes, n_latents=512, n_checkpoints=13)


def test_planted_faults_are_found_and_nothing_else(table: pl.DataFrame):
    assert table.schema == pl.Schema(PROBE_CATEGORY_SCHEMA)
    used = table.filter(pl.col("reason") == "")
    flags = {flag: set(used.filter(pl.col(flag))["category"]) for flag in ("is_template", "is_long")}
    assert flags == {"is_template": {"template"}, "is_long": {"long"}}
    by_name = {row["category"]: row for row in table.iter_rows(named=True)}
    assert by_name["copied"]["n_texts"] == 80
    assert by_name["copied"]["n_units"] == 20
    assert by_name["copied"]["share_duplicates"] == pytest.approx(0.75)
    assert {name: row["confusable_with"] for name, row in by_name.items() if row["confusable_with"]} == {
        "first": "second (12)",
        "second": "first (12)",
    }
    assert by_name["first"]["n_confusable"] == 12
    assert by_name["rare"]["reason"] == "5 texts; 40 are needed"
    assert by_name["rare"]["n_units"] is None
    assert (used["n_select"] + used["n_score"] == used["n_texts"]).all()
    assert used["median_tokens"].null_count() == used["n_not_read"].null_count() == len(used)


def test_power_is_that_of_units(table: pl.DataFrame):
    by_name = {row["category"]: row for row in table.iter_rows(named=True)}
    assert by_name["copied"]["chance_15_01"] < by_name["plain"]["chance_15_01"]
    assert by_name["copied"]["se_auroc"] > 1.5 * by_name["plain"]["se_auroc"]
    assert by_name["copied"]["is_low_power"]


def test_tokens_that_are_known_are_counted(probes: ProbeSet):
    n_tokens = dict.fromkeys(probes.texts.filter(pl.col("category") != "long")["text_id"], 7)
    table = probe_categories(probes, 512, 13, n_tokens)
    not_read = dict(table.filter(pl.col("reason") == "").select("category", "n_not_read").iter_rows())
    assert not_read["long"] == 100
    assert sum(not_read.values()) == 100
    assert set(table["median_tokens"].drop_nulls()) == {7}
    said = "\n".join(warnings(table))
    assert "more than a tenth of the texts of long are too long" in said


def test_warnings_name_the_planted_confounds(table: pl.DataFrame):
    assert warnings(table) == [
        "category: a wording that its texts share can separate template",
        "category: the length of its texts alone can separate long",
        "category: more than a tenth of the texts of first, second are also in other categories",
        "1 categories are left out: rare",
    ]


def test_pairs_count_units_and_not_texts():
    texts = pl.DataFrame({"unit": ["a", "a", "a", "b", "b", "c"], "category": ["x", "x", "y", "x", "z", None]})
    assert dict(confusable_pairs(texts).iter_rows()) == {"x": "y (1), z (1)", "y": "x (1)", "z": "x (1)"}
