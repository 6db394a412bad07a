"""The contents of the admin page, as strings: the routes and the load of a site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import Parameter
from typing import NamedTuple

from micropie import App, BindingErrors, Request, WebSocketRequest
from micropie.extensions import Application, Inspector, RouteEntry, TypeInfo

_MODULES = r"\b(?:[a-z_]\w*\.)+(?=\w)"  # matches the module before a type's name
_OF_THE_REQUEST = (Request, WebSocketRequest, BindingErrors)


class ShownParameter(NamedTuple):
    """A parameter of a handler."""

    name: str
    source: str
    kind: str


class ShownRoute(NamedTuple):
    """A row of the table of routes."""

    methods: str
    path: str
    handler: str
    parameters: list[ShownParameter]
    runs_in: str
    application: str
    place: str = ""


def shown_routes(app: App) -> Iterator[ShownRoute]:
    """Yield the routes of the site that contains ``app``: for HTTP, for WebSockets, and other
    mounted applications.
    """
    inspector = Inspector(app)
    for entry in inspector.routes():
        everything = {*entry.application.settings.methods} <= {*entry.methods}
        yield _shown(entry, "any" if everything else " ".join(entry.methods))
    for entry in inspector.routes(websockets=True):
        yield _shown(entry, "WebSocket")
    for one in inspector.applications():
        for mount in one.mounts:
            if mount.kind != "app" or mount.isolated:
                handler = type(mount.target).__name__
                path = f"{one.path}{mount.prefix}/..."
                yield ShownRoute("any", path, handler, [], mount.kind, _name_of(one))


def _name_of(application: Application) -> str:
    return f"{type(application.app).__name__} at {application.path or '/'}"


def _shown(entry: RouteEntry, methods: str) -> ShownRoute:
    signature = entry.signature
    parameters = [ShownParameter(one.name, *_taken(one, entry)) for one in signature.parameters]
    for name, provider in signature.providers.items():
        parameters.append(ShownParameter(name, "provider", provider.name))
    return ShownRoute(
        methods,
        entry.route.pattern,
        entry.route.name,
        parameters,
        entry.runs_in,
        _name_of(entry.application),
        entry.place,
    )


def _taken(parameter: Parameter, entry: RouteEntry) -> tuple[str, str]:
    """Return the source and the type of a parameter."""
    told = TypeInfo(parameter.annotation)
    stated, annotation = told.source, told.annotation
    body = entry.route.body_parameter
    if annotation is Parameter.empty:
        kind = "text"
    else:
        name = annotation.__name__ if type(annotation) is type else str(annotation)
        kind = re.sub(_MODULES, "", name)
    if stated is not None:
        return f"{type(stated).__name__.lower()} {stated.name or ''}".rstrip(), kind
    if annotation in _OF_THE_REQUEST:
        return "request", kind
    if parameter.name in entry.route.wildcards or parameter.kind is Parameter.VAR_POSITIONAL:
        return "path", kind
    if body is not None and body.name == parameter.name:
        return "body", kind
    takes_body = not {"GET", "HEAD"}.issuperset(entry.methods)
    return "path, query or body" if takes_body else "path or query", kind


def load_of(app: App) -> dict[str, str]:
    """Return the load of this process: a dict of figures by their names.

    Call this on the event loop.
    """
    inspector = Inspector(app)
    load = inspector.statistics()
    threads = "those of the server, which are not counted"
    if load.threads_busy is not None:
        threads = f"{load.threads_busy} of {load.threads_limit} busy"
        threads += f", {load.threads_waiting} handlers waiting"
    is_watched = any(one.settings.loop_watchdog for one in inspector.applications())
    lag = f"{load.loop_lag * 1000:.0f} ms at most in the last minute"
    if not is_watched:
        lag = "not watched: loop_watchdog is off"
    return {
        "Threads": threads,
        "Processes": f"{load.processes_busy} of {load.processes_limit} busy",
        "Lag of the loop": lag,
        "Channels": str(load.channels),
        "Subscribers": str(load.subscribers),
    }
