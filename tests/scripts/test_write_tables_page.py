"""The page of tables agrees with the declarations, and is current."""

from emergence_assets.pipeline import TABLES
from scripts.write_tables_page import PAGE, tables_page


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == tables_page(), "make docs"


def test_every_column_of_every_table_stands_on_it_with_its_meaning() -> None:
    sections = tables_page().split("\n## ")[1:]
    assert len(sections) == len(TABLES)
    for section, table in zip(sections, TABLES.values(), strict=True):
        assert section.startswith(f"`{table.name}`")
        for column in table.columns:
            stem = column.name.removesuffix("_lo").removesuffix("_hi")
            assert f"| `{column.name}`" in section or f"| `{stem}`, `_lo`, `_hi`" in section
            assert column.description.replace("|", "\\|") in section or "end of the 95 % interval" in column.description


def test_every_column_has_a_meaning_and_a_unit() -> None:
    for table in TABLES.values():
        assert len({column.name for column in table.columns}) == len(table.columns), table.name
        assert set(table.key) <= set(table.schema), table.name
        assert all(column.description and column.unit for column in table.columns), table.name
