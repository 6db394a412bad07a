"""Compress: which answers, for which clients, with which headers; and streams are never delayed."""

from __future__ import annotations

import gzip
import io
import random
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import brotli
import pytest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from micropie import App, HTTPError, HttpMiddleware, Request, Response, SetupError, static_file
from micropie.middleware import Compress
from micropie.middleware.codings import maker_of
from micropie.middleware.compress import _Compressed
from micropie.testing import make_request
from tests.support.clients import MakeClient
from tests.support.content_codings import READ

TEXT = "All work and no play makes Jack a dull boy. " * 50


class Root(App):
    """`index` answers what the test puts into `answer`, or what that returns."""

    answer: Any = TEXT

    def index(self) -> Any:
        return self.answer() if callable(self.answer) else self.answer

    def fails(self) -> Any:
        raise HTTPError(404, TEXT)

    def generator(self) -> Iterator[str]:
        yield from (TEXT[start : start + 100] for start in range(0, len(TEXT), 100))

    async def async_generator(self) -> AsyncIterator[str]:
        for start in range(0, len(TEXT), 100):
            await anyio.lowlevel.checkpoint()
            yield TEXT[start : start + 100]

    def ticks(self) -> Iterator[str]:
        yield "tick"
        self.seen.wait(30)
        yield "tock"

    async def ticks_too(self) -> AsyncIterator[str]:
        yield "tick"
        await anyio.to_thread.run_sync(self.seen.wait, 10)
        yield "tock"

    def says_late(self, name: str, value: str) -> Iterator[str]:
        self.response.headers[name] = value
        self.response.headers["X-Late"] = "1"
        yield TEXT
        yield TEXT

    async def says_late_too(self, name: str, value: str) -> AsyncIterator[str]:
        self.response.headers[name] = value
        self.response.headers["X-Late"] = "1"
        yield TEXT
        await anyio.lowlevel.checkpoint()
        yield TEXT

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()


def compressing(answer: Any = TEXT, **options: Any) -> Root:
    app = Root()
    app.answer = answer
    app.middlewares.append(Compress(**options))
    return app


def raw(
    client: Any, path: str = "/", method: str = "GET", encoding: str | None = "gzip"
) -> tuple[Any, bytes]:
    """The answer, and its body as it was sent."""
    headers = {} if encoding is None else {"Accept-Encoding": encoding}
    client.headers.pop("accept-encoding", None)
    with client.stream(method, path, headers=headers) as answer:
        return answer, b"".join(answer.iter_raw())


def is_gzip(answer: Any) -> bool:
    return "gzip" in answer.headers.get_list("content-encoding")


# -- what is compressed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        (TEXT, TEXT.encode()),
        (TEXT.encode(), TEXT.encode()),
        ({"text": TEXT}, b'{"text":"' + TEXT.encode() + b'"}'),
        (bytearray(TEXT.encode()) * 50, TEXT.encode() * 50),  # more than is compressed inline
        (["x" * 100_000], b'["' + b"x" * 100_000 + b'"]'),
    ],
)
def test_a_whole_body_is_compressed(make_client: MakeClient, body: Any, plain: bytes) -> None:
    client = make_client(compressing(body))
    for _ in range(2):
        answer, sent = raw(client)
        assert gzip.decompress(sent) == plain
        assert len(sent) == int(answer.headers["content-length"]) < len(plain)
        assert (is_gzip(answer), answer.headers["vary"]) == (True, "Accept-Encoding")
    kind = "application/json" if isinstance(body, dict | list) else "text/html; charset=utf-8"
    assert answer.headers["content-type"] == kind


@pytest.mark.parametrize("path", ["/generator", "/async_generator"])
def test_a_stream_is_compressed(make_client: MakeClient, path: str) -> None:
    answer, sent = raw(make_client(compressing()), path)
    assert (gzip.decompress(sent).decode(), is_gzip(answer)) == (TEXT, True)
    seen = ("content-length" in answer.headers, answer.headers["vary"])
    assert seen == (False, "Accept-Encoding")


