"""What ``request`` gives before its environ is made, and streams that nothing looks at before they
are sent.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest

from micropie._core.http.request import current_request
from micropie_compat import bottle as ours
from tests.support.clients import MakeClient

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json; charset=utf-8"}


def test_values_read_before_the_environ_exists_stay_the_same_afterwards(
    bottle: Any, clients: Any
) -> None:
    app, request = bottle.Bottle(), bottle.request

    @app.route("/query")
    def query() -> str:
        first = request.query
        seen = [first.a, first is request.query, first is request.GET]
        environ = request.environ
        seen += [request.query is first, environ["bottle.request.query"] is first]
        request["QUERY_STRING"] = "a=2"
        return str([*seen, request.query.a, request.query is first])

    @app.post("/form")
    def form() -> str:
        first = request.forms
        first["added"] = "x"
        seen = [
            first.a,
            request.method,
            request.forms is first,
            "added" in request.POST,
            sorted(request.files),
        ]
        return str(
            [*seen, sorted(request.params), request.body.read(), sorted(request.POST.getall("a"))]
        )

    @app.post("/json")
    def body() -> str:
        first = request.json
        return str(
            [first, request.content_length > 0, request.json is first, len(request.body.read()) > 0]
        )

    for client in clients(app):
        assert client.get("/query?a=1").text == "['1', True, True, True, True, '2', False]"
        answer = client.post("/form", content=b"a=1&a=2", headers=FORM).text
        assert answer == "['2', 'POST', True, False, [], ['a', 'added'], b'a=1&a=2', ['1', '2']]"
        text = client.post("/json", content=b'{"a": [1]}', headers=JSON).text
        assert text == "[{'a': [1]}, True, True, True]"


def test_method_and_cookies_are_the_same_before_and_after_the_environ_exists(
    bottle: Any, clients: Any
) -> None:
    app, request = bottle.Bottle(), bottle.request

    @app.route("/head", method=["GET", "PUT"])
    def head() -> str:
        first = request.cookies
        seen = [request.method, request.get_cookie("a"), first is request.cookies]
        request.environ["REQUEST_METHOD"] = "put"
        seen += [request.method, request.cookies is first]
        request["HTTP_COOKIE"] = "a=2"
        return str([*seen, request.get_cookie("a")])

    for client in clients(app):
        answer = client.get("/head", headers={"Cookie": "a=1"}).text
        assert answer == "['GET', '1', True, 'PUT', True, '2']"
        assert client.put("/head").text == "['PUT', None, True, 'PUT', True, '2']"


@pytest.mark.parametrize("reads_environ", [False, True])
def test_a_file_gets_the_same_response_with_an_environ_and_without(
    bottle: Any, clients: Any, tmp_path: Path, reads_environ: bool
) -> None:
    (tmp_path / "pie.txt").write_bytes(b"0123456789")
    app, request = bottle.Bottle(), bottle.request

    @app.get("/<name:path>")
    def file(name: str) -> Any:
        if reads_environ:
            assert request.environ["REQUEST_METHOD"] in ("GET", "HEAD")
        return bottle.static_file(name, root=str(tmp_path))

    for client in clients(app):
        whole = client.get("/pie.txt")
        assert (whole.content, whole.headers["Content-Length"]) == (b"0123456789", "10")
        part = client.get("/pie.txt", headers={"Range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"234")
        for name, value in (
            ("If-None-Match", whole.headers["ETag"]),
            ("If-Modified-Since", whole.headers["Last-Modified"]),
        ):
            assert client.get("/pie.txt", headers={name: value}).status_code == 304
        assert client.get("/none.txt").status_code == 404
        assert client.get("/a%00b").status_code == 404
        (tmp_path / "pie.txt").write_bytes(b"another")  # another version, another tag
        assert client.get("/pie.txt").headers["ETag"] != whole.headers["ETag"]
        (tmp_path / "pie.txt").write_bytes(b"0123456789")


def test_a_server_that_sends_files_gets_an_unread_file(bottle: Any, tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(content := bytes(range(256)) * 1200)
    app = bottle.Bottle()
    app.route("/", callback=lambda: bottle.static_file("long.bin", root=str(tmp_path)))
    lent: list[Any] = []
    heads: list[Any] = []

    class Wrapper(FileWrapper):
        def __init__(self, file: Any, size: int = 8192) -> None:
            lent.append(file)
            super().__init__(file, size)

    environ: dict[str, Any] = {"wsgi.file_wrapper": Wrapper, "wsgi.input": BytesIO()}
    setup_testing_defaults(environ)
    environ["wsgi.errors"] = sys.stderr
    chunks = app(environ, lambda status, pairs, exc_info=None: heads.append((status, dict(pairs))))
    assert lent[0].tell() == 0
    assert b"".join(chunks) == content
    chunks.close()
    status, headers = heads[0]
    assert (status, headers["Content-Length"]) == ("200 OK", str(len(content)))


def test_request_headers_are_found_under_any_spelling(bottle: Any) -> None:
    environ = {"HTTP_X_PIE": "apple", "CONTENT_TYPE": "a/b", "HTTP_" + "A" * 600: "long"}
    headers = bottle.BaseRequest(environ).headers
    assert [*headers] == ["X-Pie", "Content-Type", "A" + "a" * 599]
    found = [headers["x_pie"], headers["content-type"], headers["a" * 600]]
    assert found == ["apple", "a/b", "long"]
    assert "Y" not in headers


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("/a/b", "http://h/s/a/b"),
        ("/a/../b", "http://h/s/b"),
        ("/../b", "http://h/b"),
        ("/a//b", "http://h/s/a/b"),
        ("/a b", "http://h/s/a%20b"),
    ],
)
def test_a_request_s_url_has_its_escaped_path_and_query(bottle: Any, path: str, whole: str) -> None:
    environ = {"PATH_INFO": path, "SCRIPT_NAME": "/s", "HTTP_HOST": "h", "wsgi.url_scheme": "http"}
    request = bottle.BaseRequest({**environ})
    assert (request.url, request.urlparts.geturl()) == (whole, whole)
    assert bottle.BaseRequest({**environ, "QUERY_STRING": "x=1"}).url == f"{whole}?x=1"


def test_json_of_another_encoding_is_read(make_client: MakeClient) -> None:
    """The original refuses it."""
    app = ours.Bottle()
    app.post("/")(lambda: repr(ours.request.json))
    content = '["é"]'.encode("utf-16")
    assert make_client(app).post("/", content=content, headers=JSON).text == "['é']"


def test_the_environ_is_created_when_the_body_has_to_be_read(
    bottle: Any, clients: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was received, it is a multipart form, or it is too long."""
    app, request = bottle.Bottle(), bottle.request
    app.route("/form", method=["GET", "POST"])(lambda: str(sorted(request.forms.items())))
    app.post("/json")(lambda: repr(request.json))
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    monkeypatch.setattr(bottle.BaseRequest, "MEMFILE_MAX", 100)
    for client in clients(app):
        assert client.get("/form").text == "[]"
        multipart = {"Content-Type": "multipart/form-data; boundary=x"}
        assert client.post("/form", content=part, headers=multipart).text == "[('a', '1')]"
        assert client.post("/form", content=b"a=" + b"x" * 100, headers=FORM).status_code == 413
        status = client.post("/json", content=b"[" + b"1," * 50 + b"1]", headers=JSON).status_code
        assert status == 413
    assert bottle.LocalRequest.query.__doc__ == bottle.BaseRequest.query.__doc__


