"""``request`` and ``response`` by themselves: each test passes with the original as well, unless it
says otherwise.
"""

from __future__ import annotations

import base64
import gc
import hmac
import io
import os
import sys
from datetime import UTC, datetime, timedelta
from http.cookies import CookieError
from pathlib import Path
from threading import Thread
from typing import Any

import bottle as original
import pytest

from micropie_compat import bottle as ours
from tests.support.commands import ended, environment
from tests.support.waiting import PATIENCE


class Colour:
    """No plain value."""


@pytest.fixture
def environ() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "get",
        "PATH_INFO": "//a/b",
        "SCRIPT_NAME": "/mount",
        "QUERY_STRING": "x=1&y=2",
    }


def test_a_request_is_a_view_of_its_environ(bottle: Any, environ: dict[str, Any]) -> None:
    request = bottle.Request(environ)
    assert (request.method, request.path, request.script_name) == ("GET", "/a/b", "/mount/")
    assert request.fullpath == "/mount/a/b"
    assert (request["REQUEST_METHOD"], request.get("none", 1)) == ("get", 1)
    assert len(request) > 3
    assert "PATH_INFO" in [*request.keys()]
    assert "QUERY_STRING" in list(request)
    assert request.query.x == "1"
    request["QUERY_STRING"] = "x=3"
    assert (request.query.x, request.params.x, request.GET.x) == ("3",) * 3
    assert request.headers.get("X-A") is None
    request["HTTP_X_A"] = "1"
    assert request.headers.get("X-A") == "1"
    request["wsgi.input"], request["CONTENT_LENGTH"] = io.BytesIO(b"a=1"), "3"
    assert (request.forms.a, request.POST.a, request.body.read()) == ("1", "1", b"a=1")
    request["wsgi.input"] = io.BytesIO(b"a=2")
    assert request.forms.a == "2"
    del request["HTTP_X_A"]
    assert "HTTP_X_A" not in request.environ
    request.environ["bottle.request.readonly"] = True
    with pytest.raises(KeyError, match="read-only"):
        request["a"] = 1
    assert "Request: GET http://127.0.0.1" in repr(request)


def test_an_empty_request_has_default_values(bottle: Any) -> None:
    request = bottle.Request()
    assert (request.path, request.method, request.content_length) == ("/", "GET", -1)
    assert (request.remote_addr, request.auth) == (None, None)
    assert (request.url, request.body.read(), request.json) == ("http://127.0.0.1/", b"", None)
    assert (request.is_xhr, request.chunked) == (False, False)
    for name in ("app", "route", "url_args"):
        with pytest.raises(RuntimeError, match="not connected"):
            getattr(request, name)
    with pytest.raises(AttributeError):
        request.query = 1
    with pytest.raises(AttributeError):
        request.nothing  # noqa: B018
    assert hasattr(bottle.BaseRequest.query, "__get__")


def test_a_request_uses_the_server_s_name_port_user_and_address(bottle: Any) -> None:
    request = bottle.Request(
        {"SERVER_NAME": "h", "SERVER_PORT": "81", "REMOTE_USER": "u", "REMOTE_ADDR": "1.2.3.4"}
    )
    assert (request.url, request.auth) == ("http://h:81/", ("u", None))
    assert request.remote_addr == "1.2.3.4"
    request = bottle.Request(
        {"SERVER_NAME": "h", "SERVER_PORT": "80", "HTTP_TRANSFER_ENCODING": "Chunked"}
    )
    assert (request.url, request.chunked) == ("http://h/", True)


def test_a_request_can_store_attributes(bottle: Any) -> None:
    request = bottle.Request({})
    request.user = "me"
    request.computed = property(lambda self: self.method)
    assert (request.user, request.computed, request.copy().user) == ("me", "GET", "me")
    with pytest.raises(AttributeError):
        request.user = "you"
    with pytest.raises(AttributeError):
        request.query = "x"
    del request.user
    assert not hasattr(request, "user")
    with pytest.raises(AttributeError):
        del request.user
    request.environ = {"REQUEST_METHOD": "PUT"}
    assert request.method == "PUT"


def test_path_shift_moves_segments_to_the_script_name(bottle: Any, environ: dict[str, Any]) -> None:
    request = bottle.Request(environ)
    request.path_shift()
    assert (request.script_name, request.path) == ("/mount/a/", "/b")


