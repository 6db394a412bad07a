"""Helpers of Bottle that programs use without being meant to, and that the original lends: it passes
each test as well.
"""

from __future__ import annotations

from http import HTTPStatus
from io import BytesIO
from typing import Any

import pytest

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xc3\xa4\r\n'
    b'--x\r\nContent-Disposition: form-data; name="f"; filename="n.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\n12345\r\n--x--\r\n"
)


def test_a_header_is_parsed_as_a_list_of_elements(bottle: Any) -> None:
    read = bottle._parse_http_header
    found = read('a/b;Q="x, \\"y\\";z" ; n = 1, c')
    assert found == [("a/b", {"q": 'x, "y";z', "n": "1"}), ("c", {})]
    assert read('"a;b",c') == [("a;b", {}), ("c", {})]


def test_groups_in_expressions_are_not_captured(bottle: Any) -> None:
    assert bottle._re_flatten(r"(a)(?:b)(?P<n>c)\(d\)") == r"(?:a)(?:b)(?:c)\(d\)"


def test_the_multipart_parser_returns_fields_and_files(bottle: Any) -> None:
    field, file = bottle._MultipartParser(
        BytesIO(FORM), "x", memfile_limit=4, charset="utf8"
    ).parse()
    assert (field.name, field.value, field.raw) == ("a", "ä", b"\xc3\xa4")
    assert (field.filename, field.content_type, field.is_buffered()) == (None, None, True)
    assert (file.name, file.value, file.filename) == ("f", "12345", "n.txt")
    assert (file.content_type, file.is_buffered()) == ("text/plain", False)
    assert file.file.read() == b"12345"
    opened = field.file, file.file
    field.close()
    file.close()
    assert [each.closed for each in opened] == [True, True]


@pytest.mark.parametrize("boundary", [None, "", "y"])
def test_an_invalid_form_raises_an_error(bottle: Any, boundary: Any) -> None:
    with pytest.raises(bottle.MultipartError):
        list(bottle._MultipartParser(BytesIO(FORM), boundary).parse())


def test_a_program_raises_an_error_for_a_form_by_its_message(bottle: Any) -> None:
    error = bottle.MultipartError("No boundary.")
    assert (error.status_code, error.body) == (400, "MultipartError: No boundary.")


def test_small_helpers_are_those_of_the_original(bottle: Any) -> None:
    assert bottle._lscmp("a", "a")
    assert not bottle._lscmp("a", "b")
    assert bottle._hkey("content_type") == "Content-Type"
    with pytest.raises(ValueError, match="control"):
        bottle._hval("a\nb")
    assert b"".join(bottle._rangeiter(BytesIO(b"0123456789"), 2, 5)) == b"23456"


def test_a_handler_may_return_the_original_s_file_wrapper(bottle: Any, clients: Any) -> None:
    app = bottle.Bottle()
    app.route("/", callback=lambda: bottle.WSGIFileWrapper(BytesIO(b"abc"), 2))
    assert [client.get("/").content for client in clients(app)] == [b"abc"] * len(clients(app))


def test_a_program_may_set_the_line_of_a_status(
    bottle: Any, clients: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bottle._HTTP_STATUS_LINES, 429, "429 Slow down")
    monkeypatch.setitem(bottle._HTTP_STATUS_LINES, 499, "499 Client closed")
    app = bottle.Bottle()

    @app.get("/set/<status:int>")
    def set_status(status: int) -> str:
        bottle.response.status = status
        return str(bottle.response.status_line)

    @app.get("/raised/<status:int>")
    def raised(status: int) -> None:
        bottle.abort(status)

    app.route("/returned", callback=lambda: bottle.HTTPResponse("x", HTTPStatus.TOO_MANY_REQUESTS))
    for number, client in enumerate(clients(app)):  # the first one by WSGI
        for path, line in (
            ("/set/429", "429 Slow down"),
            ("/set/499", "499 Client closed"),
            ("/set/498", "498 Unknown"),
            ("/set/404", "404 Not Found"),
            ("/raised/499", "499 Client closed"),
            ("/returned", "429 Slow down"),
        ):
            response = client.get(path)
            assert response.status_code == int(line[:3])
            assert response.text == line or not path.startswith("/set")
            assert number or response.reason_phrase == line[4:]
