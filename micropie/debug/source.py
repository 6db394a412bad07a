"""Checks of an application's source, for errors that raise no exception and for code that may be
wrong.

In development, the checks run at startup and log their findings. ``micropie check`` prints them.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, cast

from micropie._core.errors import HTTPError, Redirect
from micropie._core.execution.placement import layers
from micropie._core.http import BindingErrors, Request, Response
from micropie._core.routing import AppBase, Registrations, place_of
from micropie._core.routing.discovery import (
    REQUIRES,
    Handler,
    is_hidden,
    marks_above,
    marks_above_handler,
    own_attributes,
)

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def notes_of(
    registered: Registrations,
    handlers: Sequence[Handler],
    providers: Mapping[object, Callable[..., object]],
) -> Iterator[str]:
    """Yield a sentence for each place in an application's source that its author should check.

    ``providers``: the providers of this application and of the applications around it.
    """
    app = registered.app
    classes = _own_classes(registered)
    sources = _sources_of(_functions_of(registered, handlers))
    resources = {getattr(key, "__name__", ""): _opens(one) for key, one in providers.items()}
    for source in sources:
        yield from source.lost_waits(app)
        if registered.settings.get("text", "html") == "html":
            yield from source.unsafe_html()
        yield from source.shared_state(resources)
        yield from source.unread_errors()
        yield from source.blocking_calls()
    # private methods, but not those with two leading underscores
    helpers = [
        one for cls in classes for name, one in vars(cls).items() if name[0] == "_" != name[1:2]
    ]
    for helper in _sources_of(filter(inspect.isfunction, helpers)):
        yield from helper.shared_state(None)
    for provider in _sources_of(registered.providers.values()):
        yield from provider.closed_too_early()
    called = {name for source in sources for name in source.called_methods()}
    for handler in handlers:
        yield from _notes_of_handler(handler, called, resources)


def source_errors(registered: Registrations, handlers: Sequence[Handler]) -> Iterator[str]:
    """Yield a sentence for each response that is created but not sent, and for each method that
    overrides a method with an access check but has none itself.
    """
    classes = _own_classes(registered)
    if not any(REQUIRES in own_attributes(cls) for cls in classes):
        # ``@requires`` on a class applies to all its methods.
        yield from _lost_guards(classes)
    for source in _sources_of(_functions_of(registered, handlers)):
        yield from source.lost_answers()


def paths_of_hooks(app: AppBase, handlers: Sequence[Handler]) -> Iterator[tuple[str, str]]:
    """Yield each path that a hook compares with ``request.path``, with the file and line of the
    hook.
    """
    for hook in _hooks_of(app, handlers):
        for node in ast.walk(_tree_of(hook)):
            if isinstance(node, ast.Compare) and "request.path" in ast.unparse(node.left):
                for one in ast.walk(node):
                    if isinstance(one, ast.Constant):
                        yield str(one.value), place_of(hook)


def _own_classes(registered: Registrations) -> list[type]:
    return [cls for cls in type(registered.app).__mro__ if cls not in registered.framework]


def _functions_of(registered: Registrations, handlers: Sequence[Handler]) -> list[object]:
    functions = [*(one.function for one in handlers), *(one for one, _ in registered.functions)]
    return [*functions, *_hooks_of(registered.app, handlers)]


def _sources_of(functions: Iterable[object]) -> list[FunctionSource]:
    """Return the sources of functions, without duplicates."""
    different = {id(one): one for one in functions}.values()
    return [source for one in different if (source := FunctionSource.of(one)) is not None]


def _hooks_of(app: AppBase, handlers: Sequence[Handler]) -> list[Callable[..., object]]:
    """Return the application's own functions and methods that run before handlers."""
    guarded = [mark for one in handlers for mark in marks_above_handler(one.function, False)]
    return [
        method
        for hook in (*app.middlewares, *marks_above(app), *guarded)
        for method in (
            *(hook, getattr(hook, "before_request", None), getattr(hook, "check", None)),
            *getattr(hook, "__dict__", {}).values(),
        )
        if inspect.isroutine(method)
    ]


def _opens(provider: Callable[..., object]) -> bool:
    """Return whether a provider is a generator or returns a context manager, and so can close or
    commit its resource.
    """
    *_, inner = layers(provider)
    is_generator = inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)
    return is_generator or "ContextManager" in str(getattr(inner, "__annotations__", ""))


