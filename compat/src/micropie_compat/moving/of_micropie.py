"""Find the places in a program for MicroPie that must be changed.

MicroPie is another framework, which is also imported as ``micropie``. docs/moving/micropie.md lists
the differences.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TypeAlias

from micropie import Request
from micropie_compat.moving.idioms import Idiom, Idioms
from micropie_compat.moving.names import (
    Trees,
    derived,
    imported_names,
    name_of,
    nodes_of,
    source_of,
)
from micropie_compat.results import words

_RESERVED = frozenset(
    words(
        "channels lifespan middlewares request response run session_backend "
        "shutdown_handlers startup_handlers state ws_middlewares "
        "wsgi_shutdown"
    )
)
_INTERNAL = {
    "_asgi_app_http": "mount the other application: app.mount(prefix, other)",
    "_asgi_app_websocket": "mount the other application: app.mount(prefix, other)",
    "_parse_cookies": "read request.cookies",
    "_parse_multipart": "read request.files and request.form",
    "_send_response": "return the response",
    "_send_websocket_close": "write await ws.close(code, reason)",
}
_OF_UPLOADS = frozenset({"content", "content_type", "filename"})
_FILES = re.compile("(?<![a-z])(?:file|upload)", re.IGNORECASE)  # but no profile
# An address that begins with a path, or with the name of a page.
_WITHIN = re.compile(r"""f?['"](?:/(?!/)|[\w.?#]+[^\w.:{])""")
_APPLICATIONS = frozenset({"MicroPie.Server", "micropie.App", "micropie.Server"})
_HOOKS = frozenset({"micropie.HttpMiddleware"})

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def differences(trees: Trees) -> Iterator[tuple[Path, Idiom]]:
    """Yield the file and the idiom for each place in a program that must be changed, without
    duplicates, ordered by line.
    """
    applications = derived(trees.values(), _APPLICATIONS)
    hooks = derived(trees.values(), _HOOKS)
    for file, tree in trees.items():
        found = {*_in_module(tree, applications, hooks)}
        yield from ((file, idiom) for idiom in sorted(found))


def _in_module(tree: ast.Module, applications: Set[str], hooks: Set[str]) -> Idioms:
    yield from _imports(tree)
    classes: list[ast.ClassDef] = []
    for node in ast.walk(tree):
        yield from _in_node(node)
        if isinstance(node, ast.ClassDef):
            classes.append(node)
    uploads: set[str] = set()
    for cls in classes:
        for method in _methods(cls) if cls.name in applications else ():
            if not method.name.startswith("_"):
                yield from _in_handler(method)
                uploads |= {one.arg for one in nodes_of(method.args, ast.arg)}
    yield from _of_uploads(tree, uploads)
    yield from _assigned_handlers(tree, applications)
    yield from _in_hooks([cls for cls in classes if cls.name in hooks])


def _imports(tree: ast.Module) -> Idioms:
    for node in nodes_of(tree, ast.ImportFrom):
        if node.level:
            continue
        if node.module == "MicroPie":
            yield node.lineno, "MicroPie", 'write "from micropie import Server"'
        for alias in node.names if node.module == "micropie" else ():
            if alias.name != "*" and not hasattr(sys.modules["micropie"], alias.name):
                yield node.lineno, alias.name, "it is internal to MicroPie: leave it out"


def _in_node(node: ast.AST) -> Idioms:
    match node:
        case ast.Attribute(_, name) if name in _INTERNAL:
            yield node.lineno, name, _INTERNAL[name]
        case ast.Call(ast.Attribute(_, "_redirect" | "redirect"), [address, *_]) | ast.Call(
            ast.Attribute(_, "_redirect"), [], [ast.keyword("location", address), *_]
        ):
            text = source_of(address)
            if text and not _WITHIN.match(text):
                advice = "write Redirect(location, allow_external=True)"
                where = "if it may lead to another host, " * ("://" not in text)
                yield node.lineno, f"_redirect({text})", where + advice
        case ast.Call(ast.Name("WebSocket"), [_, _]):
            yield node.lineno, "WebSocket", "write async def ws_name(self, ws): micropie makes it"
        case ast.Assign([ast.Attribute(_, "path_params") as target]):
            advice = 'it is read-only: to get parameters from the path, write @get("/x/<name>")'
            yield target.lineno, "path_params", advice
        case ast.Assign([ast.Subscript(ast.Attribute(_, "scope"), ast.Constant("path")) as target]):
            advice = (
                "setting the path in a hook doesn't change which handler runs: "
                'use @get("/x/<name>") or app.mount'
            )
            yield target.lineno, 'scope["path"]', advice


def _of_uploads(tree: ast.Module, names: set[str]) -> Idioms:
    """Yield calls such as ``file.get("filename")``, but not ``form.get("content")``: the object is
    one of a handler's parameters ``names``, or comes from ``request.files`` by its own name or by
    what is assigned to it.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Assign([ast.Name(name)], value) if _FILES.search(source_of(value)):
                names.add(name)
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Attribute(file, "get"), [ast.Constant(key), *_]) if (
                key in _OF_UPLOADS
            ):
                source = source_of(file)
                if source in names or _FILES.search(source):
                    yield node.lineno, f"get({key!r})", f"for an upload, write upload.{key}"


def _in_handler(method: _Function) -> Idioms:
    if method.name in _RESERVED:
        advice = (
            f'App uses that name: give the method another name and write @route("/{method.name}")'
        )
        yield method.lineno, method.name, advice
    if method.name == "default":
        advice = (
            "micropie reserves this name for the handler of unknown paths: give the method another "
            'name and write @route("/default")'
        )
        yield method.lineno, "default", advice
    arguments = method.args
    given = [*arguments.posonlyargs, *arguments.args]
    defaults = zip(given[len(given) - len(arguments.defaults) :], arguments.defaults, strict=True)
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for argument, default in (*defaults, *keywords):
        if isinstance(default, ast.Constant) and isinstance(default.value, str) and default.value:
            advice = (
                'for an empty field, the parameter gets "", not its default: '
                f"use ({argument.arg} or {default.value!r})"
            )
            yield method.lineno, f"{method.name}({argument.arg})", advice
    if arguments.vararg is None:
        for node in nodes_of(method, ast.Attribute):
            if node.attr == "path_params":
                advice = (
                    "if the path has a segment that no parameter takes, the response is a 404: add "
                    "*args to the handler"
                )
                yield node.lineno, "path_params", advice
                break


def _assigned_handlers(tree: ast.Module, classes: Set[str]) -> Idioms:
    """Yield assignments such as ``app.page = page``, in which ``page`` is a function and ``app`` is
    an application in the module.
    """
    names = imported_names(tree)
    functions = {node.name for node in tree.body if isinstance(node, _Function)}
    applications: set[str] = set()
    for statement in tree.body:
        match statement:
            case ast.Assign([ast.Name(name)], ast.Call(maker)):
                made = name_of(maker, names)
                if made in _APPLICATIONS or made.rpartition(".")[2] in classes:
                    applications.add(name)
            case ast.Assign([ast.Attribute(ast.Name(name), route)], ast.Name(function)):
                if name in applications and function in functions:
                    advice = f'write @{name}.route("/{route}") above the function'
                    yield statement.lineno, f"{name}.{route}", advice


def _in_hooks(hooks: list[ast.ClassDef]) -> Idioms:
    answering: list[_Function] = []
    for hook in hooks:
        methods = {method.name: method for method in _methods(hook)}
        after = methods.get("after_request")
        if after is None:
            continue
        if any(node.value is not None for node in nodes_of(after, ast.Return)):
            answering.append(after)
        stored = _attributes(methods.get("before_request"), ast.Store)
        for name, node in sorted(_attributes(after, ast.Load).items()):
            if name in stored and not hasattr(Request, name):
                advice = (
                    "if another hook responds early, after_request runs without before_request: "
                    f'write getattr(request, "{name}", None)'
                )
                yield node.lineno, f"request.{name}", advice
    for after in answering if len(answering) > 1 else ():
        advice = (
            "micropie runs after_request hooks in the reverse order of app.middlewares: "
            "check the order"
        )
        yield after.lineno, "after_request", advice


def _attributes(
    method: _Function | None, context: type[ast.expr_context]
) -> dict[str, ast.Attribute]:
    """Return the attributes of the request that a hook reads or sets. The request is the hook's
    first parameter after ``self``.
    """
    if method is None or len(method.args.args) < 2:
        return {}
    request = method.args.args[1].arg
    return {
        node.attr: node
        for node in nodes_of(method, ast.Attribute)
        if isinstance(node.ctx, context)
        and isinstance(node.value, ast.Name)
        and node.value.id == request
    }


def _methods(cls: ast.ClassDef) -> Iterator[_Function]:
    return (node for node in cls.body if isinstance(node, _Function))
