"""Checks of an application's source, for errors that raise no exception and for code that may be
wrong.

In development, the checks run at startup and log their findings. ``micropie check`` prints them.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from inspect import (
    Parameter,
    getattr_static,
    getsource,
    getsourcelines,
    iscoroutinefunction,
    isfunction,
    isgeneratorfunction,
    isroutine,
)
from types import NoneType, SimpleNamespace
from typing import Any, TypeAlias, TypeVar

from micropie import App, BindingErrors, HTTPError, Redirect, Request, Response, WebSocket
from micropie._core.errors import annotations_of, has_yield
from micropie._core.execution.placement import innermost
from micropie._core.http import Session
from micropie._core.routing import AppBase, place_of
from micropie._core.routing.discovery import (
    REQUIRES,
    AnyFunction,
    Handler,
    is_hidden,
    marks_above,
    marks_above_handler,
    marks_of,
    own_attributes,
)
from micropie.debug.application import Sentences
from micropie.extensions import Application, Inspector, TypeInfo

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Node = TypeVar("_Node", bound=ast.AST)


def notes_of(application: Application) -> Sentences:
    """Yield a sentence for each place in an application's source that its author should check."""
    app, handlers, classes = application.app, application.handlers, _own_classes(application.app)
    sources = _sources_of(_functions_of(app, handlers))
    resources = {
        getattr(key, "__name__", str(key)): _opens(one)
        for key, one in application.providers.items()
    }
    called: set[str] = set()
    for source in sources:
        called |= {*_CALLED.findall(source.text)} - {source.name}  # a page may be recursive
        if source.is_async:
            yield from source.lost_waits(app)
            yield from source.blocking_calls()
        yield from source.unsafe_texts(app._micropie.settings.get("text", "html") == "html")
        yield from source.shared_state(source.sent_parameters(resources))
        yield from source.shared_counts()
        yield from source.unsafe_paths()
        yield from source.unread_errors()
    # private methods, but not those with two leading underscores
    helpers = [
        one for cls in classes for name, one in vars(cls).items() if name[0] == "_" != name[1:2]
    ]
    for helper in _sources_of(filter(isfunction, helpers)):
        yield from helper.shared_state(())
        yield from helper.shared_counts()
    for provider in _sources_of(app._micropie.providers.values()):
        yield from provider.closed_too_early()
    for starting in _sources_of([app.lifespan]):
        yield from starting.lost_waits(app)
    yield from _unserved_functions(app, classes)
    for handler in handlers:
        for source in _sources_of([handler.function]):
            yield from source.wrong_defaults(handler)
            yield from source.lost_self(handler)
            yield from source.held_resources(handler, resources)
        is_by_name = any(mark.path is None and not mark.methods for mark in handler.marks)
        if is_by_name and handler.name in called - {"index"}:
            yield (
                f"{place_of(handler.function)}: {handler.name} is a page, but another page calls "
                f"it or passes it on: rename it to _{handler.name} if clients must not reach it"
            )


# The methods of ``self`` that a function calls or passes on.
_CALLED = re.compile(r"(?<![\w.])self\.(\w+)(?=[(,)])")


def source_errors(application: Application) -> Sentences:
    """Yield a sentence for each response or returned value that is not sent, and for each method
    that overrides a method with an access check but has none itself.
    """
    handlers, classes = application.handlers, _own_classes(application.app)
    # ``@requires`` on a class applies to all its methods.
    is_guarded = any(REQUIRES in own_attributes(cls) for cls in classes)
    guarded = dict[str, type]()
    for cls in () if is_guarded else reversed(classes):
        for name, value in vars(cls).items():
            if REQUIRES in own_attributes(value):
                guarded[name] = cls
            elif name in guarded and isfunction(value) and not is_hidden(value):
                yield (
                    f"{cls.__name__}.{name} overrides {guarded[name].__name__}.{name} without its "
                    "access check: write @requires above it as well, unless everybody may call it"
                )
    for source in _sources_of(_functions_of(application.app, handlers)):
        yield from source.lost_answers()
    # A decorator may use what the generator below it returns.
    for source in _sources_of(filter(isgeneratorfunction, (one.function for one in handlers))):
        yield from source.lost_values()
        yield from source.unnamed_events()


