"""Rows that are evicted, restored, or never reach the disk change no number; nor do kills at any moment."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emergence_assets.activations.files.reading import read_spec, verify_file
from tests.conftest import TINY, copied, run_emergence, status_of
from tests.study_tables import tables

pytestmark = pytest.mark.slow
SEED = 20261125


def study_with(folder: Path, **settings: object) -> Path:
    """Write the tiny study with other settings of `activations` or of `sae`."""
    text = TINY.read_text()
    for name, value in settings.items():
        text = text.replace("{training_texts: 600}", f"{{training_texts: 600, {name}: {value}}}")
    path = folder / "changed.yaml"
    path.write_text(text)
    return path


def activation_files(data: Path) -> list[Path]:
    return sorted((data / "tiny/activations").rglob("layer=*.h5"))


def storage_states(data: Path) -> set[str]:
    return {read_spec(path).storage_state for path in activation_files(data)}


def n_files(data: Path) -> int:
    return sum(1 for path in (data / "tiny").rglob("*") if path.is_file())


@pytest.mark.parametrize("n_kills", [3, pytest.param(10, marks=pytest.mark.long)])
def test_a_study_killed_at_random_moments_ends_with_the_tables_of_one_that_was_not(
    finished_study: Path, tmp_path: Path, n_kills: int
) -> None:
    """Rows are evicted once their SAEs are trained, so that files are also rewritten while the study is killed."""
    study = study_with(tmp_path, retention="drop-after-sae")
    draw = random.Random(SEED)
    command = [sys.executable, "-m", "emergence_assets.cli.main", "--study", str(study), "--data", str(tmp_path), "run"]
    n_files_at_end, moments = n_files(finished_study), []
    for share in sorted(draw.uniform(0, 0.95) for _ in range(n_kills)):  # moments of the whole run, however fast it is
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
        ) as process:
            while n_files(tmp_path) < share * n_files_at_end:
                assert process.poll() is None, "it was over before it was killed"
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 1))
            assert process.poll() is None, "it was over before it was killed"
            os.killpg(process.pid, signal.SIGKILL)  # the workers too
        moments.append(n_files(tmp_path))
    finished = run_emergence(tmp_path, "run", study=study)
    assert finished.returncode == 0, finished.stderr
    print(f"killed with {moments} of {n_files_at_end} files; tables equal byte for byte")
    assert tables(tmp_path) == tables(finished_study)
    assert storage_states(tmp_path) == {"evicted"}
    assert not list((tmp_path / "tiny").rglob(".*.tmp"))
    for path in activation_files(tmp_path):
        verify_file(path)


@pytest.mark.long
def test_streamed_rows_give_the_same_tables_and_never_lie_on_the_disk(finished_study: Path, tmp_path: Path) -> None:
    study = study_with(tmp_path, retention="stream")
    finished = run_emergence(tmp_path, "run", study=study)
    assert finished.returncode == 0, finished.stderr
    assert tables(tmp_path) == tables(finished_study)
    assert storage_states(tmp_path) == {"evicted"}
    again = run_emergence(tmp_path, "run", "--json", study=study)
    assert json.loads(again.stdout)["made"] in ({}, dict.fromkeys(json.loads(again.stdout)["made"], 0))


def test_evicted_rows_are_known_as_evicted_serve_new_saes_and_come_back(finished_study: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    copied(finished_study, data)
    before = {path: path.read_bytes() for path in activation_files(data)}
    evicted = json.loads(run_emergence(data, "storage", "evict", "--json").stdout)
    assert (evicted["changed"], evicted["spared"]) == (12, 0)
    assert evicted["freed_bytes"] == sum(map(len, before.values())) - sum(
        path.stat().st_size for path in activation_files(data)
    )
    shown = json.loads(run_emergence(data, "storage", "--json").stdout)
    assert shown["rows_are"] == {"stored": 0, "evicted": 12, "sampled": 0}
    assert all(entry["done"] == entry["total"] for entry in status_of(data).values())

    other = tmp_path / "other.yaml"
    other.write_text(TINY.read_text().replace("k: 2", "k: 3"))
    made = json.loads(run_emergence(data, "run", "--json", "--stage", "saes", study=other).stdout)["made"]
    assert made == {"sae": 12}
    assert storage_states(data) == {"evicted"}

    dropping = study_with(tmp_path, retention="drop-after-sae")
    restored = run_emergence(data, "storage", "restore", "--json", "--model", "gloss-tiny")
    assert json.loads(restored.stdout) == {"restored": 8}
    for path, content in before.items():
        assert (path.read_bytes() == content) == ("model=gloss-tiny" in str(path)), path
    evicted = json.loads(run_emergence(data, "storage", "evict", "--json", "--layer", "0").stdout)
    assert evicted["spared"] == 4, "the SAEs of these rows are out of date again"
    evicted = json.loads(run_emergence(data, "storage", "evict", "--json", "--layer", "0", "--untrained-too").stdout)
    assert evicted["changed"] == 4
    assert storage_states(data) == {"stored", "evicted"}
    assert run_emergence(data, "storage", "restore").returncode == 0
    assert {path: path.read_bytes() for path in activation_files(data)} == before
    # A run applies the study's retention also to files of an earlier setting.
    assert run_emergence(data, "run", study=dropping).returncode == 0
    assert storage_states(data) == {"evicted"}


def test_rows_that_come_back_different_are_refused(finished_study: Path, tmp_path: Path) -> None:
    """Another number of threads rounds differently; here the record itself has other row hashes."""
    data = tmp_path / "data"
    copied(finished_study, data)
    victim = activation_files(data)[0]
    assert run_emergence(data, "storage", "evict", "--model", "gloss-tinier").returncode == 0
    forge_row_hash(victim)
    refused = run_emergence(data, "storage", "restore", "--model", "gloss-tinier")
    assert refused.returncode == 1
    assert "not bit for bit" in refused.stderr
    assert read_spec(victim).storage_state == "evicted"


def test_a_cell_that_an_earlier_version_archived_is_refused_by_name(finished_study: Path, tmp_path: Path) -> None:
    import h5py

    from resources.hdf5 import hdf5

    data = tmp_path / "data"
    copied(finished_study, data)
    victim = activation_files(data)[0]
    with h5py.File(victim, "r+", libver=hdf5.LIBVER) as file:
        del file["resid_post"]
        hdf5.write_attrs(file, {"residency": "archived"})
    refused = run_emergence(data, "run")
    assert refused.returncode == 1
    assert "The rows of this file are archived" in refused.stderr
    assert victim.name in refused.stderr
    assert "made again" in refused.stderr


def forge_row_hash(path: Path) -> None:
    """Rewrite an evicted file so that it consistently records other rows."""
    import h5py

    from emergence_assets.activations.files.layout import content_hash
    from resources.hdf5 import hdf5

    spec = read_spec(path)
    with h5py.File(path, "r+", libver=hdf5.LIBVER) as file:
        hashes = {"resid_post": "f" * 32}
        hashes |= {name: file[name].attrs["xxh3_128"].decode() for name in ("read_out", "read_out_mean")}
        hdf5.write_attrs(file, {"resid_post_xxh3_128": "f" * 32, "content_xxh3_128": content_hash(spec, hashes)})
