"""Named latents are exported: whole folders, an index, a card; a second export continues."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

import emergence_assets as ea
from emergence_assets.cli.main import main
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import CellState, Plan
from tests.conftest import TINY, run_emergence
from tests.features.planted_latents import PIECES, latent_examples, named_latents, plant

LATENTS = {3: "hound, dog", 30: PIECES[2]}
CELLS = [Cell("gloss-tiny", step, 1) for step in (3, 6)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder in which two cells are made."""
    for name in ("EMERGENCE_SEED", "EMERGENCE_STUDY", "EMERGENCE_DATA"):
        monkeypatch.setenv(name, "")  # the command sets them; this restores them
    monkeypatch.setattr(Plan, "state", lambda *_: CellState("done"))
    named = named_latents(LATENTS, seeds=(0,))
    for cell in CELLS:
        plant(tmp_path / "data", "tiny", cell, named, latent_examples(named))
    return tmp_path / "data"


def export(data: Path, out: Path, *arguments: str, to: str = "sae_dashboard") -> Result:
    selected = arguments or ("--model", "gloss-tiny", "--layer", "1", "--step", "3", "--step", "6")
    typed = ["--study", str(TINY), "--data", str(data), "export", str(out), "--to", to, *selected]
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, typed)


def index_of(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "index.json").read_text())["saes"]


