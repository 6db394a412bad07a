"""The body on its way in: read whole or in pieces, limited, once, and never waited for in vain."""

from __future__ import annotations

import io
import itertools
import logging
import math
import weakref
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from micropie import (
    App,
    ClientDisconnect,
    HTTPError,
    HttpMiddleware,
    Request,
    UploadFile,
    post,
    reads_body,
    run_in,
)
from micropie._core.http.body.reader import BodyReader
from micropie._core.http.forms import BATCH
from tests.asgi.calls import DISCONNECT, Call, get, http_scope, piece, posted, run
from tests.support.clients import MakeClient
from tests.support.errors import said
from tests.support.pairs import sampled
from tests.support.virtual_time import run_in_virtual_time
from tests.support.waiting import until
from tests.wsgi.calls import begin
from tests.wsgi.calls import get as wsgi_get

MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


def multipart(**fields: str) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return "".join([*parts, "--b--\r\n"]).encode()


class Reading(App):
    async def body(self) -> Any:
        return await self.request.body()

    async def joined(self) -> Any:
        return b"".join([chunk async for chunk in self.request.stream()])

    def read(self) -> Any:
        return self.request.read()

    def chunks(self) -> Any:
        return b"".join(self.request.chunks())

    def ignores(self) -> Any:
        return "ignored"

    async def twice(self) -> Any:
        return await self.request.body() + await self.request.body()

    def read_twice(self) -> Any:
        return self.request.read() + self.request.read()


READERS = ["body", "joined", "read", "chunks"]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
def test_any_body_can_be_read(make_client: MakeClient, reader: str, method: str) -> None:
    content = bytes(range(256)) * 1000
    assert make_client(Reading()).request(method, f"/{reader}", content=content).content == content


