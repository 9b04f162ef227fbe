"""A family and a corpus on one hub, with the settings of the study `pythia`, killed while it fetches and trains."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emergence_assets.activations.files.reading import read_spec
from emergence_assets.study.load import load_study
from emergence_assets.texts.wordnet.corpus import documents, read_synsets
from tests.conftest import run_emergence, status_of
from tests.family import step_folder
from tests.hub.server import HubServer
from tests.studies.published_study import hub_family, write_study
from tests.studies.test_retention import tables

pytestmark = [pytest.mark.slow, pytest.mark.long]
MODEL, N_SHARDS, N_TOKENS = "gloss-tiny", 6, 20_000


@pytest.fixture
def hub(family: Path, tmp_path: Path):
    """Checkpoints of a model, and shards of which not all are needed."""
    texts = [text for text, _ in documents(read_synsets(), "training")[:3600]]
    folder = tmp_path / "upstream"
    (folder / "train").mkdir(parents=True)
    for shard in range(N_SHARDS):
        rows = [json.dumps({"text": text}) for text in texts[shard::N_SHARDS]]
        (folder / f"train/{shard:02d}.jsonl.gz").write_bytes(gzip.compress("\n".join(rows).encode(), mtime=0))
    with HubServer() as server:
        server.add_revision("datasets/someone/pile", "main", folder)
        for step in (0, 64):
            server.add_revision(f"project/{MODEL}", f"step{step}", step_folder(family, MODEL, step))
        yield server


def test_a_killed_study_over_a_hub_with_a_corpus_ends_with_the_tables_of_one_that_was_not(
    hub: HubServer, tmp_path: Path
) -> None:
    pythia = load_study("pythia")
    study = write_study(
        tmp_path / "tiny.yaml",
        hub_family(models={MODEL: {"d_model": 16, "n_layers": 2}}),
        corpus=pythia.corpus.model_dump() | {"repository": "someone/pile", "files": "train/*.jsonl.gz"},
        activations=pythia.activations.model_dump(exclude_none=True) | {"training_tokens": N_TOKENS},
        sae={"n_latents": 32, "k": 4, "n_steps": 300, "batch_size": 128, "mixing_rows": 2000, "seeds": [0, 1]},
    )
    whole, killed, environment = tmp_path / "whole", tmp_path / "killed", {"HF_ENDPOINT": hub.endpoint}
    described = run_emergence(whole, "probes", "--json", study=study, **environment)
    assert f"{N_TOKENS} tokens of {N_SHARDS} files on the hub (someone/pile train/*.jsonl.gz" in described.stdout
    done = run_emergence(whole, "run", study=study, **environment)
    assert done.returncode == 0, done.stderr
    fetched = sorted(path.name for path in (whole / "corpora").rglob("*.jsonl.gz"))
    assert 1 < len(fetched) < N_SHARDS, "as many shards as the budget needs"

    command = [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(study), "--data", str(killed), "run"]
    at_moment = {
        "while shards arrive": lambda: any((killed / "corpora").rglob("*.jsonl.gz")),
        "while SAEs train": lambda: any((killed / "tiny/saes").rglob("metrics.json")),
    }
    for moment, is_now in at_moment.items():
        with subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
            env=os.environ | {"EMERGENCE_WORKERS": "1"} | environment,
        ) as process:
            while not is_now():
                assert process.poll() is None, f"it was over before it was killed {moment}"
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)  # the workers too
    finished = run_emergence(killed, "run", study=study, **environment)
    assert finished.returncode == 0, finished.stderr
    assert tables(killed) == tables(whole)
    assert all(entry["done"] == entry["total"] for entry in status_of(killed, study).values())
    files = sorted((killed / "tiny/activations").rglob("layer=*.h5"))
    assert {read_spec(path).storage_state for path in files} == {"evicted"}
    assert not list((killed / "tiny").rglob(".*.tmp"))
    # Without the hub the study goes on from what was fetched.
    hub.unreachable()
    offline = run_emergence(killed, "run", "--json", study=study, HF_HUB_OFFLINE="1", **environment)
    assert offline.returncode == 0, offline.stderr
    assert not any(json.loads(offline.stdout)["made"].values())
    hub.reachable_again()
