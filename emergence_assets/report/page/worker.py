"""Worker that draws the charts and writes the page."""

from pathlib import Path
from typing import Any

from emergence_assets.plan.table_inputs import TableFiles
from emergence_assets.report.spec import HEADLINE_NAME, PAGE_NAME, REPORT, TABLES
from resources.environment import environment
from resources.files.atomic import clear_disk_errors, replacing_folder
from resources.files.records import now, required_from_json, write_folder_record
from resources.files.storage import Storage
from resources.tables.parquet import read_tables, write_table


def write_report(
    folder: str,
    required: str,
    tables: dict[str, TableFiles],
    level: str,
    domains: dict[str, str],
    sizes: list[str],
    origin: list[dict[str, Any]],
    checks: list[dict[str, Any]],
    texts: list[str],
    seed: int,
    data: str,
    report: Any,
) -> None:
    """Worker: draw the charts and write the page."""
    import yaml
    from altair.utils.schemapi import debug_mode

    from emergence_assets.emergence.claims.supported import supported_histories
    from emergence_assets.emergence.presence.headline import headline
    from emergence_assets.emergence.presence.table import HEADLINE
    from emergence_assets.report.charts.figures import draw_figures
    from emergence_assets.report.charts.readings import ReportTables, models_by_size, of_sizes
    from emergence_assets.report.charts.theme import chart_png
    from emergence_assets.report.latents.category_latents import category_latents, supported_categories
    from emergence_assets.report.page.page import build_page

    want = required_from_json(required)
    read = {
        name: read_tables([Path(file) for file in files], table)
        for name, (table, files) in tables.items()
        if name in REPORT.inputs
    }
    read |= {name: of_sizes(read[name], sizes) for name in TABLES}
    summary_table = headline(read["category_presence"])
    read["emergence_over_time"] = supported_histories(read["emergence_over_time"], read["claims"])
    shown = ReportTables(level=level, domains=domains, headline=summary_table, **read)
    study = dict(want.recipe["study"])
    supported = supported_categories(read["claims"], models_by_size(read["category_presence"]))
    latents = category_latents(supported, Storage(Path(data), study["name"]), seed)
    with debug_mode(False):  # without validation, a quarter of the time of a report; the tests validate every chart
        figures = draw_figures(shown)
    with clear_disk_errors(Path(folder)), replacing_folder(Path(folder)) as temporary:
        for position, figure in enumerate(figures):
            (temporary / f"{figure.name}.png").write_bytes(chart_png(figure.wide, ppi=72))
            report(position + 1, len(figures) + 1, figure.name)
        page = build_page(
            shown,
            figures,
            origin,
            checks,
            texts,
            latents,
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
    row = headline.filter(category_level=level, control_id="none").sort("n_params_nonemb").row(-1, named=True)
    names = ("model", "p_first", "p_last", "rise", "rise_lo", "rise_hi", "net_rise", "net_rise_lo", "net_rise_hi")
    names += ("p_random_last", "p_shuffle", "p_dense_last", "p_bow")
    return {name: row[name] for name in names} | {"level": level}
