"""Versions of the code that makes a result: a hash of the definitions that it uses, wherever they are.

A definition is a function, a class or a constant at the top of a module. The version of a function is a hash of its own
body and of the bodies of all definitions that it reaches. Names of modules and import statements are not part of it, so
that code may move between files. Nor is text for people: comments, docstrings, annotations of functions, messages of
errors and descriptions of columns. Modules are parsed, never imported, so that this needs no torch.
"""

import contextlib
import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from emergence_assets.plan import code_definitions
from emergence_assets.plan.code_definitions import Definition, Module, is_science, parse_module
from resources.files.provenance import canonical_json

SCHEME = "2"
"""Of code versions: 2 hashes definitions, 1 hashed modules by name. Versions of two schemes cannot be compared."""


@functools.cache
def code_version(*functions: str) -> str:
    """Scheme and hash of the code behind a result, such as `2-8915c4739f751607`.

    Args:
        functions: `package.module:name` of what makes it; their order does not count.

    Raises:
        ValueError: there is no such definition.
    """
    versions = sorted(_version(name.replace(":", ".")) for name in functions)
    _write_cache()
    return f"{SCHEME}-{hashlib.sha256(chr(10).join(versions).encode()).hexdigest()[:16]}"


def reached(function: str) -> list[str]:
    """Definitions that a function uses, itself first, as `package.module:name`.

    Raises:
        ValueError: there is no such definition.
    """
    return [f"{module}:{name}" for module, name in _closure(function.replace(":", "."))]


Key = tuple[str, str]
"""Module and name of a definition."""


def _closure(function: str) -> dict[Key, list[tuple[int, tuple[str, ...]]]]:
    """Definitions reached from one, in the order of discovery; of each the numbers and attributes that it refers to."""
    start = _find(function)
    if start is None:
        raise ValueError(f"There is no definition {function}.")
    order: dict[Key, int] = {start[0]: 0}
    found: dict[Key, list[tuple[int, tuple[str, ...]]]] = {}
    pending = [start[0]]
    while pending:
        key = pending.pop(0)
        module, name = key
        found[key] = []
        for reference in _module(module).definitions[name].references:
            target = _find(f"{module}{reference}" if reference.startswith(".") else reference)
            if target is None:
                found[key].append((-1, (reference.rsplit(".", 1)[-1],)))
                continue
            if target[0] not in order:
                order[target[0]] = len(order)
                pending.append(target[0])
            found[key].append((order[target[0]], target[1]))
    return found


def _version(function: str) -> str:
    parts = [
        [_module(module).definitions[name].digest, references]
        for (module, name), references in _closure(function).items()
    ]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


@functools.cache
def _find(dotted: str) -> tuple[Key, tuple[str, ...]] | None:
    """The definition that a dotted name leads to, and the attributes behind it; None outside of the science."""
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        if not (is_science(module) and _source(module).is_file()):
            continue
        name, *attributes = parts[length:]
        read = _module(module)
        if name in read.definitions:
            return (module, name), tuple(attributes)
        if name in read.imports:  # a module that hands on what it imports
            return _find(".".join([read.imports[name], *attributes]))
        return None
    return None


def _source(module: str) -> Path:
    # By path and not by importlib, which would import the parent module and with it torch.
    return Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py")


# Parsed modules, kept on disk like Python's own compiled ones: parsing them all takes a third of the start.


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
    version = hashlib.sha256(code).hexdigest()[:16]  # other parsers have other caches
    return here.parent / "__pycache__" / f"code_version-{version}.json"


@functools.cache
def _cache() -> dict[str, Any]:
    """Hash of a module's source to what was parsed of it."""
    try:
        return dict(json.loads(_cache_file().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _write_cache() -> None:
    path = _cache_file()
    text = canonical_json(_cache())
    with contextlib.suppress(OSError):  # a package folder that cannot be written is only slower
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