def paths_of_hooks(application: Application) -> Iterator[tuple[str, str]]:
    """Yield each path that a hook compares with ``request.path``, with the file and line of the
    hook.
    """
    for hook in _hooks_of(application.app, application.handlers):
        for compared in _COMPARED.findall(ast.unparse(_tree_of(hook))):
            for path in re.findall("'([^']*)'", compared):
                yield path, place_of(hook)


# What a hook compares with the path: a string, or a tuple, list or set of strings.
_COMPARED = re.compile(r"request\.path (?:[=!]=|(?:not )?in) ('[^']*'|[([{][^)\]}]*)")


def _own_classes(app: AppBase) -> list[type]:
    return [cls for cls in type(app).__mro__ if cls not in app._micropie.framework]


def _functions_of(app: AppBase, handlers: Sequence[Handler]) -> list[object]:
    return [
        *(one.function for one in handlers),
        *(one for one, _ in app._micropie.functions),
        *_hooks_of(app, handlers),
    ]


def _sources_of(functions: Iterable[object]) -> list[FunctionSource]:
    """Return the sources of functions, without duplicates."""
    different = {id(one): one for one in functions}.values()
    return [*filter(None, map(FunctionSource.of, different))]


def _hooks_of(app: AppBase, handlers: Sequence[Handler]) -> list[AnyFunction]:
    """Return the application's own functions and methods that run before handlers."""
    guarded = [mark for one in handlers for mark in marks_above_handler(one.function, False)]
    return [
        method
        for hook in (*app.middlewares, *marks_above(app), *guarded)
        for method in (
            hook,
            getattr(hook, "before_request", None),
            getattr(hook, "check", None),
            *getattr(hook, "__dict__", {}).values(),
        )
        if isroutine(method)
    ]


def _opens(provider: AnyFunction) -> bool:
    """Return whether a provider is a generator or returns a context manager, and so can close or
    commit its resource.
    """
    inner = innermost(provider)
    return has_yield(inner) or "ContextManager" in str(annotations_of(inner))


def _unserved_functions(app: AppBase, classes: Sequence[type]) -> Sentences:
    """Yield a sentence for each function that ``__init__`` stores in a public attribute, unless a
    method uses the attribute.
    """
    text = "".join(ast.unparse(_tree_of(cls)) for cls in classes)
    for name, value in own_attributes(app).items():
        is_used = len(re.findall(rf"self\.{name}\b", text)) > 1  # not only stored
        is_inner = isfunction(value) and "<locals>" in value.__qualname__
        if is_inner and name[0] != "_" and not (is_used or marks_of(value)):
            yield (
                f"{place_of(value)}: nothing handles /{name}, because only the object has this "
                f"function: write def {name}(self) in the class, or rename it to _{name}"
            )


def defined_twice(app: AppBase) -> Sentences:
    """Yield a sentence for each method that is replaced by another one of the same name in the same
    class.
    """
    for cls in _own_classes(app):
        seen = dict[str, int]()
        for one in _tree_of(cls).body:
            if not isinstance(one, _Function) or any(
                _OF_TWO.search(ast.unparse(decorator)) for decorator in one.decorator_list
            ):
                continue
            if seen.setdefault(one.name, one.lineno) != one.lineno:
                yield (
                    f"{cls.__name__}.{one.name} is defined twice, in lines {seen[one.name]} and "
                    f"{one.lineno}, and the last one replaces the first: give one of them another "
                    "name"
                )


# Decorators that allow two functions of the same name, such as ``@name.setter`` or ``@overload``.
_OF_TWO = re.compile(r"overload|\.(setter|getter|deleter|register)\b")


