"""Digest of the project's code, and what else decides a result: workers elsewhere must agree with their driver."""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resources.environment import machine

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("emergence_assets", "resources")
CODE = "code of the project"
OWN = ("platform", "cpu_model", "num_threads", "cpu_capability", "mkl_cbwr")
"""Fields of `environment.machine` that belong to a machine and not to what is installed on it."""


@functools.cache
def code_digest() -> str:
    """Return a hash of all modules of the project: versions of results are computed by the driver, from its own."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            digest.update(str(path.relative_to(_ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def installed() -> dict[str, str]:
    """Return what must be equal on all machines of a run: the code, and the versions of Python and libraries."""
    return {CODE: code_digest()} | {name: str(found) for name, found in machine().items() if name not in OWN}


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Describe the differences of two environments; empty if there are none."""
    return ", ".join(
        f"{name} {found.get(name) or 'none'} instead of {wanted.get(name) or 'none'}"
        for name in {**wanted, **found}
        if wanted.get(name) != found.get(name)
    )
