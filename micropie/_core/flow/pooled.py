"""Handlers that run in a process of the pool, and the copy of the request that they can read there.

Only the arguments, the result and the copy of the request are sent between the processes, with
``pickle``. The handler itself is not sent: the process imports it by its name (``placement.py``).
The application is never sent.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from micropie._core.errors import HTTPError, logger
from micropie._core.execution import TookTooLong, current
from micropie._core.execution.placement import HandlerName, handler_named
from micropie._core.http import Address, AnswerState, Exchange, Peer, Request, Session
from micropie._core.http.forms import Limits
from micropie._core.http.headers import Headers
from micropie._core.http.json import dumps_with
from micropie._core.routing import HandlerPool
from micropie._core.streams import ThreadStream

# -- in the server's process -----------------------------------------------------------------------


def call_in_pool(
    pool: HandlerPool,
    seconds: float,
    exchange: Exchange,
    name: HandlerName,
    arguments: Sequence[object],
    token: object = None,
) -> Any:
    """Call a handler in a process of the pool and wait for its result. Cancelling ``token`` cancels
    the call.

    Raises any exception of the handler, and a 503 after ``seconds`` or after the request's own time
    limit, whichever is shorter.
    """
    seconds = min(seconds, exchange.time_limit or seconds)
    job = _packed(name, PooledExchange(exchange), [*arguments])
    # Those headers that identify the client and were read by the handler. If the process doesn't
    # report them, assume that the handler reads Cookie and Authorization: a stream may still do so.
    read: Sequence[str] = ("cookie", "authorization")
    try:
        result = pool.made.call(seconds, PooledHandler(name), job, token=token)
        if type(result) is _Returned:
            result, read = result
        return (
            ThreadStream(result, interrupt=result.interrupt_next)
            if isinstance(result, pool.made.stream)
            else result
        )
    except TookTooLong as error:
        sentence = str(error)
    finally:
        for header in read:
            exchange.answer.depend_on(header)
    logger.error("%s: %s: %s", exchange.label, _full_name(name), sentence)
    raise HTTPError(503, "The response took too long. Please try again later.")


def _packed(name: HandlerName, exchange: PooledExchange, arguments: Sequence[object]) -> bytes:
    """Return the request and the arguments, pickled.

    If a value can't be pickled, raise ``PicklingError`` with the name of that value.
    """
    try:
        return pickle.dumps((exchange, arguments))
    except Exception:
        values = {f"argument {number}": value for number, value in enumerate(arguments, 1)}
        values |= {f"the request's {key}": value for key, value in vars(exchange).items()}
        for label, value in values.items():
            try:
                pickle.dumps(value)
            except Exception as error:
                raise pickle.PicklingError(
                    f"{_full_name(name)} runs in the process pool, but {label}, of type "
                    f"{type(value).__name__}, can't be pickled: {error}"
                ) from None
        raise


def _full_name(name: HandlerName) -> str:
    return f"{name.module}.{name.qualname}" + (f".{name.method}" if name.method else "")


# -- in a process of the pool ----------------------------------------------------------------------


class _Returned(NamedTuple):
    """The result of a handler, unless it is a stream.

    ``read``: those headers that the handler has read and that identify the client.
    """

    result: object
    read: Sequence[str]


class PooledHandler:
    """A handler, pickled as its name.

    Unpickling it imports the handler's module and looks the handler up.
    """

    def __init__(self, name: HandlerName) -> None:
        self._name = name

    def __reduce__(self) -> tuple[object, ...]:
        return _found, (self._name,)

    def __call__(self, job: bytes) -> Any:
        """Call the handler in this process and return its result.

        ``job``: the result of ``_packed``.
        """
        exchange, arguments = pickle.loads(job)  # noqa: S301 - from our own process
        exchange.headers = Headers(exchange.headers.raw, exchange.answer.depend_on)
        current.set(PooledRequest(exchange))
        for enter in exchange.enter_in_pool:
            enter()
        handler = handler_named(self._name)
        keywords = arguments.pop() if self._name.takes_keywords else {}
        result = handler(*arguments, **keywords)
        return (
            result
            if isinstance(result, Iterator)
            else _Returned(result, exchange.answer.depends_on)
        )


def _found(name: HandlerName) -> PooledHandler:
    handler_named(name)
    return PooledHandler(name)


class PooledExchange(Exchange):
    """The copy of a request that is pickled and sent to a process of the pool."""

    is_pooled = True

    def __init__(self, exchange: Exchange) -> None:
        self.method, self.path, self.id = exchange.method, exchange.path, exchange.id
        self.path_params, self.root_path = [*exchange.path_params], exchange.root_path
        self.peer = Peer(exchange.scheme, exchange.client, exchange.peer.host)
        self.body = exchange.body.copied()
        self.enter_in_pool = (*exchange.config.enter_in_pool, *exchange.enter_in_pool)
        has_session = exchange.answer.session is not None or exchange.config.sessions.find_id(
            exchange
        )
        self.values = dict(exchange.opened_session()) if has_session else {}
        self.headers, self.answer = exchange.headers, AnswerState()
        self.query_string, self.sent_path = exchange.query_string, exchange.raw_path()
        self.server = exchange.server_name()
        self.config: Any = PooledConfig(exchange.config.limits)

    @property
    def incoming(self) -> NoReturn:
        """Raise ``RuntimeError``, because the body stays in the server's process."""
        _refuse(_NO_BODY)

    @property
    def scope(self) -> NoReturn:  # type: ignore[override]
        """Raise ``RuntimeError``, because the scope stays in the server's process."""
        _refuse(
            "a handler in the process pool has no ASGI scope or WSGI environ: run it in a thread"
        )

    def opened_session(self) -> PooledSession:
        """Return a copy of the session, as it was when the handler was called."""
        self.answer.depend_on("cookie")
        return PooledSession(None, self.values)

    def response(self) -> NoReturn:
        """Raise ``RuntimeError``, because the response can't be set in a process of the pool."""
        _refuse(
            "a handler in the process pool has no self.response: return (status, body, headers) "
            "or a Response"
        )

    @property
    def scheme(self) -> str:
        return self.peer.scheme or ""

    def server_client(self) -> Address | None:
        return None

    def _server_path(self) -> bytes:
        return self.sent_path

    def server_name(self) -> str:
        return self.server


