"""A pipeline of four assets whose results are records only, for tests of stale and missing cells."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell, Grid
from emergence_assets.plan.plan import Plan
from emergence_assets.study.load import STUDIES_FOLDER, parse_study
from emergence_assets.study.study import Study
from resources.files.plain_yaml import read_yaml
from resources.files.records import record_provenance, write_record
from resources.files.storage import Storage

CODE = ("emergence_assets.features.rules:Rule",)
OTHER_CODE = ("emergence_assets.features.statistics.labels:Labels",)


def small_study(k: int = 16) -> Study:
    """Make a study of two models with 2 and 4 layers at steps 0, 1 and 8."""
    declared = read_yaml(STUDIES_FOLDER / "quick.yaml")
    return parse_study(declared | {"steps": [0, 1, 8], "sae": declared["sae"] | {"k": k}})


def spec(name: str, grid: Grid, *inputs: str, uses_k: bool = False) -> AssetSpec:
    """Make an asset with one JSON file per cell, and a recipe that depends on the study's k or on nothing."""

    def path(storage: Storage, cell: Cell) -> Path:
        return storage.root / name / f"{str(cell).replace('/', '-')}.json"

    return AssetSpec(
        name=name,
        stage=f"stage of {name}",
        grid=grid,
        inputs=inputs,
        recipe=lambda study, _storage, _cell: {"k": study.sae.k} if uses_k else {},
        description="for tests",
        make="none:none",
        jobs=lambda _plan, _due: [],
        checks=(),
        functions=CODE,
        path=path,
        stored=record_provenance,
    )


SPECS = (
    spec("weights", "step"),
    spec("codes", "cell", "weights", uses_k=True),
    spec("curves", "model", "codes"),
    spec("summary", "study", "curves", "weights"),
)


def with_other_code(specs: Sequence[AssetSpec], name: str) -> list[AssetSpec]:
    """Replace the function of one spec."""
    return [replace(one, functions=OTHER_CODE) if one.name == name else one for one in specs]


def make(plan: Plan, asset: str, cell: Cell) -> None:
    """Make one cell from its present inputs."""
    one = plan.specs[asset]
    write_record(one.path(plan.storage, cell), plan.demand_inputs(one, cell), {})


def make_all(study: Study, storage: Storage, specs: Sequence[AssetSpec] = SPECS) -> dict[str, list[Cell]]:
    """Make every stale or missing cell, in flow order; return these cells."""
    made: dict[str, list[Cell]] = {}
    for one in specs:
        plan = Plan(study, storage, specs)
        made[one.name] = plan.todo(one)
        for cell in made[one.name]:
            make(plan, one.name, cell)
    return made


def due(study: Study, storage: Storage, specs: Sequence[AssetSpec] = SPECS) -> dict[str, list[str]]:
    """List stale and missing cells by asset; assets without any are left out."""
    plan = Plan(study, storage, specs)
    return {one.name: [str(cell) for cell in cells] for one in specs if (cells := plan.todo(one))}
