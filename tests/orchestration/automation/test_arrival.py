"""A folder receives checkpoints while web server and daemon run; no command is typed."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from emergence_assets.orchestration.instance.home import instance_of
from tests.family import MODELS, duplicate_step, step_folder, trained_family
from tests.running_ui import UI, running_ui
from tests.studies.published_study import local_family, write_study

pytestmark = pytest.mark.slow
MODEL = "gloss-tiny"
LOOK_SECONDS = 5
CELLS = ("activations", "sae", "latent_stats", "latent_examples")
FROM_REGISTRY = ("checkpoint_registry", "cost_utility", "emergence_hazard", "claims", "report")
"""Tables that also contain checkpoints that are left out."""
PATIENCE_SECONDS = 1500


class Incoming:
    """A study over a folder of arriving checkpoints, and the event log of its results."""

    def __init__(self, folder: Path):
        self.family, self.root, self.data = folder / "family", folder / "incoming", folder / "data"
        trained_family(self.family, models={MODEL: MODELS[MODEL]})
        (self.root / MODEL).mkdir(parents=True)
        self.data.mkdir()
        models = {MODEL: {"d_model": 16, "n_layers": 2}}
        source = local_family(self.root, models=models, settle_seconds=2.0)
        self.study = write_study(folder / "incoming.yaml", source, automation=True, automation_seconds=LOOK_SECONDS)

    def deliver(self, *steps: int) -> None:
        """Copy checkpoints file by file, as a training program writes them."""
        for step in steps:
            shutil.copytree(step_folder(self.family, MODEL, step), step_folder(self.root, MODEL, step))

    def made(self, asset: str) -> dict[str | None, list[str]]:
        """Return data versions of all materialisations of an asset, by partition."""
        with instance_of(self.data / "dagster") as instance:
            keys = [key for key in instance.all_asset_keys() if key.path[-1] == asset]
            return versions(instance, keys[0]) if keys else {}

    def counts(self) -> dict[str, dict[str | None, int]]:
        """Count results by asset and partition, of everything that is made from checkpoints.

        For cells these are materialisations. For tables they are different data versions: a second request for a table
        whose inputs arrive in the same tick computes nothing, and is recorded with the same version.
        """
        with instance_of(self.data / "dagster") as instance:
            return {
                name: {
                    partition: len(found if name in CELLS else set(found))
                    for partition, found in versions(instance, key).items()
                }
                for key in instance.all_asset_keys()
                if (name := key.path[-1]) != "checkpoint"
            }

    def steps_in_tables(self) -> list[int]:
        """Return the steps of the presence table."""
        path = self.data / "incoming" / "tables" / "category_presence" / f"model={MODEL}.parquet"
        return sorted(pl.read_parquet(path)["step"].unique()) if path.exists() else []

    def is_reported(self) -> bool:
        """Return whether there is a report."""
        return (self.data / "incoming" / "report" / "index.html").exists()

    def unfinished_runs(self) -> int:
        """Return runs that wait or run."""
        done = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
        with instance_of(self.data / "dagster") as instance:
            return len(
                instance.get_runs(dg.RunsFilter(statuses=[one for one in dg.DagsterRunStatus if one not in done]))
            )

    def failed_runs(self) -> list[str]:
        """Return the assets of failed runs."""
        with instance_of(self.data / "dagster") as instance:
            runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        return [key.path[-1] for run in runs for key in run.asset_selection or ()]


def versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str | None, list[str]]:
    """Return data versions of all materialisations, by partition."""
    found: dict[str | None, list[str]] = {}
    for record in instance.fetch_materializations(dg.AssetRecordsFilter(key), limit=1000).records:
        assert record.asset_materialization is not None
        version = (record.asset_materialization.tags or {})["dagster/data_version"]
        found.setdefault(record.partition_key, []).append(version)
    return found


@pytest.fixture
def incoming(tmp_path: Path) -> Incoming:
    return Incoming(tmp_path)


def wait_until(reached: Callable[[], bool], ui: UI, what: str) -> float:
    """Wait for a condition; return the seconds."""
    began = time.monotonic()
    while not reached():
        assert ui.process.poll() is None, ui.log()[-5000:]
        assert time.monotonic() - began < PATIENCE_SECONDS, f"{what}\n{ui.log()[-5000:]}"
        time.sleep(1)
    return time.monotonic() - began


def rest(incoming: Incoming, ui: UI) -> None:
    """Wait for two ticks of every sensor without any run in progress."""
    quiet_since = time.monotonic()
    began = time.monotonic()
    while time.monotonic() - quiet_since < 2 * LOOK_SECONDS + 10:
        assert time.monotonic() - began < PATIENCE_SECONDS, ui.log()[-5000:]
        time.sleep(2)
        if incoming.unfinished_runs():
            quiet_since = time.monotonic()


def test_checkpoints_that_arrive_reach_the_tables_once_and_survive_a_kill(incoming: Incoming) -> None:
    incoming.deliver(0, 1)
    with running_ui(incoming.data, incoming.study) as ui:
        wait_until(incoming.is_reported, ui, "a report on the first two")
        rest(incoming, ui)
        first = incoming.counts()
        incoming.deliver(2)
        seconds = wait_until(lambda: incoming.steps_in_tables() == [0, 1, 2], ui, "tables with the third")
        print(f"a new checkpoint was in the tables after {seconds:.0f} s")
        rest(incoming, ui)
        counts = incoming.counts()
        cells = {f"L{layer:02d}|step{step:06d}" for layer in (0, 1) for step in (0, 1, 2)}
        assert all(counts[asset] == dict.fromkeys(cells, 1) for asset in CELLS), counts
        # How often tables are made at the start depends on the first tick; one more checkpoint makes each once.
        tables = counts.keys() - set(CELLS)
        assert tables > set(FROM_REGISTRY)
        made_once = {table: {None: first[table][None] + 1} for table in tables}
        assert {table: counts[table] for table in tables} == made_once, first

        # The same delivery again is validated, and nothing follows. Weights of another step are in the registry alone.
        shutil.rmtree(step_folder(incoming.root, MODEL, 2))
        incoming.deliver(2, 4)
        duplicate_step(incoming.root, MODEL, 1, 4)
        again = {None: counts["checkpoint_registry"][None] + 1}
        wait_until(lambda: incoming.counts()["checkpoint_registry"] == again, ui, "a registry with the duplicate")
        assert len(incoming.made("checkpoint")["step000002"]) == 2
        assert len(set(incoming.made("checkpoint")["step000002"])) == 1
        assert "step000004" not in incoming.made("checkpoint")
        untouched = counts.keys() - set(FROM_REGISTRY)
        assert {asset: n for asset, n in incoming.counts().items() if asset in untouched} == {
            asset: counts[asset] for asset in untouched
        }
        assert incoming.failed_runs() == []

        # Killed while the results of the next checkpoint are made.
        incoming.deliver(8)
        wait_until(lambda: "L00|step000008" in incoming.made("activations"), ui, "activations of step 8")
        ui.kill()
    with running_ui(incoming.data, incoming.study) as ui:
        wait_until(lambda: incoming.steps_in_tables() == [0, 1, 2, 8], ui, "tables with the one after the kill")
        twice = [made for asset in CELLS for made in incoming.made(asset).values()]
        assert all(len(set(found)) == 1 for found in twice), "whatever was made twice is the same"
        assert all(len(found) == 1 for asset in CELLS for cell, found in incoming.made(asset).items() if cell in cells)