class FunctionSource:
    """The source of a function, with methods that search it for likely errors."""

    def __init__(self, function: Any, tree: _Function, is_handler: bool) -> None:
        self._function, self._tree, self._is_handler = function, tree, is_handler
        self.is_async = isinstance(tree, ast.AsyncFunctionDef)
        self._place, self._name = place_of(function), function.__qualname__
        self.name = function.__name__
        self._nodes = [*ast.walk(tree)]
        # the source without its docstring
        self.text = ast.unparse(tree).replace(ast.get_docstring(tree, clean=False) or "\0", "")
        self._parameters = Inspector.signature_of(function).parameters
        self._stored = self._names(ast.Store)
        # the names that the function itself declares as global or nonlocal
        self._shared = {name for one in _own_nodes(tree) for name in getattr(one, "names", ())}

    def _names(self, context: type[ast.expr_context]) -> set[str]:
        """Return the names of variables that the function loads or stores."""
        return {one.id for one in _only(ast.Name, self._nodes) if isinstance(one.ctx, context)}

    @classmethod
    def of(cls, function: Any) -> FunctionSource | None:
        """Return the source of the function inside its decorators' wrappers, or None if the source
        isn't available.
        """
        inner = innermost(function)
        inner = getattr(inner, "__func__", inner)
        match _tree_of(inner).body if isfunction(inner) else ():
            case [ast.FunctionDef() | ast.AsyncFunctionDef() as tree]:
                return cls(inner, tree, isinstance(getattr(function, "__self__", None), AppBase))
        return None

    def lost_answers(self) -> Sentences:
        """Yield a sentence for each response that is created but neither returned nor raised."""
        for call, made in self._statements():
            kind = self._found(made)
            if isinstance(kind, type) and issubclass(kind, HTTPError | Redirect | Response):
                verb = "raise" if issubclass(kind, HTTPError) else "return"
                yield (
                    f"{self._at(call)}: {made}(...) is created but not sent: write {verb} "
                    f"{made}(...)"
                )

    def lost_values(self) -> Sentences:
        """Yield a sentence for each value that a generator returns."""
        for node in _only(ast.Return, _own_nodes(self._tree)):
            if ast.unparse(node) not in ("return", "return None"):
                yield (
                    f"{self._at(node)}: {self._name} is a generator, so what it returns is not "
                    "sent: write yield, or move the lines with yield into a method _rows, and "
                    "write return self._rows()"
                )

    def unnamed_events(self) -> Sentences:
        """Yield a sentence for the first event that a generator yields as a chunk of text."""
        for node in _only(ast.Yield, _own_nodes(self._tree)):
            first, *_ = _parts(node.value or node)
            is_event = re.match("[\"']?(data:|event[:(])", ast.unparse(first))
            if is_event and "event-stream" not in self.text:
                yield (
                    f"{self._at(node)}: {self._name} sends events as text/html, which EventSource "
                    "refuses: write yield event(data) in a method _events, and return "
                    "EventStream(self._events()) here"
                )
                return

    def _found(self, text: str, names: Mapping[str, object] = {}) -> object:
        """Return the object that the source ``text`` names, or None. ``names``: the objects of
        names that aren't global variables.
        """
        found: object = SimpleNamespace(**self._function.__globals__ | names)
        for name in text.split("."):
            found = getattr_static(found, name, None)
        return found

    def lost_waits(self, app: object) -> Sentences:
        """Yield a sentence for each call that is missing an ``await``, and for each task that
        nothing refers to.
        """
        owners = {"self": type(app), "request": Request, "ws": WebSocket}
        for call, called in self._statements():
            # "request" may be an attribute, as in self.request.body().
            found = self._found(re.sub(r".*\.(?=(request|ws)\.)", "", called), owners)
            if iscoroutinefunction(found) or (
                isfunction(found)
                and str(annotations_of(found).get("return")).startswith(("Awaitable", "Coroutine"))
            ):
                yield f"{self._at(call)}: {called}(...) never runs: write await in front of it"
            elif _TASKS.search(f"{called} {_full_name(found)}"):
                yield (
                    f"{self._at(call)}: {called}(...) may never end, because nothing refers to the "
                    "task: write self.request.after_response(function, ...), or store the task"
                )

    def _statements(self) -> Iterator[tuple[ast.Call, str]]:
        """Yield the calls whose results are discarded, each with the source of the called
        expression.
        """
        for node in _only(ast.Expr, self._nodes):
            if isinstance(node.value, ast.Call):
                yield node.value, ast.unparse(node.value.func)

    def sent_parameters(self, resources: Collection[str]) -> list[str]:
        """Return the names of the parameters that get values from clients. ``resources``: the names
        of the types that providers create.
        """
        return [
            name
            for name, one in self._parameters.items()
            if name != "self" and not any(kind in str(one.annotation) for kind in resources)
        ]

    def shared_state(self, parameters: Collection[str]) -> Sentences:
        """Yield a sentence for the first statement that stores a client's value on ``self``, on an
        application or in a global variable, or that replaces an attribute of ``App``.

        ``parameters``: the names of those that get values from clients, apart from ``request``.
        """
        sent = {"self.request", "self.session", "request.session"}
        sent |= self._parameters.keys() & {"request", *parameters}
        for target, value in self._assigned():
            text = ast.unparse(target)
            owner, _, name = text.rpartition(".")
            if self._is_handler and owner == "self" and name in _OF_APPS:
                yield (
                    f"{self._at(target)}: self.{name} = ... replaces what the application has: "
                    "write self.request.state.name = ... for one request, or self.state.name "
                    "= ... for all"
                )
                return
            is_name = isinstance(target, ast.Attribute | ast.Name)
            values = map(ast.unparse, _only(ast.expr, ast.walk(value)))
            if not is_name or text in ast.unparse(value) or sent.isdisjoint(values):
                continue
            is_app = isinstance(self._function.__globals__.get(owner), AppBase)
            if is_app or owner == "self" or name in self._shared:
                yield (
                    f"{self._at(target)}: {text} stores what one client sent, but "
                    f"all clients share this {owner or 'variable'}: write request.state.{name}"
                )
                return
            if not owner:
                sent.add(name)

    def _assigned(self) -> Iterator[tuple[ast.expr, ast.expr]]:
        """Yield the targets of all assignments, each with its value."""
        for node in _only(ast.Assign, self._nodes):
            for target in node.targets:
                several = getattr(target, "elts", ()), getattr(node.value, "elts", ())
                yield from [*zip(*several, strict=False)] or [(target, node.value)]

    def shared_counts(self) -> Sentences:
        """Yield a sentence for the first statement that counts in a global variable without a
        lock.
        """
        if self.is_async or "lock" in self.text.lower():
            return
        for node in _only(ast.AugAssign, self._nodes):
            counted = ast.unparse(node.target)
            if counted in self._shared:
                yield (
                    f"{self._at(node)}: {counted} is changed by several threads at once, and each "
                    "process has its own: store it in a database, or use a lock in one process"
                )
                return

    def _from_clients(self, parts: Iterable[ast.AST]) -> list[str]:
        """Return the source of each expression that is text from a client."""
        return [
            one
            for one in map(ast.unparse, parts)
            if one in self._texts or one.startswith(("request.", "self.request."))
        ]

    @cached_property
    def _texts(self) -> set[str]:
        """The names of the parameters that are text from a client."""
        return {
            name
            for name, kind in self._kinds.items()
            if kind in (str, str | None, Parameter.empty) and name not in {"self", *self._stored}
        }

    @cached_property
    def _kinds(self) -> Mapping[str, object]:
        """The types of the parameters."""
        return {name: TypeInfo(one.annotation).bare for name, one in self._parameters.items()}

    def unsafe_paths(self) -> Sentences:
        """Yield a sentence for each path with text from a client, unless the function tests
        whether something is in a list of names.
        """
        if "is_relative_to" in self.text or {ast.In, ast.NotIn} & {*map(type, self._nodes)}:
            return
        for node in self._nodes:
            match node:
                case ast.Call(func, given) if ast.unparse(func) in ("open", "os.path.join"):
                    parts = [part for one in given for part in _parts(one)]
                case ast.BinOp(op=ast.Div(), right=last):
                    parts = _parts(last)
                case _:
                    continue
            for value in self._from_clients(parts):
                yield (
                    f"{self._at(node)}: {value} becomes a part of a path, so a client can name "
                    f'any file: write static_file({value}, root="files")'
                )

    def unsafe_texts(self, is_html: bool) -> Sentences:
        """Yield a sentence for each template whose source is put together from values, and for each
        string with HTML tags or SQL that includes text from a client. ``is_html``: whether text is
        sent as HTML.
        """
        sources = [one.value for one in _only(ast.keyword, self._nodes) if one.arg == "source"]
        for text, parts in self._joined():
            values = [one for one in parts if not isinstance(one, ast.Constant)]
            names = {ast.unparse(one).partition(".")[0] for one in values}
            if text in sources and not names <= self._function.__globals__.keys():
                yield (
                    f"{self._at(text)}: a value inserted into the source of a template runs as "
                    'code: pass it separately, as in template(source="... {{ name }}", name=name)'
                )
                continue
            fixed = " ".join(str(one.value) for one in _only(ast.Constant, parts))
            for value in self._from_clients(values):
                if is_html and _TAG.search(fixed):
                    yield (
                        f"{self._at(text)}: {value} is sent as HTML without escaping, so a client "
                        f'can send scripts: write html("...{{}}", {value}) or escape({value})'
                    )
                elif _SQL.match(fixed) and not re.search(rf"{value} (not )?in ", self.text):
                    yield (
                        f"{self._at(text)}: {value} becomes a part of the SQL, so a client can "
                        f'read and change any row: write execute("... = ?", [{value}])'
                    )

    def _joined(self) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
        """Yield each expression that joins strings and is not a part of another such expression,
        with its parts.
        """
        inner = set[ast.AST]()
        for node in self._nodes:
            if node not in inner and (parts := _parts(node)) != [node]:
                inner.update(ast.walk(node))
                yield node, parts

    def unread_errors(self) -> Sentences:
        """Yield a sentence for a parameter of type ``BindingErrors`` that the function never
        reads.
        """
        read = self._names(ast.Load)
        for name, one in self._parameters.items():
            if one.annotation is BindingErrors and not read & {name, "locals"}:
                yield (
                    f"{self._place}: {self._name} does not check {name}, so "
                    "it treats invalid values as valid: return the form's page again if "
                    f"{name} isn't empty"
                )

    def lost_self(self, handler: Handler) -> Sentences:
        """Yield a sentence for a method without ``self``. Its first parameter is named like a value
        from a client, but the application is passed to it.
        """
        code = self._function.__code__
        first = code.co_varnames[0] if code.co_argcount else "self"
        is_value = first not in ("self", "cls", "_") and f"{first}." not in self.text
        if self._is_handler and is_value:
            yield (
                f"{self._name}: its first parameter is {first!r} instead of self: "
                f"write def {handler.name}(self, {first})"
            )

    def held_resources(self, handler: Handler, resources: Mapping[str, bool]) -> Sentences:
        """Yield a sentence if a resource stays open while a client is connected, and another if a
        message is sent before the resource is committed. ``resources``: maps the name of a
        resource's type to True if its provider closes or commits the resource.
        """
        for name, one in self._parameters.items():
            kind = getattr(one.annotation, "__name__", one.annotation)
            if not resources.get(kind):
                continue
            if ".channels.publish(" in self.text and f"{name}.commit(" not in self.text:
                yield (
                    f"{self._place}: {self._name} publishes before {name} is "
                    "committed: write self.request.after_response(self.channels.publish, ...)"
                )
            if handler.marks[0].takes_socket or "EventStream(" in self.text:
                yield (
                    f"{self._place}: {self._name} holds {name} until the client "
                    f"disconnects: open it where it is needed, with self.request.resource({kind})"
                )

    def wrong_defaults(self, handler: Handler) -> Sentences:
        """Yield a sentence for each parameter whose default isn't what the function will get, or is
        changed by it.
        """
        # the names of the path's wildcards, which declare their types in the path
        made = dict(_MADE_ONCE.findall(ast.unparse(self._tree.args)))
        for name, one in self._parameters.items():
            kind = type(one.default)
            is_read = re.search(rf"\b(int|float)\({name}\b|\b{name} is ", self.text)
            if name in made:
                write = (
                    f"has a default for {name} that is made at import, and never again: write "
                    f"{name}=None, and {made[name]} in the function"
                )
            elif kind in _SHARED and name not in self._stored and any(self._changes({name}, kind)):
                write = (
                    f"changes the default of {name}, which all clients share: write {name} = "
                    f"{kind.__name__}({name}) first"
                )
            elif (
                one.annotation is not one.empty
                or name in handler.wildcards
                or is_read
                or kind in _PLAIN
            ):
                continue
            elif kind in (bool, int, float):
                write = (
                    f"takes {name} as a str, because it has a default but no annotation: write "
                    f"{name}: {kind.__name__} = {one.default!r}"
                )
            else:
                write = (
                    f"takes {name} from the query, so ?{name}=x replaces the default: write "
                    f"@app.provides({kind.__name__}) above a function that returns it, and {name}: "
                    f"{kind.__name__}"
                )
            yield f"{self._place}: {self._name} {write}"

    def blocking_calls(self) -> Sentences:
        """Yield a sentence for each function that an ``async def`` calls, and for each parameter
        with methods, that blocks the event loop.
        """
        for node, one in (
            *((self._tree, one) for one in self._kinds.values()),
            *(
                (call, self._found(ast.unparse(call.func)))
                for call in _only(ast.Call, _own_nodes(self._tree))
            ),
        ):
            name = _full_name(one)
            if _BLOCKING.match(name):
                yield (
                    f"{self._at(node)}: {self._name} blocks the event loop with {name}: write def "
                    "instead of async def, or use the asynchronous counterpart"
                )

    def closed_too_early(self) -> Sentences:
        """Yield a sentence for each ``return`` of a value that the surrounding ``with`` block
        closes.
        """
        for block in self._nodes:
            # Only a with block has items.
            opened = [ast.unparse(one.optional_vars or one) for one in getattr(block, "items", ())]
            for node in _only(ast.Return, ast.walk(block)):
                value = ast.unparse(node).removeprefix("return ")
                if value in opened:
                    yield (
                        f"{self._at(node)}: {value} is closed before the handler gets it: write "
                        f"yield {value}"
                    )

    def session_change(self) -> str:
        """Return a phrase that says how the function changes the session, or "" if it doesn't, or
        tests the request's method.
        """
        if self.logs_in_elsewhere() or "request.method" in self.text:
            return ""
        names = {"session"}  # include variables, as in session = self.request.session
        for target, value in self._assigned():
            if getattr(value, "attr", ast.unparse(value)) in names:
                names.add(ast.unparse(target))
        return next(self._changes(names, Session), "")

    def _changes(self, names: Collection[str], kind: type) -> Iterator[str]:
        """Yield a phrase for each change of an object of a class. ``names``: of its variables. An
        attribute ``session`` is a session, too.
        """
        for node in self._nodes:
            match node:
                case ast.Subscript(changed, ctx=ast.Store() | ast.Del()):
                    phrase = "changes the session"
                case ast.Call(ast.Attribute(changed, method)):
                    if not (_CHANGING.fullmatch(method) and hasattr(kind, method)):
                        continue
                    phrase = f"calls session.{method}()"
                case _:
                    continue
            is_session = kind is Session and getattr(changed, "attr", "") == "session"
            if is_session or getattr(changed, "id", "") in names:
                yield phrase

    def logs_in_elsewhere(self) -> bool:
        """Return whether the function is part of a log-in at another site: it redirects there, or
        takes a secret that the site sends back. Such a log-in changes the session during a GET.
        """
        return bool(self._parameters.keys() & _SECRETS) or "allow_external" in self.text

    def _at(self, node: Any) -> str:
        """Return the file and the line of a statement."""
        return f"{self._place.rpartition(':')[0]}:{node.lineno}"


