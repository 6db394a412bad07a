"""What ``request`` gives before its environ is made, and streams that nothing looks at before they
are sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from micropie.compat import bottle as ours
from micropie.http.request import current_request
from micropie.testing import TestClient
from tests.conftest import MakeClient

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json; charset=utf-8"}


@pytest.fixture
def clients(bottle: Any, connect: MakeClient) -> Any:
    """Return ``clients(app)``: a client of the original by WSGI, or of ours in each world."""
    worlds = ("wsgi", "asyncio", "trio") if bottle is ours else ("wsgi",)

    def clients(app: Any) -> list[TestClient]:
        return [connect(app, world, validate=bottle is ours) for world in worlds]

    return clients


def test_what_is_read_first_stays_when_the_environ_is_made(bottle: Any, clients: Any) -> None:
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
        assert (
            client.post("/json", content=b'{"a": [1]}', headers=JSON).text
            == "[{'a': [1]}, True, True, True]"
        )


def test_json_that_only_python_reads(bottle: Any, clients: Any) -> None:
    app = bottle.Bottle()
    app.post("/")(lambda: repr(bottle.request.json))
    for client in clients(app):
        assert client.post("/", content=b"[NaN, 1]", headers=JSON).text == "[nan, 1]"
        if bottle is ours:  # the original does so unless ujson is installed
            assert (
                client.post("/", content=json.dumps(["é"]).encode("utf-16"), headers=JSON).text
                == "['é']"
            )
        assert client.post("/", content=b"", headers=JSON).text == "None"
        assert client.post("/", content=b'{"a": 1}', headers=FORM).text == "None"
        for wrong in (b"{", b"[" * 100_000, b"\xff", b"nope"):
            assert client.post("/", content=wrong, headers=JSON).status_code == 400


def test_what_has_to_be_read_from_the_body(
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
        assert (
            client.post("/json", content=b"[" + b"1," * 50 + b"1]", headers=JSON).status_code == 413
        )
    assert bottle.LocalRequest.query.__doc__ == bottle.BaseRequest.query.__doc__


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


def test_streams(bottle: Any, clients: Any) -> None:
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


def test_what_a_stream_sets_of_micropie_is_sent(make_client: MakeClient) -> None:
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
