"""The rules of the layers that import-linter can't check; its contracts are in .importlinter.

The core never waits: it has no ``async``. Imports by name go down as all others do, except for those
in ``App`` that an author calls for. No modules import each other in a circle, also not for type
checking. The package has few entries and few uses of ``Any``. It and its tests do without the
compatibility modules; compat/tests/test_layers.py has the rules of these.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from scripts import picture
from scripts.picture import EVERY_FILE, MODULES, PACKAGE, Import, imports_in, imports_of, module_of

CORE = PACKAGE / "_core"
ROOT = PACKAGE.parent
OF_COMPAT = sorted((ROOT / "compat" / "src").rglob("*.py"))

# These may wait, or consist of parts that do. Everything else is synchronous.
WAITING = ("asgi", "wsgi", "channels", "testing", "cli", "app.py")
WAITING_IN_CORE = ("execution", "mounts", "streams")

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
    imports_of.cache_clear()


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    """Return the entry at the top of the package in which a file is."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_synchronous(path: Path) -> bool:
    parts = path.relative_to(PACKAGE).parts
    return not (parts[0] in WAITING or (parts[0] == "_core" and parts[1] in WAITING_IN_CORE))


def test_there_is_no_async_code_below_the_drivers() -> None:
    found = [
        f"{name_of(path)}: {ast.unparse(node)}"
        for path in EVERY_FILE
        if is_synchronous(path)
        for node in nodes_of(path)
        if isinstance(node, ASYNC) or any(part.is_async for part in getattr(node, "generators", []))
    ]
    assert found == []


# -- imports ---------------------------------------------------------------------------------------


CONTRACTS = ConfigParser()
CONTRACTS.read(ROOT / ".importlinter")
LEVELS: dict[str, int] = {
    package.strip("() "): level
    for level, packages in enumerate(
        reversed(CONTRACTS["importlinter:contract:layers"]["layers"].split("\n"))
    )
    for package in packages.split("|")
}


def level_of(module: str) -> int:
    """Return the layer of a module. The public package itself is where ``App`` is."""
    return LEVELS[module.partition(".")[2].partition(".")[0] or "app"]


def goes_up(one: Import) -> bool:
    """Return whether a module imports one that is not below its own package."""
    own, other = ((f"{name}.app" if "." not in name else name) for name in one[:2])
    return own.split(".")[1] != other.split(".")[1] and level_of(own) <= level_of(other)


def allowed_to_go_up(one: Import) -> bool:
    """Return whether an import is by name, in a method of ``App`` that an author calls, or gives the
    core what it needs from above; or for the types of what an author gives to ``App``. The public
    package explains the names that it lacks.
    """
    if one.importer == "micropie":
        return one.kind == "by name" and one.imported == "micropie.debug.missing_names"
    owner, _, method = one.function.partition(".")
    is_called = owner == "App" and (method == "__init__" or not method.startswith("_"))
    is_by_name = one.kind == "by name" and (is_called or owner == "_UpperLayers")
    return one.importer == "micropie.app" and (is_by_name or one.kind == "types")


def test_imports_by_name_go_down_like_all_others() -> None:
    upward = [one for path in EVERY_FILE for one in imports_of(path) if goes_up(one)]
    assert [one for one in upward if not allowed_to_go_up(one)] == []
    of_app = {one.imported for one in upward if one.importer == "micropie.app"}
    assert len(of_app) <= 10, (
        "App imports upwards only what authors call (rule 3 of ARCHITECTURE.md): let one of these "
        "modules import the new one"
    )


@pytest.mark.parametrize(
    ("importer", "line", "imported"),
    [
        ("_core.tree", "import micropie.app", "app"),
        ("_core.tree", "from micropie import App", ""),
        ("_core.tree", "def f():\n    from micropie.channels import Channels", "channels"),
        ("_core.tree", "if TYPE_CHECKING:\n    from micropie.asgi import WebSocket", "asgi"),
        ("_core.tree", 'import_module("micropie.channels")', "channels"),
        ("_core.http.body", "from ....asgi import driver", "asgi.driver"),
        ("_core.tree", 'debug: Any = module("micropie.debug.page")', "debug.page"),
        ("_core.http", 'names_on_demand(__name__, {"..asgi": "WebSocket"})', "asgi"),
        ("extensions", "from micropie.app import App", "app"),
        ("sessions", "from micropie.wsgi import perform", "wsgi"),
        ("asgi", "from micropie.wsgi import perform", "wsgi"),
        ("debug.page", "from micropie.middleware import call", "middleware"),
        ("", 'def f():\n    import_module("micropie.debug.page")', "debug.page"),
        ("app", 'def _start():\n    import_module("micropie.debug")', "debug"),
        ("app", 'class App:\n    def _run(self):\n        module("micropie.cli")', "cli"),
        ("app", "class App:\n    def run(self):\n        import micropie.cli", "cli"),
    ],
)
def test_an_upward_import_is_detected(importer: str, line: str, imported: str) -> None:
    name = f"micropie.{importer}".rstrip(".")
    is_package = MODULES[name].name == "__init__.py"
    (found,) = imports_in(ast.parse(line), name, is_package)
    assert found.imported == f"micropie.{imported}".rstrip(".")
    assert goes_up(found)
    assert not allowed_to_go_up(found)


