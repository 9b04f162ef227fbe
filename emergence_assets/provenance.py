"""What a result was made from, and whether that is what the study asks for now. Pure: no files, no orchestration."""

import ast
import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from emergence_assets.errors import EmergenceError

SCIENCE_PACKAGES = tuple(
    f"emergence_assets.{package}"
    for package in ("wordnet", "checkpoints", "activations", "saes", "features", "emergence", "report")
)
"""Packages whose code decides a result; orchestration, paths and the study file's parser do not."""
SCIENCE_MODULES = ("emergence_assets.theme", "emergence_assets.columns")
"""Modules beside them that decide what a result looks like, or which columns it has."""
NOT_SCIENCE = ("assets", "checks", "cells", "feature_cells", "control_cells")
"""Modules of a stage that move results without changing them."""
DESCRIPTIONS = {"Column": 2, "Table": 1}
"""Which argument of a table's declaration (`table.py`) is text for people, like a docstring."""


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
    """Hash of the science modules that make it."""

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
"""Longer settings are cut when a difference is told."""


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
        changes.append("the code changed")
    return "; ".join(changes)


def _differs(stored: Mapping[str, Any], required: Mapping[str, Any], name: str) -> bool:
    # As the fingerprint compares: 1, 1.0 and true are equal to Python and not to it, nor are null and absent.
    if (name in stored) != (name in required):
        return True
    return canonical_json(stored[name]) != canonical_json(required[name])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


@functools.cache
def code_version(*modules: str) -> str:
    """Hash of the science behind a result: the named modules and every science module they import.

    Comments, docstrings, layout and the descriptions of tables do not count. Modules are read, not imported, so that
    this is free of torch.
    """
    pending, seen = list(modules), set[str]()
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending += _read_module(name).imports
    lines = [f"{name} {_read_module(name).digest}" for name in sorted(seen)]
    _remember_modules()
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class _Module(NamedTuple):
    digest: str
    imports: tuple[str, ...]


@functools.cache
def _read_module(name: str) -> _Module:
    """Hash of a module's code, and the science modules that it imports."""
    source = _source(name).read_bytes()
    key = hashlib.sha256(source).hexdigest()
    if key not in _remembered():
        tree = ast.parse(source)
        imports = _science_imports(tree)
        _strip_words(tree)
        _remembered()[key] = [hashlib.sha256(canonical_json(_plain(tree)).encode()).hexdigest(), *imports]
    digest, *imports = _remembered()[key]
    return _Module(digest, tuple(imports))


def _memory() -> Path:
    """Where digests are kept, like Python's own compiled modules; another version of this file has another memory."""
    here = Path(__file__)
    version = hashlib.sha256(here.read_bytes()).hexdigest()[:16]
    return here.parent / "__pycache__" / f"code_digests-{version}.json"


@functools.cache
def _remembered() -> dict[str, list[str]]:
    """Hash of a module's source to its digest and imports; parsing all modules takes a third of the start."""
    try:
        return dict(json.loads(_memory().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _remember_modules() -> None:
    path = _memory()
    known = canonical_json(_remembered())
    with contextlib.suppress(OSError):  # a package folder that cannot be written is only slower
        if not path.exists() or path.read_text(encoding="utf-8") != known:
            path.parent.mkdir(exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text(known, encoding="utf-8")
            temporary.replace(path)


def _source(module: str) -> Path:
    # By path and not by importlib, which would import the parent module and with it torch.
    return Path(__file__).parent.parent.joinpath(*module.split(".")).with_suffix(".py")


def _science_imports(tree: ast.Module) -> list[str]:
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` and `from module import name` look alike: keep what is a module.
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if _is_science(name)]


def _is_science(name: str) -> bool:
    if name in SCIENCE_MODULES:
        return True
    in_stage = any(name.startswith(f"{package}.") for package in SCIENCE_PACKAGES)
    return in_stage and name.rsplit(".", 1)[-1] not in NOT_SCIENCE and _source(name).is_file()


def _plain(node: Any) -> Any:
    """Code as plain values, the same in every version of Python that can read it.

    `ast.dump` is not: versions add fields, and some leave out empty ones. What is absent, empty or follows from where a
    node stands (whether a name is read or assigned) is left out.
    """
    if isinstance(node, ast.Constant):
        return ["Constant", repr(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["JoinedStr", _joined(node.values)]
    if isinstance(node, ast.AST):
        fields = {name: _plain(value) for name, value in ast.iter_fields(node) if name != "ctx"}
        return [type(node).__name__, {name: value for name, value in fields.items() if value not in (None, [])}]
    return [_plain(one) for one in node] if isinstance(node, list) else node


def _joined(values: list[Any]) -> list[Any]:
    """Parts of an f-string: Python 3.11 joins neighbouring pieces of text, later versions leave empty ones."""
    parts: list[Any] = []
    for value in values:
        if not isinstance(value, ast.Constant):
            parts.append(_plain(value))
        elif parts and isinstance(parts[-1], str):
            parts[-1] += str(value.value)
        elif value.value:
            parts.append(str(value.value))
    return parts


def _strip_words(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                statement
                for statement in node.body
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            ]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DESCRIPTIONS:
            place = DESCRIPTIONS[node.func.id]
            node.args[place : place + 1] = []