@pytest.mark.parametrize("path", ["/generator", "/async_generator"])
@pytest.mark.parametrize("types", [["text/*"], ["image/*"]])
def test_a_stream_is_compressed_once(make_client: MakeClient, path: str, types: list[str]) -> None:
    app: Any = compressing()
    app.inner = compressing(types=types)
    answer, sent = raw(make_client(app), f"/inner{path}")
    assert (gzip.decompress(sent).decode(), answer.headers["content-encoding"]) == (TEXT, "gzip")
    assert answer.headers["vary"] == "Accept-Encoding"


def test_an_open_file_is_compressed(make_client: MakeClient) -> None:
    answer, sent = raw(make_client(compressing(lambda: io.BytesIO(TEXT.encode() * 100))))
    assert (gzip.decompress(sent), is_gzip(answer)) == (TEXT.encode() * 100, True)


def test_a_file_with_a_length_and_an_etag_is_compressed(make_client: MakeClient) -> None:
    def file() -> Response:
        headers = {"Content-Length": str(len(TEXT)), "ETag": '"abc"', "Accept-Ranges": "bytes"}
        return Response(io.BytesIO(TEXT.encode()), headers=headers, content_type="text/css")

    client = make_client(compressing(file))
    answer, sent = raw(client)
    assert gzip.decompress(sent).decode() == TEXT
    assert (answer.headers["etag"], answer.headers["content-type"]) == ('W/"abc"', "text/css")
    assert not {"content-length", "accept-ranges"} & set(answer.headers)
    answer, sent = raw(client, encoding="compress")
    seen = (sent.decode(), answer.headers["etag"], answer.headers["content-length"])
    assert seen == (TEXT, '"abc"', str(len(TEXT)))
    assert (answer.headers["vary"], answer.headers["accept-ranges"]) == ("Accept-Encoding", "bytes")


@pytest.mark.parametrize("make_body", [lambda: TEXT, lambda: io.BytesIO(TEXT.encode())])
def test_a_digest_of_the_uncompressed_bytes_is_left_out(
    make_client: MakeClient, make_body: Callable[[], object]
) -> None:
    digests = {"content-digest": "sha-256=:x:", "repr-digest": "sha-256=:x:"}
    digests |= {"digest": "sha-256=x", "content-md5": "x"}
    client = make_client(compressing(lambda: Response(make_body(), headers=digests)))
    assert not digests.keys() & raw(client)[0].headers.keys()
    assert digests.keys() <= raw(client, encoding="compress")[0].headers.keys()


@pytest.mark.parametrize(
    ("name", "is_compressed"), [("a.png", False), ("a.css", True), ("a.pie", True), ("a.x", False)]
)
@pytest.mark.parametrize("states_type", [False, True])
def test_a_file_that_the_client_has_keeps_its_etag_unless_it_was_compressed(
    make_client: MakeClient, tmp_path: Path, name: str, is_compressed: bool, states_type: bool
) -> None:
    """With a weak ETag, a client can't resume the download of a video (RFC 9110, 13.1.5)."""
    (tmp_path / name).write_bytes(b"x" * 1000)
    app = App(file_types={".pie": "text/x-pie"})
    app.static("/static", tmp_path, content_type="text/css" if states_type else None)
    app.middlewares.append(Compress())
    client = make_client(app)
    whole, _ = raw(client, f"/static/{name}")
    headers = {"Accept-Encoding": "gzip", "If-None-Match": whole.headers["etag"]}
    again = client.get(f"/static/{name}", headers=headers)
    is_compressed = is_compressed or states_type
    for answer, status in ((whole, 200), (again, 304)):
        found = (answer.status_code, answer.headers["etag"][0], "vary" in answer.headers)
        assert found == (status, "W" if is_compressed else '"', is_compressed)
    assert "content-type" not in again.headers