@pytest.mark.parametrize("reader", READERS)
def test_a_chunked_body_can_be_read(make_client: MakeClient, reader: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(5):
            yield b"x" * 1000

    assert make_client(Reading()).post(f"/{reader}", content=chunks()).content == b"x" * 5000


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_missing_body_is_an_empty_one(make_client: MakeClient, reader: str, method: str) -> None:
    assert make_client(Reading()).request(method, f"/{reader}").content == b""


@pytest.mark.parametrize("headers", [FORM, JSON, MULTIPART])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_get_request_is_not_searched_for_a_form(
    make_client: MakeClient, headers: dict[str, str], method: str
) -> None:
    client = make_client(Reading())
    assert client.request(method, "/ignores", content=b"{{{", headers=headers).status_code == 200


@pytest.mark.parametrize("reader", ["twice", "read_twice"])
def test_a_body_can_be_read_again(make_client: MakeClient, reader: str) -> None:
    assert make_client(Reading()).post(f"/{reader}", content=b"ab").content == b"abab"


def test_chunks_of_a_body_arrive_as_they_are_received(connect: MakeClient, backend: str) -> None:
    steps: list[str] = []

    class Root(App):
        async def asynchronous(self) -> Any:
            async for chunk in self.request.stream():
                steps.append(f"got {chunk.decode()}")

        def sync(self) -> Any:
            for chunk in self.request.chunks():
                steps.append(f"got {chunk.decode()}")

    def content() -> Iterator[bytes]:
        for name in ("a", "b", "c"):
            steps.append(f"sent {name}")
            yield name.encode()

    client = connect(Root(), backend)
    for path in ("/asynchronous", "/sync"):
        steps.clear()
        assert client.post(path, content=content()).status_code == 200
        assert [step for step in steps if "got" in step] == ["got a", "got b", "got c"]
        assert steps.index("got a") < steps.index("sent c")  # the client is one piece ahead at most


# -- R22: every order of reading -------------------------------------------------------------------

WAYS = ("json", "form", "body", "stream")
SYNC_WAYS = ("json", "form", "read", "chunks")


class Ordered(App):
    async def asynchronous(self, order: str) -> Any:
        return [await self._take(way) for way in order.split(",")]

    def sync(self, order: str) -> Any:
        return [self._take_here(way) for way in order.split(",")]

    async def _take(self, way: str) -> Any:
        request = self.request
        try:
            if way == "body":
                return (await request.body()).decode()
            if way == "stream":
                return b"".join([chunk async for chunk in request.stream()]).decode()
            return request.get_json if way == "json" else request.form("a")
        except RuntimeError as error:
            return f"error: {error}"

    def _take_here(self, way: str) -> Any:
        request = self.request
        try:
            if way == "read":
                return request.read().decode()
            if way == "chunks":
                return b"".join(request.chunks()).decode()
            return request.get_json if way == "json" else request.form("a")
        except RuntimeError as error:
            return f"error: {error}"


BODIES: dict[str, tuple[dict[str, str], bytes, dict[str, Any]]] = {
    "json": (JSON, b'{"a":"1"}', {"json": {"a": "1"}, "form": "1"}),
    "form": (FORM, b"a=1", {"json": None, "form": "1"}),
    "multipart": (MULTIPART, multipart(a="1"), {"json": None, "form": "1"}),
    "raw": ({}, b"raw", {"json": None, "form": None}),
}


def expected_in(kind: str, order: tuple[str, ...]) -> list[Any]:
    """A body that was received whole can be had in every way again; one that was handed out in
    pieces can't.
    """
    _, content, parsed = BODIES[kind]
    is_kept, is_streamed = kind in ("json", "form"), kind == "multipart"
    taken: list[Any] = []
    for way in order:
        if way in ("json", "form"):
            taken.append(parsed[way])
        elif is_streamed:
            taken.append("error")
        else:
            taken.append(content.decode())
            is_streamed = is_streamed or (not is_kept and way in ("stream", "chunks"))
            is_kept = is_kept or way in ("body", "read")
    return taken


def without_sentences(taken: list[Any]) -> list[Any]:
    return [
        "error" if str(it).startswith("error: the body has already been read") else it
        for it in taken
    ]


@pytest.mark.parametrize("kind", BODIES)
def test_R22_reading_the_body_in_any_order_ends(make_client: MakeClient, kind: str) -> None:
    client = make_client(Ordered(), app_timeout=30)
    headers, content, _ = BODIES[kind]
    for path, ways in (("/asynchronous", WAYS), ("/sync", SYNC_WAYS)):
        for order in itertools.product(ways, repeat=3):
            answer = client.post(
                path, params={"order": ",".join(order)}, content=content, headers=headers
            )
            assert without_sentences(answer.json()) == expected_in(kind, order), order


@pytest.mark.parametrize("kind", BODIES)
def test_R22_no_reader_waits_for_a_message_after_the_last(backend: str, kind: str) -> None:
    headers, content, _ = BODIES[kind]
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def every_order() -> None:
        app = Ordered()
        for path, ways in (("/asynchronous", WAYS), ("/sync", SYNC_WAYS)):
            for order in itertools.permutations(ways, 4):
                target = f"{path}?order={','.join(order)}"
                messages = [
                    piece(content[:2], more=True),
                    piece(b"", more=True),
                    piece(content[2:]),
                ]
                # receive() waits for ever now
                call = await get(app, target, "POST", *messages, headers=pairs)
                assert call.status == 200, order
                assert call.received == 3

    run(backend, every_order)


class Socket(io.RawIOBase):
    """An input that would wait for ever at its end, as a socket does."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self.sizes: list[int] = []

    def read(self, size: int = -1) -> bytes:
        self.sizes.append(size)
        assert size >= 0, "read(-1) of a socket waits until the client has gone"
        data = self._content.read(size)
        assert data, "a read past the end of the body waits for ever"
        return data


@pytest.mark.parametrize("kind", BODIES)
def test_R22_no_reader_reads_past_the_end_under_wsgi(kind: str) -> None:
    headers, content, _ = BODIES[kind]
    app = Ordered()
    for path, ways in (("/asynchronous", WAYS), ("/sync", SYNC_WAYS)):
        for order in itertools.permutations(ways, 4):
            environ = {
                "CONTENT_LENGTH": str(len(content)),
                "CONTENT_TYPE": headers.get("Content-Type", ""),
            }
            target = f"{path}?order={','.join(order)}"
            status, _ = wsgi_get(app, target, "POST", **{"wsgi.input": Socket(content)}, **environ)
            assert status == 200, order


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_R7_a_wsgi_body_without_a_length_is_empty(method: str) -> None:
    status, body = wsgi_get(Reading(), "/read", method, **{"wsgi.input": Socket(b"")})
    assert (status, body) == (200, b"")


def test_R7_a_wsgi_body_without_a_length_is_read_if_the_server_terminates_it() -> None:
    content = b"x" * 200_000
    for path in ("/read", "/chunks", "/body", "/joined"):
        environ = {"wsgi.input": io.BytesIO(content), "wsgi.input_terminated": True}
        assert wsgi_get(Reading(), path, "POST", **environ) == (200, content)


@pytest.mark.parametrize("length", ["0", ""])
def test_R7_a_content_length_of_zero_reads_nothing(length: str) -> None:
    environ = {"wsgi.input": Socket(b"x"), "CONTENT_LENGTH": length}
    assert wsgi_get(Reading(), "/read", "POST", **environ) == (200, b"")


def test_R7_no_more_than_the_content_length_is_read() -> None:
    source = io.BytesIO(b"0123456789")
    environ = {"wsgi.input": source, "CONTENT_LENGTH": "4", "wsgi.input_terminated": True}
    assert wsgi_get(Reading(), "/read", "POST", **environ) == (200, b"0123")
    assert source.tell() == 4


@pytest.mark.parametrize(
    ("path", "reads"), [("/read", [200_000]), ("/chunks", [65_536, 65_536, 65_536, 3392])]
)
def test_R7_a_whole_body_with_a_length_is_read_in_one_call(path: str, reads: list[int]) -> None:
    content = b"x" * 200_000
    source = Socket(content)
    environ = {"wsgi.input": source, "CONTENT_LENGTH": "200000"}
    assert wsgi_get(Reading(), path, "POST", **environ) == (200, content)
    assert source.sizes == reads


def test_a_multipart_form_is_read_in_batches() -> None:
    """gunicorn copies what it has read ahead in each read."""

    class Root(App):
        @post
        def up(self, file: UploadFile) -> str:
            return str(file.size)

    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    content = head + b"x" * 600_000 + b"\r\n--b--\r\n"
    source = Socket(content)
    environ = {
        "wsgi.input": source,
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
        "CONTENT_LENGTH": str(len(content)),
    }
    assert wsgi_get(Root(), "/up", "POST", **environ) == (200, b"600000")
    assert source.sizes == [BATCH, BATCH, len(content) - 2 * BATCH]


def test_R7_asgi_uses_the_messages_and_not_the_content_length(backend: str) -> None:
    headers = [(b"content-length", b"4")]
    call = posted(backend, Reading(), "/body", piece(b"0123456789"), headers=headers)
    assert call.body == b"0123456789"


class Future:
    """What a compiled server's `receive` gives: no coroutine, and an iterator with nothing but
    `__next__`.
    """

    def __init__(self, message: Any, waits: bool) -> None:
        self._message = message
        self._steps = anyio.sleep(0.001).__await__() if waits else iter(())

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._steps)
        except StopIteration:
            raise StopIteration(self._message) from None


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("path", ["/body", "/form"])
def test_receive_need_not_be_a_coroutine_function(path: str, waits: bool) -> None:
    class Form(Reading):
        def form(self, a: str) -> str:
            return a

    call = Call()

    def receive() -> Any:
        return Future(piece(b"a=1"), waits)

    async def main() -> None:
        kind = (b"content-type", b"application/x-www-form-urlencoded")
        await Form()(http_scope("POST", path, headers=[kind]), receive, call.send)

    run("asyncio", main)
    assert (call.status, call.body) == (200, b"a=1" if path == "/body" else b"1")


def test_messages_may_leave_out_what_has_a_default(backend: str) -> None:
    call = posted(backend, Reading(), "/body", {"type": "http.request"})
    assert (call.status, call.body) == (200, b"")


# -- R6: Content-Length ----------------------------------------------------------------------------

LENGTHS = [
    "1_0", "+5", "-1", "٣", "5,5x", "4,5", "0x5", "5.0", "1e3", "abc", "5 5", "9" * 19, "9" * 4000,
    "--5", " 5", "\xb2",
]  # fmt: skip


@pytest.mark.parametrize(
    ("length", "path"), sampled(LENGTHS, ["/body", "/read", "/ignores", "/chunks", "/joined"])
)
def test_R6_an_invalid_content_length_gets_a_400(
    make_client: MakeClient, length: str, path: str
) -> None:
    client = make_client(Reading(), validate=False)
    headers = [(b"Content-Length", length.encode()), (b"Content-Type", b"text/plain")]
    if path == "/ignores":  # only who looks at the body is told
        assert client.post(path, content=b"", headers=headers).status_code in (200, 400)
        return
    answer = client.post(path, content=b"", headers=headers)
    assert (answer.status_code, "Content-Length" in answer.text) == (400, True)


@pytest.mark.parametrize(("length", "kind"), sampled(LENGTHS, [FORM, JSON, MULTIPART, {}]))
def test_R6_an_invalid_content_length_of_any_post_gets_a_400(
    make_client: MakeClient, length: str, kind: dict[str, str]
) -> None:
    client = make_client(Reading(), validate=False)
    headers = [
        (b"Content-Length", length.encode()),
        *((k.encode(), v.encode()) for k, v in kind.items()),
    ]
    assert client.post("/ignores", content=b"", headers=headers).status_code == 400


def test_R4_two_different_content_lengths_get_a_400(backend: str) -> None:
    headers = [(b"content-length", b"4"), (b"content-length", b"5")]
    assert posted(backend, Reading(), "/body", piece(b"0123"), headers=headers).status == 400


def test_R4_two_equal_content_lengths_count_as_one(backend: str) -> None:
    headers = [(b"content-length", b"4"), (b"content-length", b"4")]
    assert posted(backend, Reading(), "/body", piece(b"0123"), headers=headers).status == 200


# -- max_body_size ---------------------------------------------------------------------------------

LIMIT = 1000


def bodies_of(size: int) -> dict[str, tuple[dict[str, str], bytes]]:
    empty = len(multipart(a=""))
    return {
        "form": (FORM, b"a=" + b"x" * (size - 2)),
        "json": (JSON, b'"' + b"x" * (size - 2) + b'"'),
        "multipart": (MULTIPART, multipart(a="x" * (size - empty))),
        "raw": ({"Content-Type": "text/plain"}, b"x" * size),
        "unnamed": ({}, b"x" * size),
    }


@pytest.mark.parametrize("kind", bodies_of(500))
@pytest.mark.parametrize("path", ["/body", "/read", "/joined", "/chunks", "/ignores"])
def test_a_body_up_to_the_limit_is_accepted(make_client: MakeClient, kind: str, path: str) -> None:
    headers, content = bodies_of(LIMIT)[kind]
    client = make_client(Reading(max_body_size=LIMIT))
    # as a form: read again it is a mistake of the author
    handed_out = kind == "multipart" and path != "/ignores"
    found = client.post(path, content=content, headers=headers).status_code
    assert found == (500 if handed_out else 200)


@pytest.mark.parametrize("kind", bodies_of(500))
@pytest.mark.parametrize("path", ["/body", "/read", "/joined", "/chunks", "/ignores"])
def test_R18_a_content_length_above_the_limit_gets_a_413(
    make_client: MakeClient, kind: str, path: str
) -> None:
    headers, content = bodies_of(LIMIT + 1)[kind]
    answer = make_client(Reading(max_body_size=LIMIT)).post(path, content=content, headers=headers)
    assert (answer.status_code, said(answer)) == (413, "The body may have 1000 bytes at most.")


@pytest.mark.parametrize("kind", bodies_of(500))
@pytest.mark.parametrize("path", ["/body", "/read", "/joined", "/chunks"])
def test_R18_a_chunked_body_above_the_limit_gets_a_413(
    make_client: MakeClient, kind: str, path: str
) -> None:
    headers, content = bodies_of(LIMIT + 1)[kind]
    pieces = (content[start : start + 100] for start in range(0, len(content), 100))
    answer = make_client(Reading(max_body_size=LIMIT)).post(path, content=pieces, headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("length", [None, b"5", b"1000"])
@pytest.mark.parametrize("path", ["/body", "/read", "/joined", "/chunks"])
def test_R18_a_wrong_or_missing_length_does_not_bypass_the_limit(
    backend: str, length: bytes | None, path: str
) -> None:
    headers = [(b"content-length", length)] if length else []
    endless = [piece(b"x" * 100, more=True) for _ in range(100)]
    call = posted(backend, Reading(max_body_size=LIMIT), path, *endless, headers=headers)
    assert call.status == 413
    assert call.received <= LIMIT // 100 + 1


@pytest.mark.parametrize("kind", [FORM, JSON])
def test_a_form_in_one_piece_above_the_limit_gets_a_413(backend: str, kind: dict[str, str]) -> None:
    app = Reading(max_body_size=10)

    @app.error(413)
    def too_large(error: HTTPError) -> str:
        try:
            return str(len(app.request.read()))
        except HTTPError as again:
            return f"{error.status} and {again.status}"

    headers = [(b"content-type", kind["Content-Type"].encode())]
    for content, answer in ((b'["123456"]', b"ignored"), (b'["1234567"]', b"413 and 413")):
        call = posted(backend, app, "/ignores", piece(content), headers=headers)
        assert (call.body, call.received) == (answer, 1)


@pytest.mark.parametrize("kind", [FORM, JSON])
def test_a_form_that_a_hook_has_read_is_not_received_again(
    make_client: MakeClient, kind: dict[str, str]
) -> None:
    class Reads(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request.state.body = await request.body()

    class Form(Reading):
        async def form(self) -> Any:
            return [
                self.request.form("a") or self.request.json("a"),
                await self.request.body() == state().body,
            ]

    def state() -> Any:
        return app.request.state

    app = Form()
    app.middlewares.append(Reads())
    content = b"a=text" if kind is FORM else b'{"a":"text"}'
    assert make_client(app).post("/form", content=content, headers=kind).json() == ["text", True]


def test_a_body_announced_as_too_large_is_not_read() -> None:
    environ = {"CONTENT_LENGTH": "1001", "wsgi.input": Socket(b"")}
    assert wsgi_get(Reading(max_body_size=LIMIT), "/ignores", "POST", **environ)[0] == 413


def test_an_inner_application_may_have_its_own_body_limit(make_client: MakeClient) -> None:
    app = Reading(max_body_size=10)
    app.inner = Reading(max_body_size=100)
    app.heir = Reading()
    client = make_client(app)
    statuses = [
        client.post(f"{path}/read", content=b"x" * 50).status_code
        for path in ("", "/inner", "/heir")
    ]
    assert statuses == [413, 200, 413]


def test_a_body_limit_of_zero_refuses_every_body(make_client: MakeClient) -> None:
    client = make_client(Reading(max_body_size=0))
    assert client.post("/read").status_code == 200
    assert client.post("/read", content=b"x").status_code == 413


class AsksTwice(App):
    """Asks for the body again after it has failed."""

    async def index(self) -> Any:
        seen = []
        for _ in range(2):
            try:
                seen.append(len(await self.request.body()))
            except HTTPError as error:
                seen.append(error.status)
        return seen


def test_a_413_is_raised_again_when_the_body_is_read_again(backend: str) -> None:
    call = posted(backend, AsksTwice(max_body_size=3), "/", piece(b"1234"))
    assert call.body == b"[413,413]"


# -- R19: half a body ------------------------------------------------------------------------------

HALVES = {
    "form": (FORM, b"a=1&b"),
    "json": (JSON, b'{"a":'),
    "complete json": (JSON, b'{"a":1}'),
    "multipart": (MULTIPART, multipart(a="1")[:-20]),
    "complete multipart": (MULTIPART, multipart(a="1")),
}


class Counting(App):
    ran = 0

    def index(self, **_: Any) -> Any:
        self.ran += 1
        return "done"

    async def asynchronous(self, **_: Any) -> Any:
        self.ran += 1
        return "done"

    async def body(self) -> Any:
        await self.request.body()
        self.ran += 1

    async def stream(self) -> Any:
        async for _ in self.request.stream():
            pass
        self.ran += 1

    def read(self) -> Any:
        self.request.read()
        self.ran += 1

    def chunks(self) -> Any:
        for _ in self.request.chunks():
            pass
        self.ran += 1


@pytest.mark.parametrize("path", ["/", "/asynchronous"])
@pytest.mark.parametrize("kind", HALVES)
def test_R19_a_truncated_form_never_reaches_its_handler(
    backend: str, kind: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers, content = HALVES[kind]
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    app = Counting()
    posted(backend, app, path, piece(content, more=True), DISCONNECT, headers=pairs)
    assert (app.ran, caplog.records) == (0, [])


@pytest.mark.parametrize("path", ["/", "/asynchronous"])
@pytest.mark.parametrize("kind", HALVES)
def test_R19_a_truncated_form_never_reaches_its_handler_under_wsgi(
    kind: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers, content = HALVES[kind]
    environ = {"CONTENT_TYPE": headers["Content-Type"], "CONTENT_LENGTH": str(len(content) + 1)}
    app = Counting()
    status, _ = wsgi_get(app, path, "POST", content, **environ)
    assert (app.ran, status, caplog.records) == (0, 400, [])


@pytest.mark.parametrize("path", ["/body", "/stream", "/read", "/chunks"])
def test_R19_a_truncated_body_never_counts_as_complete(
    backend: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Counting()
    posted(backend, app, path, piece(b"half", more=True), DISCONNECT)
    assert (app.ran, caplog.records) == (0, [])


@pytest.mark.parametrize("path", ["/body", "/stream", "/read", "/chunks"])
def test_R19_a_truncated_body_never_counts_as_complete_under_wsgi(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Counting()
    status, _ = wsgi_get(app, path, "POST", b"half", CONTENT_LENGTH="8")
    assert (app.ran, status, caplog.records) == (0, 400, [])


def test_R19_a_failing_socket_counts_as_a_truncated_body(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise ConnectionResetError

    app = Counting()
    status, _ = wsgi_get(app, "/read", "POST", CONTENT_LENGTH="8", **{"wsgi.input": Broken()})
    assert (app.ran, status, caplog.records) == (0, 400, [])


class Stubborn(App):
    seen: list[str]

    async def body(self) -> Any:
        self.seen = []
        for _ in range(2):
            try:
                self.seen.append(repr(await self.request.body()))
            except ClientDisconnect:
                self.seen.append("gone")

    def read(self) -> Any:
        self.seen = []
        for _ in range(2):
            try:
                self.seen.append(repr(self.request.read()))
            except ClientDisconnect:
                self.seen.append("gone")

    async def stream(self) -> Any:
        self.seen = []
        try:
            async for chunk in self.request.stream():
                self.seen.append(repr(chunk))
        except ClientDisconnect:
            self.seen.append("gone")


@pytest.mark.parametrize("path", ["/body", "/read"])
def test_R19_a_truncated_body_stays_an_error(backend: str, path: str) -> None:
    app = Stubborn()
    posted(backend, app, path, piece(b"half", more=True), DISCONNECT)
    assert app.seen == ["gone", "gone"]


@pytest.mark.parametrize("path", ["/body", "/read"])
def test_R19_a_truncated_body_stays_an_error_under_wsgi(path: str) -> None:
    app = Stubborn()
    wsgi_get(app, path, "POST", b"half", CONTENT_LENGTH="8")
    assert app.seen == ["gone", "gone"]


def test_R19_a_stream_reports_the_truncation_after_the_received_chunks(backend: str) -> None:
    app = Stubborn()
    posted(backend, app, "/stream", piece(b"half", more=True), DISCONNECT)
    assert app.seen == ["b'half'", "gone"]


# -- R23: a body that nobody reads -----------------------------------------------------------------


def test_R23_the_response_does_not_wait_for_an_unread_body(backend: str) -> None:
    messages = [piece(b"x" * 65536, more=True) for _ in range(100)]
    call = posted(backend, Reading(), "/ignores", *messages)
    assert (call.status, call.body) == (200, b"ignored")
    assert call.received <= 1


def test_R23_an_unread_body_is_not_read_under_wsgi() -> None:
    source = io.BytesIO(b"x" * 1_000_000)
    environ = {"CONTENT_LENGTH": "1000000", "wsgi.input": source}
    assert wsgi_get(Reading(), "/ignores", "POST", **environ) == (200, b"ignored")
    assert source.tell() <= 65536


# -- body_timeout ----------------------------------------------------------------------------------

SILENT = {
    "form": (FORM, "/ignores"),
    "json": (JSON, "/ignores"),
    "multipart": (MULTIPART, "/ignores"),
    "body": ({}, "/body"),
    "stream": ({}, "/joined"),
    "read": ({}, "/read"),
    "chunks": ({}, "/chunks"),
}


@pytest.mark.parametrize("kind", SILENT)
def test_R20_silence_in_the_middle_of_a_body_gets_a_408(
    backend: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers, path = SILENT[kind]
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    app = Reading(body_timeout=0.03)
    call = posted(backend, app, path, piece(b"--b\r\n", more=True), headers=pairs)
    assert (
        call.status,
        b"The request body stopped arriving before it was complete." in call.body,
    ) == (408, True)
    assert not caplog.records


def test_R20_a_slow_body_is_not_a_silent_one(backend: str) -> None:
    class Slow(Call):
        async def receive(self) -> Any:
            await anyio.sleep(0.02)
            return await super().receive()

    async def main() -> Call:
        call = Slow(*(piece(b"x", more=True) for _ in range(9)), piece(b"x"))
        await Reading(body_timeout=0.1)(http_scope("POST", "/body"), call.receive, call.send)
        return call

    assert run_in_virtual_time(backend, main).body == b"x" * 10


class Trickle(Call):
    """A client that sends ``size`` bytes, then pauses, and so on without an end."""

    size = 1
    pieces = 0

    async def receive(self) -> Any:
        await anyio.sleep(0.001)
        self.pieces += 1
        return piece(b"x" * self.size, more=self.pieces < 1000)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A clock for the waits of a body: each of them takes a second."""
    clock = itertools.count()
    faked = SimpleNamespace(get=lambda: SimpleNamespace(time=lambda: next(clock)))
    monkeypatch.setattr("micropie.asgi.exchange.TASKS", faked)
    return clock


@pytest.mark.parametrize(
    ("size", "total", "status", "pieces"),
    [
        (1, 5, 408, 5),  # a byte a second
        (900, 5, 408, 50),  # less than 1000 bytes a second: the five seconds last for 50
        (1000, 5, 200, 1000),
        (0, 5, 408, 5),
        (1, 10_000, 200, 1000),
        (1, None, 200, 1000),
        (1, math.inf, 200, 1000),
    ],
)
def test_R20_a_body_that_trickles_gets_a_408(
    backend: str, seconds: Iterator[int], size: int, total: float | None, status: int, pieces: int
) -> None:
    async def main() -> Trickle:
        call = Trickle()
        call.size = size
        await Reading(body_total_timeout=total)(
            http_scope("POST", "/joined"), call.receive, call.send
        )
        return call

    call = run_in_virtual_time(backend, main)
    assert call.status == status
    assert pieces * 0.75 < call.pieces <= pieces + 3


def test_R20_a_fast_start_does_not_allow_a_trickling_body(
    backend: str, seconds: Iterator[int]
) -> None:
    class Burst(Trickle):
        async def receive(self) -> Any:
            self.size = 1_000_000 if self.pieces == 0 else 1
            return await super().receive()

    async def main() -> Burst:
        call = Burst()
        await Reading(body_total_timeout=5)(http_scope("POST", "/joined"), call.receive, call.send)
        return call

    call = run(backend, main)
    assert (call.status, call.pieces < 10) == (408, True)


def test_R20_body_time_limits_can_be_disabled(backend: str) -> None:
    class Slow(Call):
        async def receive(self) -> Any:
            await anyio.sleep(0.02)
            return await super().receive()

    async def main() -> Call:
        call = Slow(piece(b"x"))
        await Reading(body_timeout=None, body_total_timeout=None)(
            http_scope("POST", "/body"), call.receive, call.send
        )
        return call

    assert run(backend, main).body == b"x"


def test_a_408_is_raised_again_when_the_body_is_read_again(backend: str) -> None:
    call = posted(backend, AsksTwice(body_timeout=0.03), "/", piece(b"half", more=True))
    assert call.body == b"[408,408]"


# -- reading in the wrong place --------------------------------------------------------------------


class Misplaced(App):
    async def read(self) -> Any:
        return self.request.read()

    async def chunks(self) -> Any:
        return b"".join(self.request.chunks())

    @run_in("loop")
    def inlined(self) -> Any:
        return self.request.read()


@pytest.mark.parametrize("path", ["/read", "/chunks", "/inlined"])
def test_a_sync_read_on_the_event_loop_raises_an_error_with_a_hint(
    backend: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert posted(backend, Misplaced(), path, piece(b"x")).status == 500
    assert "await request.body()" in caplog.text


def test_a_runtime_error_of_receive_is_not_taken_for_a_sync_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken() -> Any:
        raise RuntimeError("the server's own")

    async def main() -> Call:
        call = Call()
        await Reading()(http_scope("POST", "/read"), broken, call.send)
        return call

    assert run("asyncio", main).status == 500
    assert "the server's own" in caplog.text
    assert "await request.body()" not in caplog.text


# -- streams in both directions --------------------------------------------------------------------


class Echo(App):
    async def asynchronous(self) -> AsyncIterator[bytes]:
        async for chunk in self.request.stream():
            yield chunk.upper()

    def sync(self) -> Iterator[bytes]:
        for chunk in self.request.chunks():
            yield chunk.upper()

    async def waiting(self) -> AsyncIterator[bytes]:
        yield b"first "
        await anyio.sleep(0.01)
        yield await self.request.body()


@pytest.mark.parametrize("path", ["/asynchronous", "/sync"])
def test_a_body_can_be_echoed_while_it_arrives(make_client: MakeClient, path: str) -> None:
    pieces = [b"%d-abc " % number for number in range(20)]
    answer = make_client(Echo(), app_timeout=30).post(path, content=iter(pieces))
    assert answer.content == b"".join(pieces).upper()


def test_a_body_can_be_read_after_the_response_has_started(make_client: MakeClient) -> None:
    answer = make_client(Echo(), app_timeout=30).post("/waiting", content=iter([b"a", b"b", b"c"]))
    assert answer.content == b"first abc"


def test_an_uploaded_file_can_be_streamed_back(make_client: MakeClient) -> None:
    content = bytes(range(256)) * 1000

    class Root(App):
        def file(self, upload: Any) -> Any:
            return upload

        def pieces(self, upload: Any) -> Iterator[bytes]:
            yield from upload

        async def asynchronous(self) -> AsyncIterator[bytes]:
            for chunk in self.request.files["upload"]:
                yield chunk

    client = make_client(Root())
    for path in ("/file", "/pieces", "/asynchronous"):
        assert client.post(path, files={"upload": content}).content == content


def test_uploaded_files_are_closed_after_the_request(make_client: MakeClient) -> None:
    kept: list[Any] = []

    class Root(App):
        def index(self, upload: Any, how: str = "fine") -> Any:
            kept.append(upload.file)
            if how == "crash":
                raise RuntimeError
            return iter(["a", "b"]) if how == "stream" else "fine"

    client = make_client(Root())
    for how in ("fine", "crash", "stream"):
        client.post("/", params={"how": how}, files={"upload": b"x"})
    assert [file.closed for file in kept] == [True] * 3


def test_a_broken_form_closes_its_open_files(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    body = (
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + b"x" * 2_000_000
    )
    answer = make_client(Reading()).post("/ignores", content=body, headers=MULTIPART)
    assert (answer.status_code, caplog.records) == (400, [])


def test_a_started_wsgi_response_may_read_its_body_later() -> None:
    answer = begin(Echo(), "POST", "/sync", b"abc")
    assert answer.read() == b"ABC"


def test_a_413_is_raised_again_when_the_body_is_streamed() -> None:
    body = BodyReader(1, None)
    body.start_stream()
    for _ in range(2):
        flow = body.next_piece()
        with pytest.raises(HTTPError, match="at most"):  # noqa: PT012 - the second time it does not ask
            next(flow)
            flow.send((b"too long", False))


class Noting(HttpMiddleware):
    """Notes the bodies of requests."""

    def __init__(self) -> None:
        self.bodies: list[weakref.ref[object]] = []

    def before_request(self, request: Request) -> None:
        self.bodies.append(weakref.ref(request._exchange.body))


class Bodies(App):
    def read(self) -> str:
        return str(len(self.request.read()))

    async def awaited(self) -> str:
        return str(len(await self.request.body()))

    def parameter(self, text: str) -> str:
        return str(len(text))

    def unread(self) -> str:
        return "0"

    @reads_body
    async def streamed(self) -> str:
        return str([len(chunk) async for chunk in self.request.stream()])

    @reads_body
    async def parts(self) -> str:
        return str([part.name async for part in self.request.parts()])


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("path", ["read", "awaited", "parameter", "unread", "streamed", "parts"])
@pytest.mark.parametrize("size", [10, 100_000, 2_000_000])
def test_a_body_is_freed_without_the_cycle_collector(
    make_client: MakeClient, path: str, size: int
) -> None:
    noting = Noting()
    app = Bodies(max_body_size=1_000_000)
    app.middlewares.append(noting)
    client = make_client(app)
    for _ in range(2):  # the client keeps its last response
        if path == "parts":
            client.post("/parts", files={"file": b"x" * size})
            continue
        content, kind = b'{"text": "' + b"x" * size + b'"}', {"Content-Type": "application/json"}
        client.post(f"/{path}", content=content, headers=kind)
    until(lambda: noting.bodies[0]() is None)
