"""A study is read from Python as its documentation says; what is missing or damaged is named."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import emergence_assets as ea
from tests.conftest import TINY, copied

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
MODEL, STEP, LAYER = "gloss-tiny", 6, 1


@pytest.fixture
def study(finished_study: Path) -> ea.StudyResults:
    return ea.open_study(TINY, data=finished_study)


def test_opening_a_study_imports_no_torch_and_no_dagster(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    program = f"""
        import sys
        import emergence_assets as ea
        ea.open_study({str(TINY)!r}, data={str(tmp_path)!r}).tables()
        print(sorted({{"torch", "dagster", "transformers", "great_expectations"}} & set(sys.modules)))
    """
    code = "\n".join(line.strip() for line in program.splitlines())
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there_and_no_other() -> None:
    for name in ea.__all__:
        assert getattr(ea, name).__doc__
    with pytest.raises(AttributeError, match="open_studies"):
        _ = ea.open_studies  # pyright: ignore[reportAttributeAccessIssue]


def test_a_study_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(ea.EmergenceError, match="has no results here") as caught:
        ea.open_study("quick", data=tmp_path)
    assert "emergence --study quick run" in caught.value.remedy
    with pytest.raises(ea.EmergenceError, match="There is no study"):
        ea.open_study("no-such-study", data=tmp_path)


@pytest.mark.slow
def test_the_documentation_runs(finished_study: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) > 5
    program = "\n".join(blocks).replace('open_study("default", data="data")', f"open_study({str(TINY)!r}, data='data')")
    assert str(TINY) in program
    (tmp_path / "data").symlink_to(finished_study)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 0, found.stderr


@pytest.mark.slow
def test_tables_are_those_on_the_disk(study: ea.StudyResults, finished_study: Path) -> None:
    listed = study.tables()
    assert listed.filter(pl.col("files") > 0).height > 20
    path = finished_study / "tiny/tables/emergence_over_time" / f"model={MODEL}.parquet"
    assert study.table("emergence_over_time", model=MODEL).equals(pl.read_parquet(path))
    cells = study.table("presence_cells", step=STEP)
    assert cells.select("model", "layer").unique().height == 3
    lazily = study.scan("presence_cells").filter(step=STEP).collect()
    assert lazily.select(cells.columns).sort(cells.columns[:-1]).equals(cells.sort(cells.columns[:-1]))


@pytest.mark.slow
def test_a_table_is_made_as_soon_as_one_file_of_it_is_there(finished_study: Path, tmp_path: Path) -> None:
    copied(finished_study, tmp_path / "data")
    study = ea.open_study(TINY, data=tmp_path / "data")
    every = list((tmp_path / "data/tiny/tables/named_latents").rglob("*.parquet"))
    for path in every[:-1]:
        path.unlink()
    assert study.is_made("named_latents")
    assert study.is_made("claims")
    every[-1].unlink()
    assert not study.is_made("named_latents")
    with pytest.raises(ea.EmergenceError, match="There is no table"):
        study.is_made("nothing")


@pytest.mark.slow
def test_the_level_is_that_of_the_report(study: ea.StudyResults, tmp_path: Path) -> None:
    assert study.level == "subject"
    (tmp_path / "tiny").mkdir()
    with pytest.raises(ea.EmergenceError, match="not made yet"):
        ea.open_study(TINY, data=tmp_path).level  # noqa: B018 - a property that raises


@pytest.mark.slow
def test_activations_and_saes_fit_each_other(study: ea.StudyResults) -> None:
    activations, sae = study.activations(MODEL, STEP, LAYER), study.sae(MODEL, STEP, LAYER)
    rows = activations.rows.float32()
    assert len(rows) == len(activations.token_ids) == len(activations.text_index) == len(activations.positions)
    assert activations.text_index.max() < len(activations.text_ids)
    assert activations.texts["text"].null_count() == 0
    assert activations.texts["text_id"].to_list() == list(activations.probe_text_ids)
    assert len(activations.read_out) == len(activations.read_out_mean) == activations.texts.height
    active = sae.encode(rows)
    assert active.shape == (len(rows), sae.n_latents)
    assert int((active > 0).sum(1).max()) <= 2  # k
    left = ((sae.decode(active).numpy() - rows) ** 2).sum() / ((rows - rows.mean(0)) ** 2).sum()
    assert left == pytest.approx(study.table("sae_metrics", model=MODEL, step=STEP, layer=LAYER)["fvu"][0], rel=0.3)
    other = study.sae(MODEL, STEP, LAYER, seed=study.settings.sae.seeds[-1])
    assert len(study.settings.sae.seeds) == 1 or not np.array_equal(other.W_dec.numpy(), sae.W_dec.numpy())


@pytest.mark.slow
def test_a_result_is_traced(study: ea.StudyResults) -> None:
    trace = study.audit("emergence_over_time", model=MODEL)
    assert (trace.root.asset, trace.root.cell, trace.root.problem) == ("emergence_over_time", MODEL, "")


@pytest.mark.slow
def test_what_is_not_there_is_named(study: ea.StudyResults) -> None:
    for read, message in {
        lambda: study.table("emergence_over_tim"): "There is no table",
        lambda: study.table("checkpoint_registry", layer=1): "There is no column 'layer'",
        lambda: study.table("presence_cells", layer=7): "not made yet for layer 7",
        lambda: study.sae(MODEL, 5, LAYER): "has no step 5",
        lambda: study.sae(MODEL, STEP, 9): "has no layer 9",
        lambda: study.sae("gpt", STEP, LAYER): "There is no model 'gpt'",
        lambda: study.sae(MODEL, STEP, LAYER, seed=77): "There is no SAE seed 77",
        lambda: study.audit("claims/100000"): "nothing with claim_id",
    }.items():
        with pytest.raises(ea.EmergenceError, match=message) as caught:
            read()
        assert caught.value.remedy


@pytest.mark.slow
def test_a_damaged_file_is_an_error_of_the_store(finished_study: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_study / "tiny", tmp_path / "tiny")
    study = ea.open_study(TINY, data=tmp_path)
    path = tmp_path / "tiny/tables/emergence_over_time" / f"model={MODEL}.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ea.EmergenceError, match="not those that were written"):
        study.table("emergence_over_time")
    weights = next((tmp_path / "tiny/saes").rglob("sae_weights.safetensors"))
    for file in (tmp_path / "tiny/saes").rglob("sae_weights.safetensors"):
        file.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ea.EmergenceError):
        study.sae(MODEL, STEP, LAYER)