@pytest.mark.parametrize("size", [1000, 1_000_000])
@pytest.mark.parametrize("cached", [False, True])
def test_a_static_file_is_compressed(
    make_client: MakeClient, tmp_path: Path, size: int, cached: bool
) -> None:
    (tmp_path / "a.css").write_bytes(b"x" * size)
    (tmp_path / "a.png").write_bytes(b"x" * size)
    app = Root()
    app.static("/static", tmp_path, cached=cached)
    app.middlewares.append(Compress())
    client = make_client(app)
    answer, sent = raw(client, "/static/a.css")
    assert (gzip.decompress(sent), is_gzip(answer)) == (b"x" * size, True)
    assert answer.headers["etag"].startswith('W/"')
    assert not {"accept-ranges"} & set(answer.headers)
    for path, encoding in (("a.css", "compress"), ("a.png", "gzip")):
        plain, sent = raw(client, f"/static/{path}", encoding=encoding)
        seen = (len(sent), plain.headers["content-length"], is_gzip(plain))
        assert seen == (size, str(size), False)
        assert (plain.headers["etag"][0], "vary" in plain.headers) == ('"', path == "a.css")
    head, _ = raw(client, "/static/a.css", "HEAD")
    unknown = {"content-length"}  # not known without compressing
    found = {name: answer.headers[name] for name in answer.headers.keys() - unknown}
    assert found == {name: head.headers[name] for name in head.headers.keys() - unknown}
    for etag in (answer.headers["etag"], answer.headers["etag"].removeprefix("W/")):
        headers = {"Accept-Encoding": "gzip", "If-None-Match": etag}
        again = client.get("/static/a.css", headers=headers)
        assert (again.status_code, again.headers["etag"]) == (304, answer.headers["etag"])
        assert again.headers["vary"] == "Accept-Encoding"
    part = client.get("/static/a.css", headers={"Accept-Encoding": "gzip", "Range": "bytes=0-599"})
    assert (part.status_code, part.content, is_gzip(part)) == (206, b"x" * 600, False)
    assert part.headers["vary"] == "Accept-Encoding"
    headers = {"Accept-Encoding": "compress", "Range": "bytes=0-599"}
    part = client.get("/static/a.css", headers=headers)
    assert (part.status_code, part.headers["vary"]) == (206, "Accept-Encoding")


def test_the_file_of_an_inner_hook_is_compressed(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "closed.html").write_text(TEXT)

    def closed(_: Request) -> Iterator[object]:
        yield None
        yield static_file("closed.html", root=tmp_path)

    app = compressing()
    app.middlewares.append(closed)
    answer, sent = raw(make_client(app))
    assert (gzip.decompress(sent).decode(), is_gzip(answer)) == (TEXT, True)


def test_a_short_static_file_is_not_compressed(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "a.css").write_bytes(b"x" * 499)
    app = Root()
    app.static("/static", tmp_path)
    app.middlewares.append(Compress())
    client = make_client(app)
    for method in ("GET", "HEAD"):
        answer, _ = raw(client, "/static/a.css", method)
        seen = (answer.headers["content-length"], is_gzip(answer), "vary" in answer.headers)
        assert seen == ("499", False, False)


def test_an_error_page_is_compressed(make_client: MakeClient) -> None:
    answer, sent = raw(make_client(compressing()), "/fails")
    assert (answer.status_code, gzip.decompress(sent).decode()) == (404, TEXT)


@pytest.mark.parametrize("path", ["/", "/generator", "/async_generator"])
@pytest.mark.parametrize("encoding", ["gzip", "compress"])
def test_R8_head_has_the_headers_of_get(make_client: MakeClient, path: str, encoding: str) -> None:
    client = make_client(compressing())
    (got, _), (head, sent) = (raw(client, path, method, encoding) for method in ("GET", "HEAD"))
    assert (dict(head.headers), sent) == (dict(got.headers), b"")


@pytest.mark.parametrize("content_type", [
    "text/plain", "TEXT/CSS; charset=utf-8", "application/json", "application/problem+json",
    "application/javascript", "image/svg+xml", "application/wasm", "application/xhtml+xml",
])  # fmt: skip
def test_compressible_types_are_compressed(make_client: MakeClient, content_type: str) -> None:
    client = make_client(compressing((200, TEXT, {"Content-Type": content_type})))
    assert is_gzip(raw(client)[0])


