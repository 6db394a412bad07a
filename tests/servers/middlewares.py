"""A Bottle application that has moved in, inside the WSGI middleware of others, for
``test_dual.py``.
"""

from __future__ import annotations

from typing import Any

import sentry_sdk
from beaker.middleware import SessionMiddleware
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from werkzeug.debug import DebuggedApplication
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from micropie import dual
from micropie_compat import bottle

reported: list[str] = []


def report(event: Any, hint: Any) -> None:
    reported.append(event["exception"]["values"][0]["type"])


sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", before_send=report, default_integrations=False)

old: Any = bottle.Bottle()


@old.get("/url")
def url() -> str:
    return f"{bottle.request.url} for {bottle.request.remote_addr}"


@old.post("/visit")
def visit() -> str:
    session = bottle.request.environ["beaker.session"]
    session["pies"] = [*session.get("pies", ()), bottle.request.forms.pie]
    session.save()
    return ", ".join(session["pies"])


def boom(environ: Any, start_response: Any) -> Any:
    raise ZeroDivisionError("a pie for nobody")


wrapped: Any = SessionMiddleware(old, {"session.type": "memory", "session.key": "beaker"})
wrapped = DispatcherMiddleware(wrapped, {"/boom": boom})
wrapped = DebuggedApplication(SentryWsgiMiddleware(wrapped), evalex=False)
app = dual(ProxyFix(wrapped, x_for=1, x_proto=1, x_host=1, x_prefix=1))


@app.get("/reported")
def new() -> list[str]:
    return reported
