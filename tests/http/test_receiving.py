"""Forms received before the handler runs: what they cost while they arrive, and what is left when
they break.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import resource
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Any, TypedDict

import anyio
import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Request,
    SetupError,
    UploadFile,
    max_body_size,
    max_data_size,
    post,
    reads_body,
    run_in,
)
from micropie._core.http.body import received, receiving
from micropie._core.http.forms.data import Limits, parse_query
from micropie._core.http.forms.multipart import MultipartParser
from micropie._core.http.forms.uploads import NewFile
from micropie._core.http.json import loads
from micropie._core.routing import config
from micropie.asgi import steps as performing
from micropie.middleware.base import FlowMiddleware
from tests.asgi.calls import (
    DISCONNECT,
    Call,
    Message,
    get,
    http_scope,
    piece,
    posted,
    run,
)
from tests.support.clients import MakeClient
from tests.support.commands import ended
from tests.support.errors import said
from tests.support.left_out import IS_FREE_THREADED
from tests.support.multipart_forms import HEADERS, PAIRS, form, in_pieces, section
from tests.support.open_files import no_descriptors, open_files
from tests.support.waiting import until, until_async
from tests.wsgi.calls import get as wsgi_get

MEBIBYTE = 1024 * 1024
ROOT = Path(__file__).parent.parent.parent
WAIT = 20.0  # seconds until a test gives up what doesn't arrive


class Root(App):
    async def size(self, f: UploadFile) -> Any:
        return f.size

    def size_sync(self, f: UploadFile) -> Any:
        return f.size

    async def ignores(self) -> Any:
        return "ignored"

    async def body(self) -> Any:
        return len(await self.request.body())

    def read(self) -> Any:
        return len(self.request.read())

    async def stream(self) -> Any:
        return sum([len(chunk) async for chunk in self.request.stream()])

    @reads_body
    async def save(self, directory: str) -> Any:
        return [(await part.save_to(directory)).name async for part in self.request.parts()]

    async def save_received(self, directory: str) -> Any:
        return [(await part.save_to(directory)).name async for part in self.request.parts()]


@pytest.fixture
def spools_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file goes to the disk from its 11th byte on."""

    monkeypatch.setattr(config, "Limits", partial(Limits, spool_size=10))


def file_of(size: int, name: str = "f") -> bytes:
    return section(f'name="{name}"; filename="{name}"', b"x" * size)


@pytest.mark.parametrize("path", ["/size", "/size_sync"])
@pytest.mark.parametrize("size", [64, 65536, 300_000, 4_000_000])
def test_a_large_file_equals_the_sent_bytes_whatever_the_chunks(
    make_client: MakeClient, path: str, size: int
) -> None:
    body = form(file_of(2_500_000), section('name="a"', b"1"), file_of(5, "g"))
    if size == 64:
        body = form(file_of(10_000))
    answer = make_client(Root()).post(path, content=in_pieces(body, size), headers=HEADERS)
    assert answer.json() == (10_000 if size == 64 else 2_500_000)


# -- R31: the disk does not hold up the loop -------------------------------------------------------


class Heart:
    """A task of the loop that beats; what blocks waits for its next beats, which come if the loop
    is free.
    """

    def __init__(self) -> None:
        self.beats = threading.Semaphore(0)
        self.missed = 0

    async def beat(self) -> None:
        while True:
            self.beats.release()
            await anyio.sleep(0.001)

    def wait(self) -> None:
        """Block this thread until the loop has gone on."""
        for _ in range(self.beats._value + 3):
            self.missed += not self.beats.acquire(timeout=WAIT)

    def wait_or_not(self, is_to_wait: bool) -> bool:
        if is_to_wait:
            self.wait()
        return is_to_wait


async def with_heart(heart: Heart, path: str, *pieces: Message) -> Call:
    async with anyio.create_task_group() as group:
        group.start_soon(heart.beat)
        call = await get(Root(), path, "POST", *pieces, headers=PAIRS)
        group.cancel_scope.cancel()
    return call


