#!/usr/bin/env python3
"""Draw the packages of micropie and their imports in ARCHITECTURE.md.

The imports are read with ``ast``. A package is one level above the highest package that it imports,
so all imports go down. The command fails if two packages import each other. Imports used only for
types are left out. Imports by name are drawn only if they go up.

tests/project/test_layers.py checks the imports that this module reads, and the picture.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "micropie"
PAGE = ROOT / "ARCHITECTURE.md"
PICTURE = re.compile(r"(<!-- picture of (\S+) -->\n).*?(<!-- end of the picture -->)", re.DOTALL)


# -- imports ---------------------------------------------------------------------------------------


class Import(NamedTuple):
    """An import of one module of micropie by another."""

    importer: str
    imported: str
    kind: str
    """ "straight" at the top of a module, "inside" a function, for "types", or "by name": with
    ``import_module("micropie...")``, ``module("micropie...")`` or a row of ``names_on_demand``."""
    function: str
    """The class and the function that it is in, "" for none."""


def module_of(path: Path, root: Path = ROOT) -> str:
    """Return the module name of a file of micropie, or of a package in another folder ``root``."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def modules_of(package: Path) -> dict[str, Path]:
    """Map the names of a package's modules to their files."""
    return {module_of(path, package.parent): path for path in sorted(package.rglob("*.py"))}


MODULES = modules_of(PACKAGE)
EVERY_FILE = [*MODULES.values()]


@cache
def imports_of(path: Path) -> list[Import]:
    """Return each import of micropie in one of its files."""
    return [*imports_in(ast.parse(path.read_text()), module_of(path), path.name == "__init__.py")]


def imports_in(
    tree: ast.Module,
    importer: str,
    is_package: bool = False,
    modules: Mapping[str, Path] = MODULES,
) -> Iterator[Import]:
    """Yield each import of micropie in a module, or of another package with these ``modules``."""
    package = importer.partition(".")[0]
    for node, kind, where in _placed_nodes(tree, "straight", ()):
        imported = ((name, kind) for name in _imported_names(node, importer, is_package))
        by_name = ((name, "by name") for name in _names_in_texts(node, importer))
        for name, how in (*imported, *by_name):
            if name.partition(".")[0] == package and _resolved(name, modules) != importer:
                yield Import(importer, _resolved(name, modules), how, ".".join(where))


def _resolved(name: str, modules: Mapping[str, Path]) -> str:
    """Return the module that a dotted name refers to, or that contains it."""
    while name not in modules:
        name = name.rpartition(".")[0]
    return name


def _placed_nodes(
    node: ast.AST, kind: str, where: tuple[str, ...]
) -> Iterator[tuple[ast.AST, str, tuple[str, ...]]]:
    """Yield each node, the kind that an import at this place has, and the names of the classes and
    functions around it.
    """
    yield node, kind, where
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        for one in node.body:
            yield from _placed_nodes(one, "types", where)
        for one in node.orelse:
            yield from _placed_nodes(one, kind, where)
        return
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        where = (*where, node.name)
        if kind == "straight" and not isinstance(node, ast.ClassDef):
            kind = "inside"
    for child in ast.iter_child_nodes(node):
        yield from _placed_nodes(child, kind, where)


def _imported_names(node: ast.AST, importer: str, is_package: bool) -> Iterator[str]:
    """Yield the dotted names that a statement imports."""
    match node:
        case ast.Import(aliases):
            yield from (alias.name for alias in aliases)
        case ast.ImportFrom(module, aliases, level):
            up = importer.split(".")
            up = up[: len(up) - level + is_package] if level else []
            base = ".".join([*up, *([module] if module else [])])
            yield from (f"{base}.{alias.name}" for alias in aliases)


def _names_in_texts(node: ast.AST, importer: str) -> Iterator[str]:
    """Yield the modules that a call imports by name."""
    match node:
        case ast.Call(ast.Name("import_module" | "module"), [ast.Constant(str(name)), *_]):
            yield name
        case ast.Call(ast.Name("names_on_demand" | "_names_on_demand"), [_, ast.Dict(keys), *_]):
            for key in keys:
                assert isinstance(key, ast.Constant)  # noqa: S101
                own = str(key.value).lstrip(".")
                dots = len(str(key.value)) - len(own)
                yield f"{importer.rsplit('.', dots)[0] if dots else importer}.{own}"


# -- the picture -----------------------------------------------------------------------------------


def redrawn(text: str) -> str:
    """Return a page with its pictures redrawn."""
    imports = [one for path in EVERY_FILE for one in imports_of(path)]
    return PICTURE.sub(lambda old: f"{old[1]}{picture(imports, old[2])}{old[3]}", text)


def picture(imports: Iterable[Import], folder: str) -> str:
    """Return the picture of the packages and modules directly in a folder such as
    ``micropie/_core``: the highest level first, one line each.

    Raises ``CycleError`` for packages that import each other.
    """
    package = folder.replace("/", ".")
    graph: dict[str, set[str]] = {}
    by_name = set()
    for one in imports:
        importer, imported = entry_of(one.importer, package), entry_of(one.imported, package)
        if not importer or not imported or importer == imported:
            continue
        if one.kind == "by name":
            by_name.add((importer, imported))
        elif one.kind != "types":
            graph.setdefault(importer, set()).add(imported)
            graph.setdefault(imported, set())
    levels = levels_of(graph)
    lines, last = [f"level  {folder + '/':16} imports"], 0
    for name in sorted(graph, key=lambda name: (-levels[name], name)):
        lines.append(_line(levels[name] if levels[name] != last else "", name, graph[name]))
        last = levels[name]
    upward: dict[str, set[str]] = {}
    for importer, imported in by_name:
        if levels[importer] <= levels[imported]:
            upward.setdefault(importer, set()).add(imported)
    lines += ["", "by name, on first use"] if upward else []
    lines += [_line("", name, upward[name]) for name in sorted(upward)]
    return "\n".join(["```text", *lines, "```", ""])


def _line(level: int | str, name: str, imported: Iterable[str]) -> str:
    arrow = f"-> {', '.join(sorted(imported))}" if imported else ""
    return f"{level:>5}  {name:13} {arrow}".rstrip()


def entry_of(module: str, package: str) -> str:
    """Return the entry of a package that is, or contains, a module. Return "" for a module outside
    the package.

    The public package itself is the entry ``micropie``.
    """
    if module == package == "micropie":
        return module
    inside = module.removeprefix(f"{package}.")
    return inside.partition(".")[0] if inside != module else ""


def levels_of(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Return the level of each package, 1 for one that imports none."""
    levels: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        levels[name] = 1 + max((levels[below] for below in graph[name]), default=0)
    return levels


def main(arguments: list[str] | None = None, page: Path = PAGE) -> str | None:
    """Draw the picture of a page. Return an error message, or None."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the picture is not current")
    options = parser.parse_args(arguments)
    text = page.read_text()
    try:
        drawn = redrawn(text)
    except CycleError as error:
        return f"imports go down only, and not {' -> '.join(reversed(error.args[1]))}"
    if drawn == text:
        return None
    if options.check:
        return f"{page.name} has an old picture: run scripts/picture.py"
    page.write_text(drawn)
    return None


if __name__ == "__main__":
    raise SystemExit(main())
