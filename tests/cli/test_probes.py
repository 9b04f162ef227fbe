"""`emergence probes` reports the statistical power of the texts before a run."""

import json
from pathlib import Path

import polars as pl
import yaml

from tests.conftest import TINY, run_emergence
from tests.studies.published_study import local_family, write_study


def own_study(folder: Path, **probe_set: object) -> Path:
    rows = [
        (f"{word} number {i} of {word} {i * 7} and {i * 11}", name)
        for name, word in (("law", "statute"), ("food", "bread"))
        for i in range(60)
    ]
    pl.DataFrame(rows, schema=["text", "kind"], orient="row").write_csv(folder / "own.csv")
    declared = yaml.safe_load(TINY.read_text())
    declared["probe_set"] = {"source": "table", "path": str(folder / "own.csv"), "levels": ["kind"], **probe_set}
    (folder / "own.yaml").write_text(yaml.safe_dump(declared))
    return folder / "own.yaml"


def test_user_texts_are_evaluated_and_nothing_is_made(tmp_path: Path) -> None:
    study = own_study(tmp_path)
    finished = run_emergence(tmp_path / "data", "probes", "--json", study=study)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert (report["name"], report["n_texts"], report["read_out_token"]) == ("own", 120, ":")
    assert [row["category"] for row in report["categories"]] == ["food", "law"]
    assert "with 60 different texts per category" in report["sentences"][0]
    assert not (tmp_path / "data").exists()


def test_texts_that_end_in_different_tokens_are_refused(tmp_path: Path) -> None:
    refused = run_emergence(tmp_path, "probes", study=own_study(tmp_path, template="Question: {text}"))
    assert refused.returncode == 1
    assert "different tokens" in refused.stderr
    assert "probe_set.template" in refused.stderr


def test_texts_that_are_all_too_long_are_called_what_they_are(tmp_path: Path) -> None:
    study = own_study(tmp_path)
    study.write_text(study.read_text().replace("context: 32", "context: 8"))
    refused = run_emergence(tmp_path, "probes", study=study)
    assert "None of the 120 probe texts fits into 8 tokens" in refused.stderr


def test_an_unknown_level_lists_the_known_ones(tmp_path: Path) -> None:
    refused = run_emergence(tmp_path, "probes", "--level", "subject", study=own_study(tmp_path))
    assert refused.returncode == 1
    assert "choose from kind" in refused.stderr


def test_the_read_out_token_and_texts_too_long_are_named_for_a_folder(family: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "folder.yaml", local_family(family))
    report = json.loads(run_emergence(tmp_path / "data", "probes", "--json", study=study).stdout)
    assert report["read_out_token"] == "\n"
    n_not_read = int(report["warnings"][0].split()[0])
    assert 0 < n_not_read < report["n_texts"]
    assert "family.context" in report["warnings"][0]
    assert sum(row["n_not_read"] for row in report["categories"] if row["category_level"] == "domain") > 0
    wide = write_study(tmp_path / "wide.yaml", local_family(family, context=512))
    report = json.loads(run_emergence(tmp_path / "data", "probes", "--json", study=wide).stdout)
    assert not any("family.context" in one for one in report["warnings"])
    away = write_study(tmp_path / "away.yaml", local_family(tmp_path / "not mounted"))
    report = json.loads(run_emergence(tmp_path / "data", "probes", "--json", study=away).stdout)
    assert report["read_out_token"] is None


def test_a_narrow_terminal_cuts_nothing(tmp_path: Path) -> None:
    shown = run_emergence(tmp_path, "probes", study=own_study(tmp_path), COLUMNS="40").stdout
    for word in ("category", "law", "food", "60", ".15/.01", "low power"):
        assert word in shown
    assert "…" not in shown
