"""Handlers that run in a process of the pool, and the copy of the request that they can read there.

Only the arguments, the result and the copy of the request are sent between the processes, with
``pickle``. The handler itself is not sent: the process imports it by its name (``placement.py``).
The application is never sent.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from types import NoneType
from typing import Any, NamedTuple, NoReturn

from micropie._core import streams
from micropie._core.execution import Action, ProcessPool, current
from micropie._core.execution.placement import HandlerName, NamedFunction, handler_named
from micropie._core.execution.pool import Streamed
from micropie._core.http import (
    Address,
    AnswerState,
    Exchange,
    Peer,
    ReceivedBody,
    Request,
    Response,
    Session,
    SessionData,
    State,
    as_response,
)
from micropie._core.http.forms import DEFAULT_LIMITS, Limits
from micropie._core.http.headers import Headers
from micropie._core.http.json import dumps_with
from micropie._core.http.protocols import RawPairs
from micropie._core.streams import LoopStream

# -- in the server's process -----------------------------------------------------------------------


def steps_in_pool(
    pool: ProcessPool,
    seconds: float,
    exchange: Exchange,
    name: HandlerName,
    arguments: Sequence[object],
    token: Any,
) -> Generator[Any, Any, object]:
    """Call a handler in a process of the pool and return its result. Cancelling ``token`` cancels
    the call. The steps are those of ``ProcessPool.steps``.

    Raises any exception of the handler, and a 503 after ``seconds`` or after the request's own time
    limit, whichever is shorter; see ``ProcessPool.steps``.
    """
    seconds = min(seconds, exchange.time_limit or seconds)
    # Those headers that identify the client and were read by the handler. If the process doesn't
    # report them, assume that the handler reads Cookie and Authorization: a stream may still do so.
    read: Sequence[str] = ("cookie", "authorization")
    try:
        given = copied(exchange), [*arguments]
        result = yield from pool.steps(seconds, PooledHandler(name), given, token)
        if type(result) is _Returned:
            result, read = result
        return result
    finally:
        for header in read:
            exchange.answer.depend_on(header)


def copied(exchange: Exchange) -> tuple[object, ...]:
    """Return the arguments of ``PooledExchange`` for a copy of a request. They are pickled for each
    call, so they are plain values, and None in place of an object that is like that of an empty
    request.
    """
    is_whole = bool(exchange.reads_body)
    body, limits = exchange.body.copied(is_whole), exchange.config.limits
    has_session = exchange.answer.session is not None or exchange.config.sessions.find_id(exchange)
    return (
        *(exchange.method, exchange.path, exchange.root_path, exchange.id),
        *(exchange.query_string, exchange.raw_path(), exchange.headers.raw),
        [*exchange.path_params],
        (exchange.scheme, exchange.client and (*exchange.client,), exchange.peer.host),
        is_whole,
        None if body.is_empty else body,
        (*exchange.config.enter_in_pool, *exchange.enter_in_pool),
        dict(exchange.opened_session()) if has_session else {},
        None if limits == DEFAULT_LIMITS else limits,
    )


# -- in a process of the pool ----------------------------------------------------------------------


class _Returned(NamedTuple):
    """The result of a handler, unless it is a stream.

    ``read``: those headers that the handler has read and that identify the client.
    """

    result: object
    read: Sequence[str]


class PooledHandler(NamedFunction):
    """A handler, pickled as its name."""

    @staticmethod
    def labelled(arguments: Sequence[Any]) -> dict[str, object]:
        """See ``NamedFunction``. ``arguments`` are those of ``__call__``."""
        request, given = arguments
        names = PooledExchange.__init__.__code__.co_varnames[1:]
        values = {f"the request's {names[at]}": value for at, value in enumerate(request)}
        return NamedFunction.labelled(given) | values

    def __call__(self, request: Sequence[Any], arguments: list[Any]) -> object:  # type: ignore[override]
        """Call the handler in this process and return its result.

        ``request``: the result of ``copied``.
        """
        exchange = PooledExchange(*request)
        current.set(PooledRequest(exchange))
        for enter in exchange.enter_in_pool:
            enter()
        handler = handler_named(self._name)
        keywords = arguments.pop() if self._name.takes_keywords else {}
        result = handler(*arguments, **keywords)
        if isinstance(result, tuple) and len(result) > 1 and isinstance(result[1], Iterator):
            result = as_response(result)
        if isinstance(result, Response):
            if isinstance(result.body, LoopStream):
                return Streamed(*streams.taken_apart(result))
            if isinstance(result.body, Iterator):
                body, result.body = result.body, None
                return Streamed(partial(_with_body, result), body)
        return (
            result
            if isinstance(result, Iterator)
            else _Returned(result, exchange.answer.depends_on)
        )


def _with_body(response: Response, body: object) -> Response:
    response.body = body
    return response


def _refusing(sentence: str) -> Any:
    """Return a method that raises ``RuntimeError``, because what it needs stays in the server's
    process.
    """

    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(sentence)

    return refuse


_NO_BODY = (
    "a handler in the process pool can't read the body, except by request.read(), with @reads_body "
    "above the handler: write that, or declare parameters for its values"
)


class PooledExchange(Exchange):
    """The copy of a request in a process of the pool."""

    is_pooled = True

    def __init__(
        self,
        method: str,
        path: str,
        root_path: str,
        request_id: str,
        query_string: str,
        sent_path: bytes,
        headers: RawPairs,
        path_params: Sequence[object],
        peer: tuple[str, tuple[str, int] | None, str | None],
        is_whole: bool,
        body: ReceivedBody | None,
        enter_in_pool: tuple[Action, ...],
        session: SessionData,
        limits: Limits | None,
    ) -> None:
        self.method, self.path, self.root_path, self.id = method, path, root_path, request_id
        self.query_string, self.sent_path, self.path_params = query_string, sent_path, path_params
        scheme, client, host = peer
        self.peer = Peer(scheme, client and Address(*client), host)
        self.is_whole, self.body = is_whole, body or ReceivedBody()
        self.enter_in_pool, self.values, self.answer = enter_in_pool, session, AnswerState()
        self.headers = Headers(headers, self.answer.depend_on)
        self.config: Any = PooledConfig(limits or DEFAULT_LIMITS)

    incoming = property(_refusing(_NO_BODY))
    scope = property(
        _refusing(
            "a handler in the process pool has no ASGI scope or WSGI environ: run it in a thread"
        )
    )
    response = _refusing(
        "a handler in the process pool has no self.response: return (status, body, headers) or a "
        "Response"
    )

    def opened_session(self) -> PooledSession:
        """Return a copy of the session, as it was when the handler was called."""
        self.answer.depend_on("cookie")
        return PooledSession(self.values)

    @property
    def scheme(self) -> str:
        return self.peer.scheme or ""

    def server_client(self) -> Address | None:
        return None

    def _server_path(self) -> bytes:
        return self.sent_path


class PooledRequest(Request):
    """A read-only copy of a request. Changing it or its response raises ``RuntimeError``."""

    after_response = on_close = on_failure = carry_into_process = _refusing(
        "a handler in the process pool can't call after_response, on_close, on_failure or "
        "carry_into_process: run it in a thread, or call them in middleware"
    )
    accepts = not_modified = _refusing(
        "a handler in the process pool can't call accepts or not_modified, which set headers of "
        "the response: call them in middleware, or run the handler in a thread"
    )
    parts = _refusing(_NO_BODY)

    @property
    def state(self) -> State:
        """An object for the handler's own attributes. It has none of those set in the server's
        process.
        """
        if self._state is None:
            self._state = PooledState()
        return self._state

    def __getattr__(self, name: str) -> NoReturn:
        _miss(f"request.{name}")

    def read(self) -> bytes:
        """Return the body, if ``@reads_body`` is above the handler."""
        exchange: Any = self._exchange
        data: bytes = exchange.body.data if exchange.is_whole else self.parts()
        return data


class PooledState(State):
    """The state of a ``PooledRequest``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name == "_find":
            return NoneType
        _miss(f"request.state.{name}")


class PooledConfig:
    """The configuration of a ``PooledRequest``, which contains only the limits.

    The application stays in the server's process.
    """

    shutdown = None  # the server's process ends event streams

    # used for events, and for messages that the handler publishes in channels
    dumps = staticmethod(dumps_with({}))

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    __getattr__ = _refusing(
        "a handler in the process pool has no self.url_for, self.render, self.channels, self.pool "
        "or request.resource: run it in a thread"
    )


class PooledSession(Session):
    """A read-only copy of a session. Changing it raises ``RuntimeError``."""

    __slots__ = ()

    def __init__(self, data: SessionData) -> None:
        super().__init__(None, data)
        self._refusal = "it is a copy"

    _check = _refusing(
        "a handler in the process pool can't change the session: run it in a thread, or change "
        "the session in middleware"
    )


def _miss(what: str) -> NoReturn:
    raise AttributeError(
        f"a handler in the process pool has the request that the client sent, without {what}: "
        "run the handler in a thread, and pass this value to await self.pool.run(function, value)"
    )
