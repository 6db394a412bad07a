"""Who asks: whether the client of a request is the developer."""

from __future__ import annotations

import os
import re
import sys
from ipaddress import ip_address

from micropie._core.http import Request

# Words in the names of headers that proxies add, to tell who the client is or that they stand
# between. Browsers never send them: X-Forwarded-For, True-Client-IP, CloudFront-Viewer-Address,
# CDN-Loop, CF-Ray, X-Envoy-Original-Path.
_FORWARDING = frozenset(
    {
        "forwarded",
        "via",
        "proxy",
        "ip",
        "clientip",
        "socketip",
        "addr",
        "address",
        "cdn",
        "cf",
        "envoy",
        "fastly",
    }
)

_LOCAL_HOST = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?", re.IGNORECASE)

_WORKERS = re.compile(r"(?:^|\0)(?:--workers|-w)[=\0]?([0-9]+)(?=\0|$)")


def is_on_this_machine(request: Request) -> bool:
    """Return whether the client of ``request`` is on this machine: its address, the host that it
    asked for, and no proxy between.

    The address alone does not tell. A proxy on this machine has it too, and so has the browser of a
    developer that runs a script of a foreign page, whose host's name was made to lead here (DNS
    rebinding).

    ``ProxyHeaders`` vouches for a client: it sets the client's address only if it trusts the proxy.
    """
    exchange = request._exchange
    headers, stated, origin = request.headers, exchange.peer.client, request.headers.get("origin")
    # nginx adds no header unless it is told to, and asks by HTTP/1.0, which no browser speaks.
    if request.scope.get("http_version") == "1.0":
        return False
    # With CORS for all origins, a script of a foreign page could read what the developer's browser
    # gets.
    if origin is not None and _LOCAL_HOST.fullmatch(origin.partition("://")[2]) is None:
        return False
    server_client = exchange.server_client()
    if (
        server_client is None
        or not _is_loopback(server_client.host)
        or _LOCAL_HOST.fullmatch(headers.get("host", "")) is None
    ):
        return False
    if stated is not None:
        if not _is_loopback(stated.host):
            return False
    elif not all(_FORWARDING.isdisjoint(name.split("-")) for name in headers):
        return False
    return exchange.config.settings.debug == "force" or not _has_several_workers(request)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _has_several_workers(request: Request) -> bool:
    """Return whether the server says that other processes serve this application, too.

    A WSGI server says so in each request. An ASGI server does not, so its command line, the
    variable that servers read and gunicorn's presence have to tell. A worker process that was
    spawned or forked has its parent's command line.
    """
    said = request._exchange.has_several_workers
    if said is not None:
        return said
    stated = os.environ.get("WEB_CONCURRENCY", "")
    return (
        "gunicorn.arbiter" in sys.modules
        or (stated.isdecimal() and int(stated) > 1)
        or _stated_workers() > 1
    )


def _stated_workers() -> int:
    """Return the number of workers on the command line of uvicorn, hypercorn, granian or
    ``micropie run``; 1 if none.

    All of them write ``--workers 4`` or ``-w 4``.
    """
    found = _WORKERS.search("\0".join(sys.argv[1:]))
    return int(found[1]) if found else 1
