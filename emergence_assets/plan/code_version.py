"""Versions of the code that makes a result: a hash of all definitions that it uses, in any module.

A definition is a function, a class or a constant at the top of a module. The version of a function is a hash of its own
body and of the bodies of all definitions that it reaches. Names of modules and import statements are not part of it, so
that code may move between files. Text for people is not part of it either: comments, docstrings, annotations of
functions, messages of errors and descriptions of columns. Modules are parsed, never imported, so that torch is not
needed.
"""

import contextlib
import functools
import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

from emergence_assets.plan import code_definitions
from emergence_assets.plan.code_definitions import Definition, Module, is_science, parse_module
from resources.files.provenance import canonical_json

SCHEME = "2"
"""Scheme of code versions: 2 hashes definitions, 1 hashed modules by name. Versions of two schemes are incomparable."""


@functools.cache
def code_version(*functions: str) -> str:
    """Return the scheme and hash of the code behind a result, such as `2-8915c4739f751607`.

    Args:
        functions: functions that make the result, as `package.module:name`; their order does not count.

    Raises:
        ValueError: a definition does not exist.
    """
    n_known = len(_cache())
    versions = sorted(_version(name.replace(":", ".")) for name in functions)
    if len(_cache()) > n_known:
        _write_cache()
    return f"{SCHEME}-{hashlib.sha256(chr(10).join(versions).encode()).hexdigest()[:16]}"


def reached(function: str) -> list[str]:
    """List the definitions that a function uses, itself first, as `package.module:name`.

    Raises:
        ValueError: the definition does not exist.
    """
    return [f"{module}:{name}" for module, name in _closure(function.replace(":", "."))]


Key = tuple[str, str]
"""Module and name of a definition."""


def _closure(function: str) -> dict[Key, list[tuple[int, tuple[str, ...]]]]:
    """Map every used definition, in order of discovery, to the numbers and attributes of its references."""
    start = _find(function)
    if start is None:
        raise ValueError(f"There is no definition {function}.")
    order: dict[Key, int] = {start[0]: 0}
    closure: dict[Key, list[tuple[int, tuple[str, ...]]]] = {}
    pending = [start[0]]
    while pending:
        key = pending.pop(0)
        module, name = key
        closure[key] = []
        for reference in _module(module).definitions[name].references:
            target = _find(f"{module}{reference}" if reference.startswith(".") else reference)
            if target is None:
                closure[key].append((-1, (reference.rsplit(".", 1)[-1],)))
                continue
            if target[0] not in order:
                order[target[0]] = len(order)
                pending.append(target[0])
            closure[key].append((order[target[0]], target[1]))
    return closure


def _version(function: str) -> str:
    parts = [
        [_module(module).definitions[name].digest, references]
        for (module, name), references in _closure(function).items()
    ]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


@functools.cache
def _find(dotted: str) -> tuple[Key, tuple[str, ...]] | None:
    """Find the definition of a dotted name, and the attributes after it; None outside the science packages."""
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        if not (is_science(module) and _source(module).is_file()):
            continue
        name, *attributes = parts[length:]
        read = _module(module)
        if name in read.definitions:
            return (module, name), tuple(attributes)
        if name in read.imports:  # a re-exported import
            return _find(".".join([read.imports[name], *attributes]))
        return None
    return None


def _source(module: str) -> Path:
    # By path, because importlib would import the parent module and torch.
    return Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py")


# Parsed modules are cached on disk like compiled modules, because parsing all of them takes a third of the start.


@functools.cache
def _module(name: str) -> Module:
    source = _source(name).read_bytes()
    key = hashlib.sha256(source).hexdigest()
    if key not in _cache():
        parsed = parse_module(source)
        _cache()[key] = [{name: list(one) for name, one in parsed.definitions.items()}, dict(parsed.imports)]
    definitions, imports = _cache()[key]
    return Module({name: Definition(digest, tuple(refs)) for name, (digest, refs) in definitions.items()}, imports)


def _cache_file() -> Path:
    here = Path(__file__)
    code = here.read_bytes() + Path(code_definitions.__file__).read_bytes()
    version = hashlib.sha256(code).hexdigest()[:16]  # every version of the parser has its own cache
    return here.parent / "__pycache__" / f"code_version-{version}.json"


@functools.cache
def _cache() -> dict[str, Any]:
    """Return the cache: hash of the source of a module to its parsed definitions and imports."""
    try:
        return dict(json.loads(_cache_file().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _write_cache() -> None:
    path = _cache_file()
    with contextlib.suppress(OSError):  # an unwritable package folder only costs time
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{secrets.token_hex(8)}")
        temporary.write_text(canonical_json(_cache()), encoding="utf-8")
        temporary.replace(path)
