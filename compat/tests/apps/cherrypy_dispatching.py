"""How a path leads to a handler: defaults, dispatch by the objects themselves, by methods, several
mounts.
"""

import cherrypy

from compat.tests.apps.cherrypy_setup import app  # noqa: F401


class Root:
    def __init__(self):
        self.sub = Sub()
        self.service = Service()
        self.bands = Bands()
        self.years = Years()
        self.plain = plain
        self.by_handler = ByHandler()
        self.by_class = ByClass()
        self.attribute = AsAttribute()

    @cherrypy.expose
    def index(self, *args, **kwargs):
        return f"index {args!r} {sorted(kwargs.items())!r} {cherrypy.url('x')}"

    @cherrypy.expose
    def page(self, *args, **kwargs):
        return f"page {args!r} {sorted(kwargs.items())!r}"

    @cherrypy.expose
    def rss_xml(self):
        return "feed"

    @cherrypy.expose
    def what(self, **kwargs):
        request = cherrypy.request
        return f"{request.path_info}|{request.script_name}|{request.query_string}|{request.method}|{request.is_index}|{request.prev and request.prev.path_info}"

    @cherrypy.expose
    def address(self, **kwargs):
        return " ".join(
            [
                cherrypy.url(),
                cherrypy.url("other"),
                cherrypy.url("/top"),
                cherrypy.url("", qs="a=1"),
                cherrypy.url("/x", qs={"b": "2 3"}),
                cherrypy.url("/x", relative="server"),
                cherrypy.url("/x", script_name="/elsewhere", base="http://example.org"),
                cherrypy.url("./x"),
                cherrypy.url("/a/../b/./c"),
                cherrypy.url(qs="a=1"),
                cherrypy.url("/x", qs=[("a", 1)]),
                cherrypy.url("/x", qs={"a": [1, 2]}),
                cherrypy.url("/x", relative=True),
                cherrypy.url("/address", relative=True),
            ]
        )

    @cherrypy.expose
    def redirect(self, to="", status=None):
        raise cherrypy.HTTPRedirect(to, status and int(status))

    @cherrypy.expose
    def redirect_many(self):
        raise cherrypy.HTTPRedirect(["a", "b"], 300)

    @cherrypy.expose
    def redirect_with_cookie(self):
        cherrypy.response.cookie["kept"] = "yes"
        cherrypy.response.headers["X-Kept"] = "yes"
        raise cherrypy.HTTPRedirect("page")

    @cherrypy.expose
    def not_modified(self):
        for name in ("Allow", "Content-Encoding", "Content-Language", "Expires", "X-Kept"):
            cherrypy.response.headers[name] = "x"
        raise cherrypy.HTTPRedirect([], 304)

    @cherrypy.expose
    def inward(self):
        raise cherrypy.InternalRedirect("/page/from", "a=inward")

    @cherrypy.expose
    def inward_query(self):
        raise cherrypy.InternalRedirect("/what?a=1")

    @cherrypy.expose
    def inward_near(self):
        raise cherrypy.InternalRedirect("page", "a=2")

    @cherrypy.expose
    @cherrypy.tools.redirect(url="/there", internal=False)
    def tool_away(self):
        return "unreached"

    @cherrypy.expose
    @cherrypy.tools.err_redirect(url="/there", internal=False)
    def tool_failed(self):
        raise LookupError

    @cherrypy.expose
    def circle(self):
        raise cherrypy.InternalRedirect("/circle")


@cherrypy.expose
def plain(x="1"):
    return f"plain {x}"


class Sub:
    @cherrypy.expose
    def index(self):
        return "sub index"

    @cherrypy.expose
    def default(self, *args):
        return f"sub default {args!r}"

    @cherrypy.expose
    def exact(self):
        return "sub exact"

    @cherrypy.expose
    def __call__(self):
        return "called"


@cherrypy.expose
class Service:
    """A resource by CherryPy's own dispatcher: the class is exposed, and is called."""

    def __call__(self, *args):
        return f"service {args!r}"


class Bands:
    """Takes the segments of its path itself."""

    def __init__(self):
        self.albums = Albums()

    def _cp_dispatch(self, vpath):
        if len(vpath) == 1:
            cherrypy.request.params["name"] = vpath.pop()
            return self
        if len(vpath) == 3:
            cherrypy.request.params["artist"] = vpath.pop(0)
            vpath.pop(0)
            cherrypy.request.params["title"] = vpath.pop(0)
            return self.albums
        return vpath

    @cherrypy.expose
    def index(self, name="none"):
        return f"band {name}"


