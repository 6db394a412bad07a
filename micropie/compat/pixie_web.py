"""Stands in for ``pixie_web``: ``from micropie.compat.pixie_web import route, run, Response,
RouteType, proc_env``.

Its routes are those of one ``App``, ``app``, which ``run()`` serves, or any server that takes it
from the program. Each says where it runs: ``RouteType.sync`` on the event loop, ``asnc`` on it as
``async def``, ``pool``, which is the default, in a process of the pool.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from micropie import App, SetupError, escape, run_in
from micropie import Response as _Response
from micropie import request as _current
from micropie import static_file as _static_file
from micropie.compat.core import current

Handler = TypeVar("Handler", bound=Callable[..., Any])

app = App()


class RouteType(Enum):
    """Where a route runs."""

    sync = "loop"
    """In the main process, one request at a time: for what is short."""
    asnc = "async"
    """On the event loop of the main process: ``async def``."""
    pool = "process"
    """In a process of the pool: for what computes. What it yields is sent as it comes."""


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
    """An answer: ``Response(body, code, content_type, headers)``.

    The type is HTML unless stated.
    """

    __slots__ = ()

    def __init__(
        self,
        body: object = "",
        code: int = 200,
        content_type: str = "text/html",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(body, code, headers, content_type)


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
            spelling = "asnc" if is_async else "sync or RouteType.pool"
            raise SetupError(
                f"{function.__name__}: write RouteType.{spelling} above {'async ' * is_async}def"
            )
        parameters = [*inspect.signature(function).parameters.values()]

        @functools.wraps(function)
        def call(*arguments: object, **values: object) -> object:
            return function(Env(), *arguments, **values)

        @functools.wraps(function)
        async def call_async(*arguments: object, **values: object) -> object:
            return await function(Env(), *arguments, **values)

        handler: Any = call_async if is_async else call
        handler.__signature__ = inspect.Signature(parameters[1:])  # without ``env``
        if not is_async:
            placement: Any = route_type.value
            handler = run_in(placement)(handler)
        app.route(path, methods)(handler)
        return handler  # type: ignore[no-any-return]

    return register


def static_file(filename: str, path: str = ".", content_type: str | None = None) -> _Response:
    """Return a file below the directory ``path``."""
    return _static_file(filename, path, content_type=content_type)


@lru_cache(maxsize=256)
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


class Template:
    """A file with ``{names}``: ``Template("page.html").render(title="Pies")``. Values are escaped.

    The file is read once; with ``cached=False`` at each rendering.
    """

    def __init__(self, filename: str, path: str = ".", cached: bool = True) -> None:
        self._path = Path(path, filename)
        self._cached = cached

    def render(self, **values: object) -> str:
        """Return the text with ``values`` in place of their names."""
        text = _read(self._path) if self._cached else _read.__wrapped__(self._path)
        return text.format_map({name: escape(value) for name, value in values.items()})


def run(host: str = "localhost", port: int = 8000, workers: int | None = None) -> None:
    """Serve the routes until the process is told to end.

    ``workers``: the processes of the pool, one per processor.
    """
    app._micropie.settings["processes"] = workers
    app.run(host="127.0.0.1" if host == "localhost" else host, port=port)
