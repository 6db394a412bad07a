"""Listings of routes and applications, for tools and for the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter, isgeneratorfunction
from typing import Any, NamedTuple

from micropie._core.binding import BoundParameter, OwnTypes, Plan, answers_of
from micropie._core.errors import BadRequest, HTTPError
from micropie._core.execution.placement import innermost, names_in
from micropie._core.execution.steps import Call
from micropie._core.http import BindingError
from micropie._core.http.addresses import split_host
from micropie._core.http.settings import Settings
from micropie._core.mounts import Mount
from micropie._core.routing.config import AppBase, Config, ErrorKey
from micropie._core.routing.discovery import (
    Checking,
    Handler,
    Provider,
    find_handlers,
    is_hidden,
    is_method,
    marks_of,
)
from micropie._core.routing.routes import Route, place_of
from micropie._core.sessions import SessionBackend


class Application(NamedTuple):
    """An application in a tree: the outermost one, an attribute of another application, or a
    mounted application.
    """

    app: AppBase
    """The ``App`` itself."""
    path: str
    """The path of the application in the tree, such as ``/blog``; "" for the outermost one. If the
    application is on its own host, the path begins with the host: ``//blog.example.com/archive``.
    """
    middlewares: Sequence[object]
    """The hooks around the application's handlers, beginning with those of the outermost
    application. A check of ``@requires`` is in the list as the function that was passed to
    ``@requires``.
    """
    session_backend: SessionBackend
    channels: Any
    """The ``micropie.channels.Channels`` that the application uses."""
    checks: Sequence[Callable[..., object]]
    """Those items of ``middlewares`` that are check functions of ``@requires``."""
    mounts: Sequence[Mount]
    """The applications mounted on this one by ``App.mount``, each with ``prefix``, ``target``,
    ``kind`` ("app", "asgi" or "wsgi") and ``isolated``.
    """
    settings: Settings
    """The application's settings, including those inherited from the applications that contain it.
    """
    host: str
    """The host at the beginning of ``path``, such as ``//blog.example.com``, if the application is
    on its own host, or else "".
    """
    scope: str
    """The beginning of the names of the application's routes, such as ``blog.``; "" for the
    outermost application.
    """
    error_handlers: Sequence[Mapping[ErrorKey, Callable[..., object]]]
    """The error handlers by status and exception class: first those of the application, then those
    of the applications that contain it.
    """
    types: OwnTypes
    """The types that the settings ``encoders`` and ``decoders`` add. ``encoder_of(kind)`` returns
    the function that encodes values of a class, or None. ``taken_by(kind)`` returns the type that
    the decoder for a class takes. ``sent(value)`` returns what is encoded as JSON for the member of
    an Enum, or for an object that has an encoder.
    """
    providers: Mapping[object, Callable[..., object]]
    """The provider functions by type: those of the application and of the applications that contain
    it.
    """

    @property
    def lost_routes(self) -> Mapping[str, str]:
        """The methods that override a method with a route decorator, but have no decorator
        themselves. The overridden method's route is lost. The dict maps each method's name to a
        sentence that says what to write.
        """
        routed: dict[str, type] = {}  # for each method's name, the class with the route
        lost: dict[str, str] = {}
        for cls in reversed(type(self.app).__mro__):
            for name, value in vars(cls).items():
                if marks_of(value) and "_micropie_is_framework" not in vars(cls):
                    routed[name] = cls
                    lost.pop(name, None)
                elif name in routed and is_method(value) and not is_hidden(value):
                    lost[name] = (
                        f"{cls.__name__}.{name} overrides {routed[name].__name__}.{name}, but "
                        "has no route decorator: repeat the decorator above the new method, or "
                        "write @hidden if no route is wanted"
                    )
        return lost

    def error_results(self, status: int) -> Iterator[tuple[ErrorKey, tuple[object, ...]]]:
        """Yield the error handlers that may be called for errors with a status, in the order in
        which they are looked up. Each item is the key for which the handler is registered, and the
        types that it returns, as in ``RouteEntry.results``.

        Handlers for the status itself, for ``HTTPError`` and for ``Exception`` come last.
        """
        for handlers in self.error_handlers:
            kinds = [one for one in (BindingError, BadRequest) if status == 400]
            for key in (*kinds, status, HTTPError, Exception):
                if key in handlers:
                    yield key, answers_of(handlers[key])

    @property
    def handlers(self) -> Sequence[Handler]:
        """The application's handlers with their names and route marks. Those of inner applications
        are not included.
        """
        tree, explicit = self.app._micropie, self.settings.expose == "explicit"
        return find_handlers(self.app, tree.framework, explicit)


def describe_application(config: Config) -> Application:
    """Return the listing of the application that has this config."""
    checks = [hook.check for hook in config.middlewares if isinstance(hook, Checking)]
    return Application(
        config.app,
        config.prefix,
        [hook.check if isinstance(hook, Checking) else hook for hook in config.middlewares],
        config.sessions.backend,
        config.channels,
        checks,
        config.app._micropie.mounts,
        config.settings,
        split_host(config.prefix)[0],
        config.scope,
        [
            {key: one.function for key, one in handlers.items()}
            for handlers, _ in config.error_handlers
        ],
        config.own_types,
        config.providers.functions,
    )


class Signature(NamedTuple):
    """The parameters of a handler, or of a provider that opens a resource for it."""

    name: str
    """The name of the route, or of the provider's function."""
    function: Callable[..., object]
    """The function that the framework calls, including its decorators."""
    parameters: Sequence[Parameter]
    """The parameters that get a value from the client, with annotations evaluated to types."""
    providers: Mapping[str, Signature]
    """The providers of the other parameters, by parameter name."""
    values: Mapping[str, BoundParameter]
    """Where the value of each of ``parameters`` comes from, by the parameter's name. Each item has
    these attributes:

    - ``first_place``: "query", "form", "json", "file", "header" or a similar word, or "" if the
      value never comes from the client.
    - ``key``: the name of the value in that place.
    - ``is_whole``: whether the value is everything in that place.
    - ``is_stated``: whether the annotation declares the place.
    """

    def needed(self) -> Iterator[Signature]:
        """Yield the providers, each after the providers that it depends on. A provider on which
        several others depend is yielded several times.
        """
        for one in self.providers.values():
            yield from (*one.needed(), one)


