"""Decide who may see the pages of ``debug=True``. These pages show source code and the values of
variables.

First, the browser must have opened a URL that contains this process's key. The URL is logged, and
printed by ``micropie run``. Second, the client must be on this machine with no proxy in between,
and the server must have a single worker, as in development. Both conditions are needed: a proxy on
the same machine may go unnoticed because it adds no header, and a leaked key must be useless on
other machines.
"""

from __future__ import annotations

import logging
import os
import secrets
from functools import lru_cache
from hmac import compare_digest

from micropie import App, HTTPError, Request, Response
from micropie.extensions import add_route, is_on_this_machine

_COOKIE = "micropie_debug_token"  # "token" in the name, so that the pages mask the value
_OWN_KEY = secrets.token_urlsafe(16)

_NAME = "_debug"  # the name of the key page's route


def debug_key() -> str:
    """Return the key from the environment, or else a random key that this process shares with its
    forks.
    """
    return os.environ.get("MICROPIE_DEBUG_KEY") or _OWN_KEY


def add_key_page(app: App) -> None:
    """Add the key page to an application. None of the application's hooks run for it."""
    add_route(app, "/_debug/<key>", open_debug_pages, hooks=[], name=_NAME)


def _is_key(text: str) -> bool:
    return compare_digest(text.encode(), debug_key().encode())


def open_debug_pages(key: str, request: Request) -> Response:
    """The handler for the URL with the key: allow this browser to see the debug pages of this
    process.
    """
    if not (_is_key(key) and is_on_this_machine(request)):
        raise HTTPError(404)
    response = Response(
        "This browser can now see the debug pages.\n",
        headers={"Cache-Control": "no-store"},
        content_type="text/plain; charset=utf-8",
    )
    response.set_cookie(_COOKIE, debug_key(), httponly=True, samesite="Strict")
    return response


def may_see_debug_pages(request: Request) -> bool:
    """Return whether the client is the developer's browser and has the key.

    If only the key is missing, log the URL with the key.
    """
    if not is_on_this_machine(request):
        return False
    if _is_key(request.cookies.get(_COOKIE, "")):
        return True
    _tell(request.app.absolute_url_for(_NAME, key=debug_key()))
    return False


@lru_cache(maxsize=1)  # log each URL only once
def _tell(url: str) -> None:
    logging.getLogger("micropie").warning("to see debug pages in your browser, open %s", url)
