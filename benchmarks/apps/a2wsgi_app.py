"""a2wsgi: an ASGI application on a WSGI server.

With the hand-written application inside it is the cheapest.
"""

from __future__ import annotations

from typing import Any

from a2wsgi import ASGIMiddleware

from benchmarks.apps import handwritten
from benchmarks.harness import WsgiApp


def bridged(app: Any) -> WsgiApp:
    return ASGIMiddleware(app)


def make_wsgi() -> WsgiApp:
    return bridged(handwritten.make_asgi())


def make_wsgi_micropie() -> WsgiApp:
    # here, so that a2wsgi can be measured without micropie
    from benchmarks.apps import micropie_app

    return bridged(micropie_app.make_asgi())