def test_R31_a_slow_rollover_to_disk_does_not_block_the_loop(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart, rolled = Heart(), 0

    def slow(**_: Any) -> Any:
        nonlocal rolled
        rolled += 1
        heart.wait()
        return TemporaryFile()

    monkeypatch.setattr("tempfile.TemporaryFile", slow)
    pieces = [piece(chunk, more=True) for chunk in in_pieces(form(file_of(2 * MEBIBYTE)), 65536)]
    call = run(backend, with_heart, heart, "/size", *pieces, piece(b""))
    assert (call.body, rolled, heart.missed) == (str(2 * MEBIBYTE).encode(), 1, 0)


@pytest.mark.usefixtures("spools_little")
def test_R31_writing_a_file_to_disk_never_blocks_the_loop(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart, in_loop = Heart(), []
    loop_thread = threading.get_ident()
    write = UploadFile.write

    def slow(self: UploadFile, data: bytes) -> None:
        if len(data) > 10:
            in_loop.append(threading.get_ident() == loop_thread)
            heart.wait()
        write(self, data)

    monkeypatch.setattr(UploadFile, "write", slow)
    pieces = [piece(chunk, more=True) for chunk in in_pieces(form(file_of(3000)), 1000)]
    assert run(backend, with_heart, heart, "/size", *pieces, piece(b"")).body == b"3000"
    assert (any(in_loop), len(in_loop) > 2, heart.missed) == (False, True, 0)


@pytest.mark.parametrize("path", ["/save", "/save_received"])
def test_R31_saving_a_part_does_not_block_the_loop(
    backend: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart, write = Heart(), NewFile.write

    def slow(self: NewFile, *arguments: Any) -> None:
        heart.wait()
        write(self, *arguments)

    monkeypatch.setattr(NewFile, "write", slow)
    call = run(
        backend, with_heart, heart, f"{path}?directory={tmp_path}", piece(form(file_of(300_000)))
    )
    assert (call.body, heart.missed, (tmp_path / "f").stat().st_size) == (b'["f"]', 0, 300_000)


def test_R31_closing_a_large_file_does_not_block_the_loop(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart, close = Heart(), UploadFile.close
    closed: list[bool] = []

    def slow(self: UploadFile) -> None:
        closed.append(heart.wait_or_not(self.size > 1000))
        close(self)

    monkeypatch.setattr(UploadFile, "close", slow)
    monkeypatch.setattr(performing, "LARGE", 2000)
    for size in (1000, 3000):
        call = run(backend, with_heart, heart, "/size", piece(form(file_of(size))))
        assert (call.body, closed.pop(), heart.missed) == (str(size).encode(), size > 1000, 0)
    assert closed == []


def test_R31_chunks_are_written_to_disk_together(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[int, int]] = []
    feed = MultipartParser.feed

    def counted(self: MultipartParser, *chunks: bytes) -> None:
        fed.append((len(chunks), sum(map(len, chunks))))
        feed(self, *chunks)

    monkeypatch.setattr(MultipartParser, "feed", counted)
    body = form(file_of(4 * MEBIBYTE))
    for size, most, expected in (
        (65536, 4, 4 * 65536),
        (1000, 64, 64 * 1000),
        (MEBIBYTE, 1, MEBIBYTE),
    ):
        fed.clear()
        pieces = [piece(chunk, more=True) for chunk in in_pieces(body, size)]
        assert posted("asyncio", Root(), "/size", *pieces, piece(b""), headers=PAIRS).status == 200
        assert (most, expected) in fed
        assert max(fed) == (most, expected)


# -- R30: an upload that nobody reads --------------------------------------------------------------


class Closed(HttpMiddleware):
    def before_request(self, request: Any) -> Any:
        return {"status_code": 503, "body": "closed"}


@pytest.mark.parametrize("path", ["/ignores", "/size"])
def test_R30_an_upload_in_3000_chunks_finishes_with_every_reader(
    make_client: MakeClient, path: str
) -> None:
    body = form(file_of(3000 * 1000))
    answer = make_client(Root(), app_timeout=30).post(
        path, content=in_pieces(body, 1000), headers=HEADERS
    )
    seen = (answer.status_code, answer.text)
    assert seen == (200, "ignored" if path == "/ignores" else "3000000")


def test_R30_a_hook_that_responds_early_receives_nothing_and_leaves_no_task(backend: str) -> None:
    app = Root()
    app.middlewares.append(Closed())

    async def main() -> Call:
        async with anyio.create_task_group() as group:  # asyncio's count of tasks begins here
            before = len(asyncio.all_tasks()) if backend == "asyncio" else 0
            call = await get(app, "/size", "POST", *[piece(b"x", more=True)] * 3000, headers=PAIRS)
            assert (len(asyncio.all_tasks()) if backend == "asyncio" else 0) == before
            group.cancel_scope.cancel()
        return call

    call = run(backend, main)
    assert (call.status, call.received) == (503, 0)


def test_R30_a_stalled_upload_is_waited_for_without_polling(backend: str) -> None:
    call = Call(piece(form(file_of(100))[:-9], more=True))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                Root(), http_scope("POST", "/size", headers=PAIRS), call.receive, call.send
            )
            await until_async(lambda: call.received == 2)
            await anyio.sleep(0.1)  # time enough to ask again
            tasks.cancel_scope.cancel()

    run(backend, main)
    assert call.received == 2


# -- R32: nothing stays open -----------------------------------------------------------------------


@pytest.mark.usefixtures("spools_little")
def test_R32_no_file_stays_open_wherever_a_form_breaks(backend: str) -> None:
    body = form(file_of(30), file_of(30, "g"), section('name="a"', b"1"))

    async def break_everywhere() -> None:
        app = Root()
        await get(app, "/size", "POST", piece(body), headers=PAIRS)
        before = open_files()
        for at in range(len(body) + 1):
            await get(app, "/size", "POST", piece(body[:at], more=True), DISCONNECT, headers=PAIRS)
            await get(app, "/size", "POST", piece(body[:at] + b"\r\n--Bxx"), headers=PAIRS)
        assert open_files() <= before

    run(backend, break_everywhere)


@pytest.mark.usefixtures("spools_little")
def test_R32_no_file_stays_open_wherever_a_form_breaks_under_wsgi() -> None:
    body = form(file_of(30), file_of(30, "g"), section('name="a"', b"1"))
    app, kind = Root(), HEADERS["Content-Type"]
    # which may start the process's event loop
    wsgi_get(app, "/size", "POST", body, CONTENT_TYPE=kind)
    before = open_files()
    for at in range(len(body) + 1):
        wsgi_get(
            app, "/size", "POST", body[:at], CONTENT_TYPE=kind, CONTENT_LENGTH=str(len(body) + 1)
        )
        wsgi_get(app, "/size", "POST", body[:at] + b"\r\n--Bxx", CONTENT_TYPE=kind)
    assert open_files() <= before


@pytest.mark.usefixtures("spools_little")
def test_R32_no_file_stays_open_when_its_request_is_cancelled(backend: str) -> None:
    body = form(file_of(60), file_of(60, "g"))

    async def cancel() -> None:
        for at in range(0, len(body), 7):
            call = Call(piece(body[:at], more=True))
            with anyio.move_on_after(0.01):
                await Root()(http_scope("POST", "/size", headers=PAIRS), call.receive, call.send)
            assert call.sent == []

    run(backend, cancel)
    before = open_files()
    run(backend, cancel)
    assert open_files() <= before


@pytest.mark.usefixtures("spools_little")
@pytest.mark.parametrize("when", ["before", "during"])
def test_R32_no_file_stays_open_when_a_task_is_cancelled_while_a_thread_writes(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """asyncio's own ``cancel`` does not wait for the thread, as anyio's scopes do."""
    begun, done, go_on = threading.Event(), threading.Event(), threading.Event()
    feed, make = MultipartParser.feed, UploadFile.__init__

    def slow_feed(self: MultipartParser, *chunks: bytes) -> None:
        if when == "before":
            begun.set()
            go_on.wait(WAIT)
        try:
            feed(self, *chunks)
        finally:
            done.set()

    def make_slowly(self: UploadFile, *arguments: Any) -> None:
        if when == "during":
            begun.set()
            threading.Event().wait(0.05)
        make(self, *arguments)

    monkeypatch.setattr(MultipartParser, "feed", slow_feed)
    monkeypatch.setattr(UploadFile, "__init__", make_slowly)

    async def main() -> None:
        call = Call(piece(file_of(60)[:-9] + b"x" * MEBIBYTE, more=True))
        task = asyncio.ensure_future(
            Root()(http_scope("POST", "/size", headers=PAIRS), call.receive, call.send)
        )
        await asyncio.to_thread(begun.wait, WAIT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await asyncio.to_thread(done.wait, WAIT)

    before = open_files()
    run("asyncio", main)
    assert done.is_set()
    until(lambda: open_files() <= before)  # the thread closes it after that


def test_R32_a_full_disk_gets_a_507_and_leaves_nothing(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    folder = gettempdir()  # known from the first file on
    client = make_client(Root())
    answer = client.post("/size", content=form(file_of(2 * MEBIBYTE)), headers=HEADERS)
    assert answer.status_code == 507
    found = caplog.messages
    assert found == [f"an upload can't be stored in {folder}: [Errno 28] No space left on device"]


def test_R32_a_full_disk_gets_a_507_for_the_first_upload(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No folder is found then."""
    client = make_client(Root())
    monkeypatch.setattr("tempfile.tempdir", None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # no file takes a byte
    try:
        answer = client.post("/size", content=form(file_of(2 * MEBIBYTE)), headers=HEADERS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert answer.status_code == 507
    (message,) = caplog.messages
    assert message.startswith("an upload can't be stored in None: [Errno 2] No usable temporary")


@pytest.mark.parametrize("is_first", [False, True])
def test_R32_without_file_descriptors_an_upload_gets_a_503(
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_first: bool,
) -> None:
    """The first one has to look for a folder, too."""
    client = make_client(Root())
    content = form(file_of(2 * MEBIBYTE))
    assert client.post("/size", content=content, headers=HEADERS).status_code == 200
    if is_first:
        monkeypatch.setattr("tempfile.tempdir", None)
    with no_descriptors():
        answer = client.post("/size", content=content, headers=HEADERS)
    assert (answer.status_code, answer.text) == (503, "Please try again later.")
    assert answer.headers["retry-after"] == "5"
    assert caplog.messages[0].startswith("POST '/size' failed: [Errno 24] Too many open files")
    assert client.post("/size", content=content, headers=HEADERS).status_code == 200


def test_R32_a_file_that_cannot_be_finished_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, *_: int) -> int:
        raise OSError(28, "No space left on device")

    made: list[UploadFile] = []
    write = UploadFile.write

    def remembered(self: UploadFile, data: bytes) -> None:
        made.append(self)
        write(self, data)

    monkeypatch.setattr(UploadFile, "write", remembered)
    monkeypatch.setattr(UploadFile, "seek", full)  # which writes what is still buffered
    with pytest.raises(HTTPError, match="no space"):
        MultipartParser("B", Limits(spool_size=5)).feed(form(file_of(10)))
    assert made[0].file.closed


# -- R18: the body's size, and a handler's own limit -----------------------------------------------


class Limited(App):
    @max_body_size(100)
    def little(self) -> Any:
        return len(self.request.read())

    @post
    @max_body_size(3000)
    def much(self) -> Any:
        return len(self.request.read())

    @max_body_size(3000)
    @reads_body
    async def parts(self) -> Any:
        return [len(await part.read()) async for part in self.request.parts()]

    @max_body_size(3000)
    def form(self, **fields: Any) -> Any:
        return len(fields)

    @max_body_size(0)
    def none(self) -> Any:
        return len(self.request.read())

    def usual(self) -> Any:
        return len(self.request.read())


SIZES = {"/little": 100, "/much": 3000, "/none": 0, "/usual": 1000}


@pytest.mark.parametrize("path", SIZES)
@pytest.mark.parametrize("is_announced", [True, False])
def test_R18_a_handler_may_have_its_own_body_limit(
    make_client: MakeClient, path: str, is_announced: bool
) -> None:
    client = make_client(Limited(max_body_size=1000))
    limit = SIZES[path]
    for size in (limit, limit + 1):
        content: Any = b"x" * size
        answer = client.post(path, content=content if is_announced else iter([content]))
        expected = (
            (200, str(size))
            if size == limit
            else (413, f"The body may have {limit} bytes at most.")
        )
        assert (answer.status_code, answer.text) == expected


def test_R18_a_handler_s_body_limit_applies_to_forms_and_parts(make_client: MakeClient) -> None:
    client = make_client(Limited(max_body_size=1000))
    for path in ("/parts", "/form"):
        for size, status in ((2000, 200), (3001, 413)):
            answer = client.post(path, content=in_pieces(form(file_of(size)), 500), headers=HEADERS)
            assert answer.status_code == status


def test_R18_an_inner_application_keeps_a_handler_s_limit(make_client: MakeClient) -> None:
    app = Root()
    app.inner = Limited(max_body_size=10)
    client = make_client(app)
    assert client.post("/inner/much", content=b"x" * 3000).text == "3000"
    assert client.post("/inner/usual", content=b"x" * 11).status_code == 413


@pytest.mark.parametrize("size", [-1, 1.5, "1 MiB", None, True])
def test_an_invalid_body_limit_is_refused(size: Any) -> None:
    with pytest.raises(
        SetupError, match="max_body_size takes a whole number of bytes, 0 or more, not "
    ):
        max_body_size(size)


class Flood:
    """A client that sends pieces without an end, all of them the same bytes."""

    def __init__(self, first: bytes = b"", size: int = 65536) -> None:
        self._pieces: Iterator[bytes] = self._made(first, b"x" * size)
        self.received = 0
        self.sent: list[Message] = []

    @staticmethod
    def _made(first: bytes, chunk: bytes) -> Iterator[bytes]:
        yield first
        while True:
            yield chunk

    async def receive(self) -> Message:
        self.received += 1
        return piece(next(self._pieces), more=True)

    async def send(self, message: Message) -> None:
        self.sent.append(message)


def peak_of(function: Callable[[], Any]) -> int:
    """The most memory that a call had at a time, in bytes, beyond what there was."""
    function()  # what is made once is made now
    gc.collect()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["/size", "/save", "/stream"])
@pytest.mark.parametrize("length", [None, b"1000"])
def test_R18_an_oversized_body_gets_a_413_without_using_memory(
    backend: str, path: str, length: bytes | None, tmp_path: Path
) -> None:
    announced = [(b"content-length", length)] if length else []
    floods: list[Flood] = []

    def ask() -> None:
        floods.append(Flood(section('name="f"; filename="f"')[:-2]))
        headers = PAIRS + announced
        scope = http_scope("POST", f"{path}?directory={tmp_path}", headers=headers)
        run(
            backend,
            lambda: Root(max_body_size=32 * MEBIBYTE)(scope, floods[-1].receive, floods[-1].send),
        )

    assert peak_of(ask) < 8 * MEBIBYTE
    assert (floods[-1].sent[0]["status"], floods[-1].received) == (413, 32 * 16 + 1)
    assert os.listdir(tmp_path) == []


# -- R21: what a body costs ------------------------------------------------------------------------


class Pieces:
    """A body of ``count`` pieces that is never in memory as a whole; the last one may differ."""

    def __init__(self, first: bytes, chunk: bytes, count: int, last: bytes) -> None:
        self._left = iter([first, *[chunk] * count, last])
        self.size = len(first) + count * len(chunk) + len(last)
        self._ended = False
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        chunk = next(self._left, None)
        return piece(b"") if chunk is None else piece(chunk, more=True)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def read(self, size: int) -> bytes:
        return next(self._left, b"")


def cost(path: str, world: str, kind: str, first: bytes, chunk: bytes, last: bytes) -> float:
    """The peak of memory while a body of 8 MiB is received and parsed, as a multiple of its
    size.
    """
    sizes: list[int] = []

    def ask() -> None:
        pieces = Pieces(first, chunk, 8 * MEBIBYTE // len(chunk), last)
        sizes.append(pieces.size)
        app = Root(max_body_size=16 * MEBIBYTE)
        if world == "wsgi":
            status, _ = wsgi_get(
                app,
                path,
                "POST",
                CONTENT_TYPE=kind,
                **{"wsgi.input": pieces, "wsgi.input_terminated": True},
            )
        else:
            scope = http_scope("POST", path, headers=[(b"content-type", kind.encode())])
            run(world, lambda: app(scope, pieces.receive, pieces.send))
            status = pieces.sent[0]["status"]
        assert status == 200

    return peak_of(ask) / sizes[-1]


@pytest.mark.parametrize("path", ["/body", "/read"])
def test_R21_a_raw_body_is_not_copied(world: str, path: str) -> None:
    assert cost(path, world, "text/plain", b"", b"x" * 65536, b"") < 1.2


class TinyPieces:
    """A body of 100,000 pieces of two bytes, each of which is an object of its own."""

    def __init__(self) -> None:
        self._left = 100_000
        self.sent: list[Message] = []

    def read(self, size: int) -> bytes:
        self._left -= 1
        return bytes(2) if self._left >= 0 else b""

    async def receive(self) -> Message:
        return piece(self.read(2), more=self._left > 0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)


def test_R21_a_beginning_in_tiny_pieces_is_stored_once(world: str) -> None:
    """A hook searches it for a field, although the handler reads the body itself."""

    class Finds(FlowMiddleware):
        def before(self, request: Any) -> Any:
            yield from receiving.find_field(request._exchange, "x")

    app, kind = App(), "application/x-www-form-urlencoded"
    app.middlewares.append(Finds())

    @app.post("/")
    @reads_body
    def index() -> str:
        return str(len(app.request.read()))

    def ask() -> None:
        tiny = TinyPieces()
        if world == "wsgi":
            body = {"wsgi.input": tiny, "wsgi.input_terminated": True}
            _, found = wsgi_get(app, "/", "POST", CONTENT_TYPE=kind, **body)
        else:
            scope = http_scope("POST", "/", headers=[(b"content-type", kind.encode())])
            run(world, lambda: app(scope, tiny.receive, tiny.send))
            found = tiny.sent[1]["body"]
        assert int(found) == 200_000

    assert peak_of(ask) < 2 * MEBIBYTE


class Impatient(App):
    """Gives up reading, then reads again."""

    @post
    async def body(self) -> Any:
        await self._give_up(self.request.body)
        return await self.request.body()

    @post
    async def twice(self) -> Any:
        await self._give_up(self.request.body)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await self.request.body()
        return await self.request.body()

    @post
    async def stream(self) -> Any:
        await self._give_up(self.request.body)
        return b"".join([chunk async for chunk in self.request.stream()])

    @reads_body
    async def part(self) -> Any:
        async for part in self.request.parts():
            await self._give_up(part.read)
            return await part.read()

    @reads_body
    async def part_by_part(self) -> Any:
        async for part in self.request.parts():
            await self._give_up(partial(part.read, 100))
            return [(await part.read(3)).decode(), (await part.read()).decode()]

    @reads_body
    async def chunks_of_part(self) -> Any:
        async for part in self.request.parts():
            await self._give_up(part.text)
            return b"".join([chunk async for chunk in part])

    async def _give_up(self, read: Callable[[], Any]) -> None:
        with anyio.move_on_after(0.01) as scope:
            await read()
        assert scope.cancelled_caught


class Hesitant(Call):
    """A client that waits before it sends the last piece."""

    async def receive(self) -> Message:
        if len(self.incoming) == 1:
            await anyio.sleep(0.1)
        return await super().receive()


@pytest.mark.parametrize("beginning", [b"first-", b""])
@pytest.mark.parametrize(
    "path", ["/body", "/twice", "/stream", "/part", "/part_by_part", "/chunks_of_part"]
)
def test_a_cancelled_read_loses_nothing(backend: str, path: str, beginning: bytes) -> None:
    is_part = "part" in path
    first = section('name="f"; filename="f"', beginning)[:-2] if is_part else beginning
    last = b"second\r\n--B--\r\n" if is_part else b"second"
    headers = PAIRS if is_part else [(b"content-type", b"text/plain")]

    async def ask() -> Call:
        call = Hesitant(piece(first, more=True), piece(b"", more=True), piece(last))
        await Impatient()(http_scope("POST", path, headers=headers), call.receive, call.send)
        return call

    sent = run(backend, ask).sent
    whole = (beginning + b"second").decode()
    expected = f'["{whole[:3]}","{whole[3:]}"]' if path == "/part_by_part" else whole
    assert sent[1]["body"].decode() == expected


async def gives_up(request: Request) -> AsyncIterator[None]:
    with anyio.move_on_after(0.01) as scope:
        await request.body()
    assert scope.cancelled_caught
    yield


class Finds(FlowMiddleware):
    found = ""

    def before(self, request: Any) -> Any:
        if request.path == "/left":
            self.found = yield from receiving.find_field(request._exchange, "x")


async def asgi_echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def wsgi_echo(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]


@pytest.mark.parametrize("path", ["/asgi/", "/wsgi/", "/left"])
def test_a_mount_or_a_later_hook_gets_what_a_cancelled_hook_has_received(
    backend: str, path: str
) -> None:
    app, finds = App(), Finds()
    app.middlewares += [gives_up, finds]
    app.mount("/asgi", asgi_echo)
    app.mount("/wsgi", wsgi_echo)

    @app.post("/left")
    @reads_body
    async def left() -> bytes:
        return await app.request.body()

    async def ask() -> Call:
        call = Hesitant(piece(b"x=fir", more=True), piece(b"st&y=", more=True), piece(b"second"))
        headers = [(b"content-type", b"application/x-www-form-urlencoded")]
        await app(http_scope("POST", path, headers=headers), call.receive, call.send)
        return call

    sent = run(backend, ask).sent
    assert b"".join(one.get("body", b"") for one in sent) == b"x=first&y=second"
    assert finds.found == ("first" if path == "/left" else "")


# In a process of its own: tracemalloc counts what orjson reserves and never touches, twelve times
# the body.
JSON_COST = """
import sys, tracemalloc
from micropie import App
from tests.asgi.calls import get, piece, run
from tests.wsgi.calls import get as ask_wsgi

def in_use():  # not what is resident: an interpreter may keep what was freed
    return tracemalloc.get_traced_memory()[0]

class Root(App):
    def index(self):
        return [len(self.request.json()[0]), in_use()]

class Input:
    def __init__(self, count):
        self.left = iter([b'["', *[b"x" * 65536] * count, b'"]'])
    def read(self, size):
        return next(self.left, b"")

app = Root(max_body_size=2**26, max_data_size=2**26)

def ask(count):
    if sys.argv[1] == "wsgi":
        environ = {"wsgi.input": Input(count), "wsgi.input_terminated": True}
        _, body = ask_wsgi(app, "/", "POST", CONTENT_TYPE="application/json", **environ)
    else:
        pieces = [piece(chunk, more=True) for chunk in Input(count).left]
        headers = [(b"content-type", b"application/json")]
        body = run(sys.argv[1], lambda: get(app, "/", "POST", *pieces, piece(b""), headers=headers)).body
    return eval(body)

ask(1)
tracemalloc.start()
before = in_use()
size, after = ask(640)
assert size == 640 * 65536
print((after - before) / size)
"""


@pytest.mark.processes
@pytest.mark.skipif(IS_FREE_THREADED, reason="its allocator keeps memory that has been freed")
def test_R21_a_json_body_is_stored_once_beside_its_document(world: str) -> None:
    command = [sys.executable, "-c", JSON_COST, world]
    done = ended(*command)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2.1  # each of them once


def test_R21_a_body_of_one_chunk_is_that_chunk(backend: str) -> None:
    content, seen = b"x" * MEBIBYTE, []

    class Same(App):
        async def index(self) -> None:
            seen.append(await self.request.body())

    posted(backend, Same(), "/", piece(content))
    assert seen[0] is content


def test_R21_a_file_stays_in_memory_up_to_a_mebibyte(world: str) -> None:
    first = section('name="f"; filename="f"')[:-2]
    kind = HEADERS["Content-Type"]
    assert cost("/size", world, kind, first, b"x" * 65536, b"\r\n--B--") < 0.5


# -- JSON and form fields: their size, and where they are parsed -----------------------------------


FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}
JSON_TYPE = {"Content-Type": "application/json"}


class Data(App):
    def taken(self, x: Any = None, y: Any = None) -> Any:
        return len(x or "") + len(y or "")

    async def taken_async(self, *, x: Any = None, y: Any = None) -> Any:
        return len(x or "") + len(y or "")

    async def priced(self, x: str = "", price: Decimal = Decimal(1)) -> Any:
        return len(x)

    def whole(self, everything: Everything) -> Any:
        return len(everything["x"])

    def asked(self) -> Any:
        request = self.request
        return len((request.json() if request.is_json else request.body_params)["x"])

    async def asked_async(self) -> Any:
        return len(self.request.form["x"]) + len(self.request.form("y", ""))

    def nothing(self) -> Any:
        return "nothing"

    def path(self, first: str, second: int) -> Any:
        return f"{first} {second}"

    @post("/wild/<word>")
    def wild(self, word: str) -> Any:
        return word

    def rest(self, *words: str) -> Any:
        return "/".join(words)

    @max_data_size(3000)
    def more(self, x: Any) -> Any:
        return len(x)

    @max_data_size(3000)
    @max_body_size(2000)
    def less(self, x: Any) -> Any:
        return len(x)

    @reads_body
    def own(self) -> Any:
        return len(self.request.read())

    @run_in("process")
    def process(self) -> Any:
        return self.request.form["x"][:3]

    @run_in("process")
    def process_nothing(self) -> Any:
        return "nothing"


class Everything(TypedDict):
    x: str


def body_of(kind: str, size: int) -> tuple[bytes, dict[str, str]]:
    """A body with one long value ``x``, of ``size`` bytes if it is no multipart form."""
    if kind == "json":
        return b'{"x":"%s"}' % (b"x" * (size - 8)), JSON_TYPE
    if kind == "form":
        return b"x=%s" % (b"x" * (size - 2)), FORM_TYPE
    return form(section('name="x"', b"x" * size)), HEADERS


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("kind", ["json", "form", "multipart"])
@pytest.mark.parametrize("path", ["/taken", "/taken_async", "/whole", "/asked", "/nothing"])
def test_R18_json_and_form_fields_have_their_own_limit(
    make_client: MakeClient, path: str, kind: str, is_announced: bool
) -> None:
    client = make_client(Data(max_data_size=1000, max_body_size=10_000))
    answers = []
    for size in (1000, 1001):
        content, headers = body_of(kind, size)
        sent = content if is_announced else in_pieces(content, 300)
        answers.append(client.post(path, content=sent, headers=headers))
    assert [answer.status_code for answer in answers] == [200, 413]
    assert "1000 bytes" in answers[1].text


def test_R18_files_do_not_count_as_data(make_client: MakeClient) -> None:
    client = make_client(Data(max_data_size=1000, max_body_size=10_000))
    content = form(section('name="x"', b"x" * 999), section('name="f"; filename="f"', b"x" * 5000))
    assert client.post("/taken", content=content, headers=HEADERS).text == "999"
    two = form(section('name="x"', b"x" * 600), section('name="y"', b"x" * 600))
    answer = client.post("/taken", content=two, headers=HEADERS)
    seen = (answer.status_code, answer.text)
    assert seen == (413, "A form's fields may have 1000 bytes together at most.")


def test_R18_other_bodies_do_not_count_as_data(make_client: MakeClient) -> None:
    client = make_client(Data(max_data_size=1000, max_body_size=10_000))
    content, _ = body_of("json", 5000)
    assert client.post("/own", content=content, headers=JSON_TYPE).text == "5000"
    found = client.post("/nothing", content=content, headers={"Content-Type": "text/plain"}).text
    assert found == "nothing"


def test_R18_a_handler_may_have_its_own_data_limit(make_client: MakeClient) -> None:
    client = make_client(Data(max_data_size=1000, max_body_size=10_000))
    for path, most in (("/more", 3000), ("/less", 2000), ("/taken", 1000)):
        for kind in ("json", "form"):
            statuses = []
            for size in (most, most + 1):
                content, headers = body_of(kind, size)
                statuses.append(client.post(path, content=content, headers=headers).status_code)
            assert statuses == [200, 413], (path, kind)


@pytest.mark.parametrize("kind", ["json", "form"])
def test_R18_data_may_have_two_and_a_half_mebibytes_by_default(
    make_client: MakeClient, kind: str
) -> None:
    client = make_client(Data(max_form_field_size=2**24))
    statuses = []
    for size in (5 * MEBIBYTE // 2, 5 * MEBIBYTE // 2 + 1):
        content, headers = body_of(kind, size)
        statuses.append(client.post("/taken", content=content, headers=headers).status_code)
    assert statuses == [200, 413]


def test_R18_a_large_body_read_by_a_hook_does_not_bypass_the_data_limit(
    make_client: MakeClient,
) -> None:
    class Reads(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            await request.body()

    app = Data(max_data_size=1000)
    app.middlewares.append(Reads())
    client = make_client(app)
    for size, status in ((1000, 200), (1001, 413)):
        for is_announced in (True, False):
            content, headers = body_of("json", size)
            sent = content if is_announced else in_pieces(content, 300)
            assert client.post("/taken", content=sent, headers=headers).status_code == status


@pytest.mark.parametrize("size", [900, 200_000])
@pytest.mark.parametrize("kind", ["json", "form", "multipart"])
@pytest.mark.parametrize("path", ["/taken", "/taken_async", "/asked", "/asked_async"])
def test_data_is_parsed_alike_whatever_its_size(
    make_client: MakeClient, path: str, kind: str, size: int
) -> None:
    content, headers = body_of(kind, size)
    answer = make_client(Data()).post(path, content=content, headers=headers)
    expected = size - {"json": 8, "form": 2, "multipart": 0}[kind]
    is_list = path == "/asked" and kind != "json"
    assert answer.text == ("1" if is_list else str(expected))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for each parse of JSON or of an urlencoded form: whether it ran in the thread of an
    event loop.
    """
    seen: list[bool] = []

    def note(parse: Any) -> Any:
        def noting(*arguments: Any) -> Any:
            seen.append(is_on_loop())
            return parse(*arguments)

        return noting

    monkeypatch.setattr(received, "loads", note(loads))
    monkeypatch.setattr(received, "parse_query", note(parse_query))
    return seen


def is_on_loop() -> bool:
    try:
        anyio.get_current_task()
    except Exception:
        return False
    return True


@pytest.mark.parametrize("size", [900, 200_000])
@pytest.mark.parametrize("kind", ["json", "form"])
@pytest.mark.parametrize("path", ["/nothing", "/path/a/5", "/wild/x", "/rest/a/b", "/own"])
def test_a_body_that_no_parameter_takes_is_not_parsed(
    make_client: MakeClient, parsed: list[bool], path: str, kind: str, size: int
) -> None:
    content, headers = body_of(kind, size)
    client = make_client(Data())
    answers = [
        client.post(path, content=sent, headers=headers) for sent in (content, b"{%" + content[:-1])
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert parsed == []


@pytest.mark.parametrize("kind", ["json", "form"])
@pytest.mark.parametrize("path", ["/taken", "/taken_async", "/priced", "/asked", "/asked_async"])
@pytest.mark.parametrize("size", [2_000, 8_000, 20_000, 200_000])
def test_data_is_parsed_once_and_outside_the_loop_if_it_is_large(
    make_client: MakeClient, world: str, parsed: list[bool], path: str, kind: str, size: int
) -> None:
    content, headers = body_of(kind, size)
    assert make_client(Data()).post(path, content=content, headers=headers).status_code == 200
    most = {"/asked": 0, "/priced": 2_048}.get(path, 8_192)
    is_on_loop = path == "/asked_async" or (world != "wsgi" and size <= most)
    assert parsed == [is_on_loop]


@pytest.mark.parametrize("path", ["/taken", "/asked", "/asked_async"])
@pytest.mark.parametrize("size", [900, 200_000])
def test_malformed_json_gets_a_400_where_it_is_used(
    make_client: MakeClient, path: str, size: int
) -> None:
    content, headers = body_of("json", size)
    client = make_client(Data())
    for _ in range(2):
        answer = client.post(path, content=content[:-1], headers=headers)
        assert answer.status_code == 400
        assert said(answer).startswith("The JSON is not valid: ")


def test_a_json_error_is_raised_again_when_json_is_read_again(make_client: MakeClient) -> None:
    said = []

    class Asks(App):
        def index(self) -> Any:
            for name in ("json", "get_json", "body_params"):
                try:
                    getattr(self.request, name)()
                except HTTPError as error:
                    said.append((error.status, error.message))
            return self.request.json("x")

    assert make_client(Asks()).post("/", content=b"{", headers=JSON_TYPE).status_code == 400
    assert said == [(400, said[0][1])] * 3
    assert said[0][1].startswith("The JSON is not valid: ")


def test_an_empty_body_is_not_json(make_client: MakeClient) -> None:
    class Asks(App):
        def index(self) -> Any:
            return self.request.json()

    client = make_client(Asks())
    no_json = "This resource requires a JSON body (Content-Type: application/json)."
    for method, options, status, text in (
        ("POST", {"content": b"", "headers": JSON_TYPE}, 400, "The JSON body is empty."),
        ("POST", {"content": b"{}"}, 415, no_json),
        ("POST", {"data": {"a": "1"}}, 415, no_json),
        ("POST", {}, 415, no_json),
        ("GET", {"headers": JSON_TYPE}, 415, no_json),
    ):
        answer = client.request(method, "/", **options)
        assert (answer.status_code, said(answer)) == (status, text)


def test_a_handler_that_reads_the_body_itself_has_no_parsed_json(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Reads(App):
        @post
        @reads_body
        def index(self) -> Any:
            return self.request.json()

    headers = {"Content-Type": "text/plain"}
    assert make_client(Reads()).post("/", content=b"x", headers=headers).status_code == 500
    assert "@reads_body leaves the body to the handler" in caplog.text


def test_a_hook_that_reads_json_too_early_gets_a_hint(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Asks(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request.json()

    app = Data()
    app.middlewares.append(Asks())
    assert make_client(app).post("/taken", content=b"{}", headers=JSON_TYPE).status_code == 500
    assert "write await request.body() first, or, in a def, request.read()" in caplog.text


@pytest.mark.processes
def test_a_process_parses_only_what_its_handler_reads(
    make_client: MakeClient, parsed: list[bool]
) -> None:
    client = make_client(Data(processes=1))
    for kind in ("json", "form"):
        content, headers = body_of(kind, 200_000)
        assert client.post("/process", content=content, headers=headers).text == "xxx"
        found = client.post("/process_nothing", content=content[:-1] + b"%", headers=headers).text
        assert found == "nothing"
    assert parsed == []


@pytest.mark.parametrize("size", [900, 200_000])
def test_a_form_that_a_hook_received_is_parsed_once(
    make_client: MakeClient, parsed: list[bool], size: int
) -> None:
    class Receives(FlowMiddleware):
        def before(self, request: Any) -> Any:
            request.state.size = len((yield from receiving.find_field(request._exchange, "x")))

    app = Data()
    app.middlewares.append(Receives())
    content, headers = body_of("form", size)
    client = make_client(app)
    assert [
        client.post(path, content=content, headers=headers).text for path in ("/taken", "/nothing")
    ] == [
        str(size - 2),
        "nothing",
    ]
    assert len(parsed) == 2


# -- R20 under wsgi --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/size", "/body", "/read", "/stream"])
@pytest.mark.parametrize(
    ("error", "status"),
    [(TimeoutError("timed out"), 408), (ConnectionResetError(), 400), (ValueError(), 400)],
)
def test_R20_a_socket_that_times_out_gets_a_408(
    path: str, error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Silent(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise error

    kind = HEADERS["Content-Type"] if path == "/size" else "text/plain"
    environ = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": "8", "wsgi.input": Silent()}
    sentence = (
        b"The request body stopped arriving before it was complete."
        if status == 408
        else b"The request's body ended too early."
    )
    assert wsgi_get(Root(), path, "POST", **environ) == (status, sentence)
    assert not caplog.records