@pytest.mark.parametrize("owner", ["BaseRequest", "LocalRequest"])
@pytest.mark.parametrize("name", ["cookies", "forms", "GET", "json", "method", "path", "query"])
def test_a_program_may_replace_an_attribute_of_all_requests(
    bottle: Any, clients: Any, monkeypatch: pytest.MonkeyPatch, owner: str, name: str
) -> None:
    monkeypatch.setattr(
        getattr(bottle, owner),
        name,
        property(lambda self: f"own {self.content_type}"),
        raising=False,
    )
    app = bottle.Bottle()
    app.post("/")(lambda: str(getattr(bottle.request, name)))
    for client in clients(app):
        assert client.post("/", content=b"{}", headers=JSON).text == f"own {JSON['Content-Type']}"


def chunks_app(bottle: Any) -> Any:
    app = bottle.Bottle()

    @app.get("/stream")
    def stream() -> Iterator[bytes]:
        bottle.response.content_type = "text/plain"
        bottle.response.set_header("X-Late", "1")
        yield b""
        bottle.response.set_header("X-First", "1")
        yield b"one "
        yield bottle.request.path.encode()

    @app.get("/length")
    def length() -> Iterator[str]:
        bottle.response.content_length = 4
        yield from ("é", "é")

    @app.get("/raises")
    def raises() -> Iterator[bytes]:
        yield b""
        bottle.abort(418, "short and stout")

    @app.get("/crashes")
    def crashes() -> Iterator[bytes]:
        yield b""
        raise ValueError("in the first chunk")

    return app


def test_streams_are_sent_with_the_headers_they_set_late(bottle: Any, clients: Any) -> None:
    for client in clients(chunks_app(bottle)):
        answer = client.get("/stream")
        assert (answer.text, answer.headers["Content-Type"]) == ("one /stream", "text/plain")
        assert (answer.headers["X-Late"], answer.headers["X-First"]) == ("1", "1")
        assert client.head("/stream").content == b""
        answer = client.get("/length")
        assert (answer.text, answer.headers["Content-Length"]) == ("éé", "4")
        assert client.get("/raises").status_code == 418
        assert client.get("/crashes").status_code == 500


