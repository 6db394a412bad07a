"""``micropie routes app:app``: the public paths, with the file and line of each handler."""

from __future__ import annotations

import inspect
import json
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from inspect import Parameter
from types import SimpleNamespace
from typing import get_origin, get_type_hints

from micropie import App
from micropie.binding import Plan
from micropie.cli.target import find_target
from micropie.discovery import Provider
from micropie.mounts import Mount
from micropie.placement import layers
from micropie.routing import Route, Site, place_of
from micropie.steps import Call


@dataclass(frozen=True, slots=True)
class PublicRoute:
    """A route as it is listed."""

    methods: str
    path: str
    name: str
    parameters: str
    runs_in: str
    place: str


def execute(arguments: Namespace) -> int:
    """Print the table, or the same as JSON."""
    app = find_target(arguments.target, arguments.factory).app
    mounts = [
        PublicRoute("*", f"{one.prefix}/...", type(one.target).__name__, "", one.kind, "")
        for one in mounts_of(app)
    ]
    routes = [*public_routes(app._micropie.compiled(), arguments.json), *mounts]
    if arguments.json:
        print(json.dumps([asdict(route) for route in routes], indent=2))
        return 0
    rows = [
        (one.methods, one.path, _cut(f"{one.name}{one.parameters}"), one.runs_in, one.place)
        for one in routes
    ]
    header = ("METHODS", "PATH", "HANDLER", "RUNS IN", "FILE")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )
    return 0


_WIDEST = 80  # characters of a column; --json has all of them


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def mounts_of(app: App) -> list[Mount]:
    """Return the mounts of applications that answer by themselves."""
    return [
        mount
        for inner in app._micropie.walk()
        for mount in inner._micropie.mounts
        if mount.kind != "app" or mount.isolated
    ]


def public_routes(site: Site, with_providers: bool) -> Iterator[PublicRoute]:
    """Yield the routes of HTTP, then those of WebSockets."""
    for entry in site.entries():
        everything = {*entry.route.config.settings.methods} <= {
            *entry.methods
        } and not entry.route.methods
        methods = (
            "any"
            if everything
            else ",".join(method for method in entry.methods if method != "HEAD") or "HEAD"
        )
        yield _public(methods, entry.route, with_providers)
    for entry in site.entries(takes_socket=True):
        yield _public("WS", entry.route, with_providers)


def _public(methods: str, route: Route, with_providers: bool) -> PublicRoute:
    function = route.function
    shown = _all_shown(route.plan, {one.key: one for one in route.providers if with_providers})
    place = (
        "process" if route.is_pooled else "thread" if isinstance(route.step_kind, Call) else "loop"
    )
    return PublicRoute(methods, route.pattern, route.name, shown, place, place_of(function))


def _all_shown(plan: Plan, providers: Mapping[object, Provider]) -> str:
    """Return the parameters; for one of ``providers``, also the provider with those that it takes
    itself.
    """
    provided = {one.name: providers.get(one.key) for one in plan.provided}
    texts = []
    for name, parameter in inspect.signature(plan.function).parameters.items():
        provider = provided.get(name)
        by = (
            f" = {provider.name}{_all_shown(provider.plan, providers)}"
            if provider is not None
            else ""
        )
        kind = _type_of(parameter, plan.function)
        texts.append(
            _shown(parameter.replace(default=Parameter.empty) if by else parameter, kind) + by
        )
    return f"({', '.join(texts)})"


_MODULES = r"\b(?:[a-z_]\w*\.)+(?=\w)"  # in front of a type's name
_STARS: dict[object, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


def _type_of(parameter: Parameter, function: Callable[..., object]) -> object:
    """Return a parameter's annotation without what ``Annotated`` adds, or a text that only type
    checkers can read.
    """
    *_, inner = layers(function)
    hints = SimpleNamespace(__annotations__={"": parameter.annotation})
    try:
        return get_type_hints(hints, getattr(inner, "__globals__", {}))[""]
    except NameError:
        return parameter.annotation


def _shown(parameter: Parameter, kind: object) -> str:
    """Return a parameter as its author wrote it, with types by their short names."""
    text: str = _STARS.get(parameter.kind, "") + parameter.name
    if kind is not Parameter.empty:
        name = kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind)
        text += f": {re.sub(_MODULES, '', name)}"
    if parameter.default is Parameter.empty:
        return text
    return (
        f"{text} = {parameter.default!r}"
        if kind is not Parameter.empty
        else f"{text}={parameter.default!r}"
    )
