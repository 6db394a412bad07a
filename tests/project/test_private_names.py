"""No underscore name of another package is read, set or overridden, and no object's class or code
is exchanged.

The type of an object can't be seen in its text, so two readings complete each other: an underscore
attribute that micropie defines nowhere belongs to somebody else, and so does each that is looked up
on an imported name. A class with a base of another package is imported and compared with its base.
A name that both have by chance, on a local variable, is not seen.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "micropie"
OURS = ("micropie", "micropie_compat")

# Underscore names that are documented: of namedtuples, ``os``, ``sys``, the types of a stub
# package, and CherryPy's for authors. Enum's end with an underscore, too.
DOCUMENTED = {
    "_asdict",
    "_fields",
    "_field_defaults",
    "_make",
    "_replace",
    "_exit",
    "_getframe",
    "_current_frames",
}
DOCUMENTED |= {"_typeshed", "_cp_config", "_cp_dispatch", "_instrument", "_uninstrument"}
# asyncio's, for code that runs tasks itself (asyncio-extending.html, "Task lifetime support")
DOCUMENTED |= {"_enter_task", "_leave_task"}

# What may be assigned of the names that Python gives a meaning: descriptions, an exception's story,
# an own ``__dict__``.
ASSIGNABLE = {
    "__annotations__",
    "__doc__",
    "__module__",
    "__name__",
    "__qualname__",
    "__signature__",
    "__wrapped__",
}
ASSIGNABLE |= {"__cause__", "__context__", "__traceback__", "__dict__"}
MACHINERY = {
    "__class__",
    "__closure__",
    "__code__",
    "__defaults__",
    "__kwdefaults__",
    "__globals__",
    "__builtins__",
}
CHANGES = {
    "update",
    "setdefault",
    "pop",
    "clear",
    "popitem",
    "append",
    "extend",
    "__setitem__",
    "__delitem__",
}

# Set by ``ABCMeta`` and ``Protocol`` in each of their classes, and by OpenTelemetry's
# ``BaseInstrumentor.__new__`` in the class of its one instance.
MADE_BY_BASES = {"_abc_impl", "_is_protocol", "_is_runtime_protocol", "_instance"}

# Each is to go, or says why it stays.
KNOWN = {
    # As instrumentors of OpenTelemetry change the classes of frameworks.
    "middleware/tracing.py": ["sets __call__"],
}
LOOK_UPS = {
    "getattr",
    "setattr",
    "hasattr",
    "delattr",
    "attrgetter",
    "__getattribute__",
    "__setattr__",
    "__delattr__",
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_") and name not in DOCUMENTED


def names_defined(tree: ast.AST) -> set[str]:
    """Return the underscore names that a file gives to attributes: in a class, at the top, on
    ``self`` or ``cls``.
    """
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and is_own(node.value)
        ):
            found.add(node.attr)
    return {name for name in found if is_private(name)}


def is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def foreign_names(tree: ast.AST) -> set[str]:
    """Return the names by which a file knows modules of other packages, and what it imports from
    them.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {
                (alias.asname or alias.name).split(".")[0]
                for alias in node.names
                if not is_ours(alias.name)
            }
        elif isinstance(node, ast.ImportFrom) and not is_ours(node.module or "micropie"):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in OURS


def findings(tree: ast.AST, ours: set[str]) -> Iterator[str]:
    """Yield what a file reads, sets or imports that is private; ``ours`` are the private names of
    micropie.
    """
    foreign = foreign_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None) or ""
            if not is_ours(module or node.names[0].name):
                path = [
                    part for alias in node.names for part in f"{module}.{alias.name}".split(".")
                ]
                yield from (f"imports {part}" for part in path if is_private(part))
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node, ours, foreign)
        elif isinstance(node, ast.Call):
            yield from _looked_up_by_text(node, ours)
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            inner = node.value
            if isinstance(inner, ast.Attribute) and inner.attr in MACHINERY:
                yield f"writes into {inner.attr}"


def _attribute(node: ast.Attribute, ours: set[str], foreign: set[str]) -> Iterator[str]:
    name, root = node.attr, node.value
    while isinstance(root, (ast.Attribute, ast.Call)):
        root = root.value if isinstance(root, ast.Attribute) else root.func
    if is_private(name) and (
        name not in ours or (isinstance(root, ast.Name) and root.id in foreign)
    ):
        yield f"uses {ast.unparse(node)}"
    if (
        not isinstance(node.ctx, ast.Load)
        and re.fullmatch("__.*__", name)
        and name not in ASSIGNABLE
    ):
        yield f"sets {name}"
    if isinstance(node.value, ast.Attribute) and node.value.attr in MACHINERY and name in CHANGES:
        yield f"writes into {node.value.attr}"


def _looked_up_by_text(node: ast.Call, ours: set[str]) -> Iterator[str]:
    function = (
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    )
    if function not in LOOK_UPS:
        return
    for argument in node.args:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            if is_private(argument.value) and argument.value.partition(".")[0] not in ours:
                yield f"looks up {argument.value!r}"
            if argument.value in MACHINERY and function in (
                "setattr",
                "delattr",
                "__setattr__",
                "__delattr__",
            ):
                yield f"sets {argument.value}"


