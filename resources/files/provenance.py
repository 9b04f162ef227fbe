"""Provenance of a result, and its comparison with the provenance that the study requires now. Pure functions."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from resources.errors import EmergenceError


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


@dataclass(frozen=True)
class Required:
    """Required provenance of a cell, by the present study, inputs and code."""

    asset: str
    cell: str
    """Name of the cell within the study, for example `gloss-25k/step000512/L01`."""
    recipe: Mapping[str, Any]
    """Settings that decide the result."""
    inputs: Mapping[str, str]
    """Input cell to fingerprint."""
    code_version: str
    """Scheme and hash of the code that makes the cell; see `code_version.py`."""

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits; equal exactly when asset, cell, settings, inputs and code are equal."""
        record = [self.asset, self.cell, dict(self.recipe), dict(self.inputs), self.code_version]
        return hashlib.sha256(canonical_json(record).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Provenance:
    """Provenance of a stored cell, kept inside its file or folder."""

    required: Required
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that describe the result, shown with it and checked."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Run, commit, libraries and machine of the result; see `environment.environment`."""
    created: str = ""
    """UTC time, ISO 8601."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the required provenance."""
        return self.required.fingerprint

    def to_json(self) -> str:
        """Return the text that is stored with the result."""
        record = {**vars(self.required), **vars(self), "fingerprint": self.fingerprint}
        del record["required"]
        return canonical_json(record)

    @staticmethod
    def from_json(text: str, where: object) -> "Provenance":
        """Read the text of `to_json`, and check its fingerprint.

        Raises:
            EmergenceError: the text is not a provenance record, or its fingerprint is not that of its content.
        """
        remedy = "delete it and run again; the result is made again"
        try:
            record = json.loads(text)
            required = Required(*(record[key] for key in ("asset", "cell", "recipe", "inputs", "code_version")))
            stored = Provenance(required, record["summary"], record["environment"], record["created"])
            if not all(isinstance(record[key], dict) for key in ("recipe", "inputs", "summary", "environment")):
                raise TypeError("a part of the record is not a mapping")
            stored_fingerprint = record["fingerprint"]
            computed_fingerprint = stored.fingerprint
        except (ValueError, KeyError, TypeError, RecursionError):
            raise EmergenceError("The provenance record cannot be read.", where=where, remedy=remedy) from None
        if stored_fingerprint != computed_fingerprint:
            raise EmergenceError("The provenance record was altered.", where=where, remedy=remedy)
        return stored


State = Literal["done", "stale", "missing", "failed"]
"""Of a cell; `failed`: it is up to date, and a blocking check does not pass."""
SHOWN_CHARACTERS = 160
"""Maximum length of a setting in a message."""


def difference(stored: Required, required: Required) -> str:
    """Describe the difference between stored and required provenance in a few words; empty without a difference."""
    if stored.fingerprint == required.fingerprint:
        return ""
    if (stored.asset, stored.cell) != (required.asset, required.cell):
        return f"it is {stored.asset} of {stored.cell}"
    changes = list(_changed_settings(stored.recipe, required.recipe))
    if changed_inputs := changed_names(stored.inputs, required.inputs):
        more = f" and {len(changed_inputs) - 1} more" if len(changed_inputs) > 1 else ""
        changes.append(f"input {changed_inputs[0]}{more} changed")
    if stored.code_version != required.code_version:
        changes.append(_changed_code(stored.code_version, required.code_version))
    return "; ".join(changes)


def _changed_settings(stored: Mapping[str, Any], required: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """Describe every changed setting by its whole name, such as `sae.n_latents`: a section may be long."""
    for name in sorted(set(stored) | set(required)):
        if not _differs(stored, required, name):
            continue
        before, after = stored.get(name), required.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changed_settings(before, after, f"{within}{name}.")
        elif _is_long(before) or _is_long(after):
            yield f"{within}{name} {_changed_list(before, after)}"
        else:
            yield f"{within}{name} was {_shown(before)}, is {_shown(after)}"


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(repr(value)) > SHOWN_CHARACTERS


def _changed_list(before: Any, after: Any) -> str:
    """Describe a list that a message cannot hold, such as the checkpoints of a model, by the entries that changed."""
    if not (isinstance(before, list) and isinstance(after, list)):
        return f"was {_shown(before)}, is {_shown(after)}"
    if len(before) != len(after):
        return f"had {len(before):,} entries, has {len(after):,}"
    changed = sum(canonical_json(one) != canonical_json(other) for one, other in zip(before, after, strict=True))
    return f"changed in {changed:,} of its {len(after):,} entries"


def changed_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the sorted names of which two mappings have different values; an absent name has the value None."""
    return [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]


def _changed_code(stored: str, required: str) -> str:
    scheme, required_scheme = (version.rpartition("-")[0] for version in (stored, required))
    if scheme == required_scheme:
        return "the code changed"
    return (
        f"its code version is of scheme {scheme or '1'}, which cannot be compared with scheme {required_scheme or '1'} "
        "of this release; it is made again"
    )


def _differs(stored: Mapping[str, Any], required: Mapping[str, Any], name: str) -> bool:
    # Compare as the fingerprint does: unlike Python, it distinguishes 1, 1.0 and true, and also null and absent.
    if (name in stored) != (name in required):
        return True
    return canonical_json(stored[name]) != canonical_json(required[name])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
