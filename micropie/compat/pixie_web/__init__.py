"""Stands in for ``pixie_web``: ``from micropie.compat.pixie_web import route, run, Response,
RouteType, proc_env``.

Its routes are those of one ``App``, ``app``, which ``run()`` serves, or any server that takes it
from the program. Each says where it runs: ``RouteType.sync`` on the event loop, ``asnc`` on it as
``async def``, ``sync_thread`` in a thread, ``pool``, which is the default, in a process of the
pool.
Open ``templates.py`` to change ``Template``.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from enum import Enum, StrEnum
from typing import Any, TypeVar

from micropie import App, SetupError, run_in
from micropie import Response as _Response
from micropie import request as _current
from micropie import static_file as _static_file
from micropie.compat.core import current
from micropie.compat.pixie_web.templates import Literal as Literal
from micropie.compat.pixie_web.templates import Template as Template
from micropie.compat.pixie_web.templates import Unsafe as Unsafe

Handler = TypeVar("Handler", bound=Callable[..., Any])

app = App()
_pooled: list[Callable[..., Any]] = []  # the handlers of RouteType.pool


class RouteType(Enum):
    """Where a route runs."""

    sync = "loop"
    """In the main process, one request at a time: for what is short."""
    asnc = "async"
    """On the event loop of the main process: ``async def``."""
    sync_thread = "thread"
    """In a thread: for what waits."""
    pool = "process"
    """In a process of the pool: for what computes. What it yields is sent as it comes."""
    stream = pool
    """The same, for what is yielded."""


class ProcessType(StrEnum):
    """The kinds of processes that ``proc_env.proc_type`` tells apart."""

    main = "main"
    pool = "pool"


class _ProcessEnvironment:
    """``proc_env``: the process in which this code runs."""

    @property
    def proc_type(self) -> ProcessType:
        """Whether it is the server's process or one of the pool."""
        request = current.get(None)
        return (
            ProcessType.pool
            if request is not None and request._exchange.is_pooled
            else ProcessType.main
        )


proc_env = _ProcessEnvironment()


class Env:
    """What a handler gets: the request. All names of ``micropie.Request`` work on it as well."""

    @property
    def verb(self) -> str:
        """The method: GET or POST."""
        return _current.method

    @property
    def form(self) -> dict[str, Any]:
        """The first value of each field of a form."""
        return dict(_current.form)

    @property
    def params(self) -> dict[str, str]:
        """The first value of each parameter of the query."""
        return dict(_current.query)

    def __getattr__(self, name: str) -> Any:
        return getattr(_current, name)


class Response(_Response):
    """An answer: ``Response(body, code, content_type, headers, cookies)``.

    The type is HTML unless stated.
    """

    __slots__ = ()

    def __init__(
        self,
        body: object = "",
        code: int = 200,
        content_type: str | None = "text/html",
        headers: Mapping[str, object] | Iterable[tuple[str, object]] | None = None,
        cookies: Mapping[str, object] | None = None,
    ) -> None:
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        super().__init__(body, code, [(name, str(value)) for name, value in pairs], content_type)
        for name, value in (cookies or {}).items():
            self.set_cookie(name, str(value))

    @property
    def code(self) -> int:
        """The status."""
        return self.status

    @code.setter
    def code(self, code: int) -> None:
        self.status = code


simple_response = Response


class header(Response):  # noqa: N801 - pixie_web's name
    """What a generator yields first: ``yield header(404)``. In a process it has status 200 and no
    headers, which are sent before.
    """

    __slots__ = ()

    def __init__(
        self,
        code: int = 200,
        content_type: str | None = "text/html",
        headers: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(None, code, content_type, headers)


def _without_header(chunks: Generator[object, Any, Any]) -> Iterator[object]:
    """Return the pieces of a body. If a header comes before them, set it on the response first."""
    first = next(chunks, None)
    if not isinstance(first, header):
        return _resumed(first, chunks)
    if not _current._exchange.is_pooled:
        answer = _current.response
        answer.status, answer.content_type = first.status, first.content_type
        for name, value in first.pairs:
            answer.headers[name] = value
    elif first.status != 200 or first.pairs:
        raise SetupError(
            "header() with a status or with headers needs RouteType.sync or sync_thread: "
            "in a process write return Response(body, code, content_type, headers)"
        )
    return chunks


def _resumed(first: object, chunks: Generator[object, Any, Any]) -> Iterator[object]:
    with closing(chunks):
        if first is not None:
            yield first
        yield from chunks


def route(
    path: str, route_type: RouteType = RouteType.pool, action: str | Iterable[str] = "GET"
) -> Callable[[Handler], Handler]:
    """Answer ``path``, with wildcards such as ``/file/<name>``, by the function below, which takes
    ``env`` first.

    ``action`` is the method, or several. Raises ``SetupError`` for an ``async def`` that is not
    ``RouteType.asnc``, and the other way round.
    """
    methods = [action] if isinstance(action, str) else list(action)

    def register(function: Handler) -> Handler:
        is_async = inspect.iscoroutinefunction(function)
        if is_async is not (route_type is RouteType.asnc):
            spelling = "asnc" if is_async else "sync, sync_thread or pool"
            raise SetupError(
                f"{function.__name__}: write RouteType.{spelling} above {'async ' * is_async}def"
            )
        parameters = [*inspect.signature(function).parameters.values()]

        @functools.wraps(function)
        def call(*arguments: object, **values: object) -> object:
            result: object = function(Env(), *arguments, **values)
            return _without_header(result) if inspect.isgenerator(result) else result

        @functools.wraps(function)
        async def call_async(*arguments: object, **values: object) -> object:
            return await function(Env(), *arguments, **values)

        handler: Any = call_async if is_async else call
        handler.__signature__ = inspect.Signature(parameters[1:])  # without ``env``
        if not is_async:
            # chunks of a def are made in a thread
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
    """Return a file below the directory ``path``, which clients may use for ``max_age`` seconds
    without asking again.
    """
    return _static_file(filename, path, content_type=content_type, max_age=max_age)


def cached_file(path: str, root: str = ".", max_age: int = 38400) -> _Response:
    """Return a file below the directory ``root``, which is kept in memory."""
    return _static_file(path, root, cached=True, max_age=max_age)


def run(host: str = "localhost", port: int = 8000, workers: bool | int | None = True) -> None:
    """Serve the routes until the process is told to end.

    ``workers``: the processes of the pool; True for one per processor, False or None for none.
    """
    settings = app._micropie.settings
    if workers:
        settings["processes"] = None if workers is True else workers
    else:
        for handler in _pooled:
            run_in("thread")(handler)
    app.run(host="127.0.0.1" if host == "localhost" else host, port=port)


class Server:
    """``server``: what a program asks of the running server."""

    route = staticmethod(route)
    run = staticmethod(run)
    proc_env = proc_env
    application = app
    """A WSGI and an ASGI application."""

    def close_server(self) -> None:
        """Stop the server when it has sent the responses that it is sending now."""
        os.kill(os.getpid(), signal.SIGTERM)


server = Server()