def _notes_of_handler(
    handler: Handler, called: Collection[str], resources: Mapping[str, bool]
) -> Iterator[str]:
    """Yield sentences about a handler's parameters, and one if another handler calls this handler.
    ``called``: the names of all methods that handlers call.
    """
    for source in _sources_of([handler.function]):
        wild = {name for mark in handler.marks if mark.path for name in mark.path.names}
        yield from source.bare_numbers(wild)
        yield from source.lost_self(handler)
        yield from source.held_resources(resources, handler.marks[0].takes_socket)
    is_by_name = any(mark.path is None and not mark.methods for mark in handler.marks)
    if is_by_name and handler.name in called and handler.name != "index":
        yield (
            f"{place_of(handler.function)}: {handler.name} is a page, but another page calls "
            f"it or passes it on: rename it to _{handler.name} if clients must not reach it"
        )


def defined_twice(registered: Registrations) -> Iterator[str]:
    """Yield a sentence for each method that is replaced by another one of the same name in the same
    class.
    """
    for cls in _own_classes(registered):
        seen: dict[str, int] = {}
        for one in [part for node in _tree_of(cls).body[:1] for part in getattr(node, "body", ())]:
            decorators = map(ast.unparse, getattr(one, "decorator_list", ()))
            if not isinstance(one, _Function) or any(map(_OF_TWO.search, decorators)):
                continue
            before = seen.setdefault(one.name, one.lineno)
            if before != one.lineno:
                yield (
                    f"{cls.__name__}.{one.name} is defined twice, in lines {before} and "
                    f"{one.lineno}, and the last one replaces the first: give one of them another "
                    "name"
                )


# Decorators that allow two functions of the same name, such as ``@name.setter`` or ``@overload``.
_OF_TWO = re.compile(r"overload|\.(setter|getter|deleter|register)\b")


def _lost_guards(classes: Sequence[type]) -> Iterator[str]:
    """Yield a sentence for each method that has no access check but overrides a method with
    ``@requires``.
    """
    guarded: dict[str, type] = {}
    for cls in reversed(classes):
        for name, value in vars(cls).items():
            if REQUIRES in own_attributes(value):
                guarded[name] = cls
            elif name in guarded and inspect.isfunction(value) and not is_hidden(value):
                yield (
                    f"{cls.__name__}.{name} overrides {guarded[name].__name__}.{name} without its "
                    "access check: write @requires above it as well, unless everybody may call it"
                )


