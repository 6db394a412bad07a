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
from types import NoneType, SimpleNamespace
from typing import Any, TypeAlias

from micropie import App, WebSocket
from micropie._core.errors import HTTPError, Redirect
from micropie._core.execution.placement import layers
from micropie._core.http import BindingErrors, Request, Response, Session
from micropie._core.routing import AppBase, Registrations, place_of
from micropie._core.routing.discovery import (
    REQUIRES,
    Handler,
    is_hidden,
    marks_above,
    marks_above_handler,
    marks_of,
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
        yield from source.unsafe_texts(registered.settings.get("text", "html") == "html")
        yield from source.shared_state(resources)
        yield from source.shared_counts()
        yield from source.unsafe_paths()
        yield from source.unread_errors()
        yield from source.blocking_calls()
    # private methods, but not those with two leading underscores
    helpers = [
        one for cls in classes for name, one in vars(cls).items() if name[0] == "_" != name[1:2]
    ]
    for helper in _sources_of(filter(inspect.isfunction, helpers)):
        yield from helper.shared_state(None)
        yield from helper.shared_counts()
    for provider in _sources_of(registered.providers.values()):
        yield from provider.closed_too_early()
    for starting in _sources_of([app.lifespan]):
        yield from starting.lost_waits(app)
    yield from _unserved_functions(app, classes)
    called = {name for source in sources for name in source.called_methods()}
    for handler in handlers:
        yield from _notes_of_handler(handler, called, resources)


def source_errors(registered: Registrations, handlers: Sequence[Handler]) -> Iterator[str]:
    """Yield a sentence for each response or returned value that is not sent, and for each method
    that overrides a method with an access check but has none itself.
    """
    classes = _own_classes(registered)
    if not any(REQUIRES in own_attributes(cls) for cls in classes):
        # ``@requires`` on a class applies to all its methods.
        yield from _lost_guards(classes)
    for source in _sources_of(_functions_of(registered, handlers)):
        yield from source.lost_answers()
    # A decorator may use what the generator below it returns.
    generators = [one.function for one in handlers if inspect.isgeneratorfunction(one.function)]
    for source in _sources_of(generators):
        yield from source.lost_values()
        yield from source.unnamed_events()


def paths_of_hooks(app: AppBase, handlers: Sequence[Handler]) -> Iterator[tuple[str, str]]:
    """Yield each path that a hook compares with ``request.path``, with the file and line of the
    hook.
    """
    for hook in _hooks_of(app, handlers):
        for compared in _COMPARED.findall(ast.unparse(_tree_of(hook))):
            for path in re.findall("'([^']*)'", compared):
                yield path, place_of(hook)


# What a hook compares with the path: a string, or a tuple, list or set of strings.
_COMPARED = re.compile(r"request\.path (?:[=!]=|(?:not )?in) ('[^']*'|[([{][^)\]}]*)")


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
        yield from source.wrong_defaults(wild)
        yield from source.lost_self(handler)
        yield from source.held_resources(resources, handler.marks[0].takes_socket)
    is_by_name = any(mark.path is None and not mark.methods for mark in handler.marks)
    if is_by_name and handler.name in called and handler.name != "index":
        yield (
            f"{place_of(handler.function)}: {handler.name} is a page, but another page calls "
            f"it or passes it on: rename it to _{handler.name} if clients must not reach it"
        )


def _unserved_functions(app: AppBase, classes: Sequence[type]) -> Iterator[str]:
    """Yield a sentence for each function that ``__init__`` stores in a public attribute, unless a
    method uses the attribute.
    """
    text = "".join(ast.unparse(_tree_of(cls)) for cls in classes)
    for name, value in own_attributes(app).items():
        is_used = len(re.findall(rf"self\.{name}\b", text)) > 1  # not only stored
        is_inner = inspect.isfunction(value) and "<locals>" in value.__qualname__
        if is_inner and name[0] != "_" and not (is_used or marks_of(value)):
            yield (
                f"{place_of(value)}: nothing handles /{name}, because only the object has this "
                f"function: write def {name}(self) in the class, or rename it to _{name}"
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

    def __init__(self, function: Any, tree: _Function, is_handler: bool) -> None:
        self._function, self._tree, self._is_handler = function, tree, is_handler
        self._place, self._name = place_of(function), function.__qualname__
        self._nodes = [*ast.walk(tree)]
        # the source without its docstring
        self._text = ast.unparse(tree).replace(ast.get_docstring(tree, clean=False) or "\0", "")
        self._arguments = [one.arg for one in ast.walk(tree.args) if isinstance(one, ast.arg)]
        self._stored = self._names(ast.Store)

    def _names(self, context: type[ast.expr_context]) -> set[str]:
        """Return the names of variables that the function loads or stores."""
        named = [one for one in self._nodes if isinstance(one, ast.Name)]
        return {one.id for one in named if isinstance(one.ctx, context)}

    @classmethod
    def of(cls, function: Any) -> FunctionSource | None:
        """Return the source of the function inside its decorators' wrappers, or None if the source
        isn't available.
        """
        *_, inner = layers(function)
        inner = getattr(inner, "__func__", inner)
        body = _tree_of(inner).body if inspect.isfunction(inner) else []
        if not body or not isinstance(body[0], _Function):
            return None
        return cls(inner, body[0], isinstance(getattr(function, "__self__", None), AppBase))

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

    def lost_values(self) -> Iterator[str]:
        """Yield a sentence for each value that a generator returns."""
        for node in _own_nodes(self._tree):
            if isinstance(node, ast.Return) and ast.unparse(node.value or node) not in _NOTHING:
                yield (
                    f"{self._at(node)}: {self._name} is a generator, so what it returns is not "
                    "sent: write yield, or move the lines with yield into a method _rows, and "
                    "write return self._rows()"
                )

    def unnamed_events(self) -> Iterator[str]:
        """Yield a sentence for the first event that a generator writes as text."""
        for node in _own_nodes(self._tree):
            written = (
                next(_parts(node.value)) if isinstance(node, ast.Yield) and node.value else None
            )
            text = written.value if isinstance(written, ast.Constant) else ""
            if str(text).startswith(("data:", "event:")) and "content_type" not in self._text:
                yield (
                    f"{self._at(node)}: {self._name} sends events as text/html, which EventSource "
                    "refuses: write yield event(data)"
                )
                return

    def _found(self, text: str) -> object:
        """Return the object that the source ``text`` names, or None."""
        found: Any = SimpleNamespace(**self._function.__globals__)
        for name in text.split("."):
            found = inspect.getattr_static(found, name, None)
        return found

    def lost_waits(self, app: object) -> Iterator[str]:
        """Yield a sentence for each call in an ``async def`` that is missing an ``await``, and for
        each task that nothing refers to.
        """
        if not isinstance(self._tree, ast.AsyncFunctionDef):
            return
        owners = {"self": type(app), "request": Request, "ws": WebSocket}
        for call, called in self._statements():
            owner, _, name = called.rpartition(".")
            kind = owners.get(owner.rpartition(".")[2], object)
            found = inspect.getattr_static(kind, name, None) if owner else self._found(called)
            if inspect.iscoroutinefunction(found) or (
                inspect.isfunction(found)
                and str(found.__annotations__.get("return")).startswith(("Awaitable", "Coroutine"))
            ):
                yield f"{self._at(call)}: {called}(...) never runs: write await in front of it"
            elif _TASKS.search(f"{called} {_full_name(self._found(called))}"):
                yield (
                    f"{self._at(call)}: {called}(...) may never end, because nothing refers to the "
                    "task: write self.request.after_response(function, ...), or store the task"
                )

    def _statements(self) -> Iterator[tuple[ast.Call, str]]:
        """Yield the calls whose results are discarded, each with the source of the called
        expression.
        """
        for node in self._nodes:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                yield node.value, ast.unparse(node.value.func)

    def shared_state(self, resources: Collection[str] | None) -> Iterator[str]:
        """Yield a sentence for the first statement that stores a client's value on ``self``, on an
        application or in a global variable, or that replaces an attribute of ``App``.

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
        shared = self._shared_names()
        for node in self._nodes:
            for target, value in _assigned(node):
                owner, _, name = ast.unparse(target).rpartition(".")
                if self._is_handler and owner == "self" and name in _OF_APPS:
                    yield (
                        f"{self._at(node)}: self.{name} = ... replaces what the application has: "
                        "write self.request.state.name = ... for one request, or self.state.name "
                        "= ... for all"
                    )
                    return
                is_sent = any(_is_sent(one, names) for one in ast.walk(value))
                is_name = isinstance(target, ast.Attribute | ast.Name)
                if not (is_sent and is_name) or ast.unparse(target) in ast.unparse(value):
                    continue
                is_app = isinstance(self._function.__globals__.get(owner), AppBase)
                if is_app or owner == "self" or name in shared:
                    yield (
                        f"{self._at(node)}: {ast.unparse(target)} stores what one client sent, but "
                        f"all clients share this {owner or 'variable'}: write request.state.{name}"
                    )
                    return
                names |= {name} if isinstance(target, ast.Name) else set()

    def _shared_names(self) -> set[str]:
        """Return the names that the function declares as global or nonlocal."""
        return {name for one in self._nodes for name in getattr(one, "names", ())}

    def shared_counts(self) -> Iterator[str]:
        """Yield a sentence for the first statement that counts in a global variable without a
        lock.
        """
        if not isinstance(self._tree, ast.FunctionDef) or "lock" in self._text.lower():
            return
        shared = self._shared_names()
        for node in self._nodes:
            counted = ast.unparse(node.target) if isinstance(node, ast.AugAssign) else ""
            if counted in shared:
                yield (
                    f"{self._at(node)}: {counted} is changed by several threads at once, and each "
                    "process has its own: store it in a database, or use a lock in one process"
                )
                return

    def _texts(self) -> set[str]:
        """Return the names of the parameters that are text from a client."""
        hints = typing.get_type_hints(self._function)
        texts = {one for one in self._arguments if hints.get(one, str) in (str, str | None)}
        return texts - {"self", *self._stored}

    def unsafe_paths(self) -> Iterator[str]:
        """Yield a sentence for each path with text from a client, unless the function tests
        whether something is in a list of names.
        """
        if "is_relative_to" in self._text or any(isinstance(one, _IN) for one in self._nodes):
            return
        texts = self._texts()
        for node in self._nodes:
            match node:
                case ast.BinOp(op=ast.Div(), right=last):
                    parts = [last]
                case ast.Call(func=function, args=[*given]):
                    opens = ast.unparse(function) in ("open", "os.path.join")
                    parts = [part for one in given for part in _parts(one)] if opens else []
                case _:
                    continue
            for value in map(ast.unparse, parts):
                if value in texts or value.startswith(_SENT):
                    yield (
                        f"{self._at(node)}: {value} becomes a part of a path, so a client can name "
                        f'any file: write static_file({value}, root="files")'
                    )

    def unsafe_texts(self, is_html: bool) -> Iterator[str]:
        """Yield a sentence for each template whose source is put together from values, and for each
        string with HTML tags or SQL that includes text from a client. ``is_html``: whether text is
        sent as HTML.
        """
        texts = self._texts()
        inner: set[ast.AST] = set()
        for node in self._nodes:
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
                continue
            fixed = " ".join(str(one.value) for one in parts if isinstance(one, ast.Constant))
            for value in [one for one in values if one in texts or one.startswith(_SENT)]:
                if is_html and _TAG.search(fixed):
                    yield (
                        f"{self._at(text)}: {value} is sent as HTML without escaping, so a client "
                        f'can send scripts: write html("...{{}}", {value}) or escape({value})'
                    )
                elif _SQL.match(fixed) and not re.search(rf"{value} (not )?in ", self._text):
                    yield (
                        f"{self._at(text)}: {value} becomes a part of the SQL, so a client can "
                        f'read and change any row: write execute("... = ?", [{value}])'
                    )

    def unread_errors(self) -> Iterator[str]:
        """Yield a sentence for a parameter of type ``BindingErrors`` that the function never
        reads.
        """
        read = self._names(ast.Load)
        for name, annotation in self._function.__annotations__.items():
            is_errors = annotation in (BindingErrors, BindingErrors.__name__)
            if is_errors and name != "return" and read.isdisjoint((name, "locals")):
                yield (
                    f"{self._place}: {self._name} does not check {name}, so "
                    "it treats invalid values as valid: return the form's page again if "
                    f"{name} isn't empty"
                )

    def lost_self(self, handler: Handler) -> Iterator[str]:
        """Yield a sentence for a method without ``self``. Its first parameter is named like a value
        from a client, but the application is passed to it.
        """
        code = self._function.__code__
        first = code.co_varnames[0] if code.co_argcount else "self"
        is_owner = f"{first}." in self._text
        if self._is_handler and not is_owner and first not in ("self", "cls", "_"):
            yield (
                f"{self._name}: its first parameter is {first!r} instead of self: "
                f"write def {handler.name}(self, {first})"
            )

    def held_resources(self, resources: Mapping[str, bool], takes_socket: bool) -> Iterator[str]:
        """Yield a sentence if a resource stays open while a client is connected, and another if a
        message is sent before the resource is committed. ``resources``: maps the name of a
        resource's type to True if its provider closes or commits the resource.
        """
        for name, stated in self._function.__annotations__.items():
            kind = getattr(stated, "__name__", stated)
            source = self._text if resources.get(kind) else ""
            if ".channels.publish(" in source and f"{name}.commit(" not in source:
                yield (
                    f"{self._place}: {self._name} publishes before {name} is "
                    "committed: write self.request.after_response(self.channels.publish, ...)"
                )
            if source and (takes_socket or "EventStream(" in source):
                yield (
                    f"{self._place}: {self._name} holds {name} until the client "
                    f"disconnects: open it where it is needed, with self.request.resource({kind})"
                )

    def wrong_defaults(self, wild: Collection[str]) -> Iterator[str]:
        """Yield a sentence for each parameter whose default isn't what the function will get, or is
        changed by it. ``wild``: the names of the path's wildcards, which declare their types in the
        path.
        """
        made = dict(_MADE_ONCE.findall(ast.unparse(self._tree.args)))
        for name, one in inspect.signature(self._function).parameters.items():
            kind = type(one.default)
            is_read = re.search(rf"\b(int|float)\({name}\b|\b{name} is ", self._text)
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
            elif one.annotation is not one.empty or name in wild or is_read or kind in _PLAIN:
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

    def blocking_calls(self) -> Iterator[str]:
        """Yield a sentence for each function that an ``async def`` calls, and for each parameter
        with methods, that blocks the event loop.
        """
        if not isinstance(self._tree, ast.AsyncFunctionDef):
            return
        hints = typing.get_type_hints(self._function).values()
        calls = [one for one in _own_nodes(self._tree) if isinstance(one, ast.Call)]
        for node, one in (
            *((self._tree, one) for one in hints),
            *((call, self._found(ast.unparse(call.func))) for call in calls),
        ):
            name = _full_name(one)
            if _BLOCKING.match(name):
                yield (
                    f"{self._at(node)}: {self._name} blocks the event loop with {name}: write def "
                    "instead of async def, or use the asynchronous counterpart"
                )

    def closed_too_early(self) -> Iterator[str]:
        """Yield a sentence for each ``return`` of a value that the surrounding ``with`` block
        closes.
        """
        for block in self._nodes:
            items = getattr(block, "items", ())  # of a with block
            opened = [ast.unparse(one.optional_vars or one) for one in items]
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
        for node in self._nodes:
            for target, value in _assigned(node):
                if getattr(value, "attr", ast.unparse(value)) in names:
                    names.add(ast.unparse(target))
        return next(self._changes(names, Session), "")

    def _changes(self, names: Collection[str], kind: type) -> Iterator[str]:
        """Yield a phrase for each change of an object of a class. ``names``: of its variables. An
        attribute ``session`` is a session, too.
        """
        for node in self._nodes:
            match node:
                case ast.Subscript(value=changed, ctx=ast.Store() | ast.Del()):
                    phrase = "changes the session"
                case ast.Call(func=ast.Attribute(value=changed, attr=method)):
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
        secrets = _SECRETS.intersection(self._arguments)
        return bool(secrets) or "allow_external" in self._text

    def called_methods(self) -> set[str]:
        """Return the names of the methods of ``self`` that the function calls or passes on."""
        return {*re.findall(r"(?<![\w.])self\.(\w+)(?=[(,)])", self._text)}

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


def _full_name(one: object) -> str:
    return f"{getattr(one, '__module__', '')}.{getattr(one, '__qualname__', '')}"


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below ``node``, but not those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _Function | ast.Lambda):
            yield from _own_nodes(child)


# Classes of blocking database and HTTP clients, and blocking functions.
_BLOCKING = re.compile(
    r"(sqlalchemy\.(orm\.(session|scoping)|engine\.base)|_?sqlite3|psycopg2?\.(\w+\.)?[Cc]onnect|"
    r"pymysql|redis\.client|requests|time\.sleep|urllib\.request\.urlopen|"
    r"subprocess\.(run|call|check))(?!.*(Async|Error))"
)
_TASKS = re.compile(r"loop(\(\))?\.create_task |asyncio\.tasks\.(create_task|ensure_future)$")
_NOTHING = ("return", "None")
_SHARED = (list, dict, set)
_PLAIN = (*_SHARED, NoneType, str, bytes, tuple, frozenset, type)
# Calls in parameters' defaults, with the names of the parameters.
_MADE_ONCE = re.compile(r"(\w+)(?:: [^=,]+)?=([\w.]*\b(?:now|today|utcnow|uuid4)\([^)]*\))")
_OF_APPS = {*dir(App), *App.__annotations__}
_SQL = re.compile(  # doesn't match "Select one from ..."
    r"(?s)\s*(?![A-Z][a-z])"
    r"(?i:select\b.*\b(from|where)|insert\s+into|update\s+\w+\s+set|delete\s+from)\b"
)
_TAG = re.compile(r"<([a-zA-Z][\w-]*([\s/>]|$)|[/!])")  # doesn't match "<ann@example.com>"
_IN = ast.In | ast.NotIn
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
    if isinstance(node, ast.Assign):
        for target in node.targets:
            pairs = zip(getattr(target, "elts", ()), getattr(node.value, "elts", ()), strict=False)
            yield from [*pairs] or [(target, node.value)]


# Query parameters that OAuth, CAS and links in emails use.
_SECRETS = frozenset({"code", "state", "ticket", "token"})
_CHANGING = re.compile("add|append|clear|extend|insert|pop|popitem|regenerate|setdefault|update")


@lru_cache(maxsize=16)
def _classes_in(source: str) -> dict[str, ast.stmt]:
    """Return the syntax tree of each class in a file by its ``__qualname__``; of two with the same
    name, the first.
    """
    found: dict[str, ast.stmt] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.ClassDef):
                found.setdefault(f"{prefix}{child.name}", child)
                inner = f"{prefix}{child.name}."
            elif isinstance(child, _Function):
                inner = f"{prefix}{child.name}.<locals>."
            visit(child, inner)

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
