"""``Route``: a handler with the marks of its decorators, the plan for its arguments, and the kind
of step that runs it.
"""

from __future__ import annotations

import inspect
import os
from collections import ChainMap
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from types import NoneType
from typing import Any, Literal, NoReturn

from micropie._core.binding import (
    BoundParameter,
    OwnTypes,
    Plan,
    ResultFilter,
    answer_parts,
    answers_of,
    items_of,
    result_filter,
    sends_null,
)
from micropie._core.errors import SetupError, has_yield, is_framework, refuse_text
from micropie._core.execution.placement import (
    LOOP,
    MARK,
    PROCESS,
    check_placement,
    innermost,
    layers,
    names_in,
    pooled_name,
)
from micropie._core.execution.steps import AWAIT, HANDLER, INLINE, ON_LOOP, Kind
from micropie._core.http import JSON, Exchange, RouteInfo
from micropie._core.http.addresses import split_host
from micropie._core.http.settings import METHODS
from micropie._core.routing.config import Config, with_marks
from micropie._core.routing.discovery import (
    AnyFunction,
    Provider,
    RouteMark,
    marks_above_handler,
    own_attributes,
    type_name,
)


def _filters_of(
    function: AnyFunction, answers: Sequence[object], own: OwnTypes
) -> dict[int, ResultFilter | None]:
    """Return the filters for the statuses that an annotation declares, each for the types of its
    status. A type without a status has 200. Return {} if all types have the same, or any, status.
    """
    parts = [*map(answer_parts, answers)]
    kinds: dict[int, list[object]] = {}
    for statuses, bodies in parts:
        for status in statuses or [200]:
            kinds.setdefault(status, []).extend(bodies)
    if len(kinds) < 2 or any(statuses is None for statuses, _ in parts):
        return {}
    filters = {status: result_filter(function, found, own=own) for status, found in kinds.items()}
    return {status: one for status, one in filters.items() if one is not None}


def _filters_by_status(
    function: AnyFunction, description: Any, own: OwnTypes
) -> dict[int, ResultFilter | None]:
    """Return the filters for the types in ``@describe(responses=...)``, as a dict by status."""
    stated = getattr(description, "responses", None) or ()
    models = {status: description.response_of(status)[1] for status in stated}
    return {
        status: result_filter(function, answers_of(function, model), own=own)
        for status, model in models.items()
        if model is not None
    }


def _writer(
    function: AnyFunction, config: Config, answers: Sequence[object]
) -> Callable[[object], bytes] | None:
    """Return the function that encodes an item of a handler's stream as a line of JSON. Return None
    if the items are sent unchanged, as chunks.
    """
    items = items_of(answers, has_yield(function))
    if not items:
        return None
    dumps, own = config.dumps, result_filter(function, items, own=config.own_types)
    write = dumps if own is None else own.item_writer(dumps, config.own_types.encoders)
    return lambda item: write(item) + b"\n"


def _bodies(
    config: Config, answers: Sequence[object], own: ResultFilter | None
) -> dict[type, tuple[Callable[..., bytes], str]]:
    """Return the encoder and the content type for each type of result that is sent unfiltered."""
    row = config.dumps, JSON
    null: dict[type, Any] = {NoneType: row} if sends_null(answers) else {}
    # in development, leave these types out, so that the advisor can check each result
    if config.advisor is not None:
        return null
    typed = {} if own is None else own.bodies(config.dumps, config.own_types.encoders)
    return config.bodies | null | {kind: (encode, JSON) for kind, encode in typed.items()}


def checked_methods(methods: Iterable[str]) -> tuple[str, ...]:
    """Return HTTP methods in upper case.

    Raises ``SetupError`` for a str, for an empty list and for unknown methods.
    """
    refuse_text("methods", methods)
    upper = tuple(method.upper() if isinstance(method, str) else method for method in methods)
    for method in upper:
        if method not in METHODS:
            raise SetupError(
                f"{method!r} is not an HTTP method: write a registered one, such as GET or PROPFIND"
            )
    if not upper:
        raise SetupError("methods is empty: leave it out to accept the methods of App(methods=...)")
    return upper


