"""What a result was made from, and whether that is what the study asks for now. Pure: no files, no orchestration."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from resources.errors import EmergenceError


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


@dataclass(frozen=True)
class Required:
    """What a cell has to be made from, according to the study, its inputs and the code as they are now."""

    asset: str
    cell: str
    """Key of the cell within the study, for example `gloss-25k/step000512/L01`."""
    recipe: Mapping[str, Any]
    """Settings that decide the result."""
    inputs: Mapping[str, str]
    """Input cell to fingerprint."""
    code_version: str
    """Scheme and hash of the code that makes it; see `code_version.py`."""

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits; equal exactly when asset, cell, recipe, inputs and code are equal."""
        record = [self.asset, self.cell, dict(self.recipe), dict(self.inputs), self.code_version]
        return hashlib.sha256(canonical_json(record).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Provenance:
    """What a stored cell was made from, kept inside the file or folder itself."""

    required: Required
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Numbers that describe the result, shown with it and checked; plain values only."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """What made it: see `environment.environment`."""
    created: str = ""
    """UTC time, ISO 8601."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what it was made from."""
        return self.required.fingerprint

    def to_json(self) -> str:
        """Text that is stored with the result."""
        return canonical_json(
            {
                "asset": self.required.asset,
                "cell": self.required.cell,
                "recipe": dict(self.required.recipe),
                "inputs": dict(self.required.inputs),
                "code_version": self.required.code_version,
                "fingerprint": self.fingerprint,
                "summary": dict(self.summary),
                "environment": dict(self.environment),
                "created": self.created,
            }
        )

    @staticmethod
    def from_json(text: str, where: object) -> "Provenance":
        """Read what `to_json` wrote, and check that it agrees with itself.

        Raises:
            EmergenceError: not such a record, or its fingerprint is not that of its content.
        """
        remedy = "delete it and run again; it will be made anew"
        try:
            record = json.loads(text)
            required = Required(*(record[key] for key in ("asset", "cell", "recipe", "inputs", "code_version")))
            stored = Provenance(required, record["summary"], record["environment"], record["created"])
            if not all(isinstance(record[key], dict) for key in ("recipe", "inputs", "summary", "environment")):
                raise TypeError("a part of the record is not a mapping")
            claimed = record["fingerprint"]
            computed = stored.fingerprint
        except (ValueError, KeyError, TypeError, RecursionError):
            raise EmergenceError("The provenance record cannot be read.", where=where, remedy=remedy) from None
        if claimed != computed:
            raise EmergenceError("The provenance record was altered.", where=where, remedy=remedy)
        return stored


State = Literal["done", "stale", "missing"]
SHOWN_CHARACTERS = 160
"""Longer settings are cut in a message."""


def difference(stored: Required, required: Required) -> str:
    """Why a stored cell is not what is required now, in a few words; empty when it is."""
    if stored.fingerprint == required.fingerprint:
        return ""
    if (stored.asset, stored.cell) != (required.asset, required.cell):
        return f"it is {stored.asset} of {stored.cell}"
    changes = [
        f"{name} was {_shown(stored.recipe.get(name))}, is {_shown(required.recipe.get(name))}"
        for name in sorted(set(stored.recipe) | set(required.recipe))
        if _differs(stored.recipe, required.recipe, name)
    ]
    changed_inputs = [
        name
        for name in sorted(set(stored.inputs) | set(required.inputs))
        if stored.inputs.get(name) != required.inputs.get(name)
    ]
    if changed_inputs:
        more = f" and {len(changed_inputs) - 1} more" if len(changed_inputs) > 1 else ""
        changes.append(f"input {changed_inputs[0]}{more} changed")
    if stored.code_version != required.code_version:
        changes.append(_changed_code(stored.code_version, required.code_version))
    return "; ".join(changes)


def _changed_code(stored: str, required: str) -> str:
    scheme, required_scheme = (version.rpartition("-")[0] for version in (stored, required))
    if scheme == required_scheme:
        return "the code changed"
    return (
        f"its code version is of scheme {scheme or '1'}, which cannot be compared with scheme {required_scheme or '1'} "
        "of this release; it is made again"
    )


def _differs(stored: Mapping[str, Any], required: Mapping[str, Any], name: str) -> bool:
    # As the fingerprint compares: 1, 1.0 and true are equal to Python and not to it, nor are null and absent.
    if (name in stored) != (name in required):
        return True
    return canonical_json(stored[name]) != canonical_json(required[name])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