def test_every_sae_has_a_folder_with_a_batch_and_explanations(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = export(data, out)
    assert done.exit_code == 0, done.output
    assert "4 latents of 2 SAEs for sae_dashboard" in done.output
    names = [f"gloss-tiny-step00000{step}-L01-seed0" for step in (3, 6)]
    assert [entry["folder"] for entry in index_of(out)] == names
    assert [(entry["step"], entry["latents"], entry["examples"]) for entry in index_of(out)] == [(3, 2, 3), (6, 2, 3)]
    assert {path.name for path in out.iterdir()} == {*names, "index.json", "README.md"}
    for name in names:
        files = {path.name: path.read_bytes() for path in (out / name).iterdir()}
        assert set(files) == {"batch-0.json", "explanations.jsonl"}
        assert all(content.isascii() for content in files.values())
        batch = json.loads(files["batch-0.json"])
        # The random encoder has the same latents.
        assert [one["feature_index"] for one in batch["features"]] == list(LATENTS)
        assert batch["features"][1]["activations"][0]["tokens"] == list(PIECES[1:])
        lines = files["explanations.jsonl"].decode().splitlines()
        assert [json.loads(line)["description"] for line in lines] == list(LATENTS.values())
    card = (out / "README.md").read_text("utf-8")
    assert "study tiny" in card
    assert "emergence-automatic" in card


def test_a_second_export_keeps_what_is_equal_and_makes_what_is_lost_or_changed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(data, out, "--model", "gloss-tiny", "--layer", "1", "--step", "6").exit_code == 0
    assert export(data, out, "--model", "gloss-tiny", "--layer", "1", "--step", "3").exit_code == 0
    six, three = (out / entry["folder"] for entry in index_of(out))
    before = (six / "batch-0.json").stat().st_mtime_ns
    right = (three / "batch-0.json").read_bytes()
    (three / "batch-0.json").write_bytes(right[:-1] + b" ")
    (three / "explanations.jsonl").unlink()
    assert export(data, out).exit_code == 0
    assert (six / "batch-0.json").stat().st_mtime_ns == before
    assert (three / "batch-0.json").read_bytes() == right
    assert (three / "explanations.jsonl").exists()
    assert len(index_of(out)) == 2


def test_a_folder_of_something_else_is_left_alone(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(data, out).exit_code == 0
    other = export(data, out, to="sparsify")
    assert other.exit_code == 1
    assert "holds an export for sae_dashboard" in other.output
    folder = out / index_of(out)[0]["folder"]
    (folder / "notes.txt").write_text("mine")
    (folder / "batch-0.json").write_text("{}")
    done = export(data, out)
    assert done.exit_code == 1
    assert "There is something else" in done.output
    assert {path.name for path in folder.iterdir()} == {"batch-0.json", "explanations.jsonl", "notes.txt"}


@pytest.mark.parametrize(
    "text",
    [
        '{"layout": "sparsify", "saes": []}',
        '{"layout": "sae_dashboard", "saes": [{"folder": ["a"]}]}',
        '{"layout": "sae_dashboard"}',
        "[" * 100_000,
        "\ud83d",
        "",
    ],
    ids=["another-layout", "no-entry", "no-list", "deep", "no-text", "empty"],
)
def test_another_index_is_refused(data: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "out/index.json"
    path.parent.mkdir()
    path.write_text(text, "utf-8", errors="surrogatepass")
    before = path.read_bytes()
    done = export(data, path.parent)
    assert done.exit_code == 1, done.output
    assert "holds an export for sparsify" in done.output or "another index in the folder" in done.output
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_stopped_export_leaves_whole_folders_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, copy, copied = tmp_path / "out", shutil.copyfile, []

    def stopped(source: Path, target: Path) -> None:
        copied.append(target)
        if len(copied) == 4:  # the second file of the second SAE
            raise KeyboardInterrupt
        copy(source, target)

    with monkeypatch.context() as during:
        during.setattr(shutil, "copyfile", stopped)
        assert export(data, out).exit_code == 130
    (whole,) = out.iterdir()
    assert {path.name for path in whole.iterdir()} == {"batch-0.json", "explanations.jsonl"}
    assert export(data, out).exit_code == 0
    assert len(index_of(out)) == 2


def test_a_number_that_json_lacks_is_named(data: Path, tmp_path: Path) -> None:
    infinite = pl.lit([float("inf")], dtype=pl.List(pl.Float32))
    named = named_latents(LATENTS, seeds=(0,)).with_columns(raised_by=infinite)
    plant(data, "tiny", CELLS[0], named, latent_examples(named))
    done = export(data, tmp_path / "out")
    assert done.exit_code == 1
    assert "not finite" in done.output
    assert "step=000003" in done.output


def test_a_seed_that_the_study_lacks_is_named(data: Path, tmp_path: Path) -> None:
    done = export(data, tmp_path / "out", "--seed", "5")
    assert done.exit_code == 1
    assert "no SAE seed 5" in done.output
    none = export(data, tmp_path / "out", "--step", "7")
    assert none.exit_code == 1
    assert "no checkpoint is selected" in none.output
    assert not (tmp_path / "out").exists()


def test_latents_that_are_not_made_are_named_with_the_command_that_makes_them(tmp_path: Path) -> None:
    done = run_emergence(tmp_path, "export", str(tmp_path / "out"), "--to", "sae_dashboard")
    assert done.returncode == 1
    assert "The examples of latents of gloss-tiny/step000000/L00 are missing" in done.stderr
    assert "emergence run --stage features" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_finished_study_is_exported_with_the_numbers_of_its_tables(finished_study: Path, tmp_path: Path) -> None:
    done = run_emergence(finished_study, "export", str(tmp_path), "--to", "sae_dashboard", "--json")
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)
    assert written == index_of(tmp_path)
    assert len(written) == 12
    study = ea.open_study(TINY, data=finished_study)
    for entry in written:
        where = {name: entry[name] for name in ("model", "step", "layer")}
        of_sae = (pl.col("control_id") == "none") & (pl.col("sae_seed") == entry["seed"])
        named = study.table("named_latents", **where).filter(of_sae)
        examples = study.table("latent_examples", **where).filter(of_sae).sort("latent", "rank")
        features = json.loads((tmp_path / entry["folder"] / "batch-0.json").read_text())["features"]
        assert (entry["latents"], entry["examples"]) == (named.height, examples.height)
        for table, field in (("latent", "feature_index"), ("raised_by", "pos_values"), ("density", "frac_nonzero")):
            assert [one[field] for one in features] == named[table].to_list()
        shown = [example for one in features for example in one["activations"]]
        assert [one["tokens"] for one in shown] == [tokens[1:] for tokens in examples["tokens"].to_list()]
        assert [one["values"] for one in shown] == [values[1:] for values in examples["activations"].to_list()]
        n_texts = len(study.activations(**where).probe_text_ids)
        assert {one["n_prompts_total"] for one in features} == {n_texts}
