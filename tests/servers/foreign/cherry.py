"""CherryPy: its own tutorials unchanged, and features that they leave out.

``cherrypy.tree`` is the application.
"""

from __future__ import annotations

from collections.abc import Iterator

import cherrypy
from cherrypy.tutorial import (
    tut01_helloworld,
    tut02_expose_methods,
    tut03_get_and_post,
    tut04_complex_site,
    tut05_derived_objects,
    tut06_default_method,
    tut07_sessions,
    tut08_generators_and_yield,
    tut09_files,
    tut10_http_errors,
)

PREFIX = "/cherrypy"


class More:
    """Sessions that hold a lock, streams, cookies, a body as it comes, where it is."""

    @cherrypy.expose
    def count(self) -> str:
        cherrypy.session["n"] = cherrypy.session.get("n", 0) + 1
        return str(cherrypy.session["n"])

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True})
    def stream(self) -> Iterator[str]:
        for number in range(1000):
            yield f"{number} slices of pie\n"

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True})
    def counted_stream(self) -> Iterator[str]:
        cherrypy.session["n"] = cherrypy.session.get("n", 0) + 1
        yield "counted "
        yield str(cherrypy.session["n"])

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True})
    def endless(self) -> Iterator[str]:
        cherrypy.session["n"] = cherrypy.session.get("n", 0) + 1
        while True:
            yield "pie " * 10_000

    @cherrypy.expose
    def cookies(self) -> str:
        for name in ("a", "b"):
            cherrypy.response.cookie[name] = name * 2
            cherrypy.response.cookie[name]["path"] = "/"
        return " ".join(
            sorted(f"{name}={morsel.value}" for name, morsel in cherrypy.request.cookie.items())
        )

    @cherrypy.expose
    def echo(self) -> bytes:
        cherrypy.response.headers["Content-Type"] = "application/octet-stream"
        return b"<" + bytes(cherrypy.request.body.read()) + b">"

    @cherrypy.expose
    def where(self, *path: str, **query: str) -> str:
        request = cherrypy.request
        return f"{request.script_name} {request.path_info} {path} {query} {cherrypy.url('/there')} {request.base}"

    @cherrypy.expose
    def away(self) -> None:
        raise cherrypy.HTTPRedirect("where")

    @cherrypy.expose
    @cherrypy.tools.json_in()
    @cherrypy.tools.json_out()
    def json(self) -> object:
        return {"given": cherrypy.request.json}


cherrypy.config.update({"environment": "embedded", "log.screen": False})
TUTORIALS = [
    tut01_helloworld.HelloWorld(),
    tut02_expose_methods.HelloWorld(),
    tut03_get_and_post.WelcomePage(),
    tut04_complex_site.root,
    tut05_derived_objects.HomePage(),
    tut06_default_method.UsersPage(),
    tut07_sessions.HitCounter(),
    tut08_generators_and_yield.GeneratorDemo(),
    tut09_files.FileDemo(),
    tut10_http_errors.HTTPErrorDemo(),
]
for number, root in enumerate(TUTORIALS, 1):
    cherrypy.tree.mount(root, f"{PREFIX}/tut{number:02}")
cherrypy.tree.mount(
    More(), f"{PREFIX}/more", {"/": {"tools.sessions.on": True, "tools.encode.on": True}}
)

app = cherrypy.tree
