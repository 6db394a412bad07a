"""WSGI's view of a request, for frameworks whose handlers know no other: its path, an environ, a
file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from io import BufferedReader, BytesIO
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from micropie import BadRequest, Request
from micropie.compat.core import Exchange, RawBody, environ_of, parse_cookies

Environ: TypeAlias = dict[str, Any]
"""A WSGI environ."""

# How ``http.cookies`` writes a character that can't stand in a cookie: "\\054", "\\"".
_ESCAPED = r"\\([0-3][0-7][0-7]|.)"

_USUALLY_EMPTY = frozenset({"GET", "HEAD"})


def read_cookies(header: str) -> dict[str, str]:
    """Return the cookies of a header by name, as ``http.cookies`` has written them.

    A cookie ends at the next ";", as browsers join them. ``http.cookies`` reads on to the next
    quote, so a cookie that another host has set could hold those after it. Of two with one name the
    last counts, as there.
    """
    last_first = parse_cookies(";".join(reversed(header.split(";"))))
    return {
        name: re.sub(_ESCAPED, _unescaped, value) if "\\" in value else value
        for name, value in reversed(last_first.items())
    }


def _unescaped(match: re.Match[str]) -> str:
    text = match[1]
    return chr(int(text, 8)) if len(text) == 3 else text


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
    return unquote_to_bytes(raw_path).decode("latin-1")


def own_environ(exchange: Exchange) -> Environ:
    """Return an environ of a handler's own, with the scheme, host and client that middleware has
    set.
    """
    received = exchange.body.so_far
    if exchange.environ is None:
        body = body_of(exchange) if received is None else BytesIO(received)
        return environ_of(exchange, None, body)
    environ = {**exchange.environ}
    if exchange.peer.scheme is not None:
        environ["wsgi.url_scheme"] = exchange.peer.scheme
    if exchange.peer.host is not None:
        environ["HTTP_HOST"] = exchange.peer.host
    if exchange.peer.client is not None:
        environ["REMOTE_ADDR"] = exchange.peer.client.host
        environ.pop("REMOTE_HOST", None)  # the name of the proxy
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
