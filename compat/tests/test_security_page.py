"""What docs/security.md says of migrated pages is so: a failure may be a promise that has become
wider.
"""

from __future__ import annotations

from typing import Any

from micropie_compat import bottle, cherrypy
from tests.support.clients import MakeClient


class Moved:
    @cherrypy.expose
    def index(self) -> str:
        return "ann" if cherrypy.request.cookie.get("user") else "nobody"

    @cherrypy.expose
    def broken(self) -> str:
        raise cherrypy.HTTPError(404)


def moved_bottle() -> Any:
    app = bottle.Bottle()
    app.get("/")(lambda: bottle.request.get_cookie("user") or "nobody")
    return app


def test_migrated_pages_get_no_security_or_cache_headers(make_client: MakeClient) -> None:
    for app in (cherrypy.Application(Moved(), ""), moved_bottle()):
        answer = make_client(app).get("/", headers={"Cookie": "user=ann"})
        assert answer.text == "ann"
        assert not {"x-content-type-options", "cache-control", "vary"} & answer.headers.keys()


def test_tracebacks_of_migrated_pages_need_no_debug_key(make_client: MakeClient) -> None:
    for show in (True, False):
        config = {"/": {"request.show_tracebacks": show}}
        app = cherrypy.Application(Moved(), "", config)
        client = make_client(app, client=("127.0.0.1", 1), base_url="http://localhost")
        assert ("Traceback" in client.get("/broken").text) is show
