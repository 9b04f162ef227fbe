"""The page of a study: finding, charts, tables, definitions and origin in one HTML file without external files.

The page loads nothing: charts are inline SVG, and its security policy forbids any request.
"""

import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

import polars as pl

from emergence_assets.plan.lineage_id import figure_key, row_id
from emergence_assets.report.charts.figures import Figure
from emergence_assets.report.charts.readings import ReportTables, category_histories, models_by_size, size_points
from emergence_assets.report.charts.theme import COLOURS, FONT, chart_svg
from emergence_assets.report.figure_tables import FIGURE_TABLES
from emergence_assets.report.latents.category_latents import CategoryLatent
from emergence_assets.report.page.checkpoint_section import checkpoint_sentence, checkpoint_table
from emergence_assets.report.page.claims_section import (
    claim_lineage_id,
    claims_sentence,
    other_claims,
    supported_claims,
)
from emergence_assets.report.page.data_quality_section import (
    data_quality_sentence,
    data_quality_tables,
    text_findings,
)
from emergence_assets.report.page.finding import Finding, finding
from emergence_assets.report.page.html_tables import (
    category_table,
    headline_table,
    origin_table,
    seeds_table,
    size_table,
)
from emergence_assets.report.page.latents_section import latents_section
from emergence_assets.report.page.sentences import (
    category_sentence,
    fading_sentence,
    layer_sentence,
    size_sentence,
    time_sentence,
)


def build_page(
    tables: ReportTables,
    figures: Sequence[Figure],
    provenance: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
    texts: Sequence[str],
    latents: Sequence[CategoryLatent] = (),
    *,
    study: str,
    description: str,
    recipe: str,
    environment: Mapping[str, Any],
    created: str,
    fingerprint: str,
) -> str:
    """Build the report of a study as one HTML document.

    Args:
        tables: the tables that are shown.
        figures: `figures.draw_figures(tables)`.
        provenance: one row per result that the page was made from, for example asset, fingerprint, code version, date.
        checks: rows of `data_quality.check_counts`.
        texts: what is wrong with the probe texts, `ProbeReport.warnings`.
        latents: `category_latents` of the claims that may be repeated.
        study: name of the study.
        description: description of the study.
        recipe: the study file, as YAML or JSON.
        environment: name to version or setting of the software and device that computed the results.
        created: time at which the page was made, UTC.
        fingerprint: fingerprint of the report; part of the lineage ids of its figures, which `emergence audit` takes.

    Returns:
        A document that needs no network and no other file; equal arguments give equal text.
    """
    level = tables.level
    models = models_by_size(tables.category_presence)
    largest = models[-1] if models else ""
    # In rows of random encoders the column counts these.
    seeds = tables.category_presence.filter(control_id="none")["n_seeds"].max()
    found = finding(
        tables.headline,
        tables.claims,
        level,
        seeds if isinstance(seeds, int) else None,
        has_replicates=not tables.model_seeds.is_empty(),
        controls=tables.category_controls,
    )
    caution = _CAUTION if found.result == "control failed" else ""
    of_claims = next((str(row["fingerprint"]) for row in provenance if row.get("asset") == "claims"), "")
    drawn = {name: "" if name in _OPTIONAL else _NOTHING for name in FIGURE_TABLES}
    drawn |= {figure.name: _figure(figure, fingerprint) for figure in figures}
    template = files("emergence_assets.report.page").joinpath("page_template.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        drawn,
        study=html.escape(study),
        description=html.escape(description),
        level=html.escape(level),
        models=html.escape(", ".join(models)),
        created=html.escape(created.replace("T", " ").replace("+00:00", " UTC")),
        colours_light=_variables(0),
        colours_dark=_variables(1),
        font=FONT,
        finding=_finding(found),
        result=found.result.replace(" ", "-"),
        time_sentence=_paragraph(caution + time_sentence(tables.headline, tables.claims, level)),
        layer_sentence=_paragraph(layer_sentence(tables.emergence_over_space, level, largest)),
        fading_sentence=_paragraph(fading_sentence(tables.claims)),
        claims_sentence=_paragraph(claims_sentence(tables.claims)),
        supported_claims=supported_claims(tables.claims, of_claims, level),
        other_claims=other_claims(tables.claims, of_claims),
        limits=_limits(found),
        latents=latents_section(latents),
        controls=_paragraph(found.controls),
        headline=headline_table(tables.headline, level),
        size_sentence=_paragraph(caution + size_sentence(tables.emergence_over_scale, level)),
        size_table=size_table(tables.emergence_over_scale, level),
        seeds_table=seeds_table(tables.model_seeds, level),
        category_sentence=_paragraph(caution + category_sentence(tables.emergence_over_time, level, largest)),
        category_table=category_table(tables.emergence_over_time, level, largest, tables.domains),
        checkpoint_sentence=_paragraph(checkpoint_sentence(tables.checkpoint_registry)),
        checkpoint_table=checkpoint_table(tables.checkpoint_registry),
        text_findings=text_findings(texts),
        data_quality_sentence=_paragraph(data_quality_sentence(checks)),
        data_quality_tables=data_quality_tables(checks),
        recipe=html.escape(recipe),
        environment="".join(
            f"<dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd>"
            for name, value in environment.items()
        ),
        origin=origin_table(provenance),
        numbers=json_for_script(
            {
                "study": study,
                "level": level,
                "claims": [
                    row | {"lineage_id": claim_lineage_id(row["claim_id"], of_claims)}
                    for row in tables.claims.iter_rows(named=True)
                ],
                "headline": _records(tables.headline.filter(category_level=level)),
                "sizes": _records(size_points(tables.emergence_over_scale, level)),
                "categories": _records(category_histories(tables.emergence_over_time, level, largest)),
            }
        ),
    )


