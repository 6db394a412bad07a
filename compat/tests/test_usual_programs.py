"""What programs and plugins of the originals do besides answering requests, in each world."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from compat.tests.conftest import Serve
from micropie_compat import bottle, cherrypy
from micropie_compat.cherrypy.lib import sessions
from tests.support.clients import MakeClient


def test_without_catchall_the_server_gets_unhandled_errors(make_client: MakeClient) -> None:
    """A debugger, or what reports failures, is around the application and waits for exceptions."""
    closed: list[str] = []

    def fail() -> Any:
        bottle.request.app  # noqa: B018
        raise LookupError("pie")

    def fail_later() -> Any:
        try:
            raise LookupError("later")
        finally:
            closed.append("closed")
        yield

    app = bottle.Bottle()

    def use_up() -> Any:
        raise MemoryError

    app.get("/memory")(use_up)
    with pytest.raises(MemoryError):  # with catchall, too, as the interpreter's exit
        make_client(app).get("/memory")
    app.catchall = False
    app.get("/")(fail)
    app.get("/later")(fail_later)
    app.get("/refused")(lambda: bottle.abort(403, "no"))
    client = make_client(app)
    with pytest.raises(LookupError, match="pie"):
        client.get("/")
    with pytest.raises(LookupError, match="later"):
        client.get("/later")
    assert closed == ["closed"]
    assert client.get("/refused").status_code == 403
    app.native.error(LookupError)(lambda: (409, "known"))
    assert client.get("/").text == "known"


def test_attributes_that_hooks_set_before_the_environ_exists_are_kept(
    make_client: MakeClient,
) -> None:
    request = bottle.request

    def begin() -> None:
        request.user = f"ann at {request.path}"
        assert request.user == "ann at /pie"
        request.gone = 1
        del request.gone

    def show() -> str:
        assert not hasattr(request, "gone")
        return f"{request.user}, {request.environ['PATH_INFO']}, {request.path}, {request.user}"

    app = bottle.Bottle()
    app.add_hook("before_request", begin)
    app.get("/pie")(show)
    assert make_client(app).get("/pie").text == "ann at /pie, /pie, /pie, ann at /pie"


def test_a_plugin_reads_the_requested_range_of_a_file(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "pie.txt").write_bytes(b"0123456789")
    seen: list[bytes] = []

    def reading(callback: Any) -> Any:
        def wrapper(*args: Any, **values: Any) -> Any:
            answer = callback(*args, **values)
            seen.append(answer.body.read(2) + answer.body.read())
            assert answer.body.read() == b""
            answer.body.close()
            answer.body = io.BytesIO(seen[-1].upper())
            return answer

        return wrapper

    app = bottle.Bottle()
    app.install(reading)
    app.get("/pie")(lambda: bottle.static_file("pie.txt", root=str(tmp_path)))
    answer = make_client(app).get("/pie", headers={"Range": "bytes=3-6"})
    assert (answer.status_code, answer.content, seen) == (206, b"3456", [b"3456"])


MIXED = b"--B\r\nContent-Type: text/plain\r\n\r\none\r\n--B\r\nContent-Disposition: attachment\r\n\r\ntwo\r\n--B--\r\n"


def page(cherrypy: Any, handler: Any, **config: Any) -> Any:
    handler.exposed = True
    return cherrypy.Application(
        type("Root", (), {"index": staticmethod(handler)})(), "", {"/": config}
    )


def test_multipart_parts_may_lack_a_name(cherrypy: Any, serve: Serve) -> None:
    def parts(parts: Any = (), name: str = "") -> str:
        return f"{parts} {name} {[part.name for part in cherrypy.request.body.parts]}"

    client = serve(page(cherrypy, parts))
    headers = {"Content-Type": "multipart/mixed; boundary=B"}
    text = client.post("/", content=MIXED, headers=headers).text
    assert text == "['one', 'two'] " + " [None, None]"
    named = MIXED.replace(b"attachment", b"form-data; name=name")
    assert client.post("/", content=named, headers=headers).text == "one two [None, 'name']"


def test_a_file_may_be_among_unnamed_parts(serve_ours: Serve) -> None:
    def parts(pie: Any, parts: Any) -> str:
        return f"{parts} {pie.filename} {pie.file.read().decode()}"

    client = serve_ours(page(cherrypy, parts))
    named = MIXED.replace(b"attachment", b'form-data; name="pie"; filename="plum"')
    headers = {"Content-Type": "multipart/related; boundary=B"}
    assert client.post("/", content=named, headers=headers).text == "one plum two"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (MIXED.replace(b"--B--", b""), 400),
        (MIXED.replace(b"--B\r\n", b"--Bx\r\n"), 400),
        (b"--B\r\none\r\n--B--", 400),
        (b"--B\r\n" + b"X: y\r\n" * 8 + b"\r\none\r\n--B--", 200),
        (b"--B\r\n" + b"X: y\r\n" * 9 + b"\r\none\r\n--B--", 400),
        (b"--B\r\n\r\n\r\n" * 1000 + b"--B--", 200),
        (b"--B\r\n\r\n\r\n" * 1001 + b"--B--", 413),
        (b"--B\r\n\r\n" + b"x" * 2**24 + b"\r\n--B--", 413),
    ],
    ids=range(8),
)
def test_unnamed_parts_count_against_limits(serve_ours: Serve, body: bytes, status: int) -> None:
    client = serve_ours(page(cherrypy, lambda parts=(): "ok"))
    headers = {"Content-Type": "multipart/mixed; boundary=B"}
    assert client.post("/", content=body, headers=headers).status_code == status


def test_a_multipart_body_without_a_boundary_gets_a_400(serve_ours: Serve) -> None:
    client = serve_ours(page(cherrypy, lambda parts=(): "ok"))
    headers = {"Content-Type": "multipart/mixed"}
    assert client.post("/", content=MIXED, headers=headers).status_code == 400


def test_a_form_without_names_is_refused(make_client: MakeClient) -> None:
    app = bottle.Bottle()
    app.post("/")(lambda: str(len(bottle.request.POST)))
    headers = {"Content-Type": "multipart/mixed; boundary=B"}
    assert make_client(app).post("/", content=MIXED, headers=headers).status_code == 400


def test_a_form_may_begin_with_a_preamble(make_client: MakeClient) -> None:
    app = bottle.Bottle()
    app.post("/")(lambda: bottle.request.forms.a)
    client = make_client(app)
    form = b'To old readers:\r\n\r\n--B\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n--B--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    assert client.post("/", content=form, headers=headers).text == "one"


def test_a_session_class_is_found_by_its_type(
    serve_ours: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RedisSession(sessions.RamSession):
        pass

    monkeypatch.setattr(sessions, "RedisSession", RedisSession, raising=False)

    def index() -> str:
        cherrypy.session["pie"] = "plum"
        return type(cherrypy.serving.session).__name__

    on = {"tools.sessions.on": True}
    redis = page(cherrypy, index, **on, **{"tools.sessions.storage_type": "redis"})
    assert serve_ours(redis).get("/").text == "RedisSession"
    client = serve_ours(page(cherrypy, index, **on, **{"tools.sessions.storage_type": "httpdate"}))
    assert client.get("/").status_code == 500


@pytest.mark.parametrize("kind", ["ram", "file"])
def test_a_handler_may_lock_a_locked_session(serve_ours: Serve, kind: str, tmp_path: Path) -> None:
    def index() -> str:
        session: Any = cherrypy.session
        session.acquire_lock()
        session["visits"] = session.get("visits", 0) + 1
        session.release_lock()
        session.release_lock()
        return str(session["visits"])

    config = {"tools.sessions.on": True, "tools.sessions.storage_type": kind}
    if kind == "file":
        config["tools.sessions.storage_path"] = str(tmp_path)
    client = serve_ours(page(cherrypy, index, **config))
    assert [client.get("/").text for _ in range(2)] == ["1", "2"]


def test_a_chunked_body_with_a_length_ends_with_its_chunks() -> None:
    """cheroot gives both: RFC 9112, section 6.3."""
    seen: list[bytes] = []

    def read() -> str:
        seen.append(cherrypy.request.body.read())
        return ""

    app = page(cherrypy, read)
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "pies",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": "3",
        "CONTENT_TYPE": "text/plain",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(b"all of the 13"),
        "wsgi.url_scheme": "http",
    }
    b"".join(app(environ, lambda *head: None))
    app.wsgi_shutdown()
    assert seen == [b"all of the 13"]
