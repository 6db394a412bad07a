"""Handlers that run in a process of the pool, and the copy of the request that they can read there.

Only arguments, results and this copy cross between processes, by ``pickle``. The handler crosses as a name, by which
the process finds it (``execution/placement.py``); the application never crosses.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any, NoReturn, TypedDict

from micropie.errors import HTTPError
from micropie.execution import HandlerName, TookTooLong, current, handler_named
from micropie.http import NULL, Address, Exchange, HeaderPairs, Headers, Limits, Parameters, Request
from micropie.pool.executors import ExecutorPool
from micropie.pool.processes import Pool
from micropie.pool.remote import CancelToken, PoolError

logger = logging.getLogger("micropie")


class Snapshot(TypedDict):
    """The part of a request that can be read in the pool."""

    method: str
    path: str
    raw_path: bytes
    root_path: str
    path_params: list[object]
    headers: HeaderPairs
    query: str
    limits: Limits
    form: Parameters | None
    document: Any
    has_document: bool
    parse: Callable[[Exchange, bytes], None] | None
    data: bytes | None
    session: dict[str, object]
    scheme: str
    client: Address | None
    host: str | None
    server_name: str
    id: str
    enter: Callable[[], object] | None


# -- in the server's process -------------------------------------------------------------------------------------------


def call_in_pool(
    pool: Pool | ExecutorPool,
    seconds: float,
    exchange: Exchange,
    name: HandlerName,
    arguments: Sequence[object],
    token: CancelToken | None = None,
) -> Any:
    """Call a handler in a process of the pool, and wait for its result; ``token`` cancels the call.

    Raises what the handler raises, and 503 after ``seconds``, or after the request's own limit.
    """
    seconds = min(seconds, exchange.time_limit or seconds)
    job = _packed(name, snapshot(exchange), [*arguments])
    try:
        return pool.call(seconds, answer, name, job, token=token)
    except TookTooLong:
        pass
    logger.error(
        "%s: %s took longer than %g seconds in its process and was ended", exchange.label, _full_name(name), seconds
    )
    raise HTTPError(503, "The answer took too long. Please try again later.")


def _packed(name: HandlerName, request: Snapshot, arguments: Sequence[object]) -> bytes:
    """Return the request and the arguments, pickled. Raises ``PoolError`` that names the one that can't be pickled."""
    try:
        return pickle.dumps((request, arguments))
    except Exception:
        values = {f"argument {number}": value for number, value in enumerate(arguments, 1)}
        values |= {f"the request's {key}": value for key, value in request.items()}
        for label, value in values.items():
            try:
                pickle.dumps(value)
            except Exception as error:
                failure = PoolError(
                    f"{_full_name(name)} runs in a process, and {label}, of type {type(value).__name__}, "
                    f"can't be pickled: {error}"
                )
                raise failure from None
        raise


def _full_name(name: HandlerName) -> str:
    return f"{name.module}.{name.qualname}" + (f".{name.method}" if name.method else "")


def snapshot(exchange: Exchange) -> Snapshot:
    """Copy a request for the pool."""
    has_session = exchange.session is not None or exchange.config.sessions.find_id(exchange)
    return {
        "method": exchange.method,
        "path": exchange.path,
        "raw_path": exchange.raw_path(),
        "root_path": exchange.root_path,
        "path_params": [*exchange.path_params],
        "headers": list(exchange.headers.items()),
        "query": exchange.query_string,
        "limits": exchange.config.limits,
        "form": exchange.form_fields,
        "document": None if exchange.document is NULL else exchange.document,
        "has_document": exchange.document is not None,
        "parse": exchange.parse,
        "data": exchange.body_so_far() if exchange.parse is not None else None,
        "session": dict(exchange.opened_session()) if has_session else {},
        "scheme": exchange.scheme,
        "client": exchange.client,
        "host": exchange.known_host,
        "server_name": exchange.server_name(),
        "id": exchange.id,
        "enter": exchange.enter_in_pool,
    }


# -- in a process of the pool ------------------------------------------------------------------------------------------