def test_handlers_can_be_called_without_an_application(bottle: Any) -> None:
    bottle.request.bind({"QUERY_STRING": "a=1"})
    bottle.response.bind()
    bottle.response.status = 201
    assert (bottle.request.query.a, bottle.response.status_code) == ("1", 201)
    bottle.request.environ = {"QUERY_STRING": "a=2"}
    assert bottle.request.query.a == "2"
    bottle.request.bind()


def test_outside_handlers_the_importing_thread_has_a_request(bottle: Any) -> None:
    bottle.request.bind({})
    bottle.response.bind()
    bottle.response.status = 404
    bottle.response.set_header("X-A", "b")
    bottle.request.pie = "plum"
    assert (bottle.request.path, bottle.request.pie) == ("/", "plum")
    assert bottle.response.status_line == "404 Not Found"
    asked: list[object] = []

    def ask() -> None:
        for proxy, name in ((bottle.request, "path"), (bottle.response, "status")):
            try:
                getattr(proxy, name)
            except RuntimeError as error:
                asked.append(str(error)[:31])
        bottle.request.bind({"PATH_INFO": "/other"})
        bottle.response.bind(status=201)
        asked.extend((bottle.request.path, bottle.response.status_code))

    thread = Thread(target=ask)
    thread.start()
    thread.join(PATIENCE)
    assert asked == ["Request context not initialized"] * 2 + ["/other", 201]
    assert bottle.response.status_code == 404


@pytest.mark.processes
def test_a_new_process_has_a_request_immediately() -> None:
    program = "from micropie_compat import bottle; bottle.response.status = 404; print(bottle.request.path)"
    done = ended(sys.executable, "-c", program, environ=environment())
    assert (done.stdout, done.stderr) == ("/\n", "")


# the application closes the file with the request
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_chunked_body_joined_by_the_server_is_read() -> None:
    large = b"x" * 200_000
    request = ours.Request({"wsgi.input": io.BytesIO(large), "wsgi.input_terminated": True})
    assert request.body.read() == large
    with pytest.raises(ours.HTTPError, match="413"):
        request.forms  # noqa: B018
    request = ours.Request({"wsgi.input": io.BytesIO(b"a=1"), "CONTENT_LENGTH": "9"})
    assert request.forms.a == "1"
    request = ours.Request({"wsgi.input": io.BytesIO(b"")})
    assert request.forms.a == ""
    del request
    gc.collect()


def test_a_short_body_in_several_pieces_is_read(bottle: Any) -> None:
    class Pieces(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(3, size or 0))

    kind = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/json"}
    assert bottle.BaseRequest(
        {**kind, "CONTENT_LENGTH": "9", "wsgi.input": Pieces(b'{"a": 12}')}
    ).json == {"a": 12}
    form = {**kind, "CONTENT_TYPE": "application/x-www-form-urlencoded"}
    request = bottle.BaseRequest({**form, "CONTENT_LENGTH": "99", "wsgi.input": Pieces(b"a=1&b=2")})
    assert (request.forms.a, request.forms.b, request.body.read()) == ("1", "2", b"a=1&b=2")


@pytest.mark.parametrize("error", [ValueError, TypeError])
def test_a_program_may_replace_the_function_that_reads_json(
    bottle: Any, clients: Any, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def read(data: bytes) -> str:
        if data == b"bad":
            raise error
        return f"read {data!r}"

    monkeypatch.setattr(bottle, "json_loads", read, raising=False)
    app = bottle.Bottle()
    app.route("/", "POST", lambda: str(bottle.request.json))
    kind = {"Content-Type": "application/json"}
    for client in clients(app):
        assert client.post("/", content=b"{}", headers=kind).text == "read b'{}'"
        assert client.post("/", content=b"", headers=kind).text == "None"
        assert client.post("/", content=b"bad", headers=kind).status_code == 400


def test_a_json_body_that_is_too_long_gets_an_error(bottle: Any) -> None:
    length = bottle.BaseRequest.MEMFILE_MAX + 1
    kind = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(length),
    }
    with pytest.raises(bottle.HTTPError, match="413"):
        bottle.BaseRequest({**kind, "wsgi.input": io.BytesIO(b" " * length)}).json  # noqa: B018