class Marks:
    """Middleware that looks at the answer."""

    def before_request(self, request: Any) -> None:
        """Nothing."""

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
        return {"headers": [*headers, ("X-Marked", "1")]}


def test_middleware_sees_a_stream(make_client: MakeClient) -> None:
    app = chunks_app(ours)
    app.native.middlewares.append(Marks())
    answer = make_client(app).get("/stream")
    assert (answer.text, answer.headers["X-Marked"]) == ("one /stream", "1")


def test_sessions_and_headers_that_a_stream_sets_with_micropie_are_sent(
    make_client: MakeClient,
) -> None:
    app = ours.Bottle()

    @app.get("/session")
    def session() -> Iterator[bytes]:
        current_request().session["a"] = 1
        yield b"saved"

    @app.get("/response")
    def response() -> Iterator[bytes]:
        current_request().response.headers["X-Native"] = "1"
        yield b"set"

    client = make_client(app)
    answer = client.get("/session")
    assert (answer.text, "session_id" in answer.headers["Set-Cookie"]) == ("saved", True)
    answer = client.get("/response")
    assert (answer.text, answer.headers["X-Native"]) == ("set", "1")


def test_an_environ_set_by_a_handler_is_used_even_if_it_is_empty(bottle: Any, clients: Any) -> None:
    app, request = bottle.Bottle(), bottle.request

    @app.route("/")
    def page() -> str:
        kept, request.environ = request.environ, {}
        try:
            return str((request.environ, request.query_string))
        finally:
            request.environ = kept

    for client in clients(app):
        assert client.get("/?a=1").text == "({}, '')"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_middleware_sees_what_a_program_adds_to_the_environ(bottle: Any) -> None:
    app, request = bottle.Bottle(), bottle.request
    app.hook("after_request")(
        lambda: request.environ.update({"pies.hook": request.headers["Host"]})
    )

    def added(path: str) -> dict[str, Any]:
        """Return the server's environ after a request."""
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        environ |= {"PATH_INFO": path, "wsgi.errors": StringIO()}
        assert [*app(environ, lambda *_: None)]
        return environ

    @app.get("/text")
    def text() -> str:
        request.environ["REMOTE_USER"] = "ann"
        return "text"

    @app.get("/set")
    def with_response() -> str:
        bottle.response.set_header("X-A", "1")
        return text()

    @app.get("/stream")
    def stream() -> Iterator[str]:
        yield text()

    @app.get("/fails")
    def fails() -> None:
        text()
        raise ValueError("after the change")

    for path in ("/text", "/set", "/stream", "/fails"):
        environ = added(path)
        assert environ["pies.hook"] == "127.0.0.1"
        assert (environ.get("REMOTE_USER"), environ["PATH_INFO"]) == ("ann", path)
        assert environ["bottle.route"].rule == path
    app.remove_hook("after_request", app.hooks["after_request"][0] if bottle is ours else None)
    for path in ("/text", "/set"):
        assert added(path)["REMOTE_USER"] == "ann"
    environ = added("/none")
    assert "REMOTE_USER" not in environ

    @app.get("/replaced")
    def replaced() -> str:
        request.environ = {"pies.own": 1}
        return "replaced"

    assert "pies.own" not in added("/replaced")
    if bottle is ours:  # the environ refers to no object that refers to it
        assert not [key for key in environ if key.startswith(("bottle.request.", "micropie.e"))]


@pytest.mark.parametrize("owner", ["BaseResponse", "response"])
def test_a_program_may_set_the_default_media_type(
    bottle: Any, clients: Any, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    if owner == "response" and bottle is not ours:  # forget the attribute at the end
        monkeypatch.setitem(vars(bottle.response), "default_content_type", "text/plain")
    else:
        monkeypatch.setattr(getattr(bottle, owner), "default_content_type", "text/plain")
    assert bottle.response.default_content_type == "text/plain"
    app = bottle.Bottle()
    app.get("/text")(lambda: "<b>")
    app.get("/bytes")(lambda: b"<b>")
    app.get("/stream")(lambda: iter(["<b>"]))
    app.get("/response")(lambda: bottle.HTTPResponse("<b>"))
    app.get("/set")(lambda: bottle.response.set_header("X-A", "1") or "<b>")
    app.get("/nothing")(lambda: None)
    for client in clients(app):
        for path in ("/text", "/bytes", "/stream", "/response", "/set", "/nothing"):
            for method in ("GET", "HEAD"):
                assert client.request(method, path).headers["Content-Type"] == "text/plain"