def test_allowed_imports_are_not_reported() -> None:
    down = """
from micropie._core.http import Request
from micropie import asgi, wsgi
import_module("micropie._core.files.static")
class App:
    def run(self):
        import_module("micropie.cli.serving.run")
"""
    found = [*imports_in(ast.parse(down), "micropie.app")]
    assert [goes_up(one) for one in found] == [False, False, False, False, True]
    assert all(allowed_to_go_up(one) for one in found if goes_up(one))


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_no_modules_import_each_other_circularly() -> None:
    graph = {
        module: {one.imported for one in imports_of(path) if one.kind in ("straight", "types")}
        for module, path in MODULES.items()
    }
    assert circle_in(graph) == []


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


def test_no_function_has_a_synchronous_twin() -> None:
    assert twins(node for path in EVERY_FILE for node in nodes_of(path)) == []


def test_twin_functions_are_detected() -> None:
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


def test_the_package_has_a_marker_for_type_checkers() -> None:
    assert (PACKAGE / "py.typed").exists()


# -- what the packages say of themselves -------------------------------------------------------------

PACKAGES = [path for path in EVERY_FILE if path.name == "__init__.py"]


def test_the_picture_of_the_packages_is_current() -> None:
    assert picture.main(["--check"]) is None, "run scripts/picture.py"


DRAWN = """```text
level  micropie/_core/  imports
    3  flow          -> http, streams
    2  http          -> errors
       streams       -> errors
    1  errors

by name, on first use
       http          -> flow
```
"""


def test_a_picture_has_levels_and_arrows() -> None:
    core = "micropie._core"
    imports = [
        Import(f"{core}.flow.http", f"{core}.http", "straight", ""),
        Import(f"{core}.flow.http", f"{core}.streams.source", "inside", "respond"),
        Import(f"{core}.http.request", f"{core}.errors", "straight", ""),
        Import(f"{core}.http.request", f"{core}.http.body", "straight", ""),
        Import(f"{core}.http.request", f"{core}.flow", "by name", ""),
        Import(f"{core}.http.request", f"{core}.errors", "by name", ""),
        Import(f"{core}.streams", f"{core}.errors", "straight", ""),
        Import(f"{core}.streams", f"{core}.flow", "types", ""),
        Import("micropie.asgi.driver", f"{core}.http", "straight", ""),
    ]
    assert picture.picture(imports, "micropie/_core") == DRAWN


def test_the_public_package_is_an_entry_of_the_picture() -> None:
    imports = [Import("micropie", "micropie.app", "straight", "")]
    assert "    2  micropie      -> app\n" in picture.picture(imports, "micropie")


def test_a_command_draws_the_picture_into_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "PAGE.md"
    page.write_text("# A\n<!-- picture of micropie -->\nold\n<!-- end of the picture -->\nB\n")
    assert picture.main(["--check"], page) == "PAGE.md has an old picture: run scripts/picture.py"
    assert picture.main([], page) is None
    assert "old" not in page.read_text()
    assert "       app           -> channels, cli" in page.read_text()
    assert page.read_text().endswith("<!-- end of the picture -->\nB\n")
    assert picture.main(["--check"], page) is None
    circle = [
        Import("micropie.asgi", "micropie.wsgi", "straight", ""),
        Import("micropie.wsgi", "micropie.asgi", "inside", ""),
    ]
    monkeypatch.setattr(picture, "imports_of", lambda path: circle)
    assert str(picture.main([], page)).startswith("imports go down only, and not ")