def test_fields_that_are_not_utf_8_are_read_as_latin_1() -> None:
    request = ours.Request({"QUERY_STRING": "a=%e4&b=\u00c3\u00a4"})
    assert (request.query.a, request.query["b"]) == ("ä", "ä")


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (r"C:\pies\plum pie.txt", "plum pie.txt"),
        (r"\\host\pies\plum.txt", "plum.txt"),
        (r"C:\plum.txt", "plum.txt"),
        (r"pies\plum.txt", r"pies\plum.txt"),
        ("pies/C:plum.txt", "pies/C:plum.txt"),
    ],
)
def test_the_raw_name_of_an_upload_has_no_folders_of_a_drive(
    bottle: Any, sent: str, name: str
) -> None:
    head = f'--x\r\nContent-Disposition: form-data; name="f"; filename="{sent}"\r\n'
    form = f"{head}Content-Type: text/plain\r\n\r\n1\r\n--x--\r\n".encode()
    kind = {"CONTENT_TYPE": "multipart/form-data; boundary=x", "CONTENT_LENGTH": str(len(form))}
    request = bottle.Request({**kind, "wsgi.input": io.BytesIO(form), "REQUEST_METHOD": "POST"})
    upload = request.files.f
    upload.file.close()
    assert upload.raw_filename == name