def answer(name: HandlerName, job: bytes) -> Any:
    """Call a handler in this process and return its result. ``job`` is what ``_packed`` returned."""
    request, arguments = pickle.loads(job)  # noqa: S301 - from our own process
    current.set(PooledRequest(PooledExchange(request)))
    if request["enter"] is not None:
        request["enter"]()
    handler = handler_named(name)
    if name.takes_keywords:
        *arguments, keywords = arguments
        return handler(*arguments, **keywords)
    return handler(*arguments)


class PooledExchange(Exchange):
    """The copy of a request in a process of the pool."""

    is_pooled = True

    def __init__(self, copy: Snapshot) -> None:
        self._set_defaults()
        self._copy = copy
        self.method, self.path = copy["method"], copy["path"]
        self.path_params, self.root_path = copy["path_params"], copy["root_path"]
        self.form_fields, self.id = copy["form"], copy["id"]
        self.known_scheme, self.known_client, self.known_host = copy["scheme"], copy["client"], copy["host"]
        self.document = (NULL if copy["document"] is None else copy["document"]) if copy["has_document"] else None
        self.parse, self.received = copy["parse"], copy["data"]  # JSON or a form, not parsed yet
        self.config: Any = PooledConfig(copy["limits"])

    @property
    def incoming(self) -> NoReturn:
        """Raises ``RuntimeError``."""
        _refuse(_NO_BODY)

    @property
    def scope(self) -> NoReturn:  # type: ignore[override]
        """Raises ``RuntimeError``."""
        _refuse("a process has no ASGI scope and no WSGI environ")

    def opened_session(self) -> Any:
        """Return a read-only copy of the session, as it was when the handler was called."""
        return PooledSession(self._copy["session"])

    def response(self) -> NoReturn:
        """Raise ``RuntimeError``."""
        _refuse("a handler in a process has no self.response: return (status, body, headers) or a Response")

    def server_scheme(self) -> str:
        return self._copy["scheme"]

    def server_client(self) -> Address | None:
        return None

    def open_headers(self) -> Headers:
        return Headers(self._copy["headers"])

    def cookie_header(self) -> str:
        return self.headers.get("cookie", "")

    def body_headers(self) -> tuple[bytes | str, bytes | None]:
        length = self.headers.get("content-length")
        return self.headers.get("content-type", ""), None if length is None else length.encode("latin-1")

    def raw_query(self) -> str:
        return self._copy["query"]

    def _server_path(self) -> bytes:
        return self._copy["raw_path"]

    def server_name(self) -> str:
        return self._copy["server_name"]


class PooledRequest(Request):
    """A read-only copy of a request. Changing the request or its answer raises ``RuntimeError``."""

    @property
    def session(self) -> Any:
        """A read-only copy of the session, as it was when the handler was called."""
        return self._exchange.opened_session()

    @session.setter
    def session(self, values: object) -> None:
        _refuse(_NO_SESSION)

    def after_response(self, function: Callable[..., object], /, *arguments: object) -> None:
        """Raises ``RuntimeError``."""
        _refuse("a handler in a process can't call after_response: do so in a handler in a thread")

    def parts(self) -> NoReturn:
        """Raises ``RuntimeError``."""
        _refuse(_NO_BODY)


class PooledConfig:
    """The configuration of a ``PooledRequest``: its limits. The application stays in the server's process."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def __getattr__(self, name: str) -> NoReturn:
        _refuse("a handler in a process has no self.url_for, self.render or self.channels: use them in a thread")


class PooledSession(MutableMapping[str, Any]):
    """A read-only copy of a session. Changing it raises ``RuntimeError``."""

    def __init__(self, values: dict[str, object]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __setitem__(self, key: str, value: object) -> None:
        _refuse(_NO_SESSION)

    def __delitem__(self, key: str) -> None:
        _refuse(_NO_SESSION)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r})"


_NO_SESSION = "the session can only be read in a process: change it in middleware or in a handler in a thread"
_NO_BODY = "a process has no body to read: take its form or JSON by parameters, or read it in a thread"


def _refuse(sentence: str) -> NoReturn:
    raise RuntimeError(sentence)
