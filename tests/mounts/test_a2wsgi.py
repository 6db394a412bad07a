"""What goes wrong in bridges, asked of ours and of a2wsgi for comparison; what that is known to
fail is listed here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import a2wsgi
import pytest

from micropie import App
from micropie.testing import TestClient
from tests.support.waiting import until


def text_head(start_response: Any) -> None:
    start_response("200 OK", [("Content-Type", "text/plain")])


def one_thread(client: Callable[[Any], TestClient]) -> None:
    threads: set[int] = set()

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            for chunk in (b"a", b"b", b"c"):
                threads.add(threading.get_ident())
                yield chunk

        def close(self) -> None:
            threads.add(threading.get_ident())

    def app(environ: Any, start_response: Any) -> Any:
        threads.add(threading.get_ident())
        text_head(start_response)
        return Chunks()

    assert client(app).get("/m").text == "abc"
    assert len(threads) == 1


def no_start_response(client: Callable[[Any], TestClient]) -> None:
    assert client(lambda environ, start_response: [b"a"]).get("/m").status_code == 500


def start_response_twice(client: Callable[[Any], TestClient]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        text_head(start_response)
        return [b"a"]

    assert client(app).get("/m").status_code == 500


def late_start_response(client: Callable[[Any], TestClient]) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        text_head(start_response)
        yield b"late"

    assert client(app).get("/m").text == "late"


def write_before_the_iterable(client: Callable[[Any], TestClient]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])(b"1")
        return [b"2"]

    assert client(app).get("/m").text == "12"


def headers_with_underscores(client: Callable[[Any], TestClient]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        return [repr(sorted(environ)).encode()]

    assert "X_EVIL" not in client(app).get("/m", headers={"X_Evil": "1"}).text


def header_proxy(client: Callable[[Any], TestClient]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        return [repr(sorted(environ)).encode()]

    assert "HTTP_PROXY" not in client(app).get("/m", headers={"Proxy": "1"}).text


def lines_of_a_chunked_body(client: Callable[[Any], TestClient]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        body = environ["wsgi.input"]
        return [body.readline(10) + b"|" + b"|".join(body)]

    assert client(app).post("/m", content=iter([b"a\nb", b"\nc"])).text == "a\n|b\n|c"


def path_that_is_no_utf8(client: Callable[[Any], TestClient]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        return [environ["PATH_INFO"].encode("latin-1")]

    assert client(app).get("/m/%FF").content == b"/\xff"


def status_without_a_reason(client: Callable[[Any], TestClient]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200", [("Content-Type", "text/plain")])
        return [b"a"]

    assert client(app).get("/m").text == "a"


def close_of_an_empty_iterable(client: Callable[[Any], TestClient]) -> None:
    closed: list[bool] = []

    class Chunks(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Any:
        text_head(start_response)
        return Chunks()

    assert client(app).get("/m").content == b""
    until(lambda: closed)  # ours is closed when the client has its answer
    assert closed == [True]


CASES = [
    one_thread,
    no_start_response,
    start_response_twice,
    late_start_response,
    write_before_the_iterable,
    headers_with_underscores,
    header_proxy,
    lines_of_a_chunked_body,
    path_that_is_no_utf8,
    status_without_a_reason,
    close_of_an_empty_iterable,
]
KNOWN = {
    start_response_twice,
    headers_with_underscores,
    header_proxy,
    lines_of_a_chunked_body,
    path_that_is_no_utf8,
    status_without_a_reason,
}


def client_of(target: Any) -> TestClient:
    app = App()
    app.mount("/m", target)
    return TestClient(app, raise_app_exceptions=False)


@pytest.mark.parametrize("case", CASES)
def test_R74_our_bridge(case: Any) -> None:
    case(client_of)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.xfail(strict=True)] if case in KNOWN else [])
        for case in CASES
    ],
)
def test_R74_a2wsgi(case: Any) -> None:
    case(lambda target: client_of(a2wsgi.WSGIMiddleware(target)))