@pytest.mark.parametrize("content_type", [
    "image/png", "video/mp4", "application/zip", "application/octet-stream", "text/event-stream",
    "font/woff2", "x",
])  # fmt: skip
@pytest.mark.parametrize("body", [TEXT, lambda: iter([TEXT])])
def test_R65_other_types_and_event_streams_are_not_compressed(
    make_client: MakeClient, content_type: str, body: Any
) -> None:
    def typed() -> Response:
        return Response(body() if callable(body) else body, content_type=content_type)

    answer, sent = raw(make_client(compressing(typed)))
    text = sent.decode().removeprefix(": \n\n")  # with the head of a stream of events
    assert (text, is_gzip(answer), "vary" in answer.headers) == (TEXT, False, False)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content-Encoding": "compress"}),
        (200, {"Content-Encoding": "identity"}),
        (200, {"Cache-Control": "public, No-Transform"}),
        (206, {"Content-Range": "bytes 0-2199/5000", "Content-Type": "image/png"}),
        (206, {"Content-Range": "bytes 0-2199/5000", "Cache-Control": "no-transform"}),
    ],
)
def test_already_encoded_and_special_responses_are_not_compressed(
    make_client: MakeClient, status: int, headers: dict[str, str]
) -> None:
    answer, sent = raw(make_client(compressing((status, TEXT, headers))))
    assert (sent.decode(), "vary" in answer.headers) == (TEXT, False)
    assert answer.headers.get("content-encoding") == headers.get("Content-Encoding")


@pytest.mark.parametrize("content_type", ["text/css", "multipart/byteranges; boundary=x"])
def test_partial_responses_vary_like_the_whole(make_client: MakeClient, content_type: str) -> None:
    headers = {"Content-Range": "bytes 0-2199/5000", "Content-Type": content_type}
    client = make_client(compressing((206, TEXT, headers)))
    answer, sent = raw(client)
    seen = (sent.decode(), is_gzip(answer), answer.headers["vary"])
    assert seen == (TEXT, False, "Accept-Encoding")


def test_R9_an_empty_response_is_not_compressed(make_client: MakeClient) -> None:
    answer, sent = raw(make_client(compressing((204, TEXT))))
    assert (sent, is_gzip(answer), "vary" in answer.headers) == (b"", False, False)


@pytest.mark.parametrize(("size", "expected"), [(499, False), (500, True)])
def test_small_bodies_are_uncompressed(make_client: MakeClient, size: int, expected: bool) -> None:
    answer, _ = raw(make_client(compressing("x" * size)))
    assert (is_gzip(answer), "vary" in answer.headers) == (expected, expected)


@pytest.mark.parametrize(("size", "expected"), [(499, False), (500, True)])
def test_short_streams_with_a_length_are_not_compressed(
    make_client: MakeClient, size: int, expected: bool
) -> None:
    app = compressing(lambda: (200, iter(["x" * size]), {"Content-Length": str(size)}))
    answer, sent = raw(make_client(app))
    assert is_gzip(answer) is expected
    assert len(sent) == size or expected


def test_an_invalid_length_is_ignored(make_client: MakeClient) -> None:
    app = compressing(lambda: (200, iter(["x"]), {"Content-Length": "unknown"}))
    assert is_gzip(raw(make_client(app))[0])


def test_a_body_that_would_not_get_smaller_is_sent_unchanged(make_client: MakeClient) -> None:
    body = random.Random(1).randbytes(1000)
    answer, sent = raw(make_client(compressing(body)))
    assert (sent, is_gzip(answer), answer.headers["vary"]) == (body, False, "Accept-Encoding")


async def no_chunks() -> AsyncIterator[str]:
    for chunk in list[str]():
        yield chunk


@pytest.mark.parametrize("stream", [lambda: iter(()), no_chunks], ids=["sync", "async"])
def test_a_stream_without_chunks_is_empty(make_client: MakeClient, stream: Any) -> None:
    answer, sent = raw(make_client(compressing(stream)))
    assert (sent, is_gzip(answer)) == (b"", False)


def test_the_compressed_types_can_be_changed(make_client: MakeClient) -> None:
    class Serving(Root):
        def typed(self, kind: str) -> Any:
            return 200, TEXT, {"Content-Type": kind}

        def data(self) -> Any:
            return {"text": TEXT}

    app = Serving()
    app.middlewares.append(Compress(types=["application/json", "*+cbor", "model/*"]))
    client = make_client(app)
    kinds = {
        kind: is_gzip(raw(client, f"/typed?kind={kind}")[0])
        for kind in ("text/html", "a/b%2Bcbor", "model/obj", "a/cbor")
    }
    assert kinds == {"text/html": False, "a/b%2Bcbor": True, "model/obj": True, "a/cbor": False}
    assert is_gzip(raw(client, "/data")[0])
    assert not is_gzip(raw(client, "/generator")[0])


