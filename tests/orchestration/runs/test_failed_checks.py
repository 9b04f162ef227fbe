"""Nothing is built on a cell that failed a blocking check, whatever is typed or clicked, until it is made anew."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from emergence_assets.orchestration.build import build_definitions
from emergence_assets.orchestration.instance.partitions import asset_key, partition_key
from emergence_assets.plan.cell import Cell
from emergence_assets.saes.formats.layouts import LAYOUTS
from emergence_assets.saes.model.sae import SAE
from emergence_assets.study.load import load_study
from resources.files.storage import Storage, instance_home
from tests.conftest import TINY, copied, run_emergence, status_of

CELL = Cell("gloss-tiny", 6, 1)
WHERE = ("--model", "gloss-tiny", "--step", "6")


def silent_sae() -> SAE:
    directions_nd = torch.nn.functional.normalize(
        torch.randn(32, 16, generator=torch.Generator().manual_seed(0)), dim=1
    )
    return SAE(torch.zeros(32, 16), torch.zeros(32), directions_nd, torch.zeros(16), k=2)


def materialise(data: Path, asset: str, cell: Cell) -> dg.ExecuteInProcessResult:
    """Materialise one cell as the UI does, against the instance of the data folder."""
    study = load_study(str(TINY))
    storage = Storage(data, study.name)
    with dg.DagsterInstance.get() as instance:
        definitions = build_definitions(study, storage)
        return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[asset_key(study, cell.model, asset)],
            partition_key=partition_key(cell) if cell.step is not None else None,
            raise_on_error=False,
        )


def tables_of(data: Path) -> dict[str, bytes]:
    root = data / "tiny"
    paths = [*(root / "tables").rglob("*.parquet"), *(root / "report").rglob("*.html")]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.mark.slow
def test_no_command_and_no_click_builds_on_a_failed_cell(
    finished_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = copied(finished_study, tmp_path / "data")
    before = tables_of(data)
    finished = {name: one["done"] for name, one in status_of(data).items()}
    LAYOUTS["sparsify"].write(tmp_path / "layers.1", silent_sae(), {"model_name": "x", "hook_name": "layers.1"})
    assert run_emergence(data, "import", str(tmp_path / "layers.1"), *WHERE).returncode == 0
    for arguments in (["run"], ["run"], ["run", "--stage", "emergence"], ["run", "--again"]):
        done = run_emergence(data, *arguments)
        if "--stage" not in arguments:
            assert done.returncode == 1, done.stdout
            assert f"sae of {CELL}" in done.stderr
            assert "--again" in done.stderr
        assert tables_of(data) == before
        status: dict[str, dict[str, Any]] = status_of(data)
        assert status["sae"]["failed"] == 1
        assert status["claims"]["done"] == status["report"]["done"] == 0
        assert str(CELL) in status["sae"]["reasons"][0]
    audit = json.loads(run_emergence(data, "audit", "--verify", "--json").stdout)
    assert ("failed", "sae", str(CELL)) in {(one["kind"], one["asset"], one["cell"]) for one in audit["findings"]}
    monkeypatch.setenv("DAGSTER_HOME", str(instance_home(data)))
    for asset, cell in (("latent_stats", CELL), ("category_presence", Cell("gloss-tiny")), ("claims", Cell())):
        assert not materialise(data, asset, cell).success
        assert tables_of(data) == before
    assert run_emergence(data, "export", "--to", str(tmp_path / "out"), *WHERE).returncode != 0
    assert run_emergence(data, "import", "--remove", *WHERE).returncode == 0
    done = run_emergence(data, "run")
    assert done.returncode == 0, done.stderr
    assert {name: one["done"] for name, one in status_of(data).items()} == finished
    assert tables_of(data).keys() == before.keys()
