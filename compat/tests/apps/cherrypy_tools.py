"""Tools, hooks and configuration."""

import io
from pathlib import Path

import cherrypy
from cherrypy.lib import auth_basic, auth_digest, static

from compat.tests.apps.cherrypy_setup import app  # noqa: F401

FILES = Path(__file__).parent.parent / "files"
LONG = "a line that repeats itself\n" * 100
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


class Static:
    @cherrypy.expose
    def index(self):
        return "index of static"

    @cherrypy.expose
    def serve(self, name="note.txt"):
        return static.serve_file(str(FILES / name))

    @cherrypy.expose
    def typed(self):
        return static.serve_file(
            str(FILES / "note.txt"), content_type="text/x-note", disposition="inline", name="n.txt"
        )

    @cherrypy.expose
    def unicode_name(self):
        return static.serve_file(str(FILES / "note.txt"), "text/plain", "attachment", "é ü.txt")

    @cherrypy.expose
    def download(self):
        return static.serve_download(str(FILES / "note.txt"))

    @cherrypy.expose
    def download_as(self):
        return static.serve_download(str(FILES / "note.txt"), "other.txt")

    @cherrypy.expose
    def fileobj(self):
        return static.serve_fileobj(
            io.BytesIO(b"of an object"), "text/plain", "attachment", "o.txt"
        )

    @cherrypy.expose
    def object_without_type(self):
        return static.serve_fileobj(io.BytesIO(b"of an object"))

    @cherrypy.expose
    def opened(self):
        return static.serve_fileobj((FILES / "note.txt").open("rb"), "text/x-own")

    @cherrypy.expose
    def relative(self):
        return static.serve_file("note.txt")


STATIC = {
    "/": {"tools.staticdir.root": str(FILES.parent)},
    "/files": {"tools.staticdir.on": True, "tools.staticdir.dir": "files"},
    "/indexed": {
        "tools.staticdir.on": True,
        "tools.staticdir.dir": "files/folder",
        "tools.staticdir.index": "index.html",
    },
    "/matched": {
        "tools.staticdir.on": True,
        "tools.staticdir.dir": "files",
        "tools.staticdir.match": r"\.css$",
    },
    "/types": {
        "tools.staticdir.on": True,
        "tools.staticdir.dir": "files",
        "tools.staticdir.content_types": {"txt": "text/x-own"},
    },
    "/favicon.ico": {
        "tools.staticfile.on": True,
        "tools.staticfile.filename": str(FILES / "numbers.bin"),
    },
    "/gone.txt": {
        "tools.staticfile.on": True,
        "tools.staticfile.filename": str(FILES / "not-there"),
    },
}


