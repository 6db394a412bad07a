"""Compatibility module for ``pixie_web``: ``from micropie_compat.pixie_web import route, run,
Response, RouteType, proc_env``.

All routes are added to one ``App``, ``app``. ``run()`` serves it; other servers can load it from
the program's module. A route's ``RouteType`` declares where its handler runs. Open ``templates.py``
to change ``Template``.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from enum import Enum, StrEnum
from http.cookies import SimpleCookie
from itertools import chain
from typing import Any, TypeVar

from micropie import App, HttpMiddleware, SetupError, run_in
from micropie import Request as NativeRequest
from micropie import Response as _Response
from micropie import request as _current
from micropie import static_file as _static_file
from micropie_compat.core import current
from micropie_compat.environs import protocol_of
from micropie_compat.pixie_web.templates import Literal as Literal
from micropie_compat.pixie_web.templates import SimpleTemplate as SimpleTemplate
from micropie_compat.pixie_web.templates import Template as Template
from micropie_compat.pixie_web.templates import Unsafe as Unsafe
from micropie_compat.results import Chunks, Values

Handler = TypeVar("Handler", bound=Callable[..., Any])

TEMPLATE_PATH = "templates"
app = App()
_pooled: list[Callable[..., Any]] = []  # handlers with RouteType.pool


class RouteType(Enum):
    """Where a route's handler runs."""

    sync = "loop"
    """On the main process's event loop, one request at a time: for handlers that are fast."""
    sync_nothread = sync
    asnc = "async"
    """On the main process's event loop: for ``async def``."""
    sync_thread = "thread"
    """In a thread: for handlers that block, for example on a database."""
    pool = "process"
    """In a process of the pool: for long computations. If the handler yields values, each is sent
    at once.
    """
    stream = pool
    """The same as ``pool``, for generators."""


class ProcessType(StrEnum):
    """The kinds of processes: values of ``proc_env.proc_type``."""

    main = "main"
    pool = "pool"


class ProcEnv:
    """The class of ``proc_env``, which reports the kind of the current process."""

    @property
    def proc_type(self) -> ProcessType:
        """``ProcessType.main``, or ``ProcessType.pool`` in a process of the pool."""
        request = current.get(None)
        return (
            ProcessType.pool
            if request is not None and request._exchange.is_pooled
            else ProcessType.main
        )


proc_env = ProcEnv()


_OF_CONTENT = ("CONTENT_TYPE", "CONTENT_LENGTH")


class ReceiveBody(HttpMiddleware):
    """Receives the body before a handler runs, which may read ``env.body`` in any place."""

    async def before_request(self, request: NativeRequest) -> None:
        """Receive the body."""
        await request.body()


app.middlewares.append(ReceiveBody())


class Request:
    """A handler's request object, ``env``. It also has all attributes of ``micropie.Request``."""

    @property
    def verb(self) -> str:
        """The request's method, such as GET or POST."""
        return _current.method

    @property
    def path(self) -> str:
        """The path with the query, as the client has sent it."""
        query = _current.query_string
        return _current.raw_path.decode("latin-1") + (f"?{query}" if query else "")

    @property
    def protocol(self) -> str:
        """The protocol with its version, such as "HTTP/1.1"."""
        return protocol_of(_current._exchange)

    @property
    def request(self) -> tuple[str, str, str]:
        """The method, the path and the protocol."""
        return self.verb, self.path, self.protocol

    req = request

    @property
    def headers(self) -> dict[str, str]:
        """The headers by the names that CGI gives them: ``HTTP_X_TOKEN``, ``CONTENT_TYPE``."""
        names = {name: name.upper().replace("-", "_") for name in _current.headers}
        return {
            full if full in _OF_CONTENT else f"HTTP_{full}": _current.headers[name]
            for name, full in names.items()
        }

    @property
    def body(self) -> str:
        """The body as text."""
        return (_current._exchange.body.so_far or b"").decode("utf-8", "replace")

    @property
    def raw_data(self) -> bytes:
        """The whole request: its first line, the headers and the body."""
        lines = [" ".join(self.request), *map(": ".join, _current.headers.items()), "", ""]
        body: bytes = _current._exchange.body.so_far or b""
        return "\r\n".join(lines).encode("latin-1") + body

    @property
    def form(self) -> dict[str, Any] | None:
        """The first value of each field of a form, or None if the request has no form."""
        fields = dict(_current.form)  # or the values of a JSON object
        return fields if _current._exchange.body.form else None

    @property
    def params(self) -> dict[str, str]:
        """The first value of each parameter of the query."""
        return dict(_current.query)

    def __getattr__(self, name: str) -> Any:
        return getattr(_current, name)


class Response(_Response):
    """A response that a handler returns: ``Response(body, code, content_type, headers, cookies)``.

    ``content_type`` is "text/html" by default.
    """

    __slots__ = ("cookies",)

    def __init__(
        self,
        body: object = "",
        code: int = 200,
        content_type: str | None = "text/html",
        headers: Values | Iterable[tuple[str, object]] | None = None,
        cookies: Values | None = None,
    ) -> None:
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        super().__init__(body, code, [(name, str(value)) for name, value in pairs], content_type)
        self.cookies = SimpleCookie()
        for name, value in (cookies or {}).items():
            self.cookies[name] = str(value)
            self.cookies[name]["path"] = "/"

    @property
    def code(self) -> int:
        """The status as a number."""
        return self.status

    @code.setter
    def code(self, code: int) -> None:
        self.status = code