@pytest.mark.parametrize("body", [TEXT, TEXT * 50])
def test_the_compression_level_is_used(make_client: MakeClient, body: str) -> None:
    quick, small = (raw(make_client(compressing(body, level=level)))[1] for level in (1, 9))
    assert len(quick) > len(small)


# -- which clients ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("x-gzip", True),
        ("GZip", True),
        ("gzip, deflate, compress", True),
        ("deflate;q=0.5,gzip ; q=0.5", True),
        ("compress;q=1.0, gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0, br;q=0, zstd;q=0, *", False),
        ("br;q=0, zstd;q=0, *", True),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("compress", False),
        ("identity", False),
        ("identity;q=0, gzip;q=0.1", True),
        ("identity;q=0", False),
        ("identity;q=0.5, gzip;q=0.4", False),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("gzip;q=2", False),
        ("gzip;q=nan", False),
        ("gzip;level=9", False),
        ("gzip;", False),
        ("gzip;q=1;q=0", False),
        ("gzip;q=0.1234", True),
        ("gzipx, xgzip", False),
        (",,gzip,,", True),
        ("gzip;\tq=1", True),
    ],
)
def test_clients_that_accept_gzip_get_it(
    make_client: MakeClient, encoding: str | None, expected: bool
) -> None:
    client = make_client(compressing())
    for path in ("/", "/generator"):
        answer, sent = raw(client, path, encoding=encoding)
        assert (is_gzip(answer), answer.headers["vary"]) == (expected, "Accept-Encoding")
        assert (gzip.decompress(sent) if expected else sent).decode() == TEXT


# -- headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("etag", "expected"),
    [('"abc"', 'W/"abc"'), ('W/"abc"', 'W/"abc"'), ("abc", "abc"), (None, None)],
)
def test_a_strong_etag_becomes_weak_when_compressed(
    make_client: MakeClient, etag: str | None, expected: str | None
) -> None:
    client = make_client(compressing((200, TEXT, {} if etag is None else {"etag": etag})))
    assert raw(client)[0].headers.get_list("etag") == ([] if expected is None else [expected])
    assert raw(client, encoding="compress")[0].headers.get("etag") == etag


@pytest.mark.parametrize("size", [499, 500])
def test_a_304_has_the_etag_that_the_client_s_copy_has(
    make_client: MakeClient, tmp_path: Path, size: int
) -> None:
    (tmp_path / "a.css").write_bytes(b"x" * size)
    app = App()
    app.static("/static", tmp_path)

    @app.get("/page")
    def page() -> str | None:
        return None if app.request.not_modified(etag="1") else "x" * size

    app.middlewares.append(Compress())
    client = make_client(app)
    for path in ("/page", "/static/a.css"):
        whole, _ = raw(client, path)
        etag = whole.headers["etag"]
        headers = {"Accept-Encoding": "gzip", "If-None-Match": f'"other", {etag}'}
        again = client.get(path, headers=headers)
        assert (again.status_code, again.headers["etag"]) == (304, etag)
        assert etag.startswith('"') == (size < 500)
    headers = {"Accept-Encoding": "gzip", "Range": "bytes=0-9"}
    part = client.get("/static/a.css", headers=headers)
    for answer in (whole, again, part):
        assert ("vary" in answer.headers) == (size == 500)
    assert part.status_code == 206
    unknown = client.get("/page", headers={"Accept-Encoding": "gzip", "If-None-Match": "*"})
    assert (unknown.status_code, unknown.headers["etag"]) == (304, 'W/"1"')


def test_a_304_has_the_headers_of_the_200(make_client: MakeClient) -> None:
    client = make_client(compressing((304, None, {"ETag": '"abc"'})))
    answer, _ = raw(client)
    seen = (answer.headers["etag"], answer.headers["vary"], is_gzip(answer))
    assert seen == ('W/"abc"', "Accept-Encoding", False)
    answer, _ = raw(client, encoding="compress")
    assert (answer.headers["etag"], answer.headers["vary"]) == ('"abc"', "Accept-Encoding")
    client = make_client(compressing((304, None, {"ETag": '"abc"', "Content-Type": "image/png"})))
    answer, _ = raw(client)
    assert (answer.headers["etag"], "vary" in answer.headers) == ('"abc"', False)


