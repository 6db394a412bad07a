"""Resolve names in source code: find the modules that it imports, and the full name of an
expression such as ``cp.engine``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TypeAlias, TypeVar

from micropie_compat.missing import ADVICE
from micropie_compat.stand_in import FRAMEWORKS

Names: TypeAlias = Mapping[str, str]
"""The full names of a module's imports by their local names: ``{"cp": "cherrypy"}``."""

Trees: TypeAlias = Mapping[Path, ast.Module]
"""The parsed modules of a program, by file."""


Node = TypeVar("Node", bound=ast.AST)


def nodes_of(tree: ast.AST, kind: type[Node]) -> Iterator[Node]:
    """Yield the nodes of a kind in a tree, the outer ones first."""
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Return the full names of a module's imports by their local names: ``{"cp": "cherrypy"}``."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = _original(alias.name) if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            # ``zip`` isn't strict, because ``imports`` returns an empty list for a relative import.
            for alias, name in zip(node.names, imports(node), strict=False):
                if alias.name == "*":
                    names |= _all_names(name)
                else:
                    names[alias.asname or alias.name] = name
    return names


def _all_names(framework: str) -> dict[str, str]:
    """Return the names that ``from <framework> import *`` binds."""
    if framework not in FRAMEWORKS:
        return {}
    missing = [name for name in ADVICE if name.startswith(f"{framework}.")]
    public = vars(import_module(f"micropie_compat.{framework}"))
    found = {*public, *(name.split(".")[1] for name in missing)}
    return {name: f"{framework}.{name}" for name in found if not name.startswith("_")}


def assigned_names(tree: ast.Module) -> set[str]:
    """Return the full names of the attributes that a module assigns: ``cherrypy.user`` for
    ``cp.user = 1``.
    """
    names = imported_names(tree)
    nodes = nodes_of(tree, ast.Attribute)
    return {dotted_name(node, names) for node in nodes if isinstance(node.ctx, ast.Store)} - {""}


def imports(node: ast.AST) -> list[str]:
    """Return the full names that a statement imports. For a compatibility module, return the names
    in the original framework.
    """
    return [_original(name) for name in _written(node)]


def _written(node: ast.AST) -> list[str]:
    """Return the full names that a statement imports, as written in the source."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
        return [f"{node.module}.{alias.name}".removesuffix(".*") for alias in node.names]
    return []


def statements_of(tree: ast.Module, module: str) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the statements that import a module or something from it, except those that run only
    after an ``ImportError``.
    """
    instead = {node for handler in nodes_of(tree, ast.ExceptHandler) for node in ast.walk(handler)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Import | ast.ImportFrom)
            and node not in instead
            and any(f"{name}.".startswith(f"{module}.") for name in _written(node))
        ):
            yield node


def derived(trees: Iterable[ast.Module], bases: frozenset[str]) -> frozenset[str]:
    """Return the names of a program's classes that are derived from ``bases``, directly or
    indirectly, in any of its modules.
    """
    classes = [
        (node.name, [name_of(base, names) for base in node.bases])
        for tree in trees
        for names in [imported_names(tree)]
        for node in nodes_of(tree, ast.ClassDef)
    ]
    known: set[str] = set()
    is_more = True
    while is_more:
        found = {
            name
            for name, given in classes
            if any(base in bases or base.rpartition(".")[2] in known for base in given)
        }
        is_more, known = found > known, found
    return frozenset(known)


def name_of(node: ast.expr, names: Names) -> str:
    """Return the full name of a class. If the class isn't imported, return its name as in the
    source.
    """
    kind = node.value if isinstance(node, ast.Subscript) else node
    return dotted_name(kind, names) or source_of(kind)


def _original(name: str) -> str:
    """Return the name in the original framework for a name in ``micropie_compat``."""
    return name.removeprefix("micropie_compat.")


def source_of(node: ast.AST) -> str:
    """Return an expression as source, or "" if it is nested too deeply for ``ast``, such as a sum
    of hundreds of strings.
    """
    try:
        return ast.unparse(node)
    except RecursionError:
        return ""


def dotted_name(node: ast.AST, names: Names) -> str:
    """Return the full name of an expression such as ``cp.engine.autoreload``, or "" if the
    expression isn't a name.
    """
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return ""
    return ".".join([names[node.id], *parts])