def _sent(result: Any) -> Any:
    """Return a handler's result. For a response with cookies, return a copy with their headers,
    because the handler may return the same object again.
    """
    if not isinstance(result, Response) or not result.cookies:
        return result
    copy = _Response(result.body, result.status, result.pairs, result.content_type)
    for morsel in result.cookies.values():
        copy.headers.add("Set-Cookie", morsel.OutputString())
    return copy


SimpleResponse = simple_response = Response


def redirect(location: str, code: int = 302) -> Response:
    """Return a redirect."""
    return Response("", code, headers={"Location": location})


class header(Response):  # noqa: N801 - pixie_web's name
    """The status and headers of a generator's response. Yield it first: ``yield header(404)``. This
    isn't possible in a process of the pool, because status and headers have been sent already.
    """

    __slots__ = ()

    def __init__(
        self,
        code: int = 200,
        content_type: str | None = "text/html",
        headers: Values | None = None,
    ) -> None:
        super().__init__(None, code, content_type, headers)


def _without_header(chunks: Generator[object, Any, Any]) -> Iterator[object]:
    """Return a generator's chunks without the leading ``header``, whose values are set on the
    response.
    """
    first = next(chunks, None)
    if not isinstance(first, header):
        return Chunks.of(chunks, chain(() if first is None else (first,), chunks))
    if not _current._exchange.is_pooled:
        answer = _current.response
        answer.status, answer.content_type = first.status, first.content_type
        for name, value in first.pairs:
            answer.headers[name] = value
    elif first.status != 200 or first.pairs:
        raise SetupError(
            "header() with a status or with headers doesn't work in a process of the pool: use "
            "RouteType.sync_thread, or return Response(body, code, content_type, headers)"
        )
    return chunks


def route(
    path: str, route_type: RouteType = RouteType.pool, action: str | Iterable[str] = "GET"
) -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of ``path``, which may have wildcards such as
    ``/file/<name>``. The handler's first parameter is ``env``.

    ``action``: one method or several.

    Raises ``SetupError`` for an ``async def`` handler without ``RouteType.asnc``, and for a ``def``
    handler with this type.
    """
    methods = [action] if isinstance(action, str) else list(action)

    def register(function: Handler) -> Handler:
        is_async = inspect.iscoroutinefunction(function)
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
        # A decorator's function may return the coroutine of the function in it.
        wraps = any(one.kind is one.VAR_POSITIONAL for one in parameters)
        if is_async is not (route_type is RouteType.asnc) and (is_async or not wraps):
            spelling = "asnc" if is_async else "sync, sync_thread or pool"
            raise SetupError(
                f"{function.__name__}: for {'async ' * is_async}def functions, write "
                f"RouteType.{spelling} in @route"
            )
        is_async = route_type is RouteType.asnc

        def called(*values: object, **named: object) -> Any:
            """Call the function. A program may call it with the ``env`` that it has got."""
            env = () if values and isinstance(values[0], Request) else (Request(),)
            return function(*env, *values, **named)

        @functools.wraps(function)
        def call(*values: object, **named: object) -> object:
            result = called(*values, **named)
            return _without_header(result) if inspect.isgenerator(result) else _sent(result)

        @functools.wraps(function)
        async def call_async(*values: object, **named: object) -> object:
            return _sent(await called(*values, **named))

        handler: Any = call_async if is_async else call
        # micropie passes the wildcards in their order, whatever the function's parameters are.
        kind = inspect.Parameter.POSITIONAL_ONLY
        handler.__signature__ = inspect.Signature(
            [inspect.Parameter(name, kind) for name in re.findall("<([^>]*)>", path)]
        )
        if not is_async:
            # A generator that isn't async would block the event loop, so it runs in a thread.
            in_thread = route_type is RouteType.sync and inspect.isgeneratorfunction(function)
            placement: Any = "thread" if in_thread else route_type.value
            handler = run_in(placement)(handler)
            if placement == "process":
                _pooled.append(handler)
        app.route(path, methods)(handler)
        return handler  # type: ignore[no-any-return]

    return register


def static_file(
    filename: str, path: str = ".", max_age: int = 38400, content_type: str | None = None
) -> _Response:
    """Return a response with a file in the directory ``path``. Browsers may cache it for
    ``max_age`` seconds. Proxies may not, because the file may be for one member only.
    """
    return _private(_static_file(filename, path, content_type=content_type), max_age)


def cached_file(path: str, root: str = ".", max_age: int = 38400) -> _Response:
    """Return a response with a file in the directory ``root``. The file's content is cached in
    memory.
    """
    return _private(_static_file(path, root, cached=True), max_age)


def _private(response: _Response, max_age: int) -> _Response:
    response.headers["Cache-Control"] = f"private, max-age={max_age}"
    return response


def run(host: str = "localhost", port: int = 8000, workers: bool | int | None = True) -> None:
    """Serve the routes until the process is stopped by a signal.

    ``workers``: the number of processes in the pool. True means one per processor, False or None
    means none.
    """
    settings = app._micropie.settings
    if workers:
        settings["processes"] = None if workers is True else workers
    else:
        for handler in _pooled:
            run_in("thread")(handler)
    app.run(host="127.0.0.1" if host == "localhost" else host, port=port)


class Server:
    """The class of ``server``, whose methods control the running server."""

    route = staticmethod(route)
    run = staticmethod(run)
    proc_env = proc_env
    application = app
    """The application, both WSGI and ASGI."""

    def close_server(self) -> None:
        """Stop the server once the current responses have been sent."""
        os.kill(os.getpid(), signal.SIGTERM)


server = Server()