@pytest.mark.parametrize("path", PACKAGES, ids=name_of)
def test_each_package_docstring_lists_its_files(path: Path) -> None:
    """The files that its docstring names are in it, in the core, or in the repository."""
    text = ast.get_docstring(nodes_of(path)[0]) or ""  # type: ignore[arg-type]
    assert "Open ``" in text
    places = (path.parent, PACKAGE, CORE, ROOT)
    named = re.findall(r"``([\w./]+\.(?:py|md|toml))``", text)
    lost = [file for file in named if not any((place / file).exists() for place in places)]
    assert lost == []


def test_files_named_in_the_architecture_exist_with_their_contents() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    names = {
        path.name for top in ("micropie", "compat", "tests") for path in (ROOT / top).rglob("*.py")
    }
    for file, name in re.findall(r"`([\w./]+\.(?:py|md|toml))`(?: `(\w+)`)?", text):
        found = [path for path in (ROOT / file, PACKAGE / file, CORE / file) if path.exists()]
        assert found or file in names, file
        assert not name or name in found[0].read_text(), (file, name)


def test_the_architecture_page_stays_short() -> None:
    assert (ROOT / "ARCHITECTURE.md").stat().st_size <= 9 * 1024, (
        "shorten another sentence, or write the new one into a package's docstring"
    )


def test_the_package_has_few_entries() -> None:
    # The listing is what may be imported; a new entry is a promise.
    # A folder without modules is what a checkout has kept of a package that has moved.
    entries = [path for path in PACKAGE.iterdir() if path.is_file() or any(path.rglob("*.py"))]
    assert len(entries) <= 16, (
        "what is at the top is public (rule 4 of ARCHITECTURE.md): put the new module into a "
        "package, or into _core"
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


def test_the_use_of_any_is_limited() -> None:
    counts = [lines_and_uses_of_any(path) for path in EVERY_FILE]
    lines, uses = map(sum, zip(*counts, strict=True))
    assert uses / lines <= 16 / 1000, (
        "Any is for values of every type: declare a type, a protocol or object"
    )


# -- annotations -----------------------------------------------------------------------------------

# What takes an annotation apart, in ``typing`` or as attributes of what it contains.
READS_TYPES = {
    *("get_origin", "get_args", "get_type_hints", "eval_str"),
    *("__origin__", "__args__", "__metadata__", "__supertype__", "__required_keys__"),
}
# Those that may, beside binding, and the reason.
READERS = {
    # the types of an App's attributes, to find inner applications that were never created
    "debug/application.py": {"eval_str"},
}


def read_from_types(code: str) -> set[str]:
    """Return the names in ``READS_TYPES`` that code uses, also as text, as in ``getattr``."""
    found: set[object] = set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                found.add(name)
            case ast.keyword(arg=name) | ast.Constant(value=str(name)):
                found.add(name)
    return {name for name in READS_TYPES if name in found}


def test_only_binding_takes_annotations_apart() -> None:
    binding = CORE / "binding"
    others = [path for path in EVERY_FILE if binding not in path.parents]
    found = {name_of(path): read_from_types(path.read_text()) for path in others}
    assert {name: names for name, names in found.items() if names} == READERS, (
        "an annotation is read in one place, so that parameters, results, links and documents "
        "agree: ask TypeInfo or Inspector.signature_of, in the core what binding exports, and add "
        "what is missing there"
    )


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from typing import get_args", "get_args"),
        ("typing.get_type_hints(kind)", "get_type_hints"),
        ("origin = get_origin(hint)", "get_origin"),
        ('getattr(hint, "__metadata__", ())', "__metadata__"),
        ("signature(check, eval_str=True)", "eval_str"),
    ],
)
def test_a_reader_of_annotations_is_detected(line: str, name: str) -> None:
    assert read_from_types(line) == {name}


# -- faces -----------------------------------------------------------------------------------------


def exported_by(path: Path) -> list[str]:
    """Return the names that a package imports and doesn't use itself."""
    imported = [
        alias.asname or alias.name
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    ]
    own = {node.id for node in nodes_of(path) if isinstance(node, ast.Name)}
    return [name for name in imported if name not in own]


FACES = {
    module.removeprefix("micropie."): names
    for module, path in MODULES.items()
    if path.name == "__init__.py" and room_of(path) in ("_core", "asgi", "wsgi")
    if (names := exported_by(path))
    if module != "micropie._core.execution.pool"  # imported by name
}


def face_around(path: Path) -> str:
    """Return the innermost package with a face that a file is in, "" for none."""
    module = module_of(path).removeprefix("micropie.")
    return max((face for face in FACES if f"{module}.".startswith(f"{face}.")), key=len, default="")


