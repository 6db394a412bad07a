"""The names in a source: which modules it imports, and what a dotted expression stands for."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from importlib import import_module

# Only an application that moves here needs it: nothing else of the command line knows it.
COMPAT = import_module("micropie.compat")


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Return the full names behind the names of a module: ``cherrypy`` for ``cp``."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = _original(alias.name) if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            # a relative import has no names
            for alias, name in zip(node.names, imports(node), strict=False):
                names[alias.asname or alias.name] = name
    return names


def assigned_names(tree: ast.Module) -> set[str]:
    """Return the full names that a module assigns to: ``cherrypy.user`` for ``cp.user = 1``."""
    names = imported_names(tree)
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {dotted_name(node, names) for node in nodes if isinstance(node.ctx, ast.Store)} - {""}


def imports(node: ast.AST) -> list[str]:
    """Return the modules and names that a statement imports, of a stand-in its original's."""
    return [_original(name) for name in _written(node)]


def _written(node: ast.AST) -> list[str]:
    """Return the modules and names that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
        return [f"{node.module}.{alias.name}".removesuffix(".*") for alias in node.names]
    return []


def lines_of(tree: ast.Module, module: str) -> list[int]:
    """Return the lines of the statements that import a module, or of it."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(f"{name}.".startswith(f"{module}.") for name in _written(node))
    ]


def _original(name: str) -> str:
    """Return a framework's own name for one of its stand-in."""
    return name.removeprefix("micropie.compat.")


def dotted_name(node: ast.AST, names: Mapping[str, str]) -> str:
    """Return the full name of ``cp.engine.autoreload``, or "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return ""
    return ".".join([names[node.id], *parts])
