"""Short names of results, as the report prints them and `emergence audit` takes them. Pure.

A cell is named by the first ten digits of its fingerprint; a row or a figure in it by these and eight more, of its key.
Equal settings, inputs and code give equal names.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from resources.files.provenance import canonical_json

CELL_DIGITS, ROW_DIGITS = 10, 8
LINEAGE_ID = re.compile(rf"([0-9a-f]{{{CELL_DIGITS}}})(?:-([0-9a-f]{{{ROW_DIGITS}}}))?")


def cell_id(fingerprint: str) -> str:
    """Short name of a cell."""
    return fingerprint[:CELL_DIGITS]


def row_id(fingerprint: str, key: Mapping[str, Any]) -> str:
    """Short name of what a cell holds: a row by its key columns, a figure by its name."""
    return f"{cell_id(fingerprint)}-{sha256(canonical_json(dict(key)).encode()).hexdigest()[:ROW_DIGITS]}"


def figure_key(name: str) -> dict[str, Any]:
    """What stands for the key of a figure of the report."""
    return {"figure": name}
