"""The decorators for handlers. They declare routes, where a handler runs, how it receives its body,
and which methods are not handlers.

A decorator only stores a mark (an attribute) on the function, and returns the function.
``routing.compiler`` reads the marks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Literal, Never, Protocol, TypeVar, cast, overload

from micropie._core.errors import (
    FLAG,
    TEXT,
    SetupError,
    check_each,
    is_count,
    refuse_others,
    refuse_text,
)
from micropie._core.execution.placement import LOOP, MARK, PROCESS, THREAD, only_in_pool
from micropie._core.http.protocols import Texts
from micropie._core.routing import checked_methods
from micropie._core.routing.discovery import (
    HOLDS,
    Check,
    Checking,
    Function,
    Pattern,
    RouteMark,
    leave_mark,
    mark_with,
    refuse_unless_check,
)

Target = TypeVar("Target")
SocketFunction = TypeVar("SocketFunction", bound=Callable[..., Awaitable[object]])


def make_mark(
    path: str | None,
    methods: Iterable[str] | None,
    name: str | None,
    decorator: str = "route",
    takes_socket: bool = False,
) -> RouteMark:
    """Return a checked ``RouteMark``. Raises ``SetupError`` for an invalid path or an unknown
    method.
    """
    if path is not None and not isinstance(path, str):
        raise SetupError(
            f'a route decorator takes the path first: write @{decorator}("/path"), not {path!r}'
        )
    check_each(f"@{decorator}", *TEXT, name=name)
    pattern = None if path is None else Pattern(path)
    return RouteMark(
        pattern, () if methods is None else checked_methods(methods), name, takes_socket
    )


def refuse_in_route(others: Mapping[str, object]) -> None:
    """Raise ``SetupError`` for keywords that route decorators don't accept."""
    refuse_others(
        "a route",
        others,
        {
            'its methods in a list, methods=["POST"]': "method",
            "@requires(check) below it": "guards dependencies",
            '"return 201, pie" in the handler, and @describe(status=201) above it': "status_code",
            "@describe(...) below it": (
                "response_model tags summary description operation_id deprecated "
                "responses include_in_schema"
            ),
        },
    )


def route(
    path: str | None = None,
    methods: Texts | None = None,
    *,
    name: str | None = None,
    **others: Never,
) -> Callable[[Function], Function]:
    """Handle ``path`` with the function below: ``@route("/users/<id:int>", methods=["GET"])``.

    - ``path``: by default the function's name. It may have wildcards: ``<name>``, ``<name:int>``,
      ``<name:float>``, ``<name:path>``, ``<name:re:[a-z]+>``. Each wildcard fills the parameter of
      the same name.
    - ``methods``: the HTTP methods, by default those of the setting ``methods``.
    - ``name``: the route's name in ``url_for``, by default the function's name.

    Raises ``SetupError`` for an invalid argument.
    """
    refuse_in_route(others)
    return make_mark(path, methods, name).decorate