class Tools:
    @cherrypy.expose
    def index(self):
        return "tools"

    @cherrypy.expose
    @cherrypy.tools.gzip()
    def gzipped(self, text=LONG, stream=""):
        cherrypy.response.stream = bool(stream)
        return (line for line in text.splitlines(keepends=True)) if stream else text

    @cherrypy.expose
    @cherrypy.tools.gzip(mime_types=["text/css", "image/*", "application/*+xml"])
    def gzip_css(self, kind="text/css"):
        cherrypy.response.headers["Content-Type"] = kind
        cherrypy.response.headers["Content-Length"] = len(LONG)
        return LONG.encode()

    @cherrypy.expose
    @cherrypy.tools.etags(autotags=True)
    def tagged(self, status="200"):
        cherrypy.response.status = int(status)
        return "the same every time"

    @cherrypy.expose
    @cherrypy.tools.etags()
    def own_tag(self, twice=""):
        cherrypy.response.headers["ETag"] = '"own"'
        if twice:
            cherrypy.lib.cptools.validate_etags()
        return "own"

    @cherrypy.expose
    def dated(self, status="200", date=DATE):
        cherrypy.response.status = int(status)
        if date:
            cherrypy.response.headers["Last-Modified"] = date
        cherrypy.lib.cptools.validate_since()
        return "dated"

    @cherrypy.expose
    @cherrypy.tools.expires(secs=60)
    def minute(self):
        return "a minute"

    @cherrypy.expose
    @cherrypy.tools.expires(secs=0)
    def never(self):
        return "never"

    @cherrypy.expose
    @cherrypy.tools.expires(secs=0, force=True)
    def forced(self):
        cherrypy.response.headers["Expires"] = "x"
        return "forced"

    @cherrypy.expose
    @cherrypy.tools.caching(delay=600)
    def cached(self, x="1", **headers):
        cherrypy.response.headers.update(headers)
        self.count = getattr(self, "count", 0) + 1
        return f"{x} made {self.count} times"

    @cherrypy.expose
    @cherrypy.tools.allow(methods=["GET", "HEAD"])
    def allowed(self):
        return "allowed"

    @cherrypy.expose
    @cherrypy.tools.accept(media=["application/xml", "text/html"])
    def accepted(self):
        return cherrypy.lib.cptools.accept(["application/xml", "text/html"])

    @cherrypy.expose
    @cherrypy.tools.response_headers(headers=[("X-Tool", "1"), ("X-Other", "2")])
    def headed(self):
        return "headed"

    @cherrypy.expose
    @cherrypy.tools.proxy()
    def proxied(self):
        return f"{cherrypy.request.base} {cherrypy.request.remote.ip} {cherrypy.url('/x')}"

    @cherrypy.expose
    @cherrypy.tools.proxy(local="", remote="X-Real-Ip", scheme="X-Forwarded-Ssl", base="e.example")
    def proxied_otherwise(self):
        return f"{cherrypy.request.base} {cherrypy.request.remote.ip}"

    @cherrypy.expose
    @cherrypy.tools.proxy(scheme="", remote="")
    def proxied_hardly(self):
        return f"{cherrypy.request.base} {cherrypy.request.remote.ip}"

    @cherrypy.expose
    @cherrypy.tools.proxy(base="https://www.example.org")
    def based(self):
        return cherrypy.url("/x")

    @cherrypy.expose
    @cherrypy.tools.ignore_headers(headers=("X-Token",))
    def ignoring(self):
        return repr(cherrypy.request.headers.get("X-Token"))

    @cherrypy.expose
    @cherrypy.tools.referer(pattern="http://good")
    def referred(self):
        return "referred"

    @cherrypy.expose
    def referred_by_call(self, **options):
        told = {name: value or False for name, value in options.items()}
        cherrypy.lib.cptools.referer("http://good", **told)
        return "referred"

    @cherrypy.expose
    @cherrypy.tools.params()
    def converted(self, count: int = 1):
        return f"{count!r}"


def seen(name):
    cherrypy.response.headers["X-Hooks"] = (
        f"{cherrypy.response.headers.get('X-Hooks', '')} {name}".strip()
    )


def shorten():
    if cherrypy.request.params.get("short"):
        cherrypy.request.handler = None
        cherrypy.response.body = b"cut short"


def guard(secret="x"):
    if cherrypy.request.params.get("secret") != secret:
        raise cherrypy.HTTPError(403, "guarded")


def upper(inner, *args, **kwargs):
    return inner(*args, **kwargs).upper()


def replace(text="replaced"):
    if cherrypy.request.params.get("replace"):
        cherrypy.response.body = text.encode()
        return True
    return False


class Once(cherrypy.Tool):
    """A tool with more than one hook."""

    def __init__(self):
        super().__init__("before_handler", self.begin, priority=20)

    def _setup(self):
        super()._setup()
        cherrypy.request.hooks.attach("before_finalize", self.end, priority=5)

    def begin(self, word="begin"):
        cherrypy.request.note = word

    def end(self):
        cherrypy.response.headers["X-Once"] = cherrypy.request.note


cherrypy.tools.shorten = cherrypy.Tool("before_handler", shorten, priority=10)
cherrypy.tools.guarded = cherrypy.Tool("on_start_resource", lambda: None)
cherrypy.tools.guard = cherrypy.Tool("before_handler", guard)
cherrypy.tools.replace = cherrypy._cptools.HandlerTool(replace)
cherrypy.tools.upper = cherrypy._cptools.HandlerWrapperTool(
    lambda inner, *a, **k: inner(*a, **k).upper()
)
cherrypy.tools.once = Once()


@cherrypy.tools.register("before_finalize", name="stamped", priority=60)
def stamp(text="stamp"):
    cherrypy.response.headers["X-Stamp"] = text