@cache
def used() -> dict[str, set[str]]:
    """Map each package to its names that files outside of it import, those of the compatibility
    modules among them, or take by its name or by that of ``module("...")``.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for path in (*EVERY_FILE, *OF_COMPAT):
        for node in nodes_of(path):
            match node:
                case ast.ImportFrom(module=str(module), names=found):
                    taken, owners = {alias.name for alias in found}, [module]
                case ast.Attribute(ast.Name(owner), name):
                    taken = {name}
                    owners = [face for face in FACES if face.rpartition(".")[2] == owner]
                case _:
                    continue
            for owner in owners:
                face = owner.removeprefix("micropie.")
                if face != face_around(path):
                    names[face] |= taken
    return names


@pytest.mark.parametrize("face", FACES)
def test_a_package_exports_exactly_what_others_use(face: str) -> None:
    names = FACES[face]
    assert [name for name in names if name not in used()[face]] == []
    assert len(names) <= (60 if face == "_core.http" else 40), (
        "a package with more names is two packages (rule 4 of ARCHITECTURE.md): move the new name "
        "to the package that uses it, or into a package inside this one"
    )


def names_in_a_row(path: Path) -> list[str]:
    """Return the names in ``__all__`` of a file that share a line with another one."""
    lists = [
        node.value.elts
        for node in nodes_of(path)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
        if any(isinstance(one, ast.Name) and one.id == "__all__" for one in node.targets)
    ]
    return [
        ast.unparse(later)
        for names in lists
        for earlier, later in pairwise(names)
        if earlier.lineno == later.lineno
    ]


def test_each_public_name_has_its_own_line_in_a_list() -> None:
    assert {
        str(path): names for path in (*EVERY_FILE, *OF_COMPAT) if (names := names_in_a_row(path))
    } == {}, "write one name a line (rule 4 of ARCHITECTURE.md), so that changes merge"


def test_public_names_on_one_line_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('__all__ = [\n    "a", "b",\n    "c",\n]\n')
    assert names_in_a_row(path) == ["'b'"]


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
PUBLIC = {
    "micropie",
    *(
        f"micropie.{name}"
        for name in ("channels", "config", "extensions", "middleware", "sessions", "testing")
    ),
}


def not_promised(path: Path, source: str | None = None) -> list[str]:
    """Return what a file takes from other packages of micropie that is in no promised face:
    imported, also by name, or as an attribute that is the core's own.
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
            return [] if module in PUBLIC else _of_micropie([module])
        case ast.Import(names):
            return _of_micropie([alias.name for alias in names])
        case ast.ImportFrom(module, names, level):
            found = {alias.name for alias in names}
            if module in PUBLIC:
                found -= {*import_module(module).__all__}
            whole = [f"{'.' * level}{module or ''}.{name}" for name in found]
            return whole if level else _of_micropie(whole)
    return []


def _of_micropie(names: Iterable[str]) -> list[str]:
    return [name for name in names if f"{name}.".startswith("micropie.")]


# The names that have their public home there, and the server for an installation without another.
HOMES = {
    "cli/check.py": [
        "micropie.config.unread",
        *(
            f"micropie.debug.{name}"
            for name in ("application_errors", "paths_of_hooks", "session_change", "source_notes")
        ),
    ],
    "cli/serving/servers.py": ["micropie.wsgi.open_server"],
    "config.py": ["micropie._core.http.settings.Settings"],
}


@pytest.mark.parametrize("path", ON_PROMISED_NAMES, ids=name_of)
def test_a_battery_imports_only_public_names(path: Path) -> None:
    assert not_promised(path) == HOMES.get(name_of(path), [])


def test_names_that_are_not_public_are_detected() -> None:
    assert "micropie._core.tree.Tree" in not_promised(PACKAGE / "app.py")
    assert "micropie._core.execution.steps.Flow" in not_promised(PACKAGE / "middleware" / "base.py")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from micropie._core.execution.steps import Flow", "micropie._core.execution.steps.Flow"),
        ("from micropie.extensions import seen", "micropie.extensions.seen"),
        (
            "from micropie.extensions.request import _WORKERS",
            "micropie.extensions.request._WORKERS",
        ),
        ("from micropie import app", "micropie.app"),
        ("from micropie._core.routing import Site", "micropie._core.routing.Site"),
        ("import micropie._core.http", "micropie._core.http"),
        ("import micropie", "micropie"),
        ("from ..http import Request", "..http.Request"),
        ("def late():\n    from micropie._core.http import Request", "micropie._core.http.Request"),
        ("if TYPE_CHECKING:\n    from micropie._core.http import Body", "micropie._core.http.Body"),
        ('import_module("micropie._core.execution.steps")', "micropie._core.execution.steps"),
        ("request._exchange.query", "_exchange"),
        ("app._micropie.site", "_micropie"),
    ],
)
def test_every_way_to_a_private_name_is_detected(line: str, name: str) -> None:
    assert not_promised(PACKAGE / "debug" / "page.py", line) == [name]