class _RouteDecorator:
    """A decorator that may be written as ``@get``, ``@get()`` or ``@get("/path", name=...)``."""

    def __init__(self, make: Callable[[str | None, str | None], RouteMark]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __call__(self, path: Function) -> Function: ...
    @overload
    def __call__(
        self, path: str | None = None, *, name: str | None = None
    ) -> Callable[[Function], Function]: ...
    def __call__(
        self, path: Function | str | None = None, *, name: str | None = None, **others: object
    ) -> Function | Callable[[Function], Function]:
        refuse_in_route(others)
        return (
            self._make(None, None).decorate(path)
            if callable(path)
            else self._make(path, name).decorate
        )


def _for_method(method: str) -> _RouteDecorator:
    def make(path: str | None, name: str | None) -> RouteMark:
        return make_mark(path, [method], name)

    make.__doc__ = f"""Handle {method} with the function below: ``@{method.lower()}``, or with a path ``@{method.lower()}("/path")``.

    ``path`` and ``name``: see ``route``. Raises ``SetupError`` as ``route`` does.
    """  # noqa: E501
    return _RouteDecorator(make)


get = _for_method("GET")
post = _for_method("POST")
put = _for_method("PUT")
patch = _for_method("PATCH")
delete = _for_method("DELETE")


if TYPE_CHECKING:

    class _SocketDecorator(Protocol):
        """A decorator that may be written as ``@websocket``, ``@websocket()`` or
        ``@websocket("/path", name=...)``.
        """

        @overload
        def __call__(self, path: SocketFunction) -> SocketFunction: ...
        @overload
        def __call__(
            self, path: str | None = None, *, name: str | None = None
        ) -> Callable[[SocketFunction], SocketFunction]: ...


@_RouteDecorator
def _websocket(path: str | None, name: str | None) -> RouteMark:
    """Handle WebSockets at ``path`` with the method below: ``@websocket("/rooms/<room>")``.

    The method is an ``async def``. Its first parameter is the socket; the others are filled as in
    any handler. A method whose name begins with ``ws_`` needs no decorator: ``ws_chat`` handles
    ``/chat``.

    - ``path``: by default the method's name.
    - ``name``: the route's name in ``url_for``, by default the method's name.

    Raises ``SetupError`` for an invalid path or name.
    """
    return make_mark(path, ["GET"], name, "websocket", takes_socket=True)


websocket = cast("_SocketDecorator", _websocket)


def run_in(
    placement: Literal["loop", "thread", "process"],
) -> Callable[[Function], Function]:
    """Choose where the handler below runs: ``@run_in("thread")``. This overrides the application's
    setting ``run_in``.

    ``placement`` has one of these values:

    - ``"loop"``: on the event loop (under WSGI: in the server's thread), for a ``def`` that never
      blocks.
    - ``"thread"``: in a worker thread, where the handler may block. This is the default for
      ``def``.
    - ``"process"``: in a process of a pool, for a long computation that must not delay other
      requests.

    A process of the pool imports the handler by its name. The arguments, and the values that the
    handler returns or yields, are pickled. ``self`` is a new object of the class, created without
    calling ``__init__``, and ``self.request`` is a read-only copy. Other code runs the function by
    ``app.pool.run``; calling it directly raises ``RuntimeError``.

    Checks, providers and middleware may have ``@run_in("loop")`` as well. An ``async def`` can only
    run on the event loop. For an ``async def`` with another placement, ``SetupError`` is raised
    when the application is first used. For an unknown placement, it is raised at once.
    """
    if placement not in (LOOP, THREAD, PROCESS):
        raise SetupError(f'run_in takes "loop", "thread" or "process", not {placement!r}')

    def mark(function: Function) -> Function:
        marked = only_in_pool(function) if placement == PROCESS else function
        return cast("Function", leave_mark(marked, MARK, placement))

    return mark


def _without_arguments(decorator: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Return ``decorator``, wrapped so that it raises ``SetupError`` if it is written with
    parentheses, as in ``@hidden()``.
    """

    @wraps(decorator)
    def checked(*functions: Function) -> Function:
        # Don't check with ``callable``, because a classmethod object isn't callable.
        if len(functions) != 1 or isinstance(functions[0], str):
            raise SetupError(f"write @{decorator.__name__} above a function, without parentheses")
        return decorator(*functions)

    return checked


@_without_arguments
def hidden(function: Function) -> Function:
    """Exclude the public method below from the handlers, so that it has no URL.

    ``@hidden`` takes no arguments.
    """
    return leave_mark(function, "__micropie_hidden__", True)


COMMAND = "__micropie_command__"


@_without_arguments
def command(function: Function) -> Function:
    """Make the method below a command instead of a handler: ``micropie -a shop:app init-db`` calls
    ``def init_db``.

    A parameter without a default becomes an argument of the command line; a parameter with a
    default becomes an option. Values are converted to the annotated types. Resources are opened as
    for a handler. A returned value is printed, unless it is None. For a plain function, use
    ``@app.command``.
    """
    return leave_mark(leave_mark(function, COMMAND, True), "__micropie_hidden__", True)


@_without_arguments
def reads_body(function: Function) -> Function:
    """Let the handler below read the body itself while it arrives, with ``request.parts()``,
    ``request.stream()`` or ``request.body()``.

    For such a handler, no form or JSON is parsed, so its parameters are filled from the path and
    the query only. If a parameter is annotated as a file or a whole document, ``SetupError`` is
    raised when the application is first used.
    """
    return leave_mark(function, "__micropie_reads_body__", True)


def max_body_size(size: int) -> Callable[[Function], Function]:
    """Limit the body for the handler below to ``size`` bytes. The limit replaces the application's
    ``max_body_size``.

    Example: ``@max_body_size(2 * 1024**3)``. A client that sends a longer body gets a 413. JSON and
    form fields are also limited by ``max_data_size``. Raises ``SetupError`` unless ``size`` is an
    int of 0 or more.
    """
    return _limit("max_body_size", size, "a whole number of bytes")


def max_data_size(size: int) -> Callable[[Function], Function]:
    """Limit JSON and form fields for the handler below to ``size`` bytes. The limit replaces the
    application's ``max_data_size``.

    Example: ``@max_data_size(10 * 1024**2)``. A client that sends more gets a 413.
    ``max_body_size`` applies as well. Raises ``SetupError`` unless ``size`` is an int of 0 or more.
    """
    return _limit("max_data_size", size, "a whole number of bytes")


def max_json_values(count: int) -> Callable[[Function], Function]:
    """Limit the JSON for the handler below to ``count`` values. The limit replaces the
    application's ``max_json_values``.

    Example: ``@max_json_values(500_000)``. A client that sends more gets a 413. ``max_data_size``
    applies as well. Raises ``SetupError`` unless ``count`` is an int of 0 or more.
    """
    return _limit("max_json_values", count, "a whole number")


def _limit(name: str, most: int, expected: str) -> Callable[[Function], Function]:
    if not is_count(most, least=0):
        raise SetupError(f"{name} takes {expected}, 0 or more, not {most!r}")
    return lambda function: leave_mark(function, f"__micropie_{name}__", most)


def requires(*checks: Check) -> Callable[[Target], Target]:
    """Accept only requests that pass all ``checks``. Use it above a handler or an ``App`` class, or
    call it with an ``App``.

        @requires(members)
        def account(self): ...

    A check is a function, ``async def`` or ``def``, that takes the request. Under ASGI, a ``def``
    runs in a worker thread unless it has ``@run_in("loop")``. A check returns True to accept the
    request. To refuse it, a check returns False (the client gets a 403), returns a response, or
    raises ``HTTPError`` or ``Redirect``. If a check returns None, perhaps because of a forgotten
    ``return``, the client gets a 500, and the log says what to write. Further parameters of a check
    get resources, which are shared with the handler.

    Checks run before the body is received, and after the middleware, so ``request.session`` and
    ``request.state`` are available. Checks above a class apply to every path of the application,
    including paths without a handler, WebSockets and mounted applications. Raises ``SetupError``
    for anything but a function that takes the request.
    """
    if not checks:
        raise SetupError("requires takes one or more check functions: write @requires(check)")
    for check in checks:
        refuse_unless_check(check)

    def decorate(target: Target) -> Target:
        mark_with(target, [*map(Checking, checks)])
        return target

    return leave_mark(decorate, HOLDS, checks[0])


DESCRIPTION = "__micropie_description__"


class describe:  # noqa: N801 - lower case, because it is a decorator
    """Describe the handler below in ``app.openapi()``, if its docstring and annotations aren't
    enough::

        @post
        @describe(status=201, responses={409: "There is such a pie already."})
        def bake(self, pie: Pie) -> tuple[int, Pie]:
            return 201, pie

    - ``summary`` and ``description``: by default the first line and the rest of the docstring.
    - ``tags``: by default the name of the application's class, if the site has inner
      applications.
    - ``status``: the status of the annotated response, by default 200. This is only documentation,
      so the handler must set the status as well, as in the example.
    - ``responses``: further responses by status. Each is a sentence, a type, or a tuple of both. If
      it has a type, responses with this status are sent with only the fields of the type.
    - ``response_model``: a structure, or a list of structures. Only its fields are sent. Use it if
      the handler's annotation can't express this.
    - ``operation_id``: by default the name of the handler.
    - ``deprecated`` (False): whether clients should stop using the operation.
    - ``include_in_schema`` (True): whether the document contains the handler.

    Raises ``SetupError`` for an invalid status.
    """

    def __init__(
        self,
        *given: Never,
        summary: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        status: int | None = None,
        responses: Mapping[int, object] | None = None,
        response_model: object = None,
        operation_id: str | None = None,
        deprecated: bool = False,
        include_in_schema: bool = True,
        **others: Never,
    ) -> None:
        if given:
            raise SetupError('describe takes keywords: write describe(summary="Bake a pie.")')
        refuse_others(
            "describe", others, {"status=...": "status_code code", "response_model=...": "model"}
        )
        expected = 'a dict: {409: "There is such a pie already."}'
        check_each("describe", Mapping, expected, responses=responses or {})
        refuse_text("tags", () if tags is None else tags)
        for tag in tags or ():
            check_each("describe", str, "strings", tags=tag)
        check_each(
            "describe", *TEXT, summary=summary, description=description, operation_id=operation_id
        )
        check_each("describe", *FLAG, deprecated=deprecated, include_in_schema=include_in_schema)
        for number in [*(responses or {}), *([] if status is None else [status])]:
            if not is_count(number, least=200) or number > 599:
                hint = ": write one number, without quotes" if isinstance(number, str) else ""
                raise SetupError(f"describe takes statuses from 200 to 599, not {number!r}{hint}")
        self.summary, self.description, self.tags = summary, description, tags
        self.status, self.responses, self.response_model = status, responses, response_model
        self.operation_id, self.deprecated, self.include_in_schema = (
            operation_id,
            deprecated,
            include_in_schema,
        )

    def response_of(self, status: int) -> tuple[str, object]:
        """Return the sentence and the type that ``responses`` contains for a status: "" if there is
        no sentence, and None if there is no type.
        """
        given = (self.responses or {})[status]
        parts = given if isinstance(given, tuple) else (given,)
        sentences = [part for part in parts if isinstance(part, str)]
        types = [part for part in parts if not isinstance(part, str)]
        return next(iter(sentences), ""), next(iter(types), None)

    def __call__(self, function: Function) -> Function:
        """Store the description as a mark on the handler, and return the handler."""
        return leave_mark(function, DESCRIPTION, self)
