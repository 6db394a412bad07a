"""``micropie check app:app``: mistakes that need no request to be found.

Exits with 1 if there are any.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from micropie import App, SetupError
from micropie.cli.calling import route_for
from micropie.cli.command import commands_of, parser_of
from micropie.cli.moving import findings
from micropie.cli.routes import mounts_of
from micropie.cli.target import CommandError, find_target
from micropie.discovery import marks_of
from micropie.middleware.security_defaults import missing_security
from micropie.routing import Site, lost_routes, place_of


def execute(arguments: Namespace) -> int:
    """Print each finding as ``file:line: sentence``."""
    if arguments.origin is not None:
        moving = findings(arguments.origin, Path(arguments.target))
        found = [f"{one.file}:{one.line}: {one.name}: {one.advice}" for one in moving]
    else:
        target = find_target(arguments.target, arguments.factory)
        found = list(mistakes(target.app, target.named("micropie check").partition(":")[0]))
    for line in found:
        print(line)
    print(f"{len(found)} finding{'' if len(found) == 1 else 's'}")
    return 1 if found else 0


def mistakes(app: App, module: str = "") -> Iterator[str]:
    """Yield the mistakes and the unsafe settings of an application, and of the module with this
    name.
    """
    try:
        site = app._micropie.compiled()
    except SetupError as error:
        yield f"set-up: {error}"
        return
    for entry in site.entries():
        function = entry.route.function
        if "GET" in entry.methods and (change := session_change(function)):
            also = " as well" if "POST" in entry.methods else ""
            risk = ", so a link on any page can do it" if also else ""
            yield (
                f"{place_of(function)}: {entry.route.name} answers GET{also} and "
                f"{change}{risk}: write @post above it"
            )
    yield from _unregistered(module, site)
    yield from _wrong_commands(site)
    yield from _hidden_routes(app, site)
    yield from _unsafe_settings(app, site)
    yield from _missing_extras(site)


def _unregistered(module: str, site: Site) -> Iterator[str]:
    """Yield the functions of a module that have a route as methods have it, and no application."""
    routes = [entry.route for entry in (*site.entries(), *site.entries(takes_socket=True))]
    registered = [route.function for route in routes]
    for function in filter(
        inspect.isfunction, getattr(sys.modules.get(module), "__dict__", {}).values()
    ):
        if (
            function.__module__ == module
            and marks_of(function)
            and inspect.unwrap(function) not in registered
        ):
            advice = (
                "has a route, and no application: write @app.get or @app.route above a function"
            )
            yield f"{place_of(function)}: {function.__name__} {advice}"


def _wrong_commands(site: Site) -> Iterator[str]:
    try:
        for name, (function, config) in commands_of(site).items():
            try:
                parser_of(route_for(function, name, config))
            except (CommandError, SetupError) as error:
                yield f"{place_of(function)}: {error}"
    except CommandError as error:
        yield str(error)


_CHANGING = frozenset({"clear", "pop", "popitem", "setdefault", "update", "regenerate"})


def session_change(function: Callable[..., object]) -> str:
    """Return the change that a handler makes to the session, "" if its source shows none."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ""
    names = {"session"}  # and variables that hold it: session = self.request.session
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _is_session(node.value, names):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
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


def _is_session(node: ast.AST, names: set[str]) -> bool:
    """Return whether an expression is ``request.session``, or a variable that holds it."""
    return (isinstance(node, ast.Attribute) and node.attr == "session") or (
        isinstance(node, ast.Name) and node.id in names
    )


def _hidden_routes(app: App, site: Site) -> Iterator[str]:
    for mount in mounts_of(app):
        for entry in site.entries():
            if mount.prefix and (entry.route.pattern + "/").startswith(mount.prefix + "/"):
                place = place_of(entry.route.function)
                yield (
                    f"{place}: {entry.route.name} is never reached: "
                    f"{mount.prefix} is mounted above it"
                )
    apps = [*app._micropie.walk()]
    for inner in apps:
        for name, sentence in lost_routes(inner, inner._micropie.framework).items():
            yield f"{place_of(getattr(inner, name))}: {sentence}"
        for name, value in vars(inner).items():
            method = getattr(type(inner), name, None)
            is_hidden = value is not None and not marks_of(value)
            if is_hidden and inspect.isfunction(method) and not name.startswith("_"):
                yield (
                    f"{place_of(method)}: {type(inner).__name__}.{name} is "
                    f"hidden by the attribute self.{name}"
                )
        for name, value in {**vars(type(inner)), **vars(inner)}.items():
            if (
                isinstance(value, type)
                and issubclass(value, App)
                and not any(isinstance(one, value) for one in apps)
            ):
                yield (
                    f"{type(inner).__name__}.{name} is a class, so it answers "
                    f"nothing: write {value.__name__}()"
                )


def _unsafe_settings(app: App, site: Site) -> Iterator[str]:
    name, settings = type(app).__name__, site.config.settings
    if settings.debug:
        yield (
            f"{name}: debug is on: it has to be off in production, so take it from the environment"
        )
    if "*" in settings.websocket_origins:
        yield (
            f"{name}: websocket_origins has '*': any page can open "
            "WebSockets with its visitor's cookies"
        )
    if app._micropie.security is not False and app.session_backend is not None:
        yield from (
            f"{name} keeps sessions and {missing}" for missing in missing_security(site.config)
        )


def _missing_extras(site: Site) -> Iterator[str]:
    if (
        site.sockets.entries()
        and find_spec("uvicorn")
        and not (find_spec("websockets") or find_spec("wsproto"))
    ):
        yield (
            "WebSockets need a library that uvicorn does not bring: pip "
            'install "micropie-dual[standard]"'
        )
    directories = [
        Path(folder) for folder in map(str, site.config.templates.directories) if ":" not in folder
    ]
    if find_spec("jinja2") is None and any(folder.is_dir() for folder in directories):
        yield 'templates need Jinja2: pip install "micropie-dual[standard]"'
