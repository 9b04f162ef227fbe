"""The body that assets without partitions share: of every model one, or one of the whole study.

The models' assets are one definition, so that one Dagster run makes them side by side and checks them together; each is
selected, shown and followed by itself all the same.
"""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from emergence_assets.checkpoints.spec import TRAINING_RUN
from emergence_assets.orchestration.assets.checks import as_written, as_written_spec, nothing_made, verdicts
from emergence_assets.orchestration.assets.conditions import ACCELERATOR_POOL, SENSOR_TAG, upkeep
from emergence_assets.orchestration.assets.data_docs import record_validation
from emergence_assets.orchestration.assets.events import Recorder
from emergence_assets.orchestration.assets.partitioned import due_of, make, parent_keys
from emergence_assets.orchestration.instance.home import claim_run
from emergence_assets.orchestration.instance.partitions import asset_key, group_name, register_steps
from emergence_assets.plan.asset_spec import AssetSpec
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.code_version import code_version
from emergence_assets.plan.plan import Plan
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.provenance import Required

Results = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


def build_tables(
    spec: AssetSpec,
    study: Study,
    specs: Sequence[AssetSpec],
) -> dg.AssetsDefinition:
    """The Dagster assets of all models (or the one of the study) for a spec asset without partitions.

    Args:
        spec: the asset.
        study: of which it is.
        specs: all assets of the study.
    """
    models = [None] if spec.grid == "study" else study.models
    cells = {asset_key(study, model, spec.name): Cell(model) for model in models}
    all_tables = dg.AssetSelection.assets(
        *(
            asset_key(study, model, other.name)
            for other in specs
            if other.grid in ("study", "model")
            for model in ([None] if other.grid == "study" else study.models)
        )
    )
    parents = {key: parent_keys(study, specs, spec, cell.model) for key, cell in cells.items()}

    @dg.multi_asset(
        name=op_name(study, spec),
        specs=[
            dg.AssetSpec(
                key,
                deps=parents[key],
                group_name=group_name(cell.model or "all_models"),
                description=spec.description,
                kinds=set(spec.kinds),
                code_version=code_version(*spec.code),
                automation_condition=upkeep(all_tables) if parents[key] else None,
                skippable=True,
            )
            for key, cell in cells.items()
        ],
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=key, description=check.description, blocking=check.blocking)
            for key in cells
            for check in spec.checks
        ]
        + [as_written_spec(key) for key in cells],
        can_subset=True,
        pool=ACCELERATOR_POOL if spec.on_accelerator else None,
        required_resource_keys={"storage", "compute"},
        op_tags={"stage": spec.stage},
    )
    def tables(context: dg.AssetExecutionContext) -> Results:
        selected = {cell: key for key, cell in cells.items() if key in context.selected_asset_keys}
        if spec.name == TRAINING_RUN.name:  # its checkpoints exist as soon as it has run
            for cell in selected:
                register_steps(context.instance, study, str(cell.model), study.listed_steps or [])
        yield from _materialise(context, spec, Plan(study, context.resources.storage, specs), selected)

    return tables


def op_name(study: Study, spec: AssetSpec) -> str:
    """Name of the step that makes an asset without partitions."""
    return f"{study.name.replace('-', '_').replace('.', '_')}__{spec.name}"


def _materialise(
    context: dg.AssetExecutionContext, spec: AssetSpec, plan: Plan, keys: Mapping[Cell, dg.AssetKey]
) -> Results:
    """Make what is due of the selected cells; yields the events of all that are finished, with their checks.

    Raises:
        EmergenceError: an input is missing, or a cell could not be made; the finished ones stay recorded.
    """
    claim_run(context.instance, context.run)
    required: list[tuple[Cell, Required]] = []
    for cell, key in keys.items():
        try:
            required.append((cell, plan.demand_inputs(spec, cell)))
        except EmergenceError as error:
            if SENSOR_TAG not in context.run.tags:
                raise
            # It was asked for early. It becomes due anew when the input that it waits for was made.
            context.log.info(f"Nothing is made yet: {error}")
            yield from nothing_made(spec, key, str(error))
    due = due_of(context, plan, spec, required)
    made = {cell for cell, _ in due}
    unfinished = set(made)
    failure: EmergenceError | None = None
    try:
        for cell in make(context, spec, plan, due):
            unfinished.discard(cell)
    except EmergenceError as error:
        failure = error
    finished = [cell for cell, _ in required if cell not in unfinished]
    if finished:
        found = verdicts(spec, plan, finished)
        page = record_validation(plan, spec, finished, found, context.run_id)
        for cell in finished:
            key, kept = keys[cell], [] if cell in made else [cell]
            results = [*(verdict.of_cell(cell, key, page) for verdict in found), as_written(spec, plan, kept, key)]
            yield Recorder(context, plan, spec, key).result(cell, results)
    if failure:
        raise failure
