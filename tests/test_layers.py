"""The rules of the layers that import-linter can't check; its contracts are in pyproject.toml.

The core never waits: it has no ``async`` and imports no event loop. Nothing below ``App`` needs it.
No modules import each other in a circle, also not for type checking. The package has few entries
and few uses of ``Any``.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "micropie"

# These may wait, or consist of parts that do. All else is the core.
DRIVERS = ("asgi", "wsgi", "channels", "mounts", "testing")
WAITING = (
    "streams/source.py",
    "streams/threaded.py",
    *(f"execution/{name}.py" for name in ("loop", "threads", "background")),
    *(f"steps/{name}.py" for name in ("after_response", "generators")),
)
ABOVE = (
    "__init__.py",
    "__main__.py",
    "app.py",
    "carrying.py",
    "cli",
    "compat",
    "testing/requests.py",
)
# Extensions that come with micropie: they import what it promises to all.
BATTERIES = ("channels", "config.py", "debug", "middleware", "openapi")
LOOPS = {"anyio", "asyncio", "trio", "sniffio", "curio"}

EVERY_FILE = sorted(PACKAGE.rglob("*.py"))


def _is_among(path: Path, places: Iterable[str]) -> bool:
    relative = path.relative_to(PACKAGE)
    return not {relative.parts[0], relative.as_posix()}.isdisjoint(places)


BELOW_APP = [path for path in EVERY_FILE if not _is_among(path, (*ABOVE, *BATTERIES))]
CORE = [path for path in EVERY_FILE if not _is_among(path, (*ABOVE, *DRIVERS, *WAITING))]

ASYNC = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Return all nodes of a file, whose tree each test would take as long to make as to ask."""
    return [*ast.walk(ast.parse(path.read_text()))]


@pytest.fixture(scope="module", autouse=True)
def no_tree_is_kept() -> Iterator[None]:
    """Free the nodes, which the garbage collector would look through in all tests that follow."""
    yield
    nodes_of.cache_clear()


@cache
def imported(path: Path) -> set[str]:
    """Return the full name of everything that a file imports, anywhere in it and for type checking
    too.
    """
    names = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_there_is_no_async_below_the_drivers() -> None:
    found = [
        f"{name_of(path)}: {ast.unparse(node)}"
        for path in CORE
        for node in nodes_of(path)
        if isinstance(node, ASYNC) or any(part.is_async for part in getattr(node, "generators", []))
    ]
    assert found == []


def test_no_event_loop_is_imported_below_the_drivers() -> None:
    roots = {name_of(path): {name.partition(".")[0] for name in imported(path)} for path in CORE}
    assert {name: found & LOOPS for name, found in roots.items() if found & LOOPS} == {}


def test_nothing_below_app_needs_it_even_for_types() -> None:
    found = [
        (name_of(path), name)
        for path in BELOW_APP
        for name in imported(path)
        if f"{name}.".startswith("micropie.app.")
        or name in ("micropie", "micropie.App", "micropie.Server")
    ]
    assert found == []


# -- one flow --------------------------------------------------------------------------------------

AT_ONCE = re.compile(r"(.+)_(?:now|nowait|at_once)")


def twins(nodes: Iterable[ast.AST]) -> list[str]:
    """Return the functions beside which another of the same name does the same at once, such as
    ``open_now``.
    """
    names = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name.lstrip("_"))
        elif isinstance(node, ast.Assign):
            names |= {
                target.id.lstrip("_") for target in node.targets if isinstance(target, ast.Name)
            }
    return sorted(
        name for name in names if (found := AT_ONCE.fullmatch(name)) and found[1] in names
    )


def test_no_function_has_a_twin_that_does_the_same_at_once() -> None:
    assert twins(node for path in EVERY_FILE for node in nodes_of(path)) == []