@pytest.mark.parametrize(
    ("vary", "expected"), [("Cookie", ["Cookie", "Accept-Encoding"]), ("*", ["*"])]
)
def test_accept_encoding_is_added_to_vary(
    make_client: MakeClient, vary: str, expected: list[str]
) -> None:
    client = make_client(compressing((200, TEXT, {"Vary": vary})))
    assert raw(client)[0].headers.get_list("vary") == expected


def test_R10_an_author_s_length_is_not_sent_with_a_compressed_body(make_client: MakeClient) -> None:
    answer, sent = raw(make_client(compressing((200, TEXT, {"Content-Length": "5"}))))
    assert len(sent) == int(answer.headers["content-length"]) != 5
    assert gzip.decompress(sent).decode() == TEXT


def test_R17_compressing_a_shared_response_does_not_change_it(make_client: MakeClient) -> None:
    response = Response(TEXT, headers={"ETag": '"abc"'})
    client = make_client(compressing(response))
    for _ in range(2):
        answer, sent = raw(client)
        assert (gzip.decompress(sent).decode(), answer.headers["etag"]) == (TEXT, 'W/"abc"')
    assert (response.body, response.headers.items()) == (TEXT, [("ETag", '"abc"')])


@pytest.mark.parametrize("path", ["/says_late", "/says_late_too"])
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Content-Encoding", "compress", False),
        ("Content-Type", "text/event-stream", False),
        ("Content-Type", "image/png", False),
        ("Cache-Control", "no-transform", False),
        ("Content-Type", "text/plain", True),
        ("Vary", "Cookie", True),
    ],
)
@pytest.mark.parametrize("encoding", ["gzip", "compress"])
def test_headers_set_by_a_generator_before_its_first_chunk_count(
    make_client: MakeClient, path: str, name: str, value: str, expected: bool, encoding: str
) -> None:
    client = make_client(compressing())
    answer, sent = raw(client, f"{path}?name={name}&value={value}", encoding=encoding)
    assert is_gzip(answer) is (expected and encoding == "gzip")
    assert (gzip.decompress(sent) if is_gzip(answer) else sent).decode() == TEXT * 2
    varies = ["Accept-Encoding"] if expected else []
    assert answer.headers.get_list("vary") == (["Cookie", *varies] if name == "Vary" else varies)
    charset = "; charset=utf-8" if value.startswith("text/") else ""
    assert name == "Vary" or answer.headers[name] == f"{value}{charset}"
    assert answer.headers["x-late"] == "1"


def test_headers_set_by_a_hook_on_the_response_count(make_client: MakeClient) -> None:
    class Sets(HttpMiddleware):
        def after_request(self, request: Any, *_: Any) -> None:
            request.response.headers["Cache-Control"] = "no-transform"
            request.response.set_cookie("a", "1")

    app = compressing()
    app.middlewares.append(Sets())
    answer, sent = raw(make_client(app))
    seen = (sent.decode(), is_gzip(answer), len(answer.headers.get_list("set-cookie")))
    assert seen == (TEXT, False, 1)


def test_the_session_and_outer_hooks_may_still_change_headers(make_client: MakeClient) -> None:
    class Outside(HttpMiddleware):
        def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
            headers.append(("X-Encoded", dict(headers)["Content-Encoding"]))

    class Counting(Root):
        def index(self) -> Any:
            self.request.session["n"] = 1
            return TEXT

    app = Counting()
    app.middlewares += [Outside(), Compress()]
    answer, sent = raw(make_client(app))
    assert (gzip.decompress(sent).decode(), answer.headers["x-encoded"]) == (TEXT, "gzip")
    assert answer.headers.get_list("vary") == ["Accept-Encoding", "Cookie"]
    assert answer.headers["cache-control"] == "private"


# -- streams ---------------------------------------------------------------------------------------


def test_a_stream_of_chunks_of_any_size_is_compressed(make_client: MakeClient) -> None:
    sizes = [0, 1, 0, 100_000, 3, 0]

    class Many(Root):
        def sync(self) -> Iterator[bytes]:
            yield from (b"x" * size for size in sizes)

        async def asynchronous(self) -> AsyncIterator[bytes]:
            for size in sizes:
                yield b"x" * size

    app = Many()
    app.middlewares.append(Compress())
    client = make_client(app)
    for path in ("/sync", "/asynchronous"):
        assert gzip.decompress(raw(client, path)[1]) == b"x" * sum(sizes)