class Route(RouteInfo):
    """A handler and everything that is needed to call it: ``call(*bind(...))``.

    Where it is:

    - ``pattern``: the path given to the decorator, or made from the handler's name. Hooks may read
      ``pattern`` and ``name``.
    - ``methods``: the methods that the decorator sets.
    - ``handled``: the methods that the route handles, unless another route with the same path
      declares them.
    - ``wildcards``: the rules of an explicit route's wildcards, such as "int", as a dict by the
      wildcard's name.

    How it is called:

    - ``step_kind``: the kind of step that makes the call: AWAIT, a ``Call``, or INLINE for a direct
      call without a step.
    - ``limited_step_kind``: the kind of step for a request with a time limit, which needs a thread
      under WSGI, too. ON_LOOP if the call has to be made on the event loop.
    - ``is_pooled``: whether the handler runs in a process. If so, ``call`` is its ``HandlerName``.
    - ``ends_with_client``: whether ``@ends_with_client`` is above the handler.
    - ``by_position``: whether the wildcards fill the handler's first parameters, in the same order,
      so that their values can be passed by position.
    - ``plain_args``: the number of path arguments with which the handler is called directly,
      without ``bind``; -1 if ``bind`` is always needed.
    - ``most_segments``: see ``Plan``.
    - ``reads_body``: whether the handler reads the body itself, so that no form or JSON is parsed
      for it.
    - ``providers``: the providers of the handler's resources, in the order in which the resources
      are opened.
    - ``bounds``: the parameters that get a value from the client, of the handler and its providers.
    - ``needs_session``: whether the session is opened for the handler.
    - ``mentions_session``: whether the code of a WebSocket handler contains the name ``session``,
      or a parameter gets an object for the session.
    - ``has_warned``: whether the warning that a GET changed the session has been logged for this
      route.

    What is sent:

    - ``any_filter``: keeps only the fields that the handler's annotation declares. None if the
      annotation declares no structure.
    - ``result_filter``: that for a result without a status.
    - ``filters_by_status``: those for the statuses of the annotation and of
      ``@describe(responses=...)``.
    - ``write_item``: encodes an item of the handler's stream as a line of JSON. None if the items
      are sent unchanged, as chunks.
    - ``is_filtered``: whether ``result_filter``, ``filters_by_status`` or ``write_item`` is set.
    - ``is_special``: whether the route is filtered, has providers or runs in a process.

    ``is_found``: whether the search has found a handler, or an application that is called like
    one. If not, hooks see no route.
    ``without_body``: the methods for which no body is received. The body of a GET or HEAD has no
    meaning: RFC 9110, sections 9.3.1, 9.3.2.
    """

    function: AnyFunction
    has_warned = is_special = is_filtered = False
    providers: Sequence[Provider] = ()
    is_found = needs_session = True
    without_body: Container[str] = frozenset({"GET", "HEAD"})

    # ``takes_segments``: see ``Plan``.
    def __init__(
        self,
        function: AnyFunction,
        name: str,
        config: Config,
        mark: RouteMark,
        pattern: str,
        takes_segments: bool,
    ) -> None:
        self.name = name
        takes_socket = mark.takes_socket
        # The marks that decorators have stored on the function and on the functions that it wraps.
        # Those of the outermost function win.
        marks = ChainMap(*map(own_attributes, layers(function)))
        if takes_socket and "__micropie_ends_with_client__" in marks:
            raise SetupError(
                f"{name} handles WebSockets, which already end when the client disconnects: leave "
                "out @ends_with_client"
            )
        stated = {
            name: marks[mark_name]
            for name in ("max_body_size", "max_data_size", "max_json_values")
            if (mark_name := f"__micropie_{name}__") in marks
        }
        # Requests read their limits from the config. So a route with its own limits gets its own
        # config.
        self.config = config.changed(stated) if stated else config
        self.config = with_marks(self.config, marks_above_handler(function, takes_socket))
        self.plan, self.providers, parameter = _plan(
            function, name, takes_socket, config, takes_segments
        )
        self.body_parameter = parameter
        opened = ChainMap(*(dict(one.plan.bound) for one in self.providers))
        of_opened = {name: one for name, one in opened.items() if one.places}
        self.bounds = {**of_opened, **self.plan.bound}
        found = [one for one in self.bounds.values() if one.maker or not one.is_whole]
        names = set[str]().union(*(one.maker.names if one.maker else {one.key} for one in found))
        for maker in filter(None, (one.maker for one in self.plan.bound.values())):
            maker.beside = names - maker.names
        self.mentions_session = takes_socket and (
            "session" in names_in(function) or self._takes_session
        )
        self._set_results(marks.get("__micropie_description__"), takes_socket)
        self.methods = mark.methods
        self.handled = (*(mark.methods or config.settings.methods),)
        if "GET" in self.handled and "HEAD" not in self.handled:
            self.handled += ("HEAD",)
        self.function = innermost(self.plan.function)
        self.show(pattern, self.function)
        self.bind = self.plan.bind
        if any(one.is_exact for one in self.plan.bound.values()):
            self.most_on_loop = 2 * 1024
        self.plan.parses_always = any(one.plan.body_parameter is not None for one in self.providers)
        self._set_wildcards(mark)
        self.reads_body: bool | Literal["ahead"] = marks.get("__micropie_reads_body__", False)
        self.needs_session = marks.get("__micropie_needs_session__", True)
        self.ends_with_client = "__micropie_ends_with_client__" in marks
        self._set_placement(function, marks)
        if parameter is not None:
            self._check_body(parameter)

    def _set_results(self, description: Any, takes_socket: bool) -> None:
        """Set what decides how results are sent. ``description``: the one of ``@describe``."""
        function, own = self.plan.function, self.config.own_types
        self.description = description
        stated_model = getattr(description, "response_model", None)
        answers = () if takes_socket else answers_of(function, stated_model)
        self.any_filter = result_filter(function, answers, stated_model, own)
        filters_of = _filters_of(function, answers, own)
        self.result_filter = filters_of.get(200, self.any_filter)
        self.filters_by_status = filters_of | _filters_by_status(function, description, own)
        self.write_item = _writer(function, self.config, answers)
        filters = self.any_filter, self.write_item
        self.is_filtered = filters != (None, None) or bool(self.filters_by_status)
        self.is_special = bool(self.providers) or self.is_filtered
        bodies = _bodies(self.config, answers, self.any_filter)
        json_fields = self.plan.json_fields.union(*(one.plan.json_fields for one in self.providers))
        if json_fields or bodies != self.config.bodies:
            self.config = self.config.changed(bodies=bodies, json_fields=json_fields)

    def _set_wildcards(self, mark: RouteMark) -> None:
        """Set what decides how segments of the path become arguments."""
        wildcards = mark.path.wildcards if mark.path is not None else ()
        self.wildcards = {wildcard.name: wildcard.rule for wildcard in wildcards}
        self.path_names = [*self.wildcards] or self.plan.names_in_path
        in_path = self.plan.names_in_path[: len(self.wildcards)]
        self.by_position = mark.path is not None and in_path == [*self.wildcards]
        self.most_segments = self.plan.most_segments
        if mark.path is not None:
            of_providers = {
                parameter.name for one in self.providers for parameter in one.plan.parameters
            }
            named = self.wildcards.items()
            self.plan.check_wildcards(
                {name: rule for name, rule in named if name not in of_providers}, self.pattern
            )
            # an explicit route takes values from its wildcards, but no further segments
            self.most_segments = 0
        rules = self.wildcards.values() if self.by_position else ()
        converted = [rule in ("int", "float") for rule in rules]
        self.plain_args = -1 if self.plan.parses_always else self.plan.plain_args(converted)

    def _set_placement(self, function: AnyFunction, marks: Mapping[str, Any]) -> None:
        """Set where the handler runs, and what is called there."""
        placement = marks.get(MARK, self.config.settings.run_in)
        kind, is_async = _step_kind(function, placement)
        self.step_kind = {HANDLER: self.config.blocking, ON_LOOP: INLINE}.get(kind, kind)
        self.limited_step_kind = kind
        self.is_pooled = placement == PROCESS and not is_async
        if MARK in marks or self.is_pooled:
            check_placement(function, placement, self.name)
        self.call: Any = self.plan.call
        if self.is_pooled:
            self.is_special = True
            self._check_pooled()
            # ``Plan`` replaces ``call`` only if the handler takes keyword arguments.
            takes_keywords = self.plan.call is not self.plan.function
            self.call = pooled_name(function, self.name)._replace(takes_keywords=takes_keywords)

    @property
    def _takes_session(self) -> bool:
        plans = (self.plan, *(one.plan for one in self.providers))
        return any(one.takes_session for one in plans)

    def _check_pooled(self) -> None:
        """Raise ``SetupError`` for parameters that a handler in a process can't have."""
        advice = f"{self.name} runs in the process pool"
        if self._takes_session:
            raise SetupError(
                f"{advice}, where it can't change the session: read self.request.session there, or "
                "run the handler in a thread"
            )
        if self.providers:
            raise SetupError(
                f"{advice}, but {type_name(self.providers[-1].key)} is opened in the server's "
                "process: open it in the handler, or run the handler in a thread"
            )

    def show(self, pattern: str, endpoint: object) -> None:
        """Set the route's ``pattern`` and its ``for_tools``, which are entries for the scope or
        environ of each request. Tools that wrap the application, such as tracing middleware, find
        the route there.
        """
        self.pattern, self.path = pattern, split_host(pattern)[1]
        self.for_tools = (
            {"micropie.route": self}
            if self.config.blocking is INLINE
            else {"route": self, "endpoint": endpoint}
        )

    def _check_body(self, parameter: BoundParameter) -> None:
        """Raise ``SetupError`` for a parameter that takes a body if no request to this route has a
        body, or if the handler reads the body itself.
        """
        takes = f"{self.name}: {parameter.name!r} takes {parameter.converter.expected}"
        if self.reads_body:
            raise SetupError(
                f"{takes}, but @reads_body leaves the body to the handler: read it there, for "
                "example with self.request.parts(), or leave @reads_body out"
            )
        if parameter.default is inspect.Parameter.empty and {*self.handled} == {"GET", "HEAD"}:
            raise SetupError(
                f"{takes}, but a GET request has no body: write @post above the handler"
                + (
                    ""
                    if "file" in parameter.places
                    else ", or Annotated[..., Query()] to read the query"
                )
            )

    def as_fallback(self) -> Route:
        """Return a copy of this route for the paths that no other route matches.

        If a segment of such a path can't be converted, the response is a 404 instead of a 400,
        because then the path doesn't exist.
        """
        route = copy(self)
        route.bind = partial(self.plan.bind, is_fallback=True)
        return route

    def __repr__(self) -> str:
        return f"<Route {self.name}, {place_of(self.function) or 'micropie'}>"


