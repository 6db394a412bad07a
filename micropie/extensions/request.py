"""Recognise the developer's own requests: those from this machine."""

from __future__ import annotations

import os
import re
import sys

from micropie._core.http import Request
from micropie._core.http.addresses import ip_of

# Words in the names of headers that proxies add and browsers never send, such as X-Forwarded-For,
# True-Client-IP, CloudFront-Viewer-Address, CDN-Loop, CF-Ray, X-Envoy-Original-Path.
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
    """Return whether the client of ``request`` is on this machine. The client's address and the
    requested host must be local, and there must be no proxy in between. With several workers, as
    in production, the result is False unless ``App(debug="force")`` is set.

    The address alone is not enough. Requests through a proxy on this machine also have a local
    address. So do requests by another site's script in the developer's browser, if the site has
    changed its host name to resolve to this machine (DNS rebinding).

    The address may be one that ``ProxyHeaders`` has set, because this middleware accepts addresses
    only from a trusted proxy.
    """
    exchange = request._exchange
    headers, stated, origin = request.headers, exchange.peer.client, request.headers.get("origin")
    # By default, nginx adds no header. Before version 1.29.7, it also sends HTTP/1.0, which no
    # browser does.
    if request.scope.get("http_version") == "1.0":
        return False
    # If CORS allows all origins, another site's script could read the developer's responses.
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
        return ip_of(host).is_loopback
    except ValueError:
        return False


def _has_several_workers(request: Request) -> bool:
    """Return whether several processes serve this application, according to the server.

    A WSGI server reports this in each request. An ASGI server doesn't report it, so check the
    command line, the environment variable that servers read, and whether gunicorn is loaded. A
    worker process has its parent's command line.
    """
    said = request._exchange.has_several_workers
    if said is not None:
        return said
    # The commands of uvicorn, hypercorn, granian and micropie accept --workers 4 or -w 4.
    found = _WORKERS.search("\0".join(sys.argv[1:]))
    stated = os.environ.get("WEB_CONCURRENCY", ""), found[1] if found else ""
    return "gunicorn.arbiter" in sys.modules or any(
        one.isdecimal() and int(one) > 1 for one in stated
    )
