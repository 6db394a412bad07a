"""``micropie routes app:app``: list the public paths, with the file and line of each handler."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, dataclass
from inspect import Parameter

from micropie import App
from micropie.cli.target import find_target
from micropie.extensions import Inspector, RouteEntry, TypeInfo


@dataclass(frozen=True, slots=True)
class PublicRoute:
    """A row in the table that ``micropie routes`` prints."""

    methods: str
    path: str
    name: str
    parameters: str
    runs_in: str
    place: str
    checks: str = ""


def execute(arguments: Namespace) -> int:
    """Print the table, or the same data as JSON."""
    # What the application prints when it is imported must not mix with the JSON.
    with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
        app = find_target(arguments.target, arguments.factory).app
    # Other mounts have their routes in the table.
    mounts = [
        PublicRoute("*", f"{one.prefix}/...", type(one.target).__name__, "", one.kind, "")
        for inner in Inspector(app).applications()
        for one in inner.mounts
        if one.kind != "app" or one.isolated
    ]
    listed = [*public_routes(app, arguments.json), *_migrated_routes(app), *mounts]
    if arguments.json:
        print(json.dumps([asdict(route) for route in listed], indent=2))
        return 0
    rows: list[tuple[str, ...]] = [("METHODS", "PATH", "HANDLER", "RUNS IN", "FILE", "CHECKS")]
    rows += [
        (one.methods, one.path, f"{one.name}{one.parameters}", one.runs_in, one.place, one.checks)
        for one in listed
    ]
    if not any(one.checks for one in listed):
        rows = [row[:5] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    others = sum(widths) - widths[2] + 2 * len(widths[1:])
    # Cut long signatures of handlers so that each row fits on a line. ``--json`` prints them whole.
    room = shutil.get_terminal_size().columns - others if sys.stdout.isatty() else _WIDEST
    widths[2] = min(widths[2], max(_NARROWEST, min(_WIDEST, room)))
    for row in rows:
        texts = [
            (text if len(text) <= width else f"{text[: width - 3]}...").ljust(width)
            for text, width in zip(row, widths, strict=True)
        ]
        print("  ".join(texts).rstrip())
    if sentence := open_by_name(app):
        print(sentence)
    return 0


_WIDEST, _NARROWEST = 80, 20  # widths of the handlers' column, in characters


def public_routes(app: App, with_providers: bool) -> Iterator[PublicRoute]:
    """Yield the HTTP routes, then the WebSocket routes."""
    for is_socket in (False, True):
        for entry in Inspector(app).routes(websockets=is_socket):
            methods = ",".join(method for method in entry.methods if method != "HEAD") or "HEAD"
            checks = [
                str(getattr(one, "__qualname__", type(one).__name__)).rpartition("<locals>.")[2]
                for one in entry.application.middlewares
                # an access check of ``@requires``, or middleware for authentication
                if any(one is check for check in entry.application.checks)
                or hasattr(one, "security_scheme")
            ]
            yield PublicRoute(
                "WS" if is_socket else methods,
                entry.route.pattern,
                entry.route.name,
                _all_shown(entry, with_providers),
                "(never)" if entry.hidden else entry.runs_in,
                entry.place,
                ", ".join(dict.fromkeys(checks)),
            )


def _migrated_routes(app: App) -> Iterator[PublicRoute]:
    """Yield the routes of the handlers that were written for another framework, if ``app`` has any;
    see ``MovedApp`` in ``compat``.
    """
    for methods, path, handler in getattr(app, "migrated_routes", tuple)():
        name = getattr(handler, "__name__", type(handler).__name__)
        is_async = inspect.iscoroutinefunction(inspect.unwrap(handler))
        parameters = str(Inspector.signature_of(handler))
        runs_in = "loop" if is_async else "thread"
        place = Inspector.place_of(handler)
        yield PublicRoute(methods, path, name, parameters, runs_in, place)


def open_by_name(app: App) -> str:
    """Return a sentence that lists the handlers that accept DELETE, PATCH or PUT because they have
    no decorator, or "" if there are none.
    """
    open_methods, names = set[str](), []
    for entry in Inspector(app).routes():
        changing = {"DELETE", "PATCH", "PUT"}.intersection(entry.methods)
        if changing and not entry.route.methods:
            open_methods |= changing
            names.append(entry.route.name)
    if not names:
        return ""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    accepted = " and ".join(filter(None, ", ".join(sorted(open_methods)).rpartition(", ")[::2]))
    return (
        f"handlers without a decorator ({', '.join(names[:5])}{more}) also accept {accepted}: "
        f'write {type(app).__name__}(methods=["GET", "HEAD", "POST"]) to reject them with 405'
    )


def _all_shown(entry: RouteEntry, with_providers: bool) -> str:
    """Return a handler's parameters as text. For a parameter with a provider, include the provider
    and its own parameters.
    """
    handler = entry.signature
    # for each provider, by the id of its function: its name and its parameters, as text
    calls: dict[int, str] = {}
    for one in (*(handler.needed() if with_providers else ()), handler):
        texts = []
        for name, parameter in Inspector.signature_of(one.function).parameters.items():
            provider = one.providers.get(name)
            by = "" if provider is None else calls.get(id(provider.function), "")
            if by:
                parameter = parameter.replace(default=Parameter.empty)
            texts.append(f"{_shown(parameter)} = {by}" if by else _shown(parameter))
        calls[id(one.function)] = f"{one.name}({', '.join(texts)})"
    return calls[id(handler.function)].removeprefix(handler.name)


_MODULES = r"\b(?:[a-z_]\w*\.)+(?=\w)"  # the module names before a type's name
_STARS: dict[object, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


def _shown(parameter: Parameter) -> str:
    """Return a parameter as in the source, but without the modules of types and the metadata of
    ``Annotated``: ``Decimal`` for ``decimal.Decimal``.
    """
    info = TypeInfo(parameter.annotation)
    kind = getattr(info.plain, "__forward_arg__", info.plain)
    text: str = _STARS.get(parameter.kind, "") + parameter.name
    if kind is not Parameter.empty:
        name = getattr(kind, "__name__", kind) if kind is info.kind else kind
        text += f": {re.sub(_MODULES, '', str(name))}"
    equals = "=" if kind is Parameter.empty else " = "
    return text if parameter.default is Parameter.empty else f"{text}{equals}{parameter.default!r}"
