"""The ten steps with which a newcomer to CherryPy begins, and a generator of strings that grows
feature by feature.
"""

from pathlib import Path

import cherrypy
from cherrypy.lib.static import serve_file

from compat.tests.apps.cherrypy_setup import app

FILES = Path(__file__).parent.parent / "files"


class Hello:
    """1: one page."""

    @cherrypy.expose
    def index(self):
        return "Hello world!"


class Pages:
    """2: more pages; 4: an alias, and names with punctuation."""

    @cherrypy.expose
    def index(self):
        return 'Go to <a href="message">the message</a>.'

    @cherrypy.expose
    def message(self):
        return "A message"

    @cherrypy.expose(["other", "another"])
    def several(self):
        return "several names"

    @cherrypy.expose
    def show_more(self):
        return "with an underscore"

    def hidden(self):
        return "never seen"

    def old_style(self):
        return "old style"

    old_style.exposed = True
    text = "not callable"


class Welcome:
    """3: parameters."""

    @cherrypy.expose
    def index(self):
        return '<form action="greet" method="GET"><input name="name"></form>'

    @cherrypy.expose
    def greet(self, name=None):
        if name:
            return f"Hey {name}, what is up?"
        if name is None:
            return "Please enter your name."
        return "Really? No name?"

    @cherrypy.expose
    def needs(self, first, second):
        return f"{first!r} {second!r}"

    @cherrypy.expose
    def optional(self, first, second="2", *rest, **named):
        return f"{first!r} {second!r} {rest!r} {sorted(named.items())!r}"

    @cherrypy.expose
    def only_positional(self, *args):
        return repr(args)

    @cherrypy.expose
    def only_named(self, **kwargs):
        return repr(sorted(kwargs.items()))

    @cherrypy.expose
    def keyword_only(self, *, key):
        return f"key {key}"

    @cherrypy.expose
    def inside(self, x="1"):
        return len(5)


class Links:
    """4: a tree of objects."""

    def __init__(self):
        self.jokes = Jokes()
        self.links = Extra()

    @cherrypy.expose
    def index(self):
        return "home"


class Jokes:
    @cherrypy.expose
    def index(self):
        return "a joke"

    @cherrypy.expose
    def tell(self, number="0"):
        return f"joke {number}"


class Extra:
    @cherrypy.expose
    def index(self):
        return "links"

    class deeper:  # a class as a node
        @cherrypy.expose
        def index():
            return "deeper"


class Page:
    """5: pages that share a head and a foot."""

    title = "Untitled"

    def header(self):
        return f"<title>{self.title}</title>"

    def footer(self):
        return "<hr>"


class HomePage(Page):
    title = "Home"

    def __init__(self):
        self.another = AnotherPage()

    @cherrypy.expose
    def index(self):
        return self.header() + "<p>home</p>" + self.footer()


class AnotherPage(Page):
    title = "Another"

    @cherrypy.expose
    def index(self):
        return self.header() + "<p>another</p>" + self.footer()


class Users:
    """6: a page for whatever is not found."""

    @cherrypy.expose
    def index(self):
        return "users"

    @cherrypy.expose
    def default(self, user):
        if user == "ann":
            return "Ann, the first"
        return f"{user}, unknown"


class CatchAll:
    @cherrypy.expose
    def default(self, *vpath, **params):
        return f"{vpath!r} {sorted(params.items())!r}"

    @cherrypy.expose
    def known(self):
        return "known"


class HitCounter:
    """7: a session."""

    _cp_config = {"tools.sessions.on": True}

    @cherrypy.expose
    def index(self):
        count = cherrypy.session.get("count", 0) + 1
        cherrypy.session["count"] = count
        return f"You were here {count} times."

    @cherrypy.expose
    def look(self):
        return repr(dict(cherrypy.session.items()))

    @cherrypy.expose
    def unused(self):
        return "nothing kept"

    @cherrypy.expose
    def leave(self):
        cherrypy.lib.sessions.expire()
        return "left"

    @cherrypy.expose
    def renew(self):
        cherrypy.session.regenerate()
        return "renewed"

    @cherrypy.expose
    def forget(self):
        cherrypy.session.clear()
        return str("count" in cherrypy.session)

    @cherrypy.expose
    def put(self, key, value):
        cherrypy.session[key] = value
        raise cherrypy.HTTPRedirect("look")

    @cherrypy.expose
    def fail(self):
        cherrypy.session["failed"] = True
        raise cherrypy.HTTPError(409, "but kept")

    @cherrypy.expose
    def take(self, key):
        return repr(cherrypy.session.pop(key, "nothing"))

    @cherrypy.expose
    def missing(self):
        return cherrypy.session["not there"]