def test_a_long_body_is_compressed_in_a_worker_thread(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    middleware = Compress()
    compress = middleware._whole

    def whole(response: Response, body: bytes, coding: str) -> Response:
        threads.append(threading.current_thread().name)
        return compress(response, body, coding)

    monkeypatch.setattr(middleware, "_whole", whole)

    class Both(App):
        async def short(self) -> Any:
            return TEXT

        async def long(self) -> Any:
            threads.append(threading.current_thread().name)
            return TEXT * 50

    app = Both()
    app.middlewares.append(middleware)
    client = connect(app, "asyncio")
    assert all(is_gzip(raw(client, path)[0]) for path in ("/short", "/long"))
    in_line, loop, in_thread = threads
    assert (in_line == loop, in_thread == loop) == (True, False)


@pytest.mark.parametrize("path", ["/empty_first", "/empty_first_too"])
def test_headers_may_be_set_until_a_chunk_has_content(make_client: MakeClient, path: str) -> None:
    class Late(Root):
        def empty_first(self) -> Iterator[str]:
            yield ""
            self.response.headers["Content-Type"] = "image/png"
            yield TEXT

        async def empty_first_too(self) -> AsyncIterator[str]:
            yield ""
            await anyio.lowlevel.checkpoint()
            self.response.headers["Content-Type"] = "image/png"
            yield TEXT

    app = Late()
    app.middlewares.append(Compress())
    answer, sent = raw(make_client(app), path)
    seen = (sent.decode(), is_gzip(answer), answer.headers["content-type"])
    assert seen == (TEXT, False, "image/png")


def test_an_error_instead_of_a_stream_has_its_own_headers(make_client: MakeClient) -> None:
    class Failing(Root):
        def fails_late(self) -> Iterator[str]:
            self.response.headers["X-Bad"] = "a\nb"  # found when the stream has its first chunk
            yield TEXT

    app = Failing()
    app.middlewares.append(Compress())
    answer, sent = raw(make_client(app), "/fails_late")
    assert (answer.status_code, sent, is_gzip(answer)) == (500, b"500 Internal Server Error", False)


def test_an_inner_application_may_have_its_own_compression(make_client: MakeClient) -> None:
    app: Any = Root()
    app.inner = compressing()
    client = make_client(app)
    assert [is_gzip(raw(client, path)[0]) for path in ("/", "/inner")] == [False, True]


def test_a_body_that_cannot_be_encoded_gets_a_500(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert raw(make_client(compressing({"x": object()})))[0].status_code == 500
    assert len(caplog.records) == 1


# -- set-up ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"minimum": -1},
        {"minimum": "1 KiB"},
        {"level": 0},
        {"level": 10},
        {"level": True},
        {"types": "text/html"},
        {"types": ["text"]},
        {"types": ["text/html; charset=utf-8"]},
        {"types": ["*"]},
        {"types": ["*/*"]},
        {"types": ["Text/HTML"]},
        {"types": [None]},
        {"types": 5},
    ],
)
def test_invalid_settings_are_refused(options: Any) -> None:
    with pytest.raises(SetupError, match=r"(minimum|level|types)(=\.\.\.\))? (takes|must)"):
        Compress(**options)


@pytest.mark.parametrize(
    ("encoding", "codings", "coding"),
    [
        ("gzip, deflate, br, zstd", None, "zstd"),
        ("gzip, deflate, br", None, "br"),
        ("*", None, "zstd"),
        ("*;q=0.5, br;q=0", None, "zstd"),
        ("gzip, br;q=0.9, zstd;q=0.8", None, "gzip"),
        ("gzip;q=0.5, br;q=0.9, zstd;q=0.8", None, "br"),
        ("gzip, deflate, br, zstd", ["br", "gzip"], "br"),
        ("gzip, deflate, br, zstd", ("gzip", "zstd"), "gzip"),
        ("gzip", ["zstd"], ""),
        ("identity, br;q=0.5", None, ""),
    ],
)
@pytest.mark.parametrize("level", [1, 9])
def test_a_client_gets_its_preferred_coding(
    make_client: MakeClient, encoding: str, codings: list[str] | None, coding: str, level: int
) -> None:
    client = make_client(compressing(TEXT, codings=codings, level=level))
    for path in ("/", "/generator", "/async_generator"):
        answer, sent = raw(client, path, encoding=encoding)
        assert answer.headers.get("content-encoding", "") == coding
        assert READ[coding](sent).decode() == TEXT