class Hooks:
    @cherrypy.expose
    def index(self, **kwargs):
        return "hooks"

    @cherrypy.expose
    @cherrypy.tools.shorten()
    def short(self, short=None):
        return "long"

    @cherrypy.expose
    @cherrypy.tools.guard(secret="open")
    def guarded(self, secret=None):
        return "open"

    @cherrypy.expose
    @cherrypy.tools.upper()
    def loud(self):
        return "loud"

    @cherrypy.expose
    @cherrypy.tools.replace(text="instead", priority=3)
    def replaced(self, replace=None):
        return "itself"

    @cherrypy.expose
    @cherrypy.tools.once(word="word")
    def once(self):
        return "once"

    @cherrypy.expose
    @cherrypy.tools.stamped(text="own")
    def stamp(self):
        return "stamped"

    @cherrypy.expose
    def by_config(self):
        return "stamped by config"

    by_config._cp_config = {"tools.stamped.on": True}

    @cherrypy.expose
    def order(self):
        return "order"

    order._cp_config = {
        "hooks.on_start_resource": lambda: seen("start"),
        "hooks.before_request_body": lambda: seen("body"),
        "hooks.before_handler": lambda: seen("handler"),
        "hooks.before_finalize": lambda: seen("finalize"),
        "hooks.on_end_resource": lambda: seen("end"),
    }

    @cherrypy.expose
    def order_of_errors(self):
        raise cherrypy.HTTPError(400, "x")

    order_of_errors._cp_config = {
        "hooks.before_error_response": lambda: seen("before"),
        "hooks.after_error_response": lambda: seen("after"),
        "hooks.before_finalize": lambda: seen("finalize"),
    }

    @cherrypy.expose
    def crash(self):
        raise RuntimeError("inside")


def error_page(status, message, traceback, version):
    cherrypy.response.headers["X-Page"] = "own"
    return f"<p>{status}: {message}</p>"


def answer_error():
    cherrypy.response.status = 503
    cherrypy.response.body = b"an answer of our own"


def broken_page(**kwargs):
    raise RuntimeError("the page itself")


class Errors:
    @cherrypy.expose
    def fail(self, code="404"):
        raise cherrypy.HTTPError(int(code), "the <message>")

    @cherrypy.expose
    def crash(self):
        raise RuntimeError("inside")

    @cherrypy.expose
    @cherrypy.config(**{"request.error_response": answer_error})
    def own_response(self):
        raise RuntimeError("inside")

    @cherrypy.expose
    @cherrypy.config(**{"request.error_response": None})
    def silent(self):
        raise RuntimeError("inside")

    @cherrypy.expose
    @cherrypy.config(**{"error_page.404": broken_page})
    def broken(self):
        raise cherrypy.NotFound


class Config:
    _cp_config = {"own.value": "of the class", "own.other": 1}

    def __init__(self):
        self.below = Below()

    @cherrypy.expose
    def index(self):
        return repr(
            [
                cherrypy.request.config.get(f"own.{name}")
                for name in ("value", "other", "section", "below")
            ]
        )

    @cherrypy.expose
    @cherrypy.config(**{"own.value": "of the handler"})
    def handler(self):
        return self.index()

    @cherrypy.expose
    def section(self):
        return self.index()

    @cherrypy.expose
    def application(self):
        return repr(cherrypy.request.app.config["/section"]["own.section"])


class Below:
    _cp_config = {"own.below": True}

    @cherrypy.expose
    def index(self):
        return repr(
            [
                cherrypy.request.config.get(f"own.{name}")
                for name in ("value", "other", "section", "below")
            ]
        )


class Private:
    @cherrypy.expose
    def index(self):
        return f"welcome {cherrypy.request.login}"


USERS = {"ann": "pä:ss", "bob": "x", "eve": ""}

cherrypy.tree.mount(Static(), "/st", STATIC)
cherrypy.tree.mount(Tools(), "/tools")
cherrypy.tree.mount(Hooks(), "/hooks")
cherrypy.tree.mount(
    Errors(),
    "/errors",
    {
        "/": {
            "error_page.404": error_page,
            "error_page.410": str(FILES / "error.html"),
            "error_page.411": "/no/such/file",
            "error_page.default": error_page,
        }
    },
)
cherrypy.tree.mount(Errors(), "/errors-plain")
cherrypy.tree.mount(
    Config(),
    "/config",
    {
        "/": {"own.value": "of the root section"},
        "/section": {"own.section": [1, 2]},
        "/below": {"own.value": "below"},
    },
)
cherrypy.tree.mount(
    Private(),
    "/basic",
    {
        "/": {
            "tools.auth_basic.on": True,
            "tools.auth_basic.realm": "here",
            "tools.auth_basic.checkpassword": auth_basic.checkpassword_dict(USERS),
            "tools.auth_basic.accept_charset": "UTF-8",
        }
    },
)
cherrypy.tree.mount(
    Private(),
    "/digest",
    {
        "/": {
            "tools.auth_digest.on": True,
            "tools.auth_digest.realm": "here",
            "tools.auth_digest.get_ha1": auth_digest.get_ha1_dict_plain(USERS),
            "tools.auth_digest.key": "a565c27146791cfb",
            "tools.auth_digest.accept_charset": "UTF-8",
        }
    },
)