class FunctionSource:
    """The source of a function, with the names of its parameters."""

    def __init__(self, function: Any, tree: _Function) -> None:
        self._function, self._tree = function, tree
        self._place = place_of(function)
        self._arguments = [one.arg for one in ast.walk(tree.args) if isinstance(one, ast.arg)]

    @classmethod
    def of(cls, function: Any) -> FunctionSource | None:
        """Return the source of the function inside its decorators' wrappers, or None if the source
        isn't available.
        """
        *_, inner = layers(function)
        inner = getattr(inner, "__func__", inner)
        body = _tree_of(inner).body if inspect.isfunction(inner) else []
        return cls(inner, body[0]) if body and isinstance(body[0], _Function) else None

    def lost_answers(self) -> Iterator[str]:
        """Yield a sentence for each response that is created but neither returned nor raised."""
        for call, made in self._statements():
            kind = self._function.__globals__.get(made)
            if isinstance(kind, type) and issubclass(kind, HTTPError | Redirect | Response):
                verb = "raise" if issubclass(kind, HTTPError) else "return"
                yield (
                    f"{self._at(call)}: {made}(...) is created but not sent: write {verb} "
                    f"{made}(...)"
                )

    def lost_waits(self, app: object) -> Iterator[str]:
        """Yield a sentence for each call in an ``async def`` that is missing an ``await``."""
        if not isinstance(self._tree, ast.AsyncFunctionDef):
            return
        owners = {"self": type(app), "request": Request}
        for call, called in self._statements():
            owner, _, name = called.rpartition(".")
            is_socket = owner == "ws" and name.startswith(("accept", "close", "receive", "send"))
            kind = owners.get(owner.rpartition(".")[2])
            found = None if kind is None else inspect.getattr_static(kind, name, None)
            if not owner:
                found = self._function.__globals__.get(called)
            annotations = found.__annotations__ if inspect.isfunction(found) else {}
            stated = str(annotations.get("return", ""))
            if is_socket or inspect.iscoroutinefunction(found) or stated.startswith("Awaitable"):
                yield f"{self._at(call)}: {called}(...) never runs: write await in front of it"

    def _statements(self) -> Iterator[tuple[ast.Call, str]]:
        """Yield the calls whose results are discarded, each with the source of the called
        expression.
        """
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                yield node.value, ast.unparse(node.value.func)

    def shared_state(self, resources: Collection[str] | None) -> Iterator[str]:
        """Yield a sentence for the first statement that stores a client's value on ``self`` or on
        an application.

        ``resources``: the names of the types that providers create. None means that the function's
        parameters don't come from clients.
        """
        stated = {key: str(one) for key, one in self._function.__annotations__.items()}
        own = self._arguments[self._arguments[:1] == ["self"] :]
        is_filled = resources is not None
        names = {  # the names of variables with values from the client
            one
            for one in own
            if one == "request" or (is_filled and not _names(stated.get(one), resources or ()))
        }
        for node in ast.walk(self._tree):
            for target, value in _assigned(node):
                is_sent = any(_is_sent(one, names) for one in ast.walk(value))
                if not is_sent or ast.unparse(target) in ast.unparse(value):
                    continue
                owner = ast.unparse(target.value) if isinstance(target, ast.Attribute) else ""
                is_app = isinstance(self._function.__globals__.get(owner), AppBase)
                if isinstance(target, ast.Attribute) and (is_app or owner == "self"):
                    yield (
                        f"{self._at(node)}: {owner}.{target.attr} stores what one client sent, but "
                        f"all clients share this {owner}: write request.state.{target.attr}"
                    )
                    return
                names |= {target.id} if isinstance(target, ast.Name) else set()

    def unsafe_html(self) -> Iterator[str]:
        """Yield a sentence for each template whose source is put together from values, and for each
        string with HTML tags that includes text from a client.
        """
        hints = typing.get_type_hints(self._function)
        texts = {one for one in self._arguments if hints.get(one, str) in (str, str | None)}
        texts -= {"self"}.union(
            one.id
            for one in ast.walk(self._tree)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        )
        inner: set[ast.AST] = set()
        for node in ast.walk(self._tree):
            is_source = isinstance(node, ast.keyword) and node.arg == "source"
            text = node.value if isinstance(node, ast.keyword) else node
            parts = [] if text in inner else [*_parts(text)]
            inner.update(ast.walk(text) if parts != [text] else ())
            values = [ast.unparse(one) for one in parts if not isinstance(one, ast.Constant)]
            roots = {one.partition(".")[0] for one in values}
            if is_source and parts != [text] and not roots <= self._function.__globals__.keys():
                yield (
                    f"{self._at(text)}: a value inserted into the source of a template runs as "
                    'code: pass it separately, as in template(source="... {{ name }}", name=name)'
                )
            elif any(
                isinstance(one, ast.Constant) and _TAG.search(str(one.value)) for one in parts
            ):
                for value in values:
                    if value in texts or value.startswith(_SENT):
                        yield (
                            f"{self._at(text)}: {value} is sent as HTML without escaping, so a "
                            "client can send scripts: "
                            f'write html("...{{}}", {value}) or escape({value})'
                        )

    def unread_errors(self) -> Iterator[str]:
        """Yield a sentence for a parameter of type ``BindingErrors`` that the function never
        reads.
        """
        read = {one.id for one in ast.walk(self._tree) if isinstance(one, ast.Name)}
        if "locals" in read:
            return
        for name, annotation in self._function.__annotations__.items():
            if (
                annotation in (BindingErrors, BindingErrors.__name__)
                and name not in read
                and name in self._arguments
            ):
                yield (
                    f"{self._place}: {self._function.__qualname__} does not check {name}, so "
                    "it treats invalid values as valid: return the form's page again if "
                    f"{name} isn't empty"
                )

    def lost_self(self, handler: Handler) -> Iterator[str]:
        """Yield a sentence for a method without ``self``. Its first parameter is named like a value
        from a client, but the application is passed to it.
        """
        arguments = self._tree.args.posonlyargs + self._tree.args.args
        first = arguments[0].arg if arguments else "self"
        is_method = inspect.ismethod(handler.function) and isinstance(
            handler.function.__self__, AppBase
        )
        is_owner = f"{first}." in ast.unparse(self._tree)
        if is_method and not is_owner and first not in ("self", "cls", "_"):
            yield (
                f"{self._function.__qualname__}: its first parameter is {first!r} instead of self: "
                f"write def {handler.name}(self, {first})"
            )

    def held_resources(self, resources: Mapping[str, bool], takes_socket: bool) -> Iterator[str]:
        """Yield a sentence if a resource stays open while a client is connected, and another if a
        message is sent before the resource is committed. ``resources``: maps the name of a
        resource's type to True if its provider closes or commits the resource.
        """
        for name in self._arguments:
            stated = self._function.__annotations__.get(name)
            kind = getattr(stated, "__name__", stated)
            source = ast.unparse(self._tree) if resources.get(kind) else ""
            if ".channels.publish(" in source and f"{name}.commit(" not in source:
                yield (
                    f"{self._place}: {self._function.__qualname__} publishes before {name} is "
                    "committed: write self.request.after_response(self.channels.publish, ...)"
                )
            if source and (takes_socket or "EventStream(" in source):
                yield (
                    f"{self._place}: {self._function.__qualname__} holds {name} until the client "
                    f"disconnects: open it where it is needed, with self.request.resource({kind})"
                )

    def bare_numbers(self, wild: Collection[str]) -> Iterator[str]:
        """Yield a sentence for a parameter without an annotation whose default is a number.
        ``wild``: the names of the path's wildcards, which declare their types in the path.
        """
        calls = {ast.unparse(node) for node in ast.walk(self._tree) if isinstance(node, ast.Call)}
        for name, one in inspect.signature(self._function).parameters.items():
            kind = type(one.default)
            is_read = any(f"{to}({name}" in call for call in calls for to in ("int", "float"))
            if (
                kind in (bool, int, float)
                and one.annotation is one.empty
                and name not in wild
                and not is_read
            ):
                yield (
                    f"{self._place}: {self._function.__qualname__} takes {name} as a str, "
                    f"because it has a default but no annotation: write {name}: "
                    f"{kind.__name__} = {one.default!r}"
                )

    def blocking_calls(self) -> Iterator[str]:
        """Yield a sentence for each parameter of an ``async def`` whose methods block the event
        loop.
        """
        is_async = isinstance(self._tree, ast.AsyncFunctionDef)
        for kind in typing.get_type_hints(self._function).values() if is_async else ():
            name = f"{getattr(kind, '__module__', '')}.{getattr(kind, '__name__', '')}"
            if _BLOCKING.match(name):
                yield (
                    f"{self._place}: {self._function.__qualname__} blocks the event loop with "
                    f"{name}: write def instead of async def, or use the asynchronous counterpart "
                    "of this class"
                )

    def closed_too_early(self) -> Iterator[str]:
        """Yield a sentence for each ``return`` of a value that the surrounding ``with`` block
        closes.
        """
        for block in ast.walk(self._tree):
            items = block.items if isinstance(block, ast.With | ast.AsyncWith) else ()
            opened = [ast.unparse(one.optional_vars) for one in items if one.optional_vars]
            for node in ast.walk(block) if opened else ():
                value = ast.unparse(node.value or node) if isinstance(node, ast.Return) else ""
                if value in opened:
                    yield (
                        f"{self._at(node)}: {value} is closed before the handler gets it: write "
                        f"yield {value}"
                    )

    def session_change(self) -> str:
        """Return a phrase that says how the function changes the session, or "" if it doesn't."""
        if self.logs_in_elsewhere():
            return ""
        names = {"session"}  # include variables, as in session = self.request.session
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign) and _is_session(node.value, names):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        for node in ast.walk(self._tree):
            if (
                isinstance(node, ast.Subscript)
                and isinstance(node.ctx, ast.Store | ast.Del)
                and _is_session(node.value, names)
            ):
                return "changes the session"
            method = node.func if isinstance(node, ast.Call) else None
            if (
                isinstance(method, ast.Attribute)
                and method.attr in _CHANGING
                and _is_session(method.value, names)
            ):
                return f"calls session.{method.attr}()"
        return ""

    def logs_in_elsewhere(self) -> bool:
        """Return whether the function is part of a log-in at another site: it redirects there, or
        takes a secret that the site sends back. Such a log-in changes the session during a GET.
        """
        secrets = _SECRETS.intersection(self._arguments)
        return bool(secrets) or "allow_external" in ast.unparse(self._tree)

    def called_methods(self) -> set[str]:
        """Return the names of the methods of ``self`` that the function calls or passes on."""
        calls = [one for one in ast.walk(self._tree) if isinstance(one, ast.Call)]
        used = [part for one in calls for part in (one.func, *one.args)]
        found = {one for one in map(ast.unparse, used) if one.startswith("self.")}
        return {one.removeprefix("self.") for one in found}

    def _at(self, node: Any) -> str:
        """Return the file and the line of a statement."""
        return f"{self._place.rpartition(':')[0]}:{node.lineno}"