class RouteEntry(NamedTuple):
    """A route as it appears in listings."""

    route: Route
    """The route, with these attributes:

    - ``name``: its name in ``url_for``.
    - ``pattern``: its path, with wildcards.
    - ``function``: the handler without its decorators.
    - ``is_pooled``: whether the handler runs in a process.
    - ``methods``: the methods that the decorator sets, or ().
    - ``wildcards``: the names of the pattern's wildcards with their rules, such as "int" or "".
    - ``most_segments``: how many segments after the pattern the handler takes as arguments.
    - ``reads_body``: True if the handler reads the body itself.
    - ``description``: the ``describe`` object of the handler, or None.
    - ``body_parameter``: the first parameter that only a body can fill, with ``name`` and
      ``converter`` (see ``TypeInfo``), or None.
    """
    methods: list[str]
    """The methods that the route handles."""
    is_default: bool
    """Whether the route is for paths that no other route matches."""
    hidden: str = ""
    """If no request can reach the route, a sentence that gives the reason. Otherwise ""."""

    @property
    def application(self) -> Application:
        """The application that contains the handler. Its ``middlewares`` and ``checks`` include
        those of this route.
        """
        return describe_application(self.route.config)

    @property
    def place(self) -> str:
        """The file and the line of the handler; see ``Inspector.place_of``."""
        return place_of(self.route.function)

    @property
    def runs_in(self) -> str:
        """Where the handler runs: "loop", "thread" or "process"."""
        if self.route.is_pooled:
            return "process"
        inner = innermost(self.route.function)
        # A generator's code runs when its chunks are produced, in a thread.
        is_in_thread = isinstance(self.route.step_kind, Call) or isgeneratorfunction(inner)
        return "thread" if is_in_thread else "loop"

    @property
    def messages(self) -> tuple[object, object] | None:
        """The types that a WebSocket handler receives and sends, from the annotation
        ``WebSocket[Received, Sent]``. None if there is no such annotation.
        """
        found = self.route.plan.messages
        return None if found is None else (found.received, found.sent)

    def mentions(self, name: str) -> bool:
        """Return whether the handler's code uses an attribute or a variable of this name."""
        return name in names_in(self.route.function)

    @property
    def signature(self) -> Signature:
        """The signature of the handler, with these attributes:

        - ``name``: the name of the route.
        - ``function``: the handler with its decorators.
        - ``parameters``: the parameters that get a value from the client, with annotations
          evaluated to types.
        - ``providers``: the signatures of the providers, as a dict by the names of the parameters
          that they fill.
        - ``needed()`` yields the providers, each after the providers that it depends on. A provider
          on which several others depend is yielded several times.
        """
        route = self.route
        return _signature(route.name, route.plan, {one.key: one for one in route.providers})

    @property
    def asked_by_checks(self) -> list[Signature]:
        """The providers that the checks of this route depend on, in the order in which their
        resources are opened.
        """
        providers = self.route.config.providers
        asked = [providers.of_check(check) for check in self.application.checks]
        needed = providers.needed_for(one.key for found in asked for one in found.values())
        by_key: dict[object, Provider] = {one.key: one for one in needed}
        return [_signature(one.name, one.plan, by_key) for one in needed]

    @property
    def results(self) -> tuple[object, ...]:
        """The types that the handler returns, from its annotation or ``response_model``. If the
        annotation is missing or can't be read, the only item is ``inspect.Parameter.empty``.
        """
        return answers_of(
            self.route.plan.function, getattr(self.route.description, "response_model", None)
        )


def _signature(name: str, plan: Plan, providers: Mapping[object, Provider]) -> Signature:
    opened = {one.name: providers[one.key] for one in plan.provided}
    inner = {name: _signature(one.name, one.plan, providers) for name, one in opened.items()}
    return Signature(name, plan.function, plan.parameters, inner, plan.bound)
