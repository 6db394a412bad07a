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


def test_no_modules_import_each_other_circularly() -> None:
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


def test_no_function_has_a_synchronous_twin() -> None:
    assert twins(node for path in EVERY_FILE for node in nodes_of(path)) == []


def test_the_package_has_a_marker_for_type_checkers() -> None:
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize(
    "path", [path for path in EVERY_FILE if path.name == "__init__.py"], ids=name_of
)
def test_each_package_docstring_lists_its_files(path: Path) -> None:
    """The files that its docstring names are in it, in the whole package, or in the repository."""
    text = ast.get_docstring(nodes_of(path)[0]) or ""  # type: ignore[arg-type]
    assert "Open ``" in text
    named = re.findall(r"``([\w./]+\.(?:py|md|toml))``", text)
    places = (path.parent, PACKAGE, ROOT)
    assert [file for file in named if not any((place / file).exists() for place in places)] == []


def test_each_optional_library_is_imported_in_one_module() -> None:
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
HOMES = {
    "bottle/server.py": ["micropie.wsgi.StrictHandler"],
    "cherrypy/background.py": ["micropie.wsgi.open_server"],
}


@pytest.mark.parametrize(
    "path", [path for path in EVERY_FILE if name_of(path) != "core.py"], ids=name_of
)
def test_a_module_imports_public_names_and_those_of_core_alone(path: Path) -> None:
    taken = {name for node in nodes_of(path) for name in taken_by(node)}
    # what it carries lives on the exchange and on the tree of applications
    assert sorted(taken - {"_exchange", "_micropie"}) == HOMES.get(name_of(path), [])


def test_core_only_has_names_of_micropie_s_core() -> None:
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


def test_each_name_of_core_is_used() -> None:
    assert set().union(*map(names_from_core, EVERY_FILE)) == {*core.__all__}


def test_the_page_about_core_lists_each_name_with_its_reason() -> None:
    table = (ROOT / "compat" / "CARRYING.md").read_text().partition("| name |")[2]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", table, re.MULTILINE)
    assert sorted(rows) == sorted(core.__all__)
    assert len(rows) == table.count("\n| `")
    assert len(rows) <= 31, (
        "the core can't change a name here without a look at both packages: use a public name, or "
        "raise the number and say why"
    )
