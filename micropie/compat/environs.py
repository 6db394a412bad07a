"""WSGI's view of a request, for frameworks whose handlers know no other: its path, an environ, a
file.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from io import BufferedReader, BytesIO

from micropie.errors import BadRequest
from micropie.http import Environ, Exchange, Request
from micropie.mounts import MountedPath, RawBody, environ_of

# Of backslashes in a Cookie header, and of equals signs in one cookie. For each of them
# ``http.cookies`` takes time in proportion to the header: for a backslash before Python 3.11.10,
# for an equals sign if no cookie can end as this one.
_MOST_ESCAPES, _MOST_EQUALS = 100, 20

_USUALLY_EMPTY = frozenset({"GET", "HEAD"})


def is_read_quickly(cookies: str) -> bool:
    """Return whether ``http.cookies`` can be given a Cookie header.

    Others are for ``parse_cookies``.
    """
    return cookies.count("\\") <= _MOST_ESCAPES and all(
        cookie.count("=") <= _MOST_EQUALS for cookie in cookies.split(";")
    )


def path_of(request: Request) -> str:
    """Return the path of a request: unescaped, its bytes as latin-1, with slashes as they came.

    Raises 400 for a request that is not below the prefix of its server. Not for a request that has
    a ``literal_path``, which is the same.
    """
    if request.environ is not None:
        return request.environ.get("PATH_INFO", "") or "/"
    raw_path = request.raw_path
    if not raw_path:
        raise BadRequest("The path is not below the application's.")
    return MountedPath("", raw_path).path_info


def is_at_prefix(exchange: Exchange) -> bool:
    """Return whether the path of a request is the prefix of its application, without a slash: "" in
    an environ.
    """
    if exchange.environ is not None:
        return not exchange.environ.get("PATH_INFO")
    return bool(exchange.scope["path"] == exchange.root_path)


def own_environ(exchange: Exchange) -> Environ:
    """Return an environ of a handler's own, with the scheme, host and client that middleware has
    set.
    """
    received = exchange.body.so_far
    if exchange.environ is None:
        body = body_of(exchange) if received is None else BytesIO(received)
        return environ_of(exchange, MountedPath(exchange.root_path, exchange.raw_path()), body)  # type: ignore[arg-type]
    environ = {**exchange.environ}
    if exchange.peer.scheme is not None:
        environ["wsgi.url_scheme"] = exchange.peer.scheme
    if exchange.peer.host is not None:
        environ["HTTP_HOST"] = exchange.peer.host
    if exchange.peer.client is not None:
        environ["REMOTE_ADDR"] = exchange.peer.client.host
    if received is not None:
        environ["wsgi.input"] = BytesIO(received)
    elif exchange.method not in _USUALLY_EMPTY:
        # the server's has no bytes any more once the flow has received them
        environ["wsgi.input"] = body_of(exchange)
    return environ


def body_of(exchange: Exchange) -> BufferedReader:
    """Return the body as a file that ends where the body ends. Each read waits for what it needs.

    A hook may ask for it before the flow has received the body, and a handler read it after that.
    """
    return BufferedReader(RawBody(partial(next, _pieces(exchange), b"")))


def _pieces(exchange: Exchange) -> Iterator[bytes]:
    received = exchange.body.so_far
    if received is not None:
        yield received
    elif exchange.has_short_body:
        yield Request(exchange).read()  # and keep it for the flow and the handler
    elif (
        exchange.method not in _USUALLY_EMPTY
        or exchange.framing[2]
        or "transfer-encoding" in exchange.headers
    ):
        yield from Request(exchange).chunks()  # which an ``async def`` can't wait for