class Refusal(Route):
    """The route of an application for the requests that no handler takes. ``call(error)`` raises
    the error that the search has made: a 400, 404 or 405.
    """

    is_found = needs_session = False
    step_kind = limited_step_kind = INLINE
    plain_args, reads_body, without_body = 1, True, METHODS

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def call(error: Exception) -> NoReturn:
        """Raise the error."""
        try:
            raise error
        finally:
            del error  # avoid a reference cycle between the exception and this frame


def _plan(
    function: AnyFunction, name: str, takes_socket: bool, config: Config, takes_segments: bool
) -> tuple[Plan, Sequence[Provider], BoundParameter | None]:
    """Return a handler's plan, its providers, and the first parameter that only a body can fill, or
    None.

    Raises ``SetupError`` with a message that contains the handler's name and says how to hide a
    function that isn't a handler.
    """
    written = inspect.unwrap(function)
    where = getattr(written, "__qualname__", name)
    try:
        if takes_socket and not any(map(inspect.iscoroutinefunction, (function, written))):
            raise SetupError("a WebSocket handler must be an async def without yield")
        _refuse_shared_answers(function)
        plan = Plan(
            function,
            takes_socket,
            config.providers,
            own=config.own_types,
            takes_segments=takes_segments,
        )
        providers = config.providers.needed_for(one.key for one in plan.provided)
        in_body = (one.body_parameter for one in (plan, *(one.plan for one in providers)))
        parameter = next(filter(None, in_body), None)
        if takes_socket and parameter is not None:
            raise SetupError(
                f"its parameter {parameter.name!r} is filled from a body, and a WebSocket has none"
            )
    except SetupError as error:
        is_hidden = hasattr(function, "__micropie_hidden__")  # also true for a method with @command
        hint = (
            ""
            if is_hidden
            else "; if the function isn't a handler, begin its name with _ or add @hidden"
        )
        raise SetupError(f"{where}: {error}{hint}") from None
    except ValueError as error:
        reason = (
            f" has no parameter self: write def {name}(self)"
            if str(error) == "invalid method signature"  # the message of ``inspect``
            else f": the types of its parameters are invalid: {error}"
        )
        raise SetupError(f"{where}{reason}") from None
    return plan, providers, parameter


