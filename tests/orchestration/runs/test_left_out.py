"""A checkpoint at the edge of a run's range that fails an identity rule is left out, and the run makes the others."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from emergence_assets.orchestration.build import build_definitions
from emergence_assets.orchestration.instance.home import instance_of
from emergence_assets.orchestration.instance.partitions import asset_key, range_tags, step_set_name
from emergence_assets.orchestration.runs.study_run import update_partitions
from emergence_assets.pipeline import specs_for
from emergence_assets.plan.cell import Cell, step_key
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import parse_study
from resources.files.storage import Storage
from tests.family import MODELS, step_folder
from tests.studies.published_study import SMALL, local_family

MODEL = "gloss-tiny"


def trained_at_step_0(family: Path, root: Path, steps: tuple[int, ...]) -> None:
    """Copy some steps of the small family; step 0 has the weights of the last one, as in some published families."""
    for step in steps:
        shutil.copytree(step_folder(family, MODEL, step or 64), step_folder(root, MODEL, step))


@pytest.mark.parametrize("steps", [(0, 8), (0, 8, 16)], ids=["two steps", "three steps"])
def test_a_range_whose_first_checkpoint_is_left_out_makes_the_others(
    steps: tuple[int, ...], family: Path, tmp_path: Path
) -> None:
    trained_at_step_0(family, tmp_path / "runs", steps)
    shapes = {MODEL: {"d_model": MODELS[MODEL].d_model, "n_layers": MODELS[MODEL].n_layers}}
    declared = {"models": shapes, "tokens_per_step": 64, "context": 32} | local_family(tmp_path / "runs")
    study = parse_study({"name": "edge", "family": declared, "steps": "all"} | SMALL)
    storage = Storage(tmp_path / "data", study.name)
    with instance_of(tmp_path / "home") as instance:
        update_partitions(Plan(study, storage, specs_for(study)), instance)
        ends = [Cell(MODEL, steps[0]), Cell(MODEL, steps[-1])]
        result = (
            build_definitions(study, storage)
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                asset_selection=[asset_key(study, MODEL, "checkpoint")],
                tags=range_tags(ends),
                raise_on_error=False,
            )
        )
        assert result.success
        made = [step_key(step) for step in steps[1:]]
        assert instance.get_dynamic_partitions(step_set_name(study, MODEL)) == made
        wanted = dg.AssetRecordsFilter(asset_key(study, MODEL, "checkpoint"))
        records = instance.fetch_materializations(wanted, limit=10).records
        assert sorted(str(record.partition_key) for record in records) == made
