"""The report as a cell: a folder with the page, the charts as PNG, the headline as parquet, and its provenance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emergence_assets.activations.cells import study_probe_set
from emergence_assets.durable import clear_disk_errors, replacing_folder
from emergence_assets.environment import environment
from emergence_assets.lineage_id import cell_id
from emergence_assets.plan import Cell, Plan, Rule, stored_provenance
from emergence_assets.provenance import Required
from emergence_assets.study import Study
from resources.compute import Task
from resources.records import (
    folder_provenance,
    now,
    required_from_json,
    required_to_json,
    verify_folder,
    write_folder_record,
)
from resources.storage import Storage
from resources.tables import read_table, read_tables, write_table

PAGE_NAME = "index.html"
HEADLINE_NAME = "headline.parquet"
TABLES = (
    "sae_metrics",
    "category_presence",
    "emergence_over_time",
    "emergence_hazard",
    "emergence_over_space",
    "emergence_over_scale",
    "reactivation",
    "reactivation_mechanism",
    "category_controls",
    "cost_utility",
    "claims",
    "lineage_stability",
)
REGISTRY_NAME = "checkpoint_registry"
SEEDS_NAME = "model_seeds"


def _report_recipe(study: Study, _storage: Storage, _cell: Cell) -> Mapping[str, Any]:
    return {"study": study.science()}


REPORT_BYTES = 1_600_000
"""The page with its charts, and the charts once more."""
REPORT = Rule(
    name="report",
    stage="report",
    grid="study",
    inputs=(REGISTRY_NAME, *TABLES, SEEDS_NAME),
    recipe=_report_recipe,
    code=("emergence_assets.report.cells:write_report",),
    path=lambda storage, _cell: storage.report_folder(),
    stored=folder_provenance,
    verify=verify_folder,
    n_bytes=lambda _study, _cell, _counts: REPORT_BYTES,
)
RULES = (REPORT,)


def report_tasks(plan: Plan, due: Sequence[tuple[Cell, Required]]) -> list[tuple[Task, Sequence[Cell]]]:
    """One task."""
    work = []
    for cell, required in due:
        origin = []
        for source, source_cell in plan.input_cells(REPORT, cell):
            stored = stored_provenance(source, source.path(plan.storage, source_cell))
            if stored:
                origin.append(
                    {
                        "asset": source.name,
                        "cell": str(source_cell),
                        "lineage id": cell_id(stored.fingerprint),
                        "fingerprint": stored.fingerprint,
                        "code version": stored.required.code_version,
                        "made": stored.created,
                    }
                )
        probes = study_probe_set(plan.study)
        primary = probes.levels[0]
        domains = (
            dict(probes.texts.select(primary, "domain").drop_nulls().unique().iter_rows())
            if "domain" in probes.levels
            else {}
        )
        arguments = {
            "folder": str(plan.storage.report_folder()),
            "required": required_to_json(required),
            "tables": {name: _parts(plan, name) for name in (REGISTRY_NAME, *TABLES)},
            "level": primary,
            "domains": domains,
            "sizes": plan.study.sizes,
            "seeds": str(plan.rules[SEEDS_NAME].path(plan.storage, Cell())) if SEEDS_NAME in plan.rules else None,
            "origin": origin,
        }
        work.append(
            (Task("emergence_assets.report.cells:write_report", arguments, "report", on_accelerator=False), [cell])
        )
    return work


def _parts(plan: Plan, name: str) -> list[str]:
    rule = plan.rules[name]
    return [str(rule.path(plan.storage, cell)) for cell in plan.cells(rule)]


def write_report(
    folder: str,
    required: str,
    tables: dict[str, list[str]],
    level: str,
    domains: dict[str, str],
    sizes: list[str],
    seeds: str | None,
    origin: list[dict[str, Any]],
    report: Any,
) -> None:
    """Worker: draw the charts and put the page together."""
    import yaml

    from emergence_assets.emergence.granted import granted_histories
    from emergence_assets.emergence.headline import headline
    from emergence_assets.emergence.tables.catalogue import CATALOGUE
    from emergence_assets.emergence.tables.claims import HEADLINE
    from emergence_assets.emergence.tables.scale import MODEL_SEEDS
    from emergence_assets.report.figures import draw_figures
    from emergence_assets.report.page import build_page
    from emergence_assets.report.readings import ReportTables, of_sizes
    from emergence_assets.theme import chart_png

    want = required_from_json(required)
    read = {name: read_tables([Path(part) for part in tables[name]], CATALOGUE[name]) for name in TABLES}
    read = {name: of_sizes(frame, sizes) for name, frame in read.items()}
    summary_table = headline(read["category_presence"])
    shown = ReportTables(
        level=level,
        presence=read["category_presence"],
        time=granted_histories(read["emergence_over_time"], read["claims"]),
        claims=read["claims"],
        hazard=read["emergence_hazard"],
        space=read["emergence_over_space"],
        scale=read["emergence_over_scale"],
        mechanism=read["reactivation_mechanism"],
        reactivation=read["reactivation"],
        headline=summary_table,
        cost=read["cost_utility"],
        seeds=read_table(Path(seeds), MODEL_SEEDS) if seeds else MODEL_SEEDS.schema.to_frame(),
        sae_metrics=read["sae_metrics"],
        stability=read["lineage_stability"],
        registry=read_tables([Path(part) for part in tables[REGISTRY_NAME]], CATALOGUE[REGISTRY_NAME]),
        controls=read["category_controls"],
        domains=domains,
    )
    study = dict(want.recipe["study"])
    figures = draw_figures(shown)
    with clear_disk_errors(Path(folder)), replacing_folder(Path(folder)) as temporary:
        for position, figure in enumerate(figures):
            (temporary / f"{figure.name}.png").write_bytes(chart_png(figure.wide, ppi=72))
            report(position + 1, len(figures) + 1, figure.name)
        page = build_page(
            shown,
            figures,
            origin,
            study=study["name"],
            description=study["description"],
            recipe=yaml.safe_dump(study, sort_keys=False),
            environment=environment(),
            created=now(),
            fingerprint=want.fingerprint,
        )
        (temporary / PAGE_NAME).write_text(page, encoding="utf-8")
        write_table(temporary / HEADLINE_NAME, summary_table, HEADLINE, "")
        write_folder_record(temporary, want, _summary(summary_table, level))


def _summary(headline: Any, level: str) -> dict[str, Any]:
    import polars as pl

    largest = headline.filter(pl.col("category_level") == level, pl.col("control_id") == "none").sort("n_params_nonemb")
    row = largest.row(-1, named=True)
    names = ("model", "p_first", "p_last", "rise", "rise_lo", "rise_hi", "p_shuffle", "p_dense_last", "p_bow")
    return {name: row[name] for name in names} | {"level": level}