def _refuse_shared_answers(function: AnyFunction) -> None:
    """Raise ``SetupError`` for a handler that is decorated with a cache, such as
    ``functools.cache``, if the handler's result can't be reused. This is so if the handler reads
    the request, or if its result is a generator or a coroutine, which can be used only once.
    """
    inner = innermost(function)
    is_used_once = has_yield(inner) or (
        inspect.iscoroutinefunction(inner) and not inspect.iscoroutinefunction(function)
    )
    reads_request = not names_in(function).isdisjoint(("request", "response", "session"))
    if (is_used_once or reads_request) and any(
        hasattr(one, "cache_clear") for one in layers(function)
    ):
        raise SetupError(
            "a cache decorator on a handler gives every client the response made for the "
            "first client: move the decorator to a function that the handler calls"
        )


def _step_kind(function: AnyFunction, placement: str) -> tuple[Kind, bool]:
    """Return the kind of step for a handler (AWAIT, ON_LOOP, INLINE, or HANDLER if it may block),
    and whether it is an ``async def``.
    """
    inner = innermost(function)
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(inner):
        return AWAIT, True
    # Calling a generator function doesn't run its code yet, so it needs no worker thread, and stays
    # in that of a hook. The chunks are produced in a worker thread later.
    if inspect.isgeneratorfunction(inner):
        return INLINE, False
    is_async = inspect.isasyncgenfunction(inner)
    return ON_LOOP if is_async or placement == LOOP else HANDLER, is_async


def route_of(exchange: Exchange) -> Route:
    """Return an exchange's route with its full type. The exchange must have a route.

    The declared type of ``exchange.route`` has only the attributes that lower packages use.
    """
    return exchange.route  # type: ignore[return-value]


def place_of(function: AnyFunction) -> str:
    """Return the file and the line of a function as "file:line", relative to the working directory
    if the file is below it. Return "" for a function of micropie itself.
    """
    inner = innermost(function)
    code = getattr(inner, "__code__", None)
    if code is None or is_framework(inner.__module__):
        return ""
    file = os.path.relpath(code.co_filename)
    return f"{code.co_filename if file.startswith('..') else file}:{code.co_firstlineno}"
