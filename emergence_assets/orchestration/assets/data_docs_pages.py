"""The pages of the data docs: HTML that needs no network and no script."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from resources.tables.check import Condition

Record = Mapping[str, Any]
MOST_CELLS = 20
"""Cells that are named of a check that fails."""
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 40px auto; padding: 0 20px; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; border-bottom: 1px solid #8884; }
.failed { color: #c0392b; font-weight: 600; }
.passed { color: #1e8449; }
td p { margin: 0; }
pre { white-space: pre-wrap; margin: 4px 0 0; font-size: 13px; }
@media (prefers-color-scheme: dark) { .failed { color: #ff7b6b; } .passed { color: #58d68d; } a { color: #6cb6ff; } }
"""


def words(condition: Condition) -> str:
    """What a condition demands, as a clause."""
    columns = ", ".join(condition.columns)
    low, high = condition.minimum, condition.maximum
    if condition.kind == "between":
        between = " and ".join(
            f"{sign}{' ' if condition.strict else '= '}{bound:g}"
            for sign, bound in ((">", low), ("<", high))
            if bound is not None
        )
        text = f"{columns} {between}"
    else:
        text = {
            "not_null": f"{columns} present",
            "unique": f"{columns} unique{' together' if len(condition.columns) > 1 else ''}",
            "one_of": f"{columns} one of {', '.join(str(value) for value in condition.values)}",
            "equal": " = ".join(condition.columns),
            "ordered": " <= ".join(condition.columns),
        }[condition.kind]
    return f"{text}, or missing" if condition.nullable else text


def asset_page(study: str, record: Record) -> str:
    """All validations of one asset, failing checks first."""
    body = [
        f'<p><a href="index.html">Data quality of {escape(study)}</a></p><h1>{escape(record["asset"])}</h1>',
        f"<p>{escape(record['description'])}</p>",
    ]
    for validation in record["validations"]:
        cells = validation["cells"]
        named = cells[0] if len(cells) == 1 else f"{len(cells)} cells, {cells[0]} to {cells[-1]}"
        about = escape(f"validated {validation['at']} in run {validation['run_id']}")
        rows = [_check_row(check) for check in sorted(validation["checks"], key=lambda check: check["passed"])]
        body += [
            f"<h2>{escape(named)}</h2><p>{escape(about)}</p>",
            _table(("check", "result", "what it demands"), rows),
        ]
    return _page(f"{record['asset']}: data quality of {study}", body)


def index_page(study: str, records: Sequence[Record]) -> str:
    """One line per asset."""
    rows = []
    for record in records:
        validations = record["validations"]
        checks = [check for validation in validations for check in validation["checks"]]
        failed = sorted({check["name"] for check in checks if not check["passed"]})
        link = f'<a href="{escape(record["asset"])}.html">{escape(record["asset"])}</a>'
        result = _mark(not failed, ", ".join(failed) or "all passed")
        n_cells = sum(len(validation["cells"]) for validation in validations)
        n_checks = len({check["name"] for check in checks})
        last = max(validation["at"] for validation in validations)
        rows.append((escape(record["stage"]), link, str(n_cells), str(n_checks), result, escape(last)))
    heads = ("stage", "asset", "cells", "checks", "result", "last validated")
    body = [
        f"<h1>Data quality of {escape(study)}</h1>",
        "<p>What was validated last of every cell, with great_expectations. A check of severity error stops what is "
        "behind it. <code>results/</code> holds the same as JSON.</p>",
        _table(heads, rows),
    ]
    return _page(f"Data quality of {study}", body)


def _check_row(check: Record) -> tuple[str, str, str]:
    result = _mark(check["passed"], "passed" if check["passed"] else f"failed ({check['severity']})")
    if not check["passed"]:
        cells = check["failed_cells"]
        more = [f"and {len(cells) - MOST_CELLS} more"] if len(cells) > MOST_CELLS else []
        result += f"<pre>{escape(chr(10).join([*check['found'], *cells[:MOST_CELLS], *more]))}</pre>"
    demands = f"<p>{escape(check['description'])}</p><details><summary>in detail</summary>"
    return (
        f"<code>{escape(check['name'])}</code>",
        result,
        f"{demands}{escape('; '.join(check['conditions']))}</details>",
    )


def _mark(passed: bool, text: str) -> str:
    return f'<span class="{"passed" if passed else "failed"}">{escape(text)}</span>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    lines = ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _page(title: str, body: Sequence[str]) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>"
    )
