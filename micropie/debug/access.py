"""Who may see the pages of ``debug=True``, which show source code and the values of variables.

Only a browser that has opened an address with this process's key, which stands in the log and in
what ``micropie run`` prints. And only a client on this machine, that no proxy stands before, of a
server with one worker: a developer's own. A proxy on the same machine may add no header, so the
conditions alone would not do; and a key that was lost is worth nothing elsewhere.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import sys
from functools import cache, lru_cache
from hmac import compare_digest
from ipaddress import ip_address

from micropie import App, HTTPError, Request, Response
from micropie.extensions import add_route

logger = logging.getLogger("micropie")

KEY_VARIABLE = "MICROPIE_DEBUG_KEY"
KEY_PATH = "/_debug/<key>"
_COOKIE = "micropie_debug_token"  # of a name that the pages mask

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


@cache
def debug_key() -> str:
    """Return the key of the environment, or one of this process."""
    return os.environ.get(KEY_VARIABLE) or secrets.token_urlsafe(16)


def add_key_page(app: App) -> None:
    """Add the page of the address with the key to an application, without any hook."""
    add_route(app, KEY_PATH, open_debug_pages, hooks=[])


def _is_key(text: str) -> bool:
    return compare_digest(text.encode(), debug_key().encode())


def open_debug_pages(key: str, request: Request) -> Response:
    """Let the browser that has opened this address see the debug pages of this process."""
    if not (_is_key(key) and is_on_this_machine(request)):
        raise HTTPError(404)
    response = Response(
        "This browser sees the debug pages now.\n", content_type="text/plain; charset=utf-8"
    )
    response.set_cookie(_COOKIE, debug_key(), httponly=True, samesite="Strict")
    return response


def may_see_debug_pages(request: Request) -> bool:
    """Return whether the client is the developer's browser and has the key.

    The log names the address that gives it.
    """
    if not is_on_this_machine(request):
        return False
    if _is_key(request.cookies.get(_COOKIE, "")):
        return True
    values: dict[str, object] = {"key": debug_key()}
    _tell(request.app.absolute_url_for(open_debug_pages.__name__, **values))
    return False


@lru_cache(maxsize=1)  # the log names an address once
def _tell(url: str) -> None:
    logger.warning("a debug page is shown to the browser that has opened %s", url)


def is_on_this_machine(request: Request) -> bool:
    """Return whether the client is on this machine: its address, the host that it asked for, and no
    proxy between.

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