class PooledRequest(Request):
    """A read-only copy of a request. Changing it or its response raises ``RuntimeError``."""

    def after_response(self, *_: object, **__: object) -> NoReturn:
        """Raise ``RuntimeError``, because the function passed to this method would have to be
        called in the server's process.
        """
        _refuse(
            "a handler in the process pool can't call after_response, on_close, on_failure or "
            "carry_into_process: run it in a thread, or call them in middleware"
        )

    on_close = on_failure = carry_into_process = after_response

    def parts(self) -> NoReturn:
        """Raise ``RuntimeError``, because the body stays in the server's process."""
        _refuse(_NO_BODY)


class PooledConfig:
    """The configuration of a ``PooledRequest``, which contains only the limits.

    The application stays in the server's process.
    """

    # used for events, and for messages that the handler publishes in channels
    dumps = staticmethod(dumps_with({}))

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def __reduce__(self) -> tuple[type[PooledConfig], tuple[Limits]]:
        return PooledConfig, (self.limits,)

    def __getattr__(self, name: str) -> NoReturn:
        _refuse(
            "a handler in the process pool has no self.url_for, self.render, self.channels or "
            "request.resource: run it in a thread"
        )


class PooledSession(Session):
    """A read-only copy of a session. Changing it raises ``RuntimeError``."""

    __slots__ = ()

    def _check(self) -> NoReturn:
        _refuse(
            "a handler in the process pool can't change the session: run it in a thread, or "
            "change the session in middleware"
        )


_NO_BODY = (
    "a handler in the process pool can't read the body: declare parameters for its values, or "
    "run the handler in a thread"
)


def _refuse(sentence: str) -> NoReturn:
    raise RuntimeError(sentence)
