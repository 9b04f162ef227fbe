"""`emergence audit ADDRESS`: from a number to the weights, for every kind of address."""

import json
import re
import shutil
import sqlite3
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import copied, run_emergence

pytestmark = pytest.mark.slow
ROW = "model=gloss-tiny,layer=1,step=3,category=fish"


def traced(data: Path, *arguments: str) -> dict[str, Any]:
    finished = run_emergence(data, "audit", *arguments, "--json")
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def refusal(data: Path, *arguments: str) -> str:
    finished = run_emergence(data, "audit", *arguments)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    return finished.stderr


def test_a_claim_leads_to_the_sha256_of_the_weights(finished_study: Path) -> None:
    found = traced(finished_study, "claims/1")
    named = {text.split(" ")[0] for text in found["row"]["inputs"]}
    assert set(found["cells"][found["root"]]["inputs"]) == named, "only what the statement rests on"
    (checkpoint,) = [cell for name, cell in found["cells"].items() if name.startswith("checkpoint gloss-")]
    step = checkpoint["summary"]["revision"]
    model = found["row"]["model"]
    weights = finished_study / "tiny/checkpoints" / model / step / "model.safetensors"
    assert checkpoint["recipe"]["weights_sha256"] == sha256(weights.read_bytes()).hexdigest()
    training = found["cells"][f"training_run {model}"]
    assert training["recipe"]["corpus_sha256"]
    assert training["recipe"]["tokenizer_sha256"] == checkpoint["recipe"]["tokenizer_sha256"]
    assert not [cell["problem"] for cell in found["cells"].values() if cell["problem"]]


def test_every_cell_behind_a_number_names_a_run_that_the_instance_has(finished_study: Path) -> None:
    cells = traced(finished_study, "category_presence", "--where", ROW)["cells"].values()
    connection = sqlite3.connect(f"file:{finished_study}/dagster/history/runs.db?mode=ro", uri=True)
    runs = {row[0] for row in connection.execute("SELECT run_id FROM runs")}
    connection.close()
    assert {cell["run"] for cell in cells} <= runs
    assert all(cell["run_page"] == f"/runs/{cell['run']}" and cell["recorded"] for cell in cells)


def test_a_row_is_followed_through_its_own_layer_and_step(finished_study: Path) -> None:
    found = traced(finished_study, "category_presence", ROW)
    assert found["row"]["category"] == "fish"
    assert found["row"]["control_id"] == "none"
    told = set(found["cells"])
    assert "sae gloss-tiny/step000003/L01" in told
    assert not any(name.endswith("L00") for name in told)
    everything = set(traced(finished_study, "category_presence", ROW, "--all")["cells"])
    assert told < everything
    assert len([name for name in everything if name.startswith("sae gloss-tiny/")]) == 8


@pytest.mark.parametrize(
    "arguments",
    [
        ("claims/2",),
        ("category_presence", "--where", ROW),
        ("sae", "model=gloss-tiny", "step=3", "layer=1"),
        ("sae/gloss-tiny/step000003/L01",),
        ("activations", "model=gloss-tinier,step=6"),
        ("training_run", "model=gloss-tiny"),
        ("claims",),
        ("report/presence_over_time",),
        ("latent_stats", "model=gloss-tiny,step=6,layer=1"),
    ],
)
def test_a_lineage_id_leads_to_its_result(finished_study: Path, arguments: tuple[str, ...]) -> None:
    found = traced(finished_study, *arguments)
    again = traced(finished_study, found["lineage_id"])
    assert {name: again[name] for name in ("asset", "cell", "row", "figure")} == {
        name: found[name] for name in ("asset", "cell", "row", "figure")
    }


def test_the_report_prints_names_that_the_audit_takes(finished_study: Path) -> None:
    page = (finished_study / "tiny/report/index.html").read_text()
    figure = re.findall(r'<figure id="presence-over-time">.*?Lineage id <code>([0-9a-f-]+)<', page, re.DOTALL)
    assert traced(finished_study, figure[0])["figure"] == "presence_over_time"
    claim = re.findall(r">claims/(\d+)<.*?>([0-9a-f]{10}-[0-9a-f]{8})<", page, re.DOTALL)[0]
    assert traced(finished_study, claim[1])["row"]["claim_id"] == int(claim[0])


def test_the_tree_is_short_and_links_to_the_ui(finished_study: Path) -> None:
    finished = run_emergence(finished_study, "audit", "category_presence", ROW, "--ui", "http://ui:3100/")
    assert "7 more cells with 7 fingerprints: none has a problem" in finished.stdout
    assert "weights_sha256" in finished.stdout
    assert re.search(r"/runs/[0-9a-f]{8}-", finished.stdout)
    assert len(finished.stdout.splitlines()) < 140


def test_an_unknown_address_is_answered_with_the_known_ones(finished_study: Path) -> None:
    last = pl.read_parquet(finished_study / "tiny/tables/claims.parquet").height
    assert "claims, emergence_hazard, report" in refusal(finished_study, "claimz/3")
    assert f"claim_id '{last + 1}'" in refusal(finished_study, f"claims/{last + 1}")
    assert "gloss-tiny, gloss-tinier" in refusal(finished_study, "sae", "model=gloss-large")
    assert "0, 1, 3, 6" in refusal(finished_study, "sae", "model=gloss-tiny,step=2")
    assert "p_best" in refusal(finished_study, "category_presence", "--where", "model=gloss-tiny,colour=red")
    assert "fish" in refusal(finished_study, "category_presence", "--where", ROW.replace("fish", "fishes"))
    assert "name=value" in refusal(finished_study, "category_presence", "--where", "gloss-tiny")
    assert "given twice" in refusal(finished_study, "sae", "layer=1,layer=0")
    assert "has the lineage id" in refusal(finished_study, "0123456789")
    assert "presence_over_time" in refusal(finished_study, "report/pie_chart")
    assert "--verify" in refusal(finished_study)


def test_an_ambiguous_address_is_answered_with_the_choices(finished_study: Path) -> None:
    assert "layer: 0, 1" in refusal(finished_study, "sae", "model=gloss-tiny,step=3")
    said = refusal(finished_study, "category_presence", "--where", "model=gloss-tiny,category=fish")
    assert "step: 0, 1, 3, 6" in said
    assert "layer: 0, 1" in said
    assert "control_id" not in said, "the measurement is meant"


def test_faults_on_the_path_are_reported_at_their_place(finished_study: Path, tmp_path: Path) -> None:
    data = copied(finished_study, tmp_path / "data")
    cell = "model=gloss-tiny/step=000003/layer=001"
    (data / f"tiny/activations/{cell}.h5").unlink()
    shutil.copyfile(data / "tiny/registry/model=gloss-tiny/step=000001.json", data / "x")
    (data / "x").replace(data / "tiny/registry/model=gloss-tiny/step=000003.json")
    cells = traced(data, "category_presence", "--where", ROW)["cells"]
    assert "missing" in cells["activations gloss-tiny/step000003/L01"]["problem"]
    assert "the file holds checkpoint of gloss-tiny/step000001" in cells["checkpoint gloss-tiny/step000003"]["problem"]
