"""Generator of `docs/tables.md` from the declarations of tables: `python -m scripts.write_tables_page`."""

from pathlib import Path

from emergence_assets.pipeline import SPECS, TABLES
from emergence_assets.plan.table_spec import TableSpec
from resources.tables.table import Column, Table

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"
_RELATIONS = {spec.name: spec.relations for spec in SPECS if isinstance(spec, TableSpec)}
_HEAD = """# Tables

Made from the declarations by `make docs`; a test fails when this page is not current. Parquet files lie in
`<data>/<study>/tables/`: those of the study as `<table>.parquet`, those of one model as
`<table>/model=<model>.parquet`, those of one layer below `<table>/model=<model>/step=<step>/`. The declarations are in
`table.py` of their subjects; the schema of the files, the checks of data quality and this page follow from them.

A column of one name means the same in every table. `x_lo` and `x_hi` are the ends of the 95 % interval of `x` and
stand in its line. AUROC 0.5 is chance. A check fails where a value is missing that may not be null, where one is
outside its range, where two rows share a key and where an interval is the wrong way round.
"""


def tables_page() -> str:
    """Return the page as Markdown."""
    contents = "\n".join(f"* [`{table.name}`](#{table.name}): {table.description}" for table in TABLES.values())
    return "\n".join((_HEAD, contents, *map(_section, TABLES.values()))) + "\n"


def _section(table: Table) -> str:
    names = {column.name for column in table.columns}
    lines = [
        f"\n## `{table.name}`\n\n{table.description}\n",
        f"Key: {_listed(table.key)}.\n",
        "| column | type | unit | range | meaning |\n|---|---|---|---|---|",
        *(_row(column, names) for column in table.columns if _bounded(column.name) not in names),
    ]
    nullable = [column.name for column in table.columns if column.nullable and _bounded(column.name) not in names]
    if nullable:
        lines.append(f"\nMay be null: {_listed(nullable)}.")
    lines += [f"\n`{' ≤ '.join(one.columns)}`" for one in table.relations]
    lines += [f"\n`{relation.name}`: {relation.description}" for relation in _RELATIONS.get(table.name, ())]
    return "\n".join(lines)


def _bounded(name: str) -> str | None:
    """Return the column whose interval would have this column as an end."""
    stem, _, end = name.rpartition("_")
    return stem if end in ("lo", "hi") else None


def _row(column: Column, names: set[str]) -> str:
    name = f"`{column.name}`" + (", `_lo`, `_hi`" if f"{column.name}_lo" in names else "")
    cells = (name, _type(column), column.unit, _range(column), column.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(column: Column) -> str:
    text = str(column.dtype)
    return text if len(text) < 40 else text.partition("(")[0] + " of " + text.partition("(")[2].partition("(")[0]


def _range(column: Column) -> str:
    if column.one_of:
        return ", ".join(column.one_of)
    if column.minimum is None and column.maximum is None:
        return ""
    lowest = "" if column.minimum is None else f"{column.minimum:g}"
    return f"{lowest} …" + ("" if column.maximum is None else f" {column.maximum:g}")


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(tables_page(), encoding="utf-8")
