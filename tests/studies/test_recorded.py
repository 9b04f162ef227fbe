"""Every file and every event of a finished study records its origin and its content."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from emergence_assets.orchestration.instance.home import instance_of
from emergence_assets.orchestration.instance.partitions import asset_key, partition_key
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.asset_spec import AssetSpec, stored_provenance
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.content_hash import CONTENT_HASH_TAG, content_hash
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import load_study
from resources.files.provenance import Provenance
from resources.files.storage import Storage
from tests.conftest import TINY

pytestmark = pytest.mark.slow
CARRIED = {
    *("python", "torch", "transformers", "numpy", "scipy", "scikit-learn", "polars", "h5py"),
    *("cpu_model", "num_threads", "device", "platform", "mkl_cbwr"),
    *("run_id", "study", "study_sha256", "seeds", "git_commit", "git_dirty"),
}


@pytest.fixture(scope="module")
def plan(finished_study: Path) -> Plan:
    study = load_study(str(TINY))
    return Plan(study, Storage(finished_study, study.name), specs_for(study))


@pytest.fixture(scope="module")
def instance(finished_study: Path) -> Iterator[dg.DagsterInstance]:
    with instance_of(finished_study / "dagster") as opened:
        yield opened


def cells(plan: Plan) -> list[tuple[AssetSpec, Cell, Provenance]]:
    found = []
    for spec in plan.specs.values():
        for cell in plan.cells(spec):
            stored = stored_provenance(spec, spec.path(plan.storage, cell))
            assert stored is not None
            found.append((spec, cell, stored))
    return found


def event(
    instance: dg.DagsterInstance, plan: Plan, spec: AssetSpec, cell: Cell
) -> tuple[dg.AssetMaterialization, Mapping[str, str], str]:
    """Return the latest event of a cell, with its tags and its run."""
    key = asset_key(plan.study, cell.model, spec.name)
    partitions = [partition_key(cell)] if cell.step is not None else None
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions)
    record = instance.fetch_materializations(wanted, limit=1).records[0]
    assert record.asset_materialization is not None
    return record.asset_materialization, record.asset_materialization.tags or {}, record.run_id


def test_every_file_records_its_origin(plan: Plan, instance: dg.DagsterInstance) -> None:
    found = cells(plan)
    assert {spec.name for spec, _, _ in found} == set(plan.specs)
    for spec, cell, stored in found:
        assert CARRIED - stored.environment.keys() == set(), (spec.name, cell)
        assert stored.environment["num_threads"] == 1
        assert instance.get_run_by_id(stored.environment["run_id"]) is not None
        assert stored.environment["study"] == "tiny"
        assert stored.required.code_version == code_version(*spec.code)
    assert len({stored.environment["study_sha256"] for _, _, stored in found}) == 1


def test_every_event_records_its_content_and_origin(plan: Plan, instance: dg.DagsterInstance) -> None:
    for spec, cell, stored in cells(plan):
        told, tags, run_id = event(instance, plan, spec, cell)
        shown = told.metadata
        assert tags[CONTENT_HASH_TAG] == content_hash(spec, plan.storage, cell), (spec.name, cell)
        assert shown["environment"].value == stored.environment
        assert shown["fingerprint"].value == tags["dagster/data_version"] == stored.fingerprint
        assert tags["dagster/code_version"] == stored.required.code_version
        sources = {asset_key(plan.study, one.model, source.name) for source, one in plan.input_cells(spec, cell)}
        named = {f"dagster/input_data_version/{key.to_user_string()}" for key in sources}
        assert named <= tags.keys(), (spec.name, cell)
        assert run_id == stored.environment["run_id"]


def test_a_run_is_known_by_its_study_and_commit_in_no_fingerprint(plan: Plan) -> None:
    for _, _, stored in cells(plan):
        text = json.dumps([dict(stored.required.recipe), dict(stored.required.inputs)])
        assert stored.environment["run_id"] not in text
        assert stored.environment["study_sha256"] not in text


def test_an_event_takes_little_room(finished_study: Path) -> None:
    sizes: list[int] = []
    for path in (finished_study / "dagster" / "history" / "runs").glob("*.db"):
        with sqlite3.connect(path) as log:
            rows: list[tuple[Any, ...]] = log.execute(
                "select length(event) from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION'"
            ).fetchall()
        sizes += [length for (length,) in rows]
    assert sizes
    assert sum(size < 8_000 for size in sizes) > len(sizes) / 2  # the rest contains charts