def test_an_uploaded_file_is_saved(bottle: Any, tmp_path: Path) -> None:
    upload = bottle.FileUpload(
        io.BytesIO(b"content"), "name", "../Ünsafe näme.txt", {"content-type": "text/x"}
    )
    assert (upload.filename, upload.raw_filename) == ("Unsafe-name.txt", "../Ünsafe näme.txt")
    assert upload.name == "name"
    assert (upload.content_type, upload.content_length) == ("text/x", -1)
    assert upload.get_header("x", 1) == 1
    assert bottle.FileUpload(None, "n", "..").filename == "empty"
    upload.save(str(tmp_path))
    assert (tmp_path / "Unsafe-name.txt").read_bytes() == b"content"
    with pytest.raises(OSError, match="exists"):
        upload.save(str(tmp_path))
    upload.save(str(tmp_path), overwrite=True)
    upload.save(str(tmp_path / "other"))
    assert (tmp_path / "other").read_bytes() == b"content"
    target = io.BytesIO()
    upload.save(target)
    assert target.getvalue() == b"content"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_R33_an_upload_is_not_written_through_a_dangling_link(tmp_path: Path) -> None:
    """``exists()`` says no of it, as of a file that another request is about to make."""
    (tmp_path / "name.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="exists"):
        ours.FileUpload(io.BytesIO(b"content"), "name", "name.txt").save(str(tmp_path))
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_s_name_and_headers_can_be_set() -> None:
    upload = ours.FileUpload(io.BytesIO(), "n", "a")
    upload.filename = "b"
    upload.content_type = "text/x"
    assert (upload.filename, upload.content_type) == ("b", "text/x")
    del upload.content_type
    assert upload.content_type == ""


def test_a_response_s_status_can_be_set_as_a_number_or_a_line(bottle: Any) -> None:
    response = bottle.Response()
    assert (response.status, response.status_line) == ("200 OK", "200 OK")
    assert response.status_code == 200
    response.status = 404
    assert response.status_line == "404 Not Found"
    response.status = "404 Brain not found"
    assert (response.status_code, response.status) == (404, "404 Brain not found")
    response.status = 999
    assert response.status_line == "999 Unknown"
    for wrong in (99, 1000, "404", "4 \n", "x y"):
        with pytest.raises(ValueError):  # noqa: PT011
            response.status = wrong


def test_a_response_has_case_insensitive_headers_that_can_repeat(bottle: Any) -> None:
    response = bottle.Response("body", 201, [("x-a", "1")], X_B="2")
    response.add_header("X-A", "ä")
    assert ("x-a" in response, response["X-A"], response.get_header("x-none", 3)) == (True, "ä", 3)
    assert sorted(response.iter_headers()) == sorted(response.headerlist)
    assert ("X-A", "Ã¤") in response.headerlist
    response.content_type = "text/x; charset=latin9; a=b"
    assert (response.charset, response.content_length) == ("latin9", -1)
    assert list(response) == list("body")
    response.expires = 0
    assert response.expires == datetime(1970, 1, 1, tzinfo=UTC)
    response.content_length = 4
    assert response.content_length == 4
    del response["x-a"]
    del response.expires
    assert "X-A" not in response
    assert "X-B: 2" in repr(response)
    for content_type, sent in ((b"text/x", "text/x"), (None, "")):
        response.content_type = content_type
        assert response.content_type == sent
    response.status = 204
    assert not {"Content-Type", "Content-Length"} & set(dict(response.headerlist))
    assert bottle.BaseResponse.content_type is not None
    assert response.copy().headerlist == response.headerlist


def test_a_response_is_copied_and_closed(bottle: Any) -> None:
    body = io.BytesIO()
    response = bottle.HTTPResponse(body, 418)
    response.set_cookie("a", "b", path="/x")
    copy = response.copy(bottle.HTTPResponse)
    assert (type(copy), copy.status_code) == (bottle.HTTPResponse, 418)
    assert copy.headerlist == response.headerlist
    response.close()
    assert body.closed
    bottle.HTTPResponse().close()


def test_a_response_sets_cookies_with_all_attributes(bottle: Any) -> None:
    response = bottle.Response()
    response.set_cookie(
        "a", "b", maxage=3, same_site=None, secure=True, expires=datetime(2000, 1, 1)
    )
    response.set_cookie("b", "c", max_age=timedelta(minutes=1), httponly=False)
    text = str(dict(response.headerlist))
    cookies = [value for name, value in response.headerlist if name == "Set-Cookie"]
    assert cookies == [
        "a=b; expires=Sat, 01 Jan 2000 00:00:00 GMT; Max-Age=3; SameSite=none; Secure",
        "b=c; Max-Age=60",
    ], text
    for error, arguments in (
        (TypeError, ("a", 1)),
        (ValueError, ("a", "x" * 4000)),
        (CookieError, ("a b", "c")),
    ):
        with pytest.raises(error):
            response.set_cookie(*arguments)
    with pytest.raises(CookieError):
        response.set_cookie("a", "b", samesite="maybe")
    with pytest.raises(CookieError):
        response.set_cookie("a", "b", nonsense="maybe")


def cookie_of(response: Any) -> str:
    return next(value for name, value in response.headerlist if name == "Set-Cookie").partition(
        ";"
    )[0]


VALUES = [
    "text",
    "ä",
    3,
    None,
    True,
    2.5,
    b"bytes",
    ["a", {"b": (1, 2)}],
    {1, 2},
    datetime(2000, 1, 1),
    timedelta(1),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize(
    ("writer", "reader"),
    [(ours, original), (original, ours), (ours, ours)],
    ids=["read there", "from there", "here"],
)
def test_signed_cookies_are_read_by_both_frameworks(writer: Any, reader: Any, value: Any) -> None:
    response = writer.Response()
    response.set_cookie("name", value, secret="key")
    request = reader.Request({"HTTP_COOKIE": cookie_of(response)})
    assert request.get_cookie("name", secret="key") == value
    assert request.get_cookie("name", secret=b"key") == value
    assert request.get_cookie("name", "default", secret="other") == "default"
    assert request.get_cookie("other", "default", secret="key") == "default"


def test_reading_a_signed_cookie_imports_no_class(caplog: pytest.LogCaptureFixture) -> None:
    response = original.Response()
    with pytest.warns(DeprecationWarning, match="Pickling"):
        response.set_cookie("name", Colour(), secret="key")
    request = ours.Request({"HTTP_COOKIE": cookie_of(response)})
    assert request.get_cookie("name", "default", secret="key") == "default"
    assert "store numbers, text, dates, lists" in caplog.text


@pytest.mark.parametrize(
    "content", [b"\x80\x04K\x01.", b"\x80\x04N.", b"\x80\x04(K\x01K\x02K\x03l.", b"."]
)
def test_a_signed_cookie_of_another_format_is_ignored(content: bytes) -> None:
    data = base64.b64encode(content)
    signature = base64.b64encode(hmac.digest(b"key", data, "sha256"))
    request = ours.Request({"HTTP_COOKIE": f"name=!{signature.decode()}?{data.decode()}"})
    assert request.get_cookie("name", "default", secret="key") == "default"


def test_a_signed_cookie_is_only_valid_under_its_name(bottle: Any) -> None:
    response = bottle.Response()
    response.set_cookie("one", "1", secret="key")
    request = bottle.Request({"HTTP_COOKIE": "two" + cookie_of(response)[3:]})
    assert request.get_cookie("two", secret="key") is None


@pytest.mark.parametrize("value", ["", "plain", "!a", "a?b", "!é?b", "!?"])
def test_an_unsigned_cookie_is_never_unpickled(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micropie_compat.plain.loads", pytest.fail)
    request = ours.Request({"HTTP_COOKIE": f"name={value}"})
    assert request.get_cookie("name", "default", secret="key") == "default"


def test_a_broken_cookie_does_not_hide_the_others() -> None:
    request = ours.Request({"HTTP_COOKIE": "a=1; b\x01=2; c=3; $Path=x"})
    assert (request.get_cookie("a"), request.get_cookie("c")) == ("1", "3")
    assert request.get_cookie("none", "no") == "no"
    assert ours.Request({"HTTP_COOKIE": "a=1; expires=2; x"}).get_cookie("expires") == "2"