def _parts(node: ast.AST) -> Iterator[Any]:
    """Yield the parts of an expression that joins strings, or the expression itself if it joins
    none.
    """
    parts: Sequence[ast.AST] = ()
    match node:
        case ast.JoinedStr():
            parts = node.values
        case ast.FormattedValue():
            parts = [node.value]
        case ast.BinOp(op=ast.Add()):
            parts = [node.left, node.right]
        case ast.BinOp(op=ast.Mod()):
            parts = [node.left, *getattr(node.right, "elts", [node.right])]
        case ast.Call(func=ast.Attribute(value=text, attr="format")):
            parts = [text, *node.args, *(one.value for one in node.keywords)]
    for part in parts:
        yield from _parts(part)
    if not parts:
        yield node


# Classes of blocking database and HTTP clients.
_BLOCKING = re.compile(
    r"(sqlalchemy\.(orm|engine)|sqlite3|psycopg2?|pymysql|redis\.client|requests)\b(?!.*Async)"
)
_TAG = re.compile(r"<([a-zA-Z][\w-]*([\s/>]|$)|[/!])")  # doesn't match "<ann@example.com>"
_SENT = ("request.", "self.request.")


def _names(annotation: str | None, resources: Collection[str]) -> bool:
    """Return whether an annotation contains the name of a type that providers create."""
    return any(one and one in (annotation or "") for one in resources)