@pytest.mark.parametrize("path", ["/ticks", "/ticks_too"])
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_R64_compression_delays_no_chunk_of_a_stream(
    make_client: MakeClient, path: str, coding: str
) -> None:
    app = compressing()
    client = make_client(app)
    feeds: dict[str, Any] = {
        "zstd": zstd.ZstdDecompressor().decompress,
        "br": brotli.Decompressor().process,
        "gzip": zlib.decompressobj(31).decompress,
    }
    feed = feeds[coding]
    client.headers.pop("accept-encoding", None)
    with client.stream("GET", path, headers={"Accept-Encoding": coding}) as answer:
        chunks = answer.iter_raw()
        text = b""
        while text != b"tick":
            text += feed(next(chunks))
        app.seen.set()
        assert b"".join([feed(chunk) for chunk in chunks if chunk]) == b"tock"


def test_a_coding_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(SetupError, match=r"zstd is not installed: pip install backports\.zstd"):
        Compress(codings=["zstd"])
    assert Compress().coding_for(make_request(headers=[("Accept-Encoding", "zstd, br")])) == "br"
    assert maker_of("zstd") is None


@pytest.mark.parametrize("codings", [[], "gzip", ["deflate"], {"gzip": 1}])
def test_unknown_codings_are_refused(codings: Any) -> None:
    with pytest.raises(SetupError, match=r'takes a list of "zstd", "br" and "gzip"'):
        Compress(codings=codings)


def test_headers_and_the_first_chunk_decide_once_about_compression() -> None:
    request = make_request(headers=[("Accept-Encoding", "gzip")])
    delayed = _Compressed(Compress(), request, Response(), [])
    delayed.decide(Response(content_type="text/plain"))
    delayed.decide(Response(content_type="image/png"))  # by the thread that has waited for the lock
    assert delayed.feed(b"a") != b"a"


def test_head_has_the_headers_of_get_if_a_hook_wraps_a_body_that_head_leaves_out(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a" * 1000)

    def wraps(request: Request) -> Generator[None, Response, None]:
        response = yield
        response.body = map(bytes, response.body)

    app = App()
    app.middlewares += [Compress(codings=["gzip"]), wraps]
    app.static("/files", tmp_path)
    client = make_client(app)
    got, headed = (client.request(method, "/files/a.txt") for method in ("GET", "HEAD"))
    for name in ("Vary", "Content-Encoding", "ETag"):
        assert headed.headers[name] == got.headers[name]


@pytest.mark.parametrize("size", [10, 5000])
def test_a_mounted_application_s_headers_are_those_of_head_too(
    make_client: MakeClient, size: int
) -> None:
    def inner(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/css"), ("Content-Length", str(size))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else b"x" * size]

    app = App()
    app.middlewares.append(Compress())
    app.mount("/inner", inner)
    got, head = (make_client(app).request(method, "/inner") for method in ("GET", "HEAD"))
    # the compressed length isn't known without the body
    assert {name for name, _ in {*got.headers.items()} ^ {*head.headers.items()}} <= {
        "content-length"
    }
    assert ("content-encoding" in got.headers) == (size == 5000)
    assert "x-content-type-options" not in got.headers


@pytest.mark.parametrize("size", [10, 5000])
def test_head_names_no_coding_for_a_mounted_body_of_unknown_length(
    make_client: MakeClient, size: int
) -> None:
    def inner(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/css"), ("ETag", '"a"')])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else b"x" * size]

    app = App()
    app.middlewares.append(Compress())
    app.mount("/inner", inner)
    got, head = (make_client(app).request(method, "/inner") for method in ("GET", "HEAD"))
    assert ("content-encoding" in got.headers) == (size == 5000)
    assert (head.headers["etag"], head.headers["vary"]) == ('"a"', "Accept-Encoding")
    assert "content-encoding" not in head.headers