class Generators:
    """8: generators."""

    def header(self):
        return "<head>"

    @cherrypy.expose
    def index(self):
        yield self.header()
        yield from ("one", "two")
        yield "é"

    @cherrypy.expose
    def failing(self):
        yield "first"
        raise cherrypy.HTTPError(410, "in the middle")

    @cherrypy.expose
    def leaving(self):
        yield "first"
        raise cherrypy.HTTPRedirect("/tut08/")

    @cherrypy.expose
    def streamed(self):
        yield "a"
        yield "b"

    streamed._cp_config = {"response.stream": True}


class Files:
    """9: uploads and downloads."""

    @cherrypy.expose
    def index(self):
        return '<form action="upload" method="post" enctype="multipart/form-data"><input type="file" name="file"></form>'

    @cherrypy.expose
    def upload(self, file, note="none"):
        if isinstance(file, str):
            return f"text {file!r}"
        data = file.file.read()
        return f"{file.filename!r} {file.content_type} {len(data)} {data[:12]!r} {note!r}"

    @cherrypy.expose
    def several(self, file):
        return repr([(each.filename, each.file.read()) for each in file])

    @cherrypy.expose
    def download(self):
        return serve_file(
            str(FILES / "note.txt"), "application/x-download", "attachment", "my file.txt"
        )


class Errors:
    """10: pages for errors."""

    _cp_config = {"error_page.403": str(FILES / "error.html")}

    @cherrypy.expose
    def index(self):
        return "<a href='error?code=403'>403</a>"

    @cherrypy.expose
    def error(self, code):
        raise cherrypy.HTTPError(status=code)

    @cherrypy.expose
    def message(self, code="500", text="A <b>message</b> & more"):
        raise cherrypy.HTTPError(int(code), text)

    @cherrypy.expose
    def reason(self):
        raise cherrypy.HTTPError("409 My own reason")

    @cherrypy.expose
    def crash(self):
        return {}["nothing"]

    @cherrypy.expose
    def lost(self):
        raise cherrypy.NotFound

    @cherrypy.expose
    def lost_path(self):
        raise cherrypy.NotFound("/elsewhere")

    @cherrypy.expose
    def handled(self):
        with cherrypy.HTTPError.handle(KeyError, 422):
            return {}["nothing"]


class Strings:
    """The generator of strings of the longer tutorial."""

    @cherrypy.expose
    def index(self):
        return '<link href="/strings/static/style.css"><form method="get" action="generate"><input name="length" value="8"></form>'

    @cherrypy.expose
    def generate(self, length=8):
        made = "abcdefghij"[: int(length)]
        cherrypy.session["mystring"] = made
        return made

    @cherrypy.expose
    def display(self):
        return cherrypy.session["mystring"]


@cherrypy.expose
class StringService:
    """Its REST part: a resource with a method for each verb."""

    @cherrypy.tools.accept(media="text/plain")
    def GET(self):
        return cherrypy.session["mystring"]

    def POST(self, length=8):
        made = "0123456789"[: int(length)]
        cherrypy.session["mystring"] = made
        return made

    def PUT(self, another_string):
        cherrypy.session["mystring"] = another_string

    def DELETE(self):
        cherrypy.session.pop("mystring", None)


STRINGS = {
    "/": {"tools.sessions.on": True, "tools.staticdir.root": str(FILES.parent)},
    "/generator": {
        "request.dispatch": cherrypy.dispatch.MethodDispatcher(),
        "tools.response_headers.on": True,
        "tools.response_headers.headers": [("Content-Type", "text/plain")],
    },
    "/static": {"tools.staticdir.on": True, "tools.staticdir.dir": "files"},
}

strings = Strings()
strings.generator = StringService()

tree = app
for path, root in {
    "/tut01": Hello(),
    "/tut02": Pages(),
    "/tut03": Welcome(),
    "/tut04": Links(),
    "/tut05": HomePage(),
    "/tut06": Users(),
    "/tut06b": CatchAll(),
    "/tut07": HitCounter(),
    "/tut08": Generators(),
    "/tut09": Files(),
    "/tut10": Errors(),
}.items():
    cherrypy.tree.mount(root, path)
cherrypy.tree.mount(strings, "/strings", STRINGS)
