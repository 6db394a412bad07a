"""Find the Bottle and CherryPy applications in a program's source, the middleware that wraps them,
and the calls that start a server.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Set

from micropie_compat.moving.idioms import Idiom, Idioms
from micropie_compat.moving.names import (
    Names,
    Trees,
    derived,
    dotted_name,
    imported_names,
    nodes_of,
    source_of,
)
from micropie_compat.results import words

_WRAPPED = "it is WSGI only: for ASGI servers, write app = micropie.dual({}(...))"
_FOR_SERVERS = "for gunicorn, uvicorn and others, {}"
_BELOW = 'move the call into an if __name__ == "__main__" block'
_MOUNTED = (
    "write cherrypy.tree.mount(root, path, config) instead, and on the next line "
    '"app = cherrypy.tree"'
)

# Names in the original frameworks that are an application or return one.
_MAKERS = frozenset(
    words(
        "bottle.Bottle bottle.app bottle.app.push bottle.default_app "
        "cherrypy.Application cherrypy.tree cherrypy.tree.mount"
    )
)
_STARTING = {
    "bottle.run": "write app = bottle.default_app() above the call",
    "cherrypy.engine.block": "write app = cherrypy.tree above the call",
}
_CLASSES = frozenset({"bottle.Bottle", "cherrypy.Application"})
# test clients, which take an application but aren't middleware
_OF_TESTS = frozenset({"TestApp", "TestClient"})
_NAMES = ("app", "application", "wsgi")  # endings of variable names that indicate an application


class Applications:
    """The applications in a program's modules."""

    def __init__(self, trees: Trees) -> None:
        classes = derived(trees.values(), _CLASSES)
        # the names by which other modules refer to an application, such as "shop.app"
        made: set[str] = set()
        self._scopes = {
            tree: _Scope(imported_names(tree), classes, made) for tree in trees.values()
        }
        for _ in range(2):
            for file, tree in trees.items():
                self._scopes[tree].read(_at_import(tree.body))
                made |= {f"{file.stem}.{name}" for name in self._scopes[tree].applications}

    def wrapped_in(self, tree: ast.Module) -> Idioms:
        """Yield assignments that wrap an application in middleware, such as ``app =
        SessionMiddleware(app, options)``, at a module's top level or in a function such as
        ``make_app``. A call of ``micropie.dual`` doesn't count as middleware.
        """
        outer = self._scopes[tree]
        yield from outer.wrapped.values()
        for function in nodes_of(tree, ast.FunctionDef):
            if "app" in function.name.lower():
                inner = _Scope(outer.names, outer.classes, outer.made, outer.applications)
                inner.read(_at_import(function.body))
                returned = {name for name in inner.wrapped if _returns(function, name)}
                yield from (inner.wrapped[name] for name in returned)

    def programs_in(self, tree: ast.Module) -> Idioms:
        """Yield the calls that start a server and must be changed.

        A call must be changed if it runs when the module is imported. If no variable of the module
        is the application, all calls must be changed, because a WSGI or ASGI server imports the
        application from a variable.
        """
        scope = self._scopes[tree]
        at_import = {
            node
            for statement in _at_import(tree.body)
            for child in ast.iter_child_nodes(statement)
            if isinstance(child, ast.expr)
            for node in ast.walk(child)
        }
        for call in nodes_of(tree, ast.Call):
            name = dotted_name(call.func, scope.names) or "bottle.run" * scope.is_run(call)
            is_first, has_none = call in at_import, not scope.applications
            if name == "cherrypy.quickstart" and (is_first or has_none):
                yield call.lineno, name, _FOR_SERVERS.format(_MOUNTED)
            elif name in _STARTING and (is_first or has_none):
                parts = [_STARTING[name]] * has_none + [_BELOW] * is_first
                yield call.lineno, name, _FOR_SERVERS.format(", and ".join(parts))


class _Scope:
    """The variables of a module or a function that are applications.

    ``wrapped``: the assignments that wrap an application in middleware, by the variable's name.
    """

    def __init__(
        self,
        names: Names,
        classes: Set[str],
        made: Set[str],
        applications: Set[str] = frozenset(),
    ) -> None:
        self.names = names
        self.classes = classes
        self.made = made
        self._assigned = {*applications}
        self.wrapped: dict[str, Idiom] = {}

    @property
    def applications(self) -> set[str]:
        """The variables' names, including those of applications imported from other modules."""
        return self._assigned | {name for name, full in self.names.items() if self._is_made(full)}

    def read(self, statements: Iterable[ast.stmt]) -> None:
        """Record the applications that these statements assign or return."""
        for statement in statements:
            match statement:
                case ast.Assign([ast.Name(target)], ast.expr() as value):
                    self._assign(target, value)
                case ast.AnnAssign(ast.Name(target), _, ast.expr() as value):
                    self._assign(target, value)
                case ast.Return(ast.Call() as value):
                    self._assign("app", value)

    def _assign(self, target: str, value: ast.expr) -> None:
        if self._is_application(value):
            self._assigned.add(target)
        elif isinstance(value, ast.Call) and target.lower().endswith(_NAMES):
            inner = self._inside(value)
            if inner is not None:
                self._assigned.add(target)
                self.wrapped.pop(getattr(inner, "id", ""), None)
                wrapper = source_of(value.func)
                if dotted_name(value.func, self.names) != "micropie.dual":
                    self.wrapped[target] = (
                        value.lineno,
                        f"{wrapper}(...)",
                        _WRAPPED.format(wrapper),
                    )

    def _is_application(self, node: ast.expr) -> bool:
        """Return whether an expression's value is an application."""
        if isinstance(node, ast.Name) and node.id in self._assigned:
            return True
        if self._is_made(dotted_name(node, self.names)):
            return True
        maker = node.func if isinstance(node, ast.Call) else node
        name = dotted_name(maker, self.names) or source_of(maker)
        return name in _MAKERS or (maker is not node and name.rpartition(".")[2] in self.classes)

    def _inside(self, call: ast.Call) -> ast.expr | None:
        """Return the application among a call's arguments, or None."""
        if source_of(call.func).rpartition(".")[2] in _OF_TESTS:
            return None
        for given in (*call.args[:1], *(keyword.value for keyword in call.keywords)):
            if self._is_application(given):
                return given
            if isinstance(given, ast.Call) and self._inside(given) is not None:
                return given
        return None

    def _is_made(self, name: str) -> bool:
        return ".".join(name.split(".")[-2:]) in self.made

    def is_run(self, call: ast.Call) -> bool:
        """Return whether a call is ``app.run()`` and ``app`` is an application."""
        return (
            isinstance(call.func, ast.Attribute)
            and call.func.attr == "run"
            and self._is_application(call.func.value)
        )


def _at_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module (or function) runs, including those in nested
    blocks, but not those under ``if __name__ == "__main__":``.
    """
    for statement in body:
        yield statement
        if not (isinstance(statement, ast.If) and "__name__" in source_of(statement.test)):
            for part in ("body", "orelse", "finalbody"):
                if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    yield from _at_import(getattr(statement, part, []))


def _returns(function: ast.FunctionDef, name: str) -> bool:
    """Return whether a function returns the variable ``name``. An expression that isn't a variable
    counts as the variable "app", as in ``_Scope.read``.
    """
    values = (node.value for node in nodes_of(function, ast.Return))
    return any(getattr(value, "id", "app") == name for value in values if value is not None)