def _is_sent(node: ast.AST, names: Collection[str]) -> bool:
    """Return whether an expression is a value from the client."""
    if isinstance(node, ast.Attribute) and node.attr in ("request", "session"):
        return ast.unparse(node.value) in ("self", "request", "self.request")
    return isinstance(node, ast.Name) and node.id in names


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the targets of an assignment, each with its value."""
    for target in node.targets if isinstance(node, ast.Assign) else ():
        value = cast("ast.Assign", node).value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            yield from zip(target.elts, value.elts, strict=False)
        else:
            yield target, value


# Query parameters that OAuth, CAS and links in emails use.
_SECRETS = frozenset({"code", "state", "ticket", "token"})
_CHANGING = frozenset({"clear", "pop", "popitem", "setdefault", "update", "regenerate"})


def _is_session(node: ast.AST, names: set[str]) -> bool:
    """Return whether an expression is ``request.session``, or a variable that holds it."""
    return (isinstance(node, ast.Attribute) and node.attr == "session") or (
        isinstance(node, ast.Name) and node.id in names
    )


@lru_cache(maxsize=16)
def _classes_in(source: str) -> dict[str, ast.stmt]:
    """Return the syntax tree of each class in a file by its ``__qualname__``; of two with the same
    name, the first.
    """
    found: dict[str, ast.stmt] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                found.setdefault(f"{prefix}{child.name}", child)
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, _Function):
                visit(child, f"{prefix}{child.name}.<locals>.")
            else:
                visit(child, prefix)

    visit(ast.parse(source), "")
    return found


def _tree_of(thing: type | Callable[..., object]) -> ast.Module:
    """Return the syntax tree of a function or a class, or an empty tree if its source isn't
    available.
    """
    try:
        if isinstance(thing, type):
            # ``inspect.getsourcelines`` would parse the whole file for each of its classes.
            source = inspect.getsource(sys.modules[thing.__module__])
            return ast.Module([_classes_in(source)[thing.__qualname__]], [])
        lines, first = inspect.getsourcelines(thing)
        return ast.increment_lineno(ast.parse(textwrap.dedent("".join(lines))), first - 1)
    except Exception:  # the file may have changed since it was imported
        return ast.Module([], [])