class Albums:
    @cherrypy.expose
    def index(self, artist, title):
        return f"{title} by {artist}"


@cherrypy.popargs("year", "month")
class Years:
    def __init__(self):
        self.notes = Notes()

    @cherrypy.expose
    def index(self, year=None, month=None):
        return f"{year} {month}"

    @cherrypy.expose
    def edit(self, year=None, month=None):
        return f"edit {year} {month}"


class Notes:
    @cherrypy.expose
    def index(self, year=None, month=None):
        return f"notes {year} {month}"


class Leaf:
    @cherrypy.expose
    def index(self, **values):
        return f"leaf {sorted(values.items())}"


class Made:
    def __init__(self, name):
        self.name = name

    @cherrypy.expose
    def index(self):
        return f"made {self.name}"


@cherrypy.popargs("name", handler=Leaf())
class ByHandler:
    pass


@cherrypy.popargs("name", handler=Made)
class ByClass:
    pass


class AsAttribute:
    _cp_dispatch = cherrypy.popargs("year")
    leaf = Leaf()

    @cherrypy.expose
    def index(self, year="none"):
        return f"year {year}"


@cherrypy.expose
class Things:
    """By method."""

    def __init__(self):
        self.kept = {"1": "one"}

    def GET(self, number=None):
        if number is None:
            return ",".join(sorted(self.kept))
        if number not in self.kept:
            raise cherrypy.NotFound
        return self.kept[number]

    def POST(self, text):
        number = str(len(self.kept) + 1)
        self.kept[number] = text
        cherrypy.response.status = "201 Created"
        cherrypy.response.headers["Location"] = cherrypy.url(f"/things/{number}")
        return number

    def PUT(self, number, text=""):
        self.kept[number] = text

    def DELETE(self, number):
        self.kept.pop(number, None)
        cherrypy.response.status = 204


class Rest:
    exposed = True

    def __init__(self):
        self.things = Things()
        self.posts = Posts()

    def GET(self):
        return "rest"


class Posts:
    """By a method alone, which has configuration."""

    exposed = True

    @cherrypy.config(**{"response.headers.X-Made": "yes"})
    def POST(self):
        return "made"


class Hosts:
    @cherrypy.expose
    def index(self):
        return (
            f"{cherrypy.request.path_info} {cherrypy.request.config.get('tools.staticdir.section')}"
        )

    def __init__(self, *names):
        for name in names:
            setattr(self, name, Hosts())


class Nothing:
    """Has no index."""

    @cherrypy.expose
    def page(self):
        return "page of nothing"


class Second:
    @cherrypy.expose
    def index(self):
        return f"second {cherrypy.request.app.script_name} {cherrypy.request.script_name}"

    @cherrypy.expose
    def leave(self):
        raise cherrypy.HTTPRedirect("/dispatch/page")


def grafted(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Grafted", "1")])
    return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode("latin-1")]


cherrypy.tree.mount(Root(), "/dispatch")
cherrypy.tree.mount(
    Rest(), "/rest", {"/": {"request.dispatch": cherrypy.dispatch.MethodDispatcher()}}
)
cherrypy.tree.mount(Nothing(), "/nothing")
cherrypy.tree.mount(Root(), "/latin", {"/": {"request.uri_encoding": "ISO-8859-1"}})
for name, options in {"/hosts": {}, "/strict": {"use_x_forwarded_host": False}}.items():
    hosts = cherrypy.dispatch.VirtualHost(**options, **{"blog.example": "/blog"})
    sections = {"/": {"request.dispatch": hosts}, "/blog": {"tools.staticdir.dir": "/nowhere"}}
    cherrypy.tree.mount(Hosts("blog"), name, sections)
cherrypy.tree.mount(Second(), "/dispatch/second")
cherrypy.tree.mount(Root(), "/noslash", {"/": {"tools.trailing_slash.on": False}})
cherrypy.tree.mount(
    Root(),
    "/slash",
    {"/": {"tools.trailing_slash.extra": True, "tools.trailing_slash.status": 307}},
)
cherrypy.tree.mount(Root(), "/loose", {"/": {"tools.trailing_slash.missing": False}})
cherrypy.tree.graft(grafted, "/grafted")
cherrypy.tree.mount(Nothing(), "/grafted/own")
