"""Provide what handlers of WSGI frameworks need: a request's path and environ as in WSGI, and its
body as a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedReader, BytesIO
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from micropie import BadRequest, Request
from micropie_compat.core import Exchange, RawBody, environ_of, parse_cookies
from micropie_compat.results import AnyFunction

Environ: TypeAlias = dict[str, Any]
"""A WSGI environ: a request as a dictionary (PEP 3333)."""

WSGIApplication: TypeAlias = Callable[[Environ, AnyFunction], Any]
"""A WSGI application. Its arguments are the environ and ``start_response``."""

_USUALLY_EMPTY = frozenset({"GET", "HEAD"})


def read_cookies(header: str) -> dict[str, str]:
    """Return a Cookie header's values by name, with the escapes of ``http.cookies`` resolved.

    A cookie always ends at the next ";", because browsers separate cookies with ";".
    ``http.cookies`` would read a quoted value up to the next quote, so a cookie set by another host
    could hide the cookies after it. If two cookies have the same name, the last one counts, as in
    ``http.cookies``.
    """
    last_first = parse_cookies(";".join(reversed(header.split(";"))), "latin-1")
    return dict(reversed(last_first.items()))


def path_of(request: Request) -> str:
    """Return a request's path, unescaped, with its bytes decoded as latin-1.

    Raises ``BadRequest`` if the path is outside the server's prefix. Callers needn't call this if
    the exchange has a ``literal_path``, which is the same path.
    """
    if request.environ is not None:
        return request.environ.get("PATH_INFO", "") or "/"
    raw_path = request.raw_path
    if not raw_path:
        raise BadRequest("The path does not begin with the application's prefix.")
    return unquote_to_bytes(raw_path).decode("latin-1")


def protocol_of(exchange: Exchange) -> str:
    """Return a request's protocol with its version, such as "HTTP/1.1"."""
    if exchange.environ is not None:
        return str(exchange.environ.get("SERVER_PROTOCOL", "HTTP/1.1"))
    return f"HTTP/{exchange.scope.get('http_version', '1.1')}"


def own_environ(exchange: Exchange) -> Environ:
    """Return a new environ for a handler, with the scheme, host and client address that middleware
    may have set.
    """
    received = exchange.body.so_far
    if exchange.environ is None:
        body = body_of(exchange) if received is None else BytesIO(received)
        return environ_of(exchange, None, body)
    environ, peer = {**exchange.environ}, exchange.peer
    if peer.scheme is not None:
        environ["wsgi.url_scheme"] = peer.scheme
    if peer.host is not None:
        environ["HTTP_HOST"] = peer.host
    if peer.client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peer.client.host, str(peer.client.port)
        # The server has set this to the host name of the proxy, not of the client.
        environ.pop("REMOTE_HOST", None)
    if received is not None:
        environ["wsgi.input"] = BytesIO(received)
    elif exchange.method not in _USUALLY_EMPTY:
        # micropie's request flow may have read the server's ``wsgi.input`` already.
        environ["wsgi.input"] = body_of(exchange)
    return environ


def body_of(exchange: Exchange, check: Callable[[int], object] = abs) -> BufferedReader:
    """Return the body as a file. Each read waits until enough bytes have arrived.

    A hook may get this file before the body has been received, and a handler may read from it
    later.

    ``check``: called with the number of bytes that have arrived; may raise an error.
    """
    size = 0

    def pull() -> bytes:
        nonlocal size
        piece = next(pieces, b"")
        size += len(piece)
        check(size)
        return piece

    pieces = _pieces(exchange)
    return BufferedReader(RawBody(pull))


def _pieces(exchange: Exchange) -> Iterator[bytes]:
    received = exchange.body.so_far
    if received is not None:
        yield received
    elif exchange.has_short_body:
        # ``read`` stores the whole body, so that the handler can read it, too.
        yield Request(exchange).read()
    elif (
        exchange.method not in _USUALLY_EMPTY
        or exchange.framing[2]
        or "transfer-encoding" in exchange.headers
    ):
        # ``chunks`` blocks the thread until data arrives. Only ``def`` handlers get here.
        yield from Request(exchange).chunks()
