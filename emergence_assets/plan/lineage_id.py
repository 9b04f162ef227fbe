"""Lineage ids: short names of results, printed by the report and accepted by `emergence audit`. Pure functions.

The id of a cell is the first ten digits of its fingerprint. The id of a row or figure has eight more digits, of the
hash of its key. Equal settings, inputs and code give equal ids.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from resources.files.provenance import canonical_json

CELL_DIGITS, ROW_DIGITS = 10, 8
LINEAGE_ID = re.compile(rf"([0-9a-f]{{{CELL_DIGITS}}})(?:-([0-9a-f]{{{ROW_DIGITS}}}))?")


def cell_id(fingerprint: str) -> str:
    """Return the lineage id of a cell."""
    return fingerprint[:CELL_DIGITS]


def row_id(fingerprint: str, key: Mapping[str, Any]) -> str:
    """Return the lineage id of a row, by its key columns, or of a figure, by its name."""
    return f"{cell_id(fingerprint)}-{sha256(canonical_json(dict(key)).encode()).hexdigest()[:ROW_DIGITS]}"


def figure_key(name: str) -> dict[str, Any]:
    """Return the key of a figure of the report, for `row_id`."""
    return {"figure": name}