def json_for_script(value: Any) -> str:
    """Format JSON for a script element: no character sequence in it can end the element or begin a comment."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


_CAUTION = "A control failed or is missing (see the finding), so the numbers below are no evidence of emergence. "
_OPTIONAL = (
    *("controls_at_last_step", "share_emerged", "half_steps_by_category", "use_by_category"),
    *("profiles_by_depth", "index_over_steps", "shares_by_category"),
)
"""Figures that the page leaves out without a word where they have no data."""
_NOTHING = '<p class="nothing">There is no data for this chart yet.</p>'


def _figure(figure: Figure, fingerprint: str) -> str:
    stem, name = figure.name.replace("_", "-"), row_id(fingerprint, figure_key(figure.name))
    return (
        f'<figure id="{stem}"><div class="wide">{chart_svg(figure.wide, stem)}</div>'
        f'<div class="narrow">{chart_svg(figure.narrow, stem + "-narrow")}</div>'
        f"<figcaption><strong>How to read it.</strong> {html.escape(figure.caption)}"
        f'<span class="lineage">Lineage id <code>{name}</code></span></figcaption></figure>'
    )


def _finding(found: Finding) -> str:
    others = f"<p><strong>Other models.</strong> {html.escape(found.others)}</p>" if found.others else ""
    return f'<p class="lead">{html.escape(found.lead)}</p>{others}'


def _limits(found: Finding) -> str:
    limits = "".join(f"<li>{html.escape(limit)}</li>" for limit in found.limits)
    return f"<h3>What may not be concluded</h3><ul>{limits}</ul>" if limits else ""


def _paragraph(sentence: str) -> str:
    return f"<p>{html.escape(sentence)}</p>" if sentence else ""


def _variables(position: int) -> str:
    return " ".join(f"--{name}: {colours[position]};" for name, colours in COLOURS.items())


def _records(frame: pl.DataFrame) -> list[dict[str, Any]]:
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    return frame.with_columns(pl.col(floats).cast(pl.Float64).round(6).fill_nan(None)).to_dicts()