def test_public_names_are_not_reported() -> None:
    for line in (
        "from micropie import App, Request",
        "from micropie.extensions import Inspector",
        "from micropie.config import Settings",
        "from micropie.debug.access import debug_key",
        'import_module("micropie.testing")',
        'import_module("gunicorn")',
    ):
        assert not_promised(PACKAGE / "debug" / "page.py", line) == []


def test_micropie_extensions_has_few_names() -> None:
    assert len(import_module("micropie.extensions").__all__) <= 17, (
        "each name here is a promise to extensions: use a promised name in the battery, or give "
        "the reason for this one in the same change"
    )


# -- without the compatibility modules -------------------------------------------------------------

COMPAT = re.compile(r"micropie_compat(?:\.\w+)*")


def compat_in(source: str) -> list[str]:
    """Return the names of ``micropie_compat`` in a file's code, and the texts that are one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                found += [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                found.append(module)
            case ast.Constant(str(name)) | ast.Name(name) | ast.Attribute(attr=name):
                found.append(name)
    return [name for name in found if COMPAT.fullmatch(name)]


def test_only_one_module_imports_the_compatibility_modules() -> None:
    assert {name_of(path) for path in EVERY_FILE if compat_in(path.read_text())} == {
        "cli/migrated.py"
    }


@pytest.mark.parametrize(
    "line",
    [
        "import micropie_compat.bottle",
        "from micropie_compat import install",
        'import_module("micropie_compat.moving")',
        'sys.modules.get("micropie_compat")',
    ],
)
def test_a_use_of_the_compatibility_modules_is_detected(line: str) -> None:
    assert len(compat_in(line)) == 1
    assert compat_in(f'"""See ``micropie_compat``."""\n# {line}') == []


# Real servers run migrated programs beside all others.
WITH_COMPAT = ("tests/servers/", "tests/smoke/")

IMPORTED = re.compile(r"(?:micropie_compat|compat)(?:\.\w+)*")


def imported_in(source: str) -> list[str]:
    """Return what a file imports of the compatibility modules and their tests: also by name, and in
    programs that it writes.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                found += [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                found.append(module)
            case ast.Call(ast.Name("import_module") | ast.Attribute(attr="import_module"), args):
                found += [ast.literal_eval(arg) for arg in args if isinstance(arg, ast.Constant)]
            case ast.Constant(str(text)) if "\n" in text:
                found += re.findall(r"(?m)^ *(?:from|import) ([\w.]+)", text)
    return [name for name in found if IMPORTED.fullmatch(name)]


def test_micropie_s_tests_need_no_compatibility_modules() -> None:
    """Their own tests are in compat/tests. ``scripts/fuzz``, which no test is, runs the targets of
    both.
    """
    files = {*(ROOT / "tests").rglob("*.py")} - {Path(__file__)}
    files.remove(ROOT / "tests" / "project" / "pyodide" / "smoke.py")  # for a later Python
    found = {path.relative_to(ROOT).as_posix(): imported_in(path.read_text()) for path in files}
    assert len(found) > 300, "the search has missed most tests: correct its folder"
    assert {
        name: imported
        for name, imported in found.items()
        if imported and not name.startswith(WITH_COMPAT)
    } == {}


@pytest.mark.parametrize(
    "line",
    [
        "import micropie_compat",
        "def test():\n    from micropie_compat.cherrypy import tools",
        "from compat.tests.asking import ask",
        'import_module("micropie_compat.moving")',
        'importlib.import_module("compat.tests.asking")',
        'PROGRAM = """\nimport micropie_compat as compat\n"""',
    ],
)
def test_an_import_of_the_compatibility_modules_is_detected(line: str) -> None:
    assert len(imported_in(line)) == 1
    assert imported_in(line.replace("compat", "compatible")) == []
    assert imported_in(f'# {line!r}\nsys.modules["micropie_compat"] = None') == []
