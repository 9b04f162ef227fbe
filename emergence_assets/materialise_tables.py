"""The body that assets without partitions share: of every model one, or one of the whole study.

The models' assets are one definition, so that one Dagster run makes them side by side and checks them together; each is
selected, shown and followed by itself all the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg

from emergence_assets.automation import SENSOR_TAG, upkeep
from emergence_assets.cell_asset import CellAsset
from emergence_assets.cell_checks import as_written, as_written_spec, nothing_made, verdicts
from emergence_assets.code_version import code_version
from emergence_assets.data_docs import record_validation
from emergence_assets.errors import EmergenceError
from emergence_assets.instance import claim_run
from emergence_assets.materialise import due_of, make, parent_keys
from emergence_assets.partitions import asset_key, group_name
from emergence_assets.plan import Cell, Plan, Rule
from emergence_assets.provenance import Required
from emergence_assets.recorder import Recorder
from emergence_assets.study import Study

Results = Iterator[dg.MaterializeResult | dg.AssetCheckResult]


def build_tables(
    declared: CellAsset,
    study: Study,
    rules: Sequence[Rule],
    before: Callable[[dg.AssetExecutionContext, Sequence[Cell]], None] = lambda _context, _cells: None,
) -> dg.AssetsDefinition:
    """The Dagster assets of all models (or the one of the study) for a declared asset without partitions.

    Args:
        declared: the asset.
        study: of which it is.
        rules: all assets of the study.
        before: done with the selected cells before anything is made.
    """
    rule = declared.rule
    models = [None] if rule.grid == "study" else study.models
    cells = {asset_key(study, model, rule.name): Cell(model) for model in models}
    all_tables = dg.AssetSelection.assets(
        *(
            asset_key(study, model, other.name)
            for other in rules
            if other.grid in ("study", "model")
            for model in ([None] if other.grid == "study" else study.models)
        )
    )
    parents = {key: parent_keys(study, rules, rule, cell.model) for key, cell in cells.items()}

    @dg.multi_asset(
        name=op_name(study, rule),
        specs=[
            dg.AssetSpec(
                key,
                deps=parents[key],
                group_name=group_name(cell.model or "all_models"),
                description=declared.description,
                kinds=set(declared.kinds),
                code_version=code_version(*rule.code),
                automation_condition=upkeep(all_tables) if parents[key] else None,
                skippable=True,
            )
            for key, cell in cells.items()
        ],
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=key, description=check.description, blocking=check.blocking)
            for key in cells
            for check in declared.checks
        ]
        + [as_written_spec(key) for key in cells],
        can_subset=True,
        pool=declared.pool,
        required_resource_keys={"storage", "compute"},
        op_tags={"stage": rule.stage},
    )
    def tables(context: dg.AssetExecutionContext) -> Results:
        selected = {cell: key for key, cell in cells.items() if key in context.selected_asset_keys}
        before(context, list(selected))
        yield from _materialise(context, declared, Plan(study, context.resources.storage, rules), selected)

    return tables


def op_name(study: Study, rule: Rule) -> str:
    """Name of the step that makes an asset without partitions."""
    return f"{study.name.replace('-', '_').replace('.', '_')}__{rule.name}"


def _materialise(
    context: dg.AssetExecutionContext, declared: CellAsset, plan: Plan, keys: Mapping[Cell, dg.AssetKey]
) -> Results:
    """Make what is due of the selected cells; yields the events of all that are finished, with their checks.

    Raises:
        EmergenceError: an input is missing, or a cell could not be made; the finished ones stay recorded.
    """
    claim_run(context.instance, context.run)
    rule = declared.rule
    required: list[tuple[Cell, Required]] = []
    for cell, key in keys.items():
        try:
            required.append((cell, plan.demand_inputs(rule, cell)))
        except EmergenceError as error:
            if SENSOR_TAG not in context.run.tags:
                raise
            # It was asked for early. It becomes due anew when the input that it waits for was made.
            context.log.info(f"Nothing is made yet: {error}")
            yield from nothing_made(declared, key, str(error))
    due = due_of(context, plan, rule, required)
    made = {cell for cell, _ in due}
    unfinished = set(made)
    failure: EmergenceError | None = None
    try:
        for cell in make(context, declared, plan, due):
            unfinished.discard(cell)
    except EmergenceError as error:
        failure = error
    finished = [cell for cell, _ in required if cell not in unfinished]
    if finished:
        found = verdicts(declared, plan, finished)
        page = record_validation(plan, declared, finished, found, context.run_id)
        for cell in finished:
            key, kept = keys[cell], [] if cell in made else [cell]
            results = [*(verdict.of_cell(cell, key, page) for verdict in found), as_written(rule, plan, kept, key)]
            yield Recorder(context, plan, declared, key).result(cell, results)
    if failure:
        raise failure