def _parts(node: ast.AST) -> list[ast.AST]:
    """Return the parts of an expression that joins strings, or the expression itself if it joins
    none.
    """
    match node:
        case ast.JoinedStr(values=parts) if parts:
            pass
        case ast.FormattedValue(value):
            parts = [value]
        case ast.BinOp(left, ast.Add(), right):
            parts = [left, right]
        case ast.BinOp(left, ast.Mod(), right):
            parts = [left, *getattr(right, "elts", [right])]
        case ast.Call(ast.Attribute(text, "format"), given, keywords):
            parts = [text, *given, *(one.value for one in keywords)]
        case _:
            return [node]
    return [inner for part in parts for inner in _parts(part)]


def _full_name(one: object) -> str:
    return f"{getattr(one, '__module__', '')}.{getattr(one, '__qualname__', '')}"


def _only(kind: type[_Node], nodes: Iterable[ast.AST]) -> Iterator[_Node]:
    """Yield the nodes of a class."""
    return (one for one in nodes if isinstance(one, kind))


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below ``node``, but not those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _Function | ast.Lambda):
            yield from _own_nodes(child)


# Classes of blocking database and HTTP clients, and blocking functions.
_BLOCKING = re.compile(
    r"(sqlalchemy\.(orm\.(session|scoping)|engine\.base)|_?sqlite3|psycopg2?\.(\w+\.)?[Cc]onnect|"
    r"(pymysql|redis\.client|requests)\b|time\.sleep|urllib\.request\.urlopen|"
    r"subprocess\.(run|call|check))(?!.*(Async|Error))"
)
_TASKS = re.compile(r"loop(\(\))?\.create_task |asyncio\.tasks\.(create_task|ensure_future)$")
_SHARED = (list, dict, set)
_PLAIN = (*_SHARED, NoneType, str, bytes, tuple, frozenset, type)
# Calls in parameters' defaults, with the names of the parameters.
_MADE_ONCE = re.compile(
    r"(\w+)(?:: [^=,]+)?=([\w.]*\b(?:now|today|utcnow|uuid\d|time\.time|token_\w+)\([^)]*\))"
)
_OF_APPS = {*dir(App), *App.__annotations__}
_SQL = re.compile(  # doesn't match "Select one from ..."
    r"(?s)\s*(?![A-Z][a-z])"
    r"(?i:select\b.*\b(from|where)|insert\s+into|update\s+\w+\s+set|delete\s+from)\b"
)
_TAG = re.compile(r"<([a-zA-Z][\w-]*([\s/>]|$)|[/!])")  # doesn't match "<ann@example.com>"
# Query parameters that OAuth, CAS and links in emails use.
_SECRETS = ("code", "state", "ticket", "token")
_CHANGING = re.compile("add|append|clear|extend|insert|pop|popitem|regenerate|setdefault|update")


@lru_cache(maxsize=16)
def _classes_in(source: str) -> dict[str, ast.Module]:
    """Return the body of each class in a file by the class's ``__qualname__``; of two with the same
    name, the first.
    """
    found = dict[str, ast.Module]()

    def visit(node: ast.AST, prefix: str) -> None:
        match node:
            case ast.ClassDef(name):
                found.setdefault(f"{prefix}{name}", ast.Module(node.body, []))
                prefix += f"{name}."
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                prefix += f"{name}.<locals>."
        for child in ast.iter_child_nodes(node):
            visit(child, prefix)

    visit(ast.parse(source), "")
    return found


def _tree_of(thing: type | AnyFunction) -> ast.Module:
    """Return the syntax tree of a function, or of the body of a class. The tree is empty if the
    source isn't available.
    """
    try:
        if isinstance(thing, type):
            # ``inspect.getsourcelines`` would parse the whole file for each of its classes.
            source = getsource(sys.modules[thing.__module__])
            return _classes_in(source)[thing.__qualname__]
        lines, first = getsourcelines(thing)
        return ast.increment_lineno(ast.parse(textwrap.dedent("".join(lines))), first - 1)
    except Exception:  # the file may have changed since it was imported
        return ast.Module([], [])
