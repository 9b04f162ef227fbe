"""The graph as Dagster loads it: keys, groups, checks, partitions; and that loading it imports no heavy library."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest

from emergence_assets.orchestration.build import STAGES, build_definitions
from emergence_assets.orchestration.instance.partitions import dagster_name
from emergence_assets.pipeline import SPECS
from emergence_assets.study.load import load_study, parse_study
from resources.files.plain_yaml import read_yaml
from resources.files.storage import Storage
from tests.conftest import TINY

ROOT = Path(__file__).parents[1]
SNAPSHOT = Path(__file__).with_name("graph.txt")


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    study = parse_study(read_yaml(TINY))
    return build_definitions(study, Storage(Path("data"), study.name))


def described(definitions: dg.Definitions) -> str:
    """Describe each asset in one line: key, group, pool, partitions, parents and checks."""
    graph = definitions.resolve_asset_graph()
    lines = []
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        partitions = node.partitions_def
        names = getattr(partitions, "partition_dimension_names", [getattr(partitions, "name", "")])
        lines.append(
            f"{key.to_user_string()} group={node.group_name} partitions={','.join(names) if partitions else '-'} "
            f"pools={','.join(sorted(node.pools or ())) or '-'} "
            f"from={','.join(parent.path[-1] for parent in sorted(node.parent_keys)) or '-'} "
            f"checks={','.join(sorted(check.name for check in node.check_keys))}"
        )
    return "\n".join(lines) + "\n"


def test_the_graph_is_the_one_in_the_snapshot(definitions: dg.Definitions) -> None:
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(described(definitions))
    assert described(definitions) == SNAPSHOT.read_text(), "run with UPDATE_SNAPSHOTS=1 if the change is wanted"


def test_there_is_a_job_per_asset_and_model_and_one_per_stage_of_tables(definitions: dg.Definitions) -> None:
    names = {job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")}
    assert {"checkpoint__gloss_tiny", "activations__gloss_tiny", "sae__gloss_tinier", "emergence", "report"} <= names
    assert not names & {"checkpoints", "activations", "saes", "features"}, "stages with partitions of every model"


@pytest.mark.parametrize("automation", [False, True])
def test_nothing_runs_by_itself_until_it_is_switched_on(automation: bool) -> None:
    study = load_study("pythia").model_copy(update={"automation": automation})
    loaded = build_definitions(study, Storage(Path("data"), study.name)).get_repository_def()
    names = {sensor.name for sensor in loaded.sensor_defs}
    assert names == {"dead_runs", "upkeep", *(f"new_checkpoints__{dagster_name(model)}" for model in study.models)}
    switches = [*loaded.sensor_defs, *loaded.schedule_defs]
    assert {switch.default_status.value for switch in switches} == {"RUNNING" if automation else "STOPPED"}


def test_every_asset_has_a_check_a_description_and_a_code_version(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.check_keys, key
        assert node.description, key
        assert node.code_version, key


def test_no_asset_shares_a_run_of_a_backfill_with_its_inputs(definitions: dg.Definitions) -> None:
    """Dagster would put both into one run, and skip the later one without an error."""
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    shared = {
        (parent.key.path[-1], node.key.path[-1])
        for node in nodes
        for parent in map(graph.get, node.parent_keys)
        if node.is_partitioned and node.partitions_def == parent.partitions_def
        if node.backfill_policy == parent.backfill_policy
    }
    assert shared == set()


@pytest.mark.parametrize("study", ["quick", "default", "pythia"])
def test_shipped_studies_have_definitions(study: str) -> None:
    loaded = load_study(study)
    graph = build_definitions(loaded, Storage(Path("data"), study)).resolve_asset_graph()
    assert {key.path[0] for key in graph.get_all_asset_keys()} == {study}


def test_definitions_load_without_heavy_libraries() -> None:
    heavy = ["numpy", "torch", "transformers", "great_expectations", "pandas", "sklearn", "altair", "scipy"]
    heavy += ["tokenizers", "safetensors"]
    program = (
        f"import sys, json, emergence_assets.definitions; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(loaded.stdout) == []


def test_the_command_shows_its_help_without_dagster() -> None:
    program = (
        "import sys\nfrom emergence_assets.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\nassert 'dagster' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=ROOT)


def test_stages_stand_in_one_order_everywhere() -> None:
    assert list(dict.fromkeys(spec.stage for spec in SPECS)) == list(STAGES)
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    packages = [layer.removeprefix("emergence_assets.") for layer in contract]
    assert [layer for layer in packages if layer in STAGES] == list(reversed(STAGES))


def test_the_readme_lists_the_stages_in_order() -> None:
    readme = (ROOT / "README.md").read_text()
    places = [readme.index(f"{stage}/") for stage in STAGES]
    assert places == sorted(places)
