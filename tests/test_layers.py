"""The core never waits: what import-linter can't see of the layers (its contracts are in pyproject.toml)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "micropie"

# What may wait, or is made of parts that do. All else is the core.
DRIVERS = ("asgi", "wsgi", "channels", "mounts", "testing")
WAITING = tuple(
    f"execution/{name}.py" for name in ("loop", "scoped", "wake", "threads", "portal", "backpressure", "background")
)
ABOVE = ("__init__.py", "app.py")
LOOPS = {"anyio", "asyncio", "trio", "sniffio", "curio"}

EVERY_FILE = sorted(PACKAGE.rglob("*.py"))
BELOW_APP = [path for path in EVERY_FILE if path.relative_to(PACKAGE).parts[0] not in ABOVE]
CORE = [
    path
    for path in BELOW_APP
    if path.relative_to(PACKAGE).parts[0] not in DRIVERS and path.relative_to(PACKAGE).as_posix() not in WAITING
]

ASYNC = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(PACKAGE)))


def imported(path: Path) -> set[str]:
    """The full name of everything that is imported anywhere in a file, for type checking as well."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@each(CORE)
def test_there_is_no_async_below_the_drivers(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    assert [node.lineno for node in nodes if isinstance(node, ASYNC)] == []
    assert not any(isinstance(node, ast.comprehension) and node.is_async for node in nodes)


@each(CORE)
def test_no_event_loop_is_imported_below_the_drivers(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imported(path)} & LOOPS


@each(BELOW_APP)
def test_nothing_below_app_needs_it_even_for_types(path: Path) -> None:
    found = [name for name in imported(path) if f"{name}.".startswith("micropie.app.")]
    assert found == []
    assert not imported(path) & {"micropie", "micropie.App", "micropie.Server"}


def test_type_checkers_are_told_that_the_package_has_types() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_the_architecture_names_every_module() -> None:
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text()
    tops = {path.relative_to(PACKAGE).parts[0] for path in EVERY_FILE} - {"__init__.py"}
    assert [top for top in sorted(tops) if f"`{top}`" not in text and f"`{top}/`" not in text] == []
