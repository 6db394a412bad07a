"""What a handler reads of a request and says of its answer."""

import io

import cherrypy

from compat.tests.apps.cherrypy_setup import app  # noqa: F401


class Messages:
    @cherrypy.expose
    def headers(self):
        found = cherrypy.request.headers
        return f"{found.get('X-Token')}|{found.get('x-token')}|{'X-TOKEN' in found}|{found.get('X-None', 'none')}"

    @cherrypy.expose
    def header_missing(self):
        return cherrypy.request.headers["X-None"]

    @cherrypy.expose
    def about(self, *args, **kwargs):
        request = cherrypy.request
        found = [
            request.method,
            request.path_info,
            request.script_name,
            request.query_string,
            request.request_line,
            request.base,
            request.scheme,
            request.protocol,
            request.remote.ip,
            type(request.local.port),
            request.login,
            sorted(request.params.items()),
            request.wsgi_environ["REQUEST_METHOD"],
            request.app.script_name,
        ]
        return "\n".join(repr(each) for each in found)

    @cherrypy.expose
    def cookies(self):
        return "|".join(
            f"{name}={morsel.value}" for name, morsel in sorted(cherrypy.request.cookie.items())
        )

    @cherrypy.expose
    def set_cookies(self):
        cookie = cherrypy.response.cookie
        cookie["plain"] = "value"
        cookie["dressed"] = "v w"
        cookie["dressed"]["path"] = "/"
        cookie["dressed"]["max-age"] = 60
        cookie["dressed"]["httponly"] = 1
        cookie["dressed"]["secure"] = 1
        cookie["dressed"]["comment"] = "c"
        return "set"

    @cherrypy.expose
    def drop_cookie(self):
        cherrypy.response.cookie["plain"] = ""
        cherrypy.response.cookie["plain"]["max-age"] = 0
        return "dropped"

    @cherrypy.expose
    def body(self):
        return repr(cherrypy.request.body.read())

    @cherrypy.expose
    def body_length(self):
        return f"{len(cherrypy.request.body.read())} {cherrypy.request.body.length}"

    @cherrypy.expose
    def body_by(self, way):
        return repr(READ[way](cherrypy.request.body))

    @cherrypy.expose
    def rfile(self):
        size = int(cherrypy.request.headers.get("Content-Length", 0))
        return repr(cherrypy.request.rfile.read(size))

    rfile._cp_config = {"request.process_request_body": False}

    @cherrypy.expose
    def limited(self, **kwargs):
        return repr(sorted(kwargs))

    limited._cp_config = {"request.body.maxbytes": 100}

    @cherrypy.expose
    def params(self, **kwargs):
        return repr(sorted(cherrypy.request.params.items()))

    @cherrypy.expose
    def body_params(self, **kwargs):
        body = cherrypy.request.body
        stated = "charset" in cherrypy.request.headers["Content-Type"] and body.charset
        return repr((sorted(body.params.items()), body.attempt_charsets, stated))

    @cherrypy.expose
    def status(self, code="202"):
        cherrypy.response.status = int(code) if code.isdigit() else code
        return "x"

    @cherrypy.expose
    def head(self):
        response = cherrypy.response
        response.headers["X-One"] = "1"
        response.headers["x-two"] = "2"
        response.headers["Content-Type"] = "text/plain"
        response.headers["X-Number"] = 5
        return f"{response.headers['X-ONE']} {response.headers.get('X-None')}"

    @cherrypy.expose
    def head_unicode(self):
        cherrypy.response.headers["X-Word"] = "é"
        return "x"

    @cherrypy.expose
    def head_odd(self):
        cherrypy.response.headers["X-Bytes"] = b"b"
        cherrypy.response.headers["X-Number"] = 3
        return "x"

    head_odd._cp_config = {"response.headers.X-Config": "set"}

    @cherrypy.expose
    def sized(self, status="200"):
        cherrypy.response.status = int(status)
        cherrypy.response.headers["Content-Length"] = "6"
        return iter([b"abc", b"def"])

    @cherrypy.expose
    def not_encoded(self, kind):
        return iter([1]) if kind == "number" else VALUES[kind]

    not_encoded._cp_config = {"tools.encode.on": False}

    @cherrypy.expose
    def head_deleted(self):
        del cherrypy.response.headers["Content-Type"]
        return b"no type"

    @cherrypy.expose
    def typed(self, kind="application/octet-stream"):
        cherrypy.response.headers["Content-Type"] = kind
        return b"bytes"

    @cherrypy.expose
    def text_typed(self, kind="application/json"):
        cherrypy.response.headers["Content-Type"] = kind
        return "text"

    @cherrypy.expose
    def value(self, kind):
        return VALUES[kind]

    @cherrypy.expose
    def file(self):
        return io.BytesIO(b"of a file")

    @cherrypy.expose
    def body_set(self):
        cherrypy.response.body = b"set directly"
        return cherrypy.response.body

    @cherrypy.expose
    def unicode(self):
        return "é ü €"

    @cherrypy.expose
    def latin(self):
        return "é"

    latin._cp_config = {"tools.encode.on": True, "tools.encode.encoding": "latin-1"}

    @cherrypy.expose
    def no_encode(self):
        return b"as it is"

    no_encode._cp_config = {"tools.encode.on": False}

    @cherrypy.expose
    def stream(self):
        yield "öne "
        yield b"two"

    stream._cp_config = {"response.stream": True}

    @cherrypy.expose
    def attributes(self):
        cherrypy.request.note = "kept"
        cherrypy.thread_data.note = "thread"
        return f"{cherrypy.request.note} {cherrypy.thread_data.note} {hasattr(cherrypy.request, 'nothing')}"

    @cherrypy.expose
    def after_error(self):
        cherrypy.response.headers["ETag"] = '"x"'
        cherrypy.response.headers["X-Stays"] = "yes"
        cherrypy.response.headers["Content-Encoding"] = "x"
        raise cherrypy.HTTPError(400, "removed")

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def json(self):
        return {"a": [1, None, "é"], "b": True}

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def json_list(self):
        return [1, 2]

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def json_error(self):
        raise cherrypy.HTTPError(400, "not JSON")

    @cherrypy.expose
    @cherrypy.tools.json_out(content_type="application/vnd.thing+json")
    def json_typed(self):
        return "text"

    @cherrypy.expose
    @cherrypy.tools.json_in()
    def json_in(self, **kwargs):
        return f"{cherrypy.request.json!r} {sorted(kwargs)}"

    @cherrypy.expose
    @cherrypy.tools.json_in(force=False)
    def json_maybe(self, **kwargs):
        return f"{getattr(cherrypy.request, 'json', 'none')!r} {sorted(kwargs.items())}"

    @cherrypy.expose
    @cherrypy.tools.json_in()
    @cherrypy.tools.json_out()
    def json_both(self):
        return {"got": cherrypy.request.json, "rest": cherrypy.request.body.read().decode()}

    @cherrypy.expose
    @cherrypy.tools.json_in(content_type=["application/vnd.x+json"])
    def json_own(self):
        return repr(cherrypy.request.json)


def copied(body):
    target = io.BytesIO()
    body.read(fp_out=target)
    return target.getvalue()


def through_a_file(body):
    with body.make_file() as file:
        body.read_into_file(file)
        file.seek(0)
        return file.read()


READ = {
    "lines": list,
    "some": lambda body: [body.read(2), body.readline(), body.readlines(), body.read()],
    "hint": lambda body: body.readlines(1),
    "copied": copied,
    "through_a_file": through_a_file,
    "known": lambda body: [
        body.content_type.value,
        body.length,
        body.headers["Content-Type"],
        body.parts,
    ],
}
VALUES = {
    "text": "text",
    "bytes": b"\x00\xff",
    "none": None,
    "empty": "",
    "list": ["a", "b", "é"],
    "tuple": (b"x", b"y"),
    "list-empty": [],
    "number": 5,
    "dict": {"a": "1"},
}

cherrypy.tree.mount(Messages(), "/messages")
