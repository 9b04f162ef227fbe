"""A study on two machines, one of which is lost in every stage, has the tables of one machine."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.nodes import ROOT, cluster
from tests.conftest import TINY, run_emergence
from tests.study_tables import tables

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray")]
STAGES = {
    "checkpoints": "checkpoints/**/model.safetensors",
    "activations": "activations/**/layer=*.h5",
    "saes": "saes/**/sae_weights.safetensors",
    "features": "tables/latent_stats/**/*.parquet",
    "emergence": "tables/emergence_over_time/*.parquet",
}
"""A file that shows that a stage has begun."""


def test_a_machine_lost_in_each_stage_changes_no_table(finished_study: Path, tmp_path: Path) -> None:
    with cluster(2) as made:
        command = [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(TINY), "--data", str(tmp_path)]
        environment = made.environment | {"EMERGENCE_COMPUTE": f"ray:{made.address}"}
        log = tmp_path / "log.txt"
        with (
            log.open("w") as output,
            subprocess.Popen([*command, "run"], env=environment, stdout=output, stderr=output, cwd=ROOT) as process,
        ):
            killed = []
            for number, (stage, sign) in enumerate(STAGES.items(), 2):
                deadline = time.monotonic() + 300
                while not any((tmp_path / "tiny").glob(sign)):
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
                made.kill(f"node{number}")
                assert process.poll() is None, log.read_text()
                killed.append(stage)
                made.start(f"node{number + 1}")
            assert process.wait(timeout=600) == 0, log.read_text()
    assert killed == list(STAGES)
    assert tables(tmp_path) == tables(finished_study)
    assert not list((tmp_path / "tiny").rglob(".*.tmp"))
    verified = run_emergence(tmp_path, "audit", "--verify", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["findings"] == []
    different = run_emergence(tmp_path, "audit", "--diff", str(finished_study), str(tmp_path), "--json")
    assert different.returncode == 0, different.stdout