def overridden(kind: type) -> set[str]:
    """Return the private names that a class of micropie defines and a base of another package has,
    too.
    """
    bases = [base for base in kind.__mro__[1:] if not is_ours(base.__module__)]
    both = {
        name for base in bases for name in vars(base).keys() & vars(kind).keys() if is_private(name)
    }
    return both - MADE_BY_BASES


def taken_from_base(kind: type, uses: set[str]) -> set[str]:
    """Return those of ``uses``, private names looked up on ``self``, that a base of another package
    has alone.
    """
    ours = {name for base in kind.__mro__ if is_ours(base.__module__) for name in vars(base)}
    foreign = {name for base in kind.__mro__ if not is_ours(base.__module__) for name in vars(base)}
    return (uses & foreign) - ours - MADE_BY_BASES


@pytest.fixture(scope="module", autouse=True)
def no_tree_is_kept() -> Iterator[None]:
    """Free the nodes, which the garbage collector would look through in all tests that follow."""
    yield
    tree_of.cache_clear()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def used_on_self(path: Path) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and is_own(node.value) and is_private(node.attr)
    }


def all_findings(package: Path, *beside: Path) -> dict[str, list[str]]:
    """Return the findings in the files of a package, which may use the private names that it
    defines, and those of the packages ``beside`` it.
    """
    files = {path: tree_of(path) for path in sorted(package.rglob("*.py"))}
    others = [tree_of(path) for one in beside for path in one.rglob("*.py")]
    ours = {name for tree in (*files.values(), *others) for name in names_defined(tree)}
    found = {
        path.relative_to(package).as_posix(): sorted(set(findings(tree, ours)))
        for path, tree in files.items()
    }
    return {name: uses for name, uses in found.items() if uses}


def test_no_private_name_of_another_package_is_used() -> None:
    assert all_findings(PACKAGE) == KNOWN


def every_class(package: Path) -> Iterator[tuple[type, Path]]:
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        if name.endswith("__main__") or not path.stem.isidentifier():  # a program, or a hook
            continue
        module = importlib.import_module(name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == name:
                yield kind, path


def names_of_bases(package: Path) -> dict[str, set[str]]:
    """Return the private names of bases of other packages that each class overrides or uses."""
    found = {}
    for kind, path in every_class(package):
        names = overridden(kind) | taken_from_base(kind, used_on_self(path))
        if names:
            found[f"{kind.__module__}.{kind.__qualname__}"] = names
    return found


def test_no_private_name_of_a_base_of_another_package_is_overridden_or_used() -> None:
    assert names_of_bases(PACKAGE) == {}


WRONG = {
    "from anyio._core import _eventloop": ["imports _core", "imports _eventloop"],
    "import asyncio._x as x": ["imports _x"],
    "import asyncio\nasyncio.events._get_running_loop()": ["uses asyncio.events._get_running_loop"],
    "from anyio import Lock\nLock()._ours": ["uses Lock()._ours"],
    "def f(task):\n    return task._coro": ["uses task._coro"],
    "task._coro = None": ["uses task._coro"],
    "del task._coro": ["uses task._coro"],
    "getattr(task, '_coro', None)": ["looks up '_coro'"],
    "setattr(task, '_coro', None)": ["looks up '_coro'"],
    "operator.attrgetter('_coro')": ["looks up '_coro'"],
    "template.root_render_func.__globals__['escape'] = str": ["writes into __globals__"],
    "del function.__globals__['escape']": ["writes into __globals__"],
    "function.__globals__.update(escape=str)": ["writes into __globals__"],
    "function.__code__ = other.__code__": ["sets __code__"],
    "self.__class__ = Other": ["sets __class__"],
    "object.__setattr__(self, '__class__', Other)": ["sets __class__"],
    "setattr(self, '__class__', Other)": ["sets __class__"],
}


@pytest.mark.parametrize("source", WRONG)
def test_a_use_of_private_names_is_detected(source: str) -> None:
    assert list(findings(ast.parse(source), {"_ours"})) == WRONG[source]


RIGHT = [
    "from __future__ import annotations",
    "from micropie._core.http import _x",
    "self._ours = request._ours",
    "getattr(request, '_ours')",
    "pair._replace(a=1)",
    "error.__cause__ = None",
    "wrapper.__name__ = name",
    "hints(function, function.__globals__)",
    "colour._value_",
    "value.__class__ is str",
]


@pytest.mark.parametrize("source", RIGHT)
def test_public_and_own_private_names_are_not_reported(source: str) -> None:
    assert list(findings(ast.parse(source), {"_ours"})) == []


def test_only_names_on_self_and_in_definitions_are_micropie_s() -> None:
    source = "class A:\n    _a = 1\n    def _b(self):\n        self._c = 1\n        other._d = 1\n        other._e()"
    assert names_defined(ast.parse(source)) == {"_a", "_b", "_c"}


def test_overriding_a_private_name_is_detected() -> None:
    class Foreign:
        _mark = 1

        def _load(self) -> int:
            return self._mark

        def _kept(self) -> None: ...

    Foreign.__module__ = "jinja2"

    class Ours(Foreign):
        def _load(self) -> int:
            return 2

    Ours.__module__ = "micropie._core.templates"
    assert overridden(Ours) == {"_load"}
    assert taken_from_base(Ours, {"_load", "_mark", "_other"}) == {"_mark"}
