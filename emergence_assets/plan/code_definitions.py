"""Definitions of a module as plain values that do not change when code moves: science definitions are numbers.

Modules are parsed and not imported. Text for people (comments, docstrings, annotations of functions, messages of
errors, descriptions of columns) is left out.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from resources.files.provenance import canonical_json

PROJECT = ("emergence_assets", "resources")
COLUMN_KINDS = "resources.tables.columns"
"""Module of the functions that declare columns, with their types, units and ranges."""
STAGES = ("texts", "checkpoints", "activations", "saes", "features", "emergence", "report")
SCIENCE = (*(f"emergence_assets.{stage}" for stage in STAGES), COLUMN_KINDS)
"""Packages and modules whose code decides results. Other code of the project moves results without changing them, and
counts by its name only."""


class Definition(NamedTuple):
    """A function, a class or a constant at the top of a module."""

    digest: str
    """Hash of its body, in which every definition of the science packages is a number."""
    references: tuple[str, ...]
    """Dotted names in the order of these numbers; names of the same module begin with a dot."""


class Module(NamedTuple):
    """Definitions and imports of a module."""

    definitions: Mapping[str, Definition]
    imports: Mapping[str, str]
    """Name at the top of the module to dotted name."""


def is_science(module: str) -> bool:
    """Return whether a module, or a dotted name, belongs to the packages whose code decides results."""
    return any(f"{module}.".startswith(f"{package}.") for package in SCIENCE)


def parse_module(source: bytes) -> Module:
    """Read the definitions and imports of a module from its source text.

    Raises:
        SyntaxError: the source is not Python.
    """
    tree = ast.parse(source)
    imports: dict[str, str] = {}
    statements: dict[str, list[ast.stmt]] = {}
    effects: list[ast.stmt] = []
    for statement in tree.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(statement, _IMPORTS):
            imports |= _imported(statement)
        elif names := _bound(statement):
            for name in names:
                statements.setdefault(name, []).append(statement)
        elif not _is_left_out(statement):
            effects.append(statement)
    names = imports | {name: f".{name}" for name in statements}
    # Statements with effects at import belong to every definition of the module.
    return Module({name: _definition([*effects, *found], names) for name, found in statements.items()}, imports)


def _imported(statement: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Return the names that an import binds: name to dotted name."""
    if isinstance(statement, ast.ImportFrom):
        return {alias.asname or alias.name: f"{statement.module}.{alias.name}" for alias in statement.names}
    # `import a.b` binds a to a; `import a.b as c` binds c to a.b.
    return {
        alias.asname or alias.name.split(".")[0]: alias.name if alias.asname else alias.name.split(".")[0]
        for alias in statement.names
    }


def _bound(statement: ast.stmt) -> list[str]:
    """Return the names at the top of a module that a statement defines or changes."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [name for target in targets for name in _target_names(target)]
    if isinstance(statement, ast.If | ast.Try | ast.For | ast.With):
        inner = [node for node in ast.walk(statement) if isinstance(node, ast.stmt) and node is not statement]
        return list(dict.fromkeys(name for one in inner for name in _bound(one)))
    return []


def _target_names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
        return _target_names(target.value)
    return [name for one in getattr(target, "elts", ()) for name in _target_names(one)]


def _is_left_out(node: Any) -> bool:
    """Return whether a node is a text or an import, whose names are resolved where they are used."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_text or isinstance(node, _IMPORTS)


def _definition(statements: Sequence[ast.stmt], names: Mapping[str, str]) -> Definition:
    body = _Body(dict(names))
    plain = [body.plain(statement) for statement in statements]
    digest = hashlib.sha256(canonical_json(plain).encode()).hexdigest()
    return Definition(digest, tuple(body.references))


