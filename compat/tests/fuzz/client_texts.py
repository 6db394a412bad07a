"""The places where a client of a migrated program can write a text: the sites of Bottle and CherryPy
beside that of tests/project/fuzz/client_texts.py.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from compat.tests.fuzz.moved import Documents
from micropie_compat import bottle, cherrypy
from micropie_compat.cherrypy.lib import auth_digest
from tests.project.fuzz.client_texts import (
    FORM,
    KEY,
    escaped,
    everywhere,
    folder_with_file,
    in_base64,
    in_body,
    in_header,
    in_path,
    in_query,
)
from tests.support.growth import Entry


@cache
def _bottle() -> Any:
    app = bottle.Bottle()
    request, response = bottle.request, bottle.response

    @app.route("/", method=["GET", "POST"])
    def index() -> Any:
        signed = request.get_cookie("signed", "none", secret=KEY)
        dates = [bottle.parse_date(request.headers.get("If-Modified-Since", ""))]
        seen = [
            request.url,
            request.auth,
            request.is_ajax,
            signed,
            dates,
            request.remote_route,
            request.chunked,
        ]
        return repr(
            [*map(dict, (request.query, request.cookies, request.forms)), [*request.files], *seen]
        )

    @app.post("/document")
    def document() -> Any:
        return {"document": request.json}

    @app.get("/files/<name:path>")
    def files(name: str) -> Any:
        return bottle.static_file(name, folder_with_file(), download=True)

    @app.get("/moved")
    def moved() -> Any:
        bottle.redirect(request.query.to)

    @app.get("/status")
    def status() -> Any:
        response.status = f"200 {request.query.text}"
        response.set_cookie("a", request.query.text, secret=KEY)
        return "text"

    for rule in (
        "/archive/<y>-<m>-<d>",
        "/<a:int>.<b:float>/<c:path>/x",
        "/two/<a:path>/x/<b:path>/y",
    ):
        app.get(rule)(lambda **values: repr(values))
    return app


class _Root(Documents):
    _cp_config: ClassVar = {"tools.proxy.on": True, "tools.encode.on": True}

    @cherrypy.expose
    def index(self, *args: str, **values: Any) -> str:
        headers = cherrypy.request.headers
        found = [headers.elements(name) for name in ("Accept", "Cookie", "X-Token")]
        return repr([args, values, found, cherrypy.url(), [*cherrypy.request.cookie]])

    @cherrypy.expose
    def uploaded(self, **values: Any) -> str:
        return repr([getattr(value, "filename", value) for value in values.values()])

    @cherrypy.expose
    @cherrypy.tools.sessions()
    def kept(self, text: str = "") -> str:
        cherrypy.session["text"] = text
        return "kept"

    @cherrypy.expose
    @cherrypy.tools.caching(antistampede_timeout=None)
    @cherrypy.tools.gzip()
    @cherrypy.tools.etags(autotags=True)
    @cherrypy.tools.accept(media=["text/html", "application/json"])
    def cached(self, **values: Any) -> str:
        return repr(values)

    @cherrypy.expose
    def moved(self, to: str = "/") -> None:
        raise cherrypy.HTTPRedirect(to)

    @cherrypy.expose
    def error(self, text: str = "") -> None:
        raise cherrypy.HTTPError(f"400 {text}", text)

    @cherrypy.expose
    def named(self, name: str = "") -> Any:
        return cherrypy.lib.static.serve_file(__file__, disposition="attachment", name=name)


@cache
def _cherrypy() -> Any:
    digest = {"realm": "r", "key": KEY, "get_ha1": auth_digest.get_ha1_dict_plain({"a": "b"})}
    config: dict[str, dict[str, object]] = {
        "/files": {"tools.staticdir.on": True, "tools.staticdir.dir": folder_with_file()},
        "/basic": {
            "tools.auth_basic.on": True,
            "tools.auth_basic.realm": "r",
            "tools.auth_basic.checkpassword": lambda realm, user, password: user == password,
        },
        "/digest": {
            "tools.auth_digest.on": True,
            **{f"tools.auth_digest.{key}": value for key, value in digest.items()},
        },
        "/form": {
            "tools.sessions.on": True,
            "tools.session_auth.on": True,
            "tools.session_auth.check_username_and_password": lambda *_: "",
        },
    }
    cherrypy.config.update({"log.screen": False})
    return cherrypy.Application(_Root(), "", config)


ENTRIES: dict[str, Entry] = {
    **everywhere(_bottle, "bottle:"),
    **everywhere(_cherrypy, "cherrypy:"),
    "bottle: rule of three": in_path(_bottle, "/archive/1{}/x"),
    "bottle: rule of numbers": in_path(_bottle, "/1{}/x"),
    "bottle: rule of two paths": in_path(_bottle, "/two/{}/z"),
    "bottle: file": in_path(_bottle, "/files/{}"),
    "bottle: range": in_header(_bottle, "RANGE", "bytes={}", "/files/a"),
    "bottle: redirect": in_query(_bottle, "/moved?to="),
    "bottle: redirect to a host": in_query(_bottle, "/moved?to=//a"),
    "bottle: status": in_query(_bottle, "/status?text="),
    "bottle: log-in": lambda text: in_header(_bottle, "AUTHORIZATION", "Basic {}")(in_base64(text)),
    "bottle: signed cookie's text": in_header(_bottle, "COOKIE", 'signed="!{0}?{0}"'),
    "cherrypy: redirect": in_query(_cherrypy, "/moved?to="),
    "cherrypy: redirect to a host": in_query(_cherrypy, "/moved?to=//a"),
    "cherrypy: error's text": in_query(_cherrypy, "/error?text="),
    "cherrypy: session's text": in_query(_cherrypy, "/kept?text="),
    "cherrypy: cached": in_query(_cherrypy, "/cached?a="),
    "cherrypy: media": in_header(_cherrypy, "ACCEPT", "{}", "/cached"),
    "cherrypy: download's name": in_query(_cherrypy, "/named?name=a"),
    "cherrypy: range": in_header(_cherrypy, "RANGE", "bytes={}", "/named?name=a"),
    "cherrypy: encoded words": in_header(_cherrypy, "X_TOKEN", "=?utf-8?q?{}?="),
    "cherrypy: basic log-in": in_header(_cherrypy, "AUTHORIZATION", "Basic {}", "/basic"),
    "cherrypy: basic log-in's text": lambda text: in_header(
        _cherrypy, "AUTHORIZATION", "Basic {}", "/basic"
    )(in_base64(text)),
    "cherrypy: digest log-in": in_header(_cherrypy, "AUTHORIZATION", "Digest {}", "/digest"),
    "cherrypy: digest log-in's user": in_header(
        _cherrypy, "AUTHORIZATION", 'Digest username="{}"', "/digest"
    ),
    "cherrypy: log-in's page": in_body(
        _cherrypy, "/form/do_login", FORM, "username=a&password=b&from_page=//a{}", escaped
    ),
    "cherrypy: log-out's page": in_body(
        _cherrypy, "/form/do_logout", FORM, "from_page=//a{}", escaped
    ),
    "cherrypy: file": in_path(_cherrypy, "/files/{}"),
}
