"""The rules of the compatibility modules that import-linter can't check (tests/project/test_layers.py)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import micropie_compat
from micropie_compat import core
from scripts.picture import imports_in, modules_of
from tests.project.test_layers import (
    CONTRACTS,
    circle_in,
    no_tree_is_kept,
    nodes_of,
    taken_by,
    twins,
)

PACKAGE = Path(micropie_compat.__file__).parent
ROOT = Path(__file__).parents[2]
MODULES = modules_of(PACKAGE)
EVERY_FILE = [*MODULES.values()]

# The fixture of both.
__all__ = ["no_tree_is_kept"]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {
            one.imported
            for one in imports_in(
                ast.parse(path.read_text()), module, path.name == "__init__.py", MODULES
            )
            if one.kind in ("straight", "types")
        }
        for module, path in MODULES.items()
    }
    assert circle_in(graph) == []
    assert sum(map(len, graph.values())) > 100


def test_no_function_has_a_twin_that_does_the_same_at_once() -> None:
    assert twins(node for path in EVERY_FILE for node in nodes_of(path)) == []


def test_type_checkers_are_told_that_the_package_has_types() -> None:
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize(
    "path", [path for path in EVERY_FILE if path.name == "__init__.py"], ids=name_of
)
def test_a_package_says_which_file_to_open(path: Path) -> None:
    """The files that its docstring names are in it, in the whole package, or in the repository."""
    text = ast.get_docstring(nodes_of(path)[0]) or ""  # type: ignore[arg-type]
    assert "Open ``" in text
    named = re.findall(r"``([\w./]+\.(?:py|md|toml))``", text)
    places = (path.parent, PACKAGE, ROOT)
    assert [file for file in named if not any((place / file).exists() for place in places)] == []


def test_one_module_imports_a_library_that_micropie_may_do_without() -> None:
    forbidden = {
        name
        for contract in ("dependencies", "test-clients")
        for name in CONTRACTS[f"importlinter:contract:{contract}"]["forbidden_modules"].split()
    }
    found = {
        (name_of(path), name)
        for path in EVERY_FILE
        for node in nodes_of(path)
        for name in imported_by(node)
        if name in forbidden
    }
    assert found == {("bottle/templates.py", "jinja2")}


def imported_by(node: ast.AST) -> list[str]:
    """Return the packages that a statement imports."""
    match node:
        case ast.Import(names):
            return [alias.name.partition(".")[0] for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [module.partition(".")[0]]
    return []


# -- its face of the core --------------------------------------------------------------------------

# Names with a public home that no list of promised names has.
HOMES = {"cherrypy/background.py": ["micropie.wsgi.open_server"]}


@pytest.mark.parametrize(
    "path", [path for path in EVERY_FILE if name_of(path) != "core.py"], ids=name_of
)
def test_a_module_imports_promised_names_and_those_of_the_face(path: Path) -> None:
    taken = {name for node in nodes_of(path) for name in taken_by(node)}
    # what it carries lives on the exchange and on the tree of applications
    assert sorted(taken - {"_exchange", "_micropie"}) == HOMES.get(name_of(path), [])


def test_the_face_is_the_core_s() -> None:
    taken = {name for node in nodes_of(PACKAGE / "core.py") for name in taken_by(node)}
    # FRAMEWORK is for core.py itself, which adds this package
    assert {name.rpartition(".")[2] for name in taken} == {*core.__all__, "FRAMEWORK"}
    assert all(name.startswith("micropie._core.") for name in taken)


def names_from_core(path: Path) -> set[str]:
    """Return the names that a module imports from the face of the core."""
    return {
        alias.name
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and node.module == "micropie_compat.core"
        for alias in node.names
    }


def test_each_name_of_the_face_is_used() -> None:
    assert set().union(*map(names_from_core, EVERY_FILE)) == {*core.__all__}


def test_the_page_of_the_face_has_all_its_names_and_why_they_are_needed() -> None:
    table = (ROOT / "compat" / "CARRYING.md").read_text().partition("| name |")[2]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", table, re.MULTILINE)
    assert sorted(rows) == sorted(core.__all__)
    assert len(rows) == table.count("\n| `")
    # each one more is one that the core can't change without a look at both packages
    assert len(rows) <= 31