_IMPORTS = (ast.Import, ast.ImportFrom)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class _Body:
    """Code as plain values, equal in every version of Python that can read it.

    `ast.dump` is not equal: versions add fields, and some leave out empty ones. Absent fields, empty fields, and fields
    that follow from the position of a node (whether a name is read or assigned) are left out.
    """

    names: dict[str, str | None]
    """Name in scope to its dotted name, or to None for a local variable."""
    in_function: bool = False
    in_error: bool = False
    references: dict[str, int] = field(default_factory=dict)
    """Dotted name of a used science definition to its number."""

    def plain(self, node: Any) -> Any:
        """Return one node as plain values."""
        if isinstance(node, list):
            return [self.plain(one) for one in node if not _is_left_out(one)]
        if not isinstance(node, ast.AST):
            return node
        if isinstance(node, ast.Constant):
            return ["Constant", "" if self.in_error and isinstance(node.value, str) else repr(node.value)]
        if isinstance(node, ast.JoinedStr):
            return ["JoinedStr", [] if self.in_error else self._joined(node.values)]
        if isinstance(node, ast.Name | ast.Attribute) and (chain := self._chain(node)):
            return self._reference(chain)
        if isinstance(node, ast.Raise):
            inner = self._inner({}, in_error=True)
            return ["Raise", inner.plain(node.exc), self.plain(node.cause)]
        if isinstance(node, _FUNCTIONS):
            return self._function(node)
        if isinstance(node, _COMPREHENSIONS):
            variables = [name for one in node.generators for name in _target_names(one.target)]
            return self._inner(dict.fromkeys(variables)).fields(node)
        if isinstance(node, ast.ClassDef):
            return self._class(node)
        return self.fields(node)

    def fields(self, node: ast.AST) -> Any:
        """Return a node with all its fields as plain values."""
        without = ("annotation", "simple") if isinstance(node, ast.AnnAssign) and self.in_function else ()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            place = _description_place(self._chain(node.func))
            arguments = [argument for position, argument in enumerate(node.args) if position != place]
            node = ast.Call(node.func, arguments, node.keywords)
        plain_fields = {
            name: self.plain(value)
            for name, value in ast.iter_fields(node)
            if name not in ("ctx", "type_comment", *without)
        }
        return [type(node).__name__, {name: value for name, value in plain_fields.items() if value not in (None, [])}]

    def _inner(self, names: Mapping[str, str | None], **changes: bool) -> "_Body":
        """Return the scope inside this scope."""
        settings = {"in_function": self.in_function, "in_error": self.in_error} | changes
        return _Body({**self.names, **names}, references=self.references, **settings)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Any:
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        named += [one for one in (arguments.vararg, arguments.kwarg) if one]
        local: dict[str, str | None] = dict.fromkeys(one.arg for one in named)
        body = node.body if isinstance(node.body, list) else [node.body]
        declared_global = {name for one in _own(body) if isinstance(one, ast.Global) for name in one.names}
        for one in _own(body):
            if isinstance(one, _IMPORTS):
                local |= _imported(one)
            else:
                local |= dict.fromkeys(name for name in _binds(one) if name not in declared_global)
        inside = self._inner(local, in_function=True)
        # Parameters by name, kind and default; defaults and decorators are evaluated outside.
        counts = [len(arguments.posonlyargs), len(arguments.args), len(arguments.kwonlyargs)]
        signature = [[one.arg for one in named], counts, bool(arguments.vararg), bool(arguments.kwarg)]
        defaults = [self.plain(arguments.defaults), [self.plain(one) for one in arguments.kw_defaults]]
        decorators = self.plain(getattr(node, "decorator_list", []))
        name = getattr(node, "name", "")
        return [type(node).__name__, name, signature, defaults, decorators, inside.plain(body)]

    def _class(self, node: ast.ClassDef) -> Any:
        fields: dict[str, str | None] = dict.fromkeys(
            name for one in node.body if not isinstance(one, _FUNCTIONS) for name in _binds(one)
        )
        # Names of the class body are seen by its statements, and not inside its methods.
        inside = self._inner(fields, in_function=False)
        body = [
            (self if isinstance(one, _FUNCTIONS) else inside).plain(one) for one in node.body if not _is_left_out(one)
        ]
        return ["ClassDef", node.name, self.plain([*node.bases, *node.keywords, *node.decorator_list]), body]

    def _chain(self, node: ast.Name | ast.Attribute) -> str:
        """Return the dotted name of `a.b.c`; empty where `a` is a local variable, unknown or not a name."""
        attributes: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attributes.append(base.attr)
            base = base.value
        target = self.names.get(base.id) if isinstance(base, ast.Name) else None
        return "" if target is None else ".".join([target, *reversed(attributes)])

    def _reference(self, dotted: str) -> Any:
        if dotted.startswith(".") or is_science(dotted):
            return ["Definition", self.references.setdefault(dotted, len(self.references))]
        # The module of other project code does not count, nor does the alias of another library.
        is_ours = dotted.split(".")[0] in PROJECT
        return ["Elsewhere", dotted.rsplit(".", 1)[-1] if is_ours else dotted]

    def _joined(self, values: list[Any]) -> list[Any]:
        """Return the parts of an f-string: Python 3.11 joins neighbouring texts, later versions keep empty ones."""
        parts: list[Any] = []
        for value in values:
            if not isinstance(value, ast.Constant):
                parts.append(self.plain(value))
            elif parts and isinstance(parts[-1], str):
                parts[-1] += str(value.value)
            elif value.value:
                parts.append(str(value.value))
        return parts


def _description_place(function: str) -> int | None:
    """Return the position of the description among the arguments of a function that declares a column or a table."""
    if function.startswith(f"{COLUMN_KINDS}."):
        return 1
    return {"resources.tables.table.Column": 2, "resources.tables.table.Table": 1}.get(function)


def _own(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of the scope of a function, without the nodes of functions and classes inside it."""
    for node in body:
        yield node
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield from _own(list(ast.iter_child_nodes(node)))


def _binds(node: ast.AST) -> list[str]:
    """Return the names that a node binds itself."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Name):
        return [node.id] if isinstance(node.ctx, ast.Store | ast.Del) else []
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return [node.name] if node.name else []
    if isinstance(node, ast.MatchMapping):
        return [node.rest] if node.rest else []
    if isinstance(node, ast.AnnAssign | ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [
            name
            for target in targets
            if not isinstance(target, ast.Attribute | ast.Subscript)
            for name in _target_names(target)
        ]
    return []