def test_twins_are_found() -> None:
    source = """
class Store:
    def open(self): ...
    def _open_now(self): ...
    async def receive(self): ...
    receive_nowait = receive
def start(): ...
def start_at_once(): ...
def know(): ...
"""
    assert twins(ast.walk(ast.parse(source))) == ["open_now", "receive_nowait", "start_at_once"]
    source = "def finish_now(): ...\ndef finish(): ..."
    assert twins(ast.walk(ast.parse(source))) == ["finish_now"]
    assert twins(ast.walk(ast.parse("def may_now(): ..."))) == []


@cache
def import_graph() -> dict[str, set[str]]:
    """Map each module to the modules of the package that it imports; all names are relative to
    ``micropie``.
    """
    names = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in EVERY_FILE}
    modules = {
        name.removesuffix(".__init__").replace("__init__", "") or "micropie": p
        for p, name in names.items()
    }
    graph = {}
    for module, path in modules.items():
        inside = {
            name.removeprefix("micropie.")
            for name in imported(path)
            if name.startswith("micropie.")
        }
        found = {
            name if name in modules else name.rpartition(".")[0] or "micropie" for name in inside
        }
        graph[module] = found - {module}
    return graph


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle_in(import_graph()) == []


def test_type_checkers_are_told_that_the_package_has_types() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_the_architecture_names_every_module() -> None:
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text()
    tops = {path.relative_to(PACKAGE).parts[0] for path in EVERY_FILE} - {"__init__.py"}
    assert [top for top in sorted(tops) if f"`{top}`" not in text and f"`{top}/`" not in text] == []


def test_the_files_that_the_architecture_names_exist_and_have_what_it_says() -> None:
    root = PACKAGE.parent
    text = (root / "ARCHITECTURE.md").read_text()
    names = {path.name for top in ("micropie", "tests") for path in (root / top).rglob("*.py")}
    for file, name in re.findall(r"`([\w./]+\.(?:py|md|toml))`(?: `(\w+)`)?", text):
        found = [path for path in (root / file, PACKAGE / file) if path.exists()]
        assert found or file in names, file
        assert not name or name in found[0].read_text(), (file, name)


def test_the_package_has_few_entries() -> None:
    # Beside what no request needs. They were 26, and the faces of three rooms had 282 names: the
    # rooms that were taken out of them have a subject each.
    above = {*ABOVE, *BATTERIES} - {"__init__.py", "app.py"}
    assert (
        len([path for path in PACKAGE.iterdir() if path.name not in {"__pycache__", *above}]) <= 33
    )


NOT_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def lines_and_uses_of_any(path: Path) -> tuple[int, int]:
    """Count the lines with code, docstrings left out, and the uses of ``Any`` outside of
    imports.
    """
    nodes, source = nodes_of(path), path.read_text()
    first_statements = [
        node.body[0] for node in nodes if isinstance(node, Documented) and ast.get_docstring(node)
    ]
    docstrings = {line for node in first_statements for line in lines_of(node)}
    imports = {
        line
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in lines_of(node)
    }
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in NOT_CODE
    ]
    code = {
        line for token in tokens for line in range(token.start[0], token.end[0] + 1)
    } - docstrings
    return len(code), sum(
        token.string == "Any" and token.start[0] not in imports for token in tokens
    )


