"""Pages of a real site, on Bottle and on CherryPy: sessions, templates, files, redirects. Each
application is made with the framework itself or with what stands in for it.
"""

from __future__ import annotations

import logging
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.cases import LONG_FILE, ROWS, SECRET, SHORT_FILE

LAYOUT = """<!doctype html><title>{{title}}</title><nav><a href="/">Pies</a></nav>
<main>{{!base}}</main><footer>{{user}}</footer>
"""
ROWS_PAGE = """% rebase("layout", title="Pies", user=user)
<table>
% for row in rows:
<tr><td>{{row["name"]}}</td><td>{{row["price"]}}</td></tr>
% end
</table>
"""
MAKO_PAGE = """<!doctype html><title>Pies</title><nav><a href="/">Pies</a></nav>
<main><table>
% for row in rows:
<tr><td>${row["name"]}</td><td>${row["price"]}</td></tr>
% endfor
</table></main><footer>${user}</footer>
"""


def make_bottle() -> Any:
    return _on_bottle(import_module("bottle"))


def make_moved_bottle() -> Any:
    return _on_bottle(import_module("micropie_compat.bottle"))


def make_cherrypy() -> Any:
    return _on_cherrypy(import_module("cherrypy"))


def make_moved_cherrypy() -> Any:
    logging.getLogger("cherrypy.access").handlers.clear()  # see moved_apps.py
    return _on_cherrypy(import_module("micropie_compat.cherrypy"))


def _files() -> str:
    """Return a directory with two files and two templates. It is removed when the process ends."""
    directory = tempfile.TemporaryDirectory()
    _kept.append(directory)
    Path(directory.name, "short.css").write_bytes(SHORT_FILE)
    Path(directory.name, "long.js").write_bytes(LONG_FILE)
    Path(directory.name, "layout.tpl").write_text(LAYOUT)
    Path(directory.name, "rows.tpl").write_text(ROWS_PAGE)
    return directory.name


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _on_bottle(bottle: Any) -> Any:
    app = bottle.Bottle()
    request, response = bottle.request, bottle.response
    root = _files()
    bottle.TEMPLATE_PATH.insert(0, root)

    @app.get("/static/<name:path>", name="static")
    def static(name: str) -> Any:
        return bottle.static_file(name, root=root)

    @app.get("/login")
    def login() -> str:
        response.set_cookie("user", "Alice", secret=SECRET, path="/")
        return "in"

    @app.get("/session")
    def session() -> str:
        user: str = request.get_cookie("user", secret=SECRET)
        response.set_cookie("user", user, secret=SECRET, path="/", httponly=True)
        return user

    @app.get("/moved")
    def moved() -> None:
        bottle.redirect("/login")

    @app.get("/url")
    def url() -> str:
        return str(request.url)

    @app.get("/headers")
    def headers() -> str:
        return " ".join(f"{name}: {request.headers.get(name)}" for name in request.headers)

    @app.get("/rows")
    def rows() -> Any:
        user = request.get_cookie("user", secret=SECRET)
        return bottle.template("rows", rows=ROWS, user=user)

    _as_glances(bottle, app, root)
    return app


def _as_glances(bottle: Any, app: Any, root: str) -> None:
    """Add the status and the script of Glances."""
    request, response = bottle.request, bottle.response

    def cors(callback: Any) -> Any:  # as Glances has them: a plugin, and a decorator that logs
        def answer(*arguments: Any, **values: Any) -> Any:
            response.headers["Access-Control-Allow-Origin"] = "*"
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, OPTIONS"
            if request.method != "OPTIONS":
                return callback(*arguments, **values)
            return None

        return answer

    @app.get("/status", apply=[cors])
    def status() -> str:
        seen = [f"{name}: {request.headers.get(name)}" for name in request.headers]
        logging.getLogger("glances").debug("%s %s %s", request.method, request.url, seen)
        response.headers["Content-Encoding"] = "identity"
        response.status = 200
        return "Active"

    @app.get("/script", apply=[cors])
    def script() -> Any:
        return bottle.static_file("long.js", root=root)


def _on_cherrypy(cherrypy: Any) -> Any:
    page = import_module("mako.template").Template(MAKO_PAGE, default_filters=["h"])

    class Root:
        @cherrypy.expose
        def login(self) -> str:
            cherrypy.session["user"] = "Alice"
            return "in"

        @cherrypy.expose
        def session(self) -> str:
            return str(cherrypy.session["user"])

        @cherrypy.expose
        def rows(self) -> Any:
            return page.render(rows=ROWS, user=cherrypy.session["user"])

        @cherrypy.expose
        def moved(self) -> None:
            if "user" in cherrypy.session:
                raise cherrypy.HTTPRedirect("/login")

        @cherrypy.expose
        @cherrypy.config(**{"tools.sessions.on": False})
        def url(self) -> str:
            return str(cherrypy.url())

    class Service:
        exposed = True

        @cherrypy.tools.json_in()
        @cherrypy.tools.json_out()
        def POST(self) -> dict[str, Any]:  # noqa: N802
            person = cherrypy.request.json
            return {"name": person["name"], "age": person["age"]}

    root: Any = Root()
    root.service = Service()
    cherrypy.config.update({"environment": "embedded", "log.screen": False})
    files = {"tools.staticdir.on": True, "tools.staticdir.dir": _files()}
    rest = {"request.dispatch": cherrypy.dispatch.MethodDispatcher(), "tools.sessions.on": False}
    config = {"/": {"tools.sessions.on": True}, "/static": files, "/service": rest}
    return cherrypy.Application(root, "", config)