def lines_of(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def test_any_is_for_what_may_be_anything() -> None:
    # What stands in for a module without types takes and gives what that one does.
    counts = [lines_and_uses_of_any(path) for path in EVERY_FILE if "compat" not in path.parts]
    lines, uses = map(sum, zip(*counts, strict=True))
    assert uses / lines <= 25 / 1000


# -- faces -----------------------------------------------------------------------------------------

MOST_NAMES = {"http": 55, "execution": 35, "routing": 30}
# Of no extension's; ``debug`` and ``openapi`` are imported by name.
ROOMS = [
    "asgi",
    "binding",
    "discovery",
    "execution",
    "files",
    "flow",
    "forms",
    "headers",
    "http",
    "mounts",
    "routing",
    "steps",
    "streams",
    "templates",
    "wsgi",
]


@cache
def used() -> dict[str, set[str]]:
    """Map each package to its names that other packages import, or take by its name or by that of
    ``module("...")``.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for path in EVERY_FILE:
        own = f"micropie.{path.relative_to(PACKAGE).parts[0]}"
        for node in nodes_of(path):
            match node:
                case ast.ImportFrom(module=str(module), names=found) if module != own:
                    names[module] |= {alias.name for alias in found}
                case ast.Attribute(ast.Name(owner), name) if f"micropie.{owner}" != own:
                    names[f"micropie.{owner}"].add(name)
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_has_what_other_packages_use_and_nothing_else(room: str) -> None:
    face = import_module(f"micropie.{room}").__all__
    assert [name for name in face if name not in used()[f"micropie.{room}"]] == []
    assert len(face) <= MOST_NAMES.get(room, 38)


# -- a battery is an extension ---------------------------------------------------------------------

# Those that use promised names alone; of ``middleware`` the files of which that is asked.
ON_PROMISED_NAMES = [
    PACKAGE / "config.py",
    *(path for name in ("channels", "cli", "openapi") for path in (PACKAGE / name).rglob("*.py")),
    *(PACKAGE / "debug" / f"{name}.py" for name in ("access", "page")),
    *(
        PACKAGE / "middleware" / f"{name}.py"
        for name in ("health", "metrics", "rate_limit", "redis_rate_store", "tracing")
    ),
]
FACES = {
    "micropie",
    *(
        f"micropie.{name}"
        for name in ("channels", "config", "extensions", "middleware", "sessions", "testing")
    ),
}


# Applications that move to micropie call its ``install``. The command line asks it by name, when
# ``--from`` does or a process is told to.
MOVING = "micropie.compat"


def not_promised(path: Path, source: str | None = None) -> list[str]:
    """Return what a file takes from other packages of micropie that is in no promised face:
    imported, also by a text, or as an attribute that is the heart's own.
    """
    own = f"micropie.{path.relative_to(PACKAGE).parts[0].removesuffix('.py')}"
    nodes = nodes_of(path) if source is None else ast.walk(ast.parse(source))
    found = [name for node in nodes for name in taken_by(node)]
    return sorted(name for name in found if not f"{name}.".startswith(f"{own}."))


def taken_by(node: ast.AST) -> list[str]:
    """Return what a node of a file takes from micropie that is not promised."""
    match node:
        case ast.Attribute(attr="_exchange" | "_micropie" as attribute):
            return [attribute]
        case ast.Call(ast.Name("import_module" | "module"), [ast.Constant(str(module)), *_]):
            return [] if module in FACES or module == MOVING else _of_micropie([module])
        case ast.Import(names):
            return _of_micropie([alias.name for alias in names])
        case ast.ImportFrom(module, names, level):
            found = {alias.name for alias in names}
            if module in FACES:
                found -= {*import_module(module).__all__}
            elif module == "micropie.routing":
                found -= {"Settings"}
            whole = [f"{'.' * level}{module or ''}.{name}" for name in found]
            return whole if level else _of_micropie(whole)
    return []


def _of_micropie(names: Iterable[str]) -> list[str]:
    return [name for name in names if f"{name}.".startswith("micropie.")]


@pytest.mark.parametrize("path", ON_PROMISED_NAMES, ids=name_of)
def test_a_battery_imports_what_any_extension_may(path: Path) -> None:
    assert not_promised(path) == []


@pytest.mark.parametrize("path", [*(PACKAGE / "compat").rglob("*.py")], ids=name_of)
def test_what_carries_another_framework_imports_the_face_for_that(path: Path) -> None:
    # what it carries lives on the exchange and on the tree of applications
    carried = {f"micropie.carrying.{name}" for name in import_module("micropie.carrying").__all__}
    assert {*not_promised(path)} <= {"_exchange", "_micropie", *carried}


def test_the_page_of_the_provisional_face_has_all_its_names() -> None:
    page = (PACKAGE.parent / "tests" / "compat" / "CARRYING.md").read_text()
    table = page.partition("| name |")[2]
    listed = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert sorted(listed) == sorted(import_module("micropie.carrying").__all__)
    assert len(listed) <= 32


def test_other_names_are_found() -> None:
    assert "micropie.carrying.Site" in not_promised(PACKAGE / "compat" / "carrier.py")
    assert "micropie.steps.Flow" in not_promised(PACKAGE / "middleware" / "base.py")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from micropie.steps import Flow", "micropie.steps.Flow"),
        ("from micropie.extensions import seen", "micropie.extensions.seen"),
        (
            "from micropie.extensions.request import _WORKERS",
            "micropie.extensions.request._WORKERS",
        ),
        ("from micropie import tree", "micropie.tree"),
        ("from micropie.routing import Site, Settings", "micropie.routing.Site"),
        ("import micropie.http", "micropie.http"),
        ("import micropie", "micropie"),
        ("from ..http import Request", "..http.Request"),
        ("def late():\n    from micropie.http import Request", "micropie.http.Request"),
        ("if TYPE_CHECKING:\n    from micropie.http import Body", "micropie.http.Body"),
        ('import_module("micropie.steps")', "micropie.steps"),
        ("request._exchange.query", "_exchange"),
        ("app._micropie.site", "_micropie"),
    ],
)
def test_each_way_to_a_name_that_is_not_promised_is_found(line: str, name: str) -> None:
    assert not_promised(PACKAGE / "debug" / "page.py", line) == [name]


def test_promised_names_are_left_alone() -> None:
    for line in (
        "from micropie import App, Request",
        "from micropie.extensions import Inspector",
        "from micropie.routing import Settings",
        "from micropie.debug.access import debug_key",
        'import_module("micropie.testing")',
        'import_module("gunicorn")',
    ):
        assert not_promised(PACKAGE / "debug" / "page.py", line) == []


# What an author's setting asks for, and where: the battery is imported when that is read.
ASKED_FOR = {
    ("app.py", "micropie.channels"),  # checks App(channels=...)
    ("app.py", "micropie.debug"),  # App(debug=True)
    ("app.py", "micropie.debug.advisor"),  # hints and advice
    ("app.py", "micropie.openapi.pages"),  # App(docs=True)
    ("app.py", "micropie.openapi.document"),  # App.openapi()
    ("app.py", "micropie.middleware.health"),  # App.health()
    ("app.py", "micropie.middleware.metrics"),  # App.metrics()
    ("app.py", "micropie.middleware.security_defaults"),  # App(security=...), or none
    ("app.py", "micropie.cli.serving.run"),  # App.run()
}
A_BATTERY = re.compile(r"micropie\.(?:channels|cli|compat|config|debug|middleware|openapi|pool)\b")


def test_the_heart_imports_no_battery_but_where_an_author_asks_for_it() -> None:
    heart = [path for path in EVERY_FILE if not _is_among(path, (*BATTERIES, *ABOVE))]
    heart.append(PACKAGE / "app.py")
    imported_now, named = [], set()
    for path in heart:
        for_types = [
            line
            for node in nodes_of(path)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for one in node.body
            for line in lines_of(one)
        ]
        for node in nodes_of(path):
            match node:
                case ast.ImportFrom(module=str(module)) if node.lineno not in for_types:
                    modules = [module, *(f"{module}.{alias.name}" for alias in node.names)]
                    imported_now += [
                        (name_of(path), one) for one in modules if A_BATTERY.match(one)
                    ]
                case ast.Call(args=[ast.Constant(str(text)), *_]) if A_BATTERY.match(text):
                    named.add((name_of(path), text))
    assert imported_now == []
    assert named == ASKED_FOR


def test_the_promise_for_extensions_is_small() -> None:
    # each name more is one that can't change any more
    assert len(import_module("micropie.extensions").__all__) <= 17
