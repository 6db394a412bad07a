"""``request.parts()``: a multipart form as it arrives, in every world, and as it was received
before.

``Doing`` does the same to each part in an ``async def`` and in a ``def`` handler, so each test
holds for both.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import itertools
import json
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from micropie import (
    App,
    ClientDisconnect,
    HTTPError,
    HttpMiddleware,
    SetupError,
    UploadFile,
    reads_body,
    run_in,
)
from micropie._core.execution.steps.steps import Flow
from micropie._core.http.body.form_parts import AsyncPart, Part
from micropie._core.http.body.receiving import receive_multipart
from micropie._core.http.forms.data import Limits
from micropie._core.http.forms.multipart import PartParser
from micropie._core.http.forms.uploads import NewFile
from tests.asgi.calls import DISCONNECT, Call, get, http_scope, piece, posted, run
from tests.support.clients import MakeClient
from tests.support.errors import said
from tests.support.multipart_forms import HEADERS, PAIRS, form, in_pieces, section
from tests.support.open_files import open_files
from tests.support.pairs import paired
from tests.wsgi.calls import get as wsgi_get

TEXT, BYTES = "text/plain", "application/octet-stream"


class Doing(App):
    """Does ``todo`` to each part: a number is read(number); the answer is what came of it."""

    todo: tuple[Any, ...] = ("name", "text")
    finished = 0

    @reads_body
    async def asynchronous(self) -> Any:
        return self._counted(
            [[await self._await(part, what) for what in self.todo] async for part in self._parts()]
        )

    @reads_body
    def sync(self) -> Any:
        return self._counted(
            [[self._call(part, what) for what in self.todo] for part in self._parts()]
        )

    async def received(self) -> Any:
        return self._counted(
            [[await self._await(part, what) for what in self.todo] async for part in self._parts()]
        )

    def received_sync(self) -> Any:
        return self._counted(
            [[self._call(part, what) for what in self.todo] for part in self._parts()]
        )

    def _parts(self) -> Any:
        return self.request.parts()

    def _counted(self, result: Any) -> Any:
        self.finished += 1
        return result

    async def _await(self, part: AsyncPart, what: Any) -> Any:
        if isinstance(what, int):
            return (await part.read(what)).decode("latin-1")
        if what == "chunks":
            return b"".join([chunk async for chunk in part]).decode("latin-1")
        if what in ("text", "save_to"):
            return str(await getattr(part, what)(*self._arguments(what)))
        return getattr(part, what)

    def _call(self, part: Part, what: Any) -> Any:
        if isinstance(what, int):
            return part.read(what).decode("latin-1")
        if what == "chunks":
            return b"".join(part).decode("latin-1")
        if what in ("text", "save_to"):
            return str(getattr(part, what)(*self._arguments(what)))
        return getattr(part, what)

    directory: Any = None

    def _arguments(self, what: str) -> tuple[Any, ...]:
        return (self.directory,) if what == "save_to" else ()


def doing(*todo: Any, **settings: Any) -> Doing:
    app = Doing(**settings)
    app.todo = todo
    return app


ARRIVING = ["/asynchronous", "/sync"]
RECEIVED = ["/received", "/received_sync"]
every_way = pytest.mark.parametrize("path", ARRIVING + RECEIVED)


@pytest.fixture(params=ARRIVING)
def path(request: pytest.FixtureRequest) -> str:
    """Each handler whose parts it gets as they arrive."""
    chosen: str = request.param
    return chosen


def post(client: Any, path: str, body: bytes, size: int = 1_000_000, **options: Any) -> Any:
    return client.post(path, content=in_pieces(body, size), **{"headers": HEADERS, **options})


# -- what comes ------------------------------------------------------------------------------------

BIG = bytes(range(256)) * 1200  # 300 KiB: more than one batch of ``save_to``
MIXED = form(
    section('name="title"', b"first"),
    section('name="f"; filename="../a.txt"', b"content", "Content-Type: text/plain"),
    section('name="none"; filename=""', b"", "Content-Type: application/octet-stream"),
    section('name="f"; filename="b.bin"', BIG),
    section('name="title"', b"second"),
    section('name="nameless"; filename=""', b"x"),
    section('name="empty"; filename="empty"'),
)
HEADS: list[list[Any]] = [
    ["title", None, None, TEXT],
    ["f", "a.txt", "../a.txt", TEXT],
    ["f", "b.bin", "b.bin", BYTES],
    ["title", None, None, TEXT],
    ["nameless", "upload", "", BYTES],
    ["empty", "empty", "empty", BYTES],
]
CONTENTS = ["first", "content", BIG.decode("latin-1"), "second", "x", ""]


@every_way
@pytest.mark.parametrize("how", [-1, "chunks"])
@pytest.mark.parametrize("size", [1_000_000, 4096, 199])
def test_parts_arrive_in_order_with_their_headers(
    make_client: MakeClient, path: str, how: Any, size: int
) -> None:
    client = make_client(doing("name", "filename", "raw_filename", "content_type", how))
    answer = post(client, path, MIXED, size)
    assert answer.status_code == 200
    found = answer.json()
    assert found == [[*head, content] for head, content in zip(HEADS, CONTENTS, strict=True)]


@every_way
def test_parts_that_are_not_read_are_skipped(make_client: MakeClient, path: str) -> None:
    for app in (doing("name"), doing("name", 1)):
        names = [found[0] for found in post(make_client(app), path, MIXED, 1000).json()]
        assert names == ["title", "f", "f", "title", "nameless", "empty"]


@every_way
def test_a_form_without_parts_has_none(make_client: MakeClient, path: str) -> None:
    assert post(make_client(doing("name")), path, b"--B--").json() == []


@every_way
def test_each_part_has_its_own_headers(make_client: MakeClient, path: str) -> None:
    body = form(section('name="f"; filename="f"', b"", "X-Own: 1"), section('name="a"'))
    of_file, of_field = (
        {"content-disposition": f"form-data; name={name}"} for name in ('"f"; filename="f"', '"a"')
    )
    if path in RECEIVED:
        of_field = {}
    found = post(make_client(doing("headers")), path, body).json()
    assert found == [[{**of_file, "x-own": "1"}], [of_field]]


def test_a_part_s_repr_describes_it() -> None:
    shown: list[str] = []

    class Root(App):
        @reads_body
        def index(self) -> None:
            shown.extend([repr(part) for part in self.request.parts()])

    wsgi_get(Root(), "/", "POST", MIXED, CONTENT_TYPE=HEADERS["Content-Type"])
    assert shown[:2] == ["<Part 'title'>", "<Part 'f' 'a.txt'>"]


@every_way
@pytest.mark.parametrize("size", [1_000_000, 7, 1])
def test_a_part_can_be_read_in_portions(make_client: MakeClient, path: str, size: int) -> None:
    body = form(section('name="a"', b"0123456789"), section('name="f"; filename="f"', b"ab"))
    client = make_client(doing(0, 3, 1, 100, 5, -1))
    found = post(client, path, body, size).json()
    assert found == [["", "012", "3", "456789", "", ""], ["", "ab", "", "", "", ""]]
    client = make_client(doing(2, "chunks", -1, 1, "chunks"))
    seen = post(client, path, body, size).json()
    assert seen == [["01", "23456789", "", "", ""], ["ab", "", "", "", ""]]
    client = make_client(doing(1, "text", "text"))
    assert post(client, path, body, size).json() == [["0", "123456789", ""], ["a", "b", ""]]


@pytest.mark.parametrize("content", [b"\xff", b"a\0b"])
def test_R11_text_of_a_part_that_cannot_be_decoded_gets_a_400(
    make_client: MakeClient, path: str, content: bytes
) -> None:
    answer = post(make_client(doing("text")), path, form(section('name="a"', content)))
    assert (answer.status_code, answer.text.startswith("A field's name or value")) == (400, True)


def test_R34_a_form_cut_at_every_byte_gives_the_same_parts(path: str) -> None:
    body = form(
        section('name="a"', b"1\r\n--"),
        section('name="f"; filename="f"', b"\r\n--\r\n-B"),
        section('n="";name="b"'),
    )
    app = doing("name", -1)

    async def cut_everywhere() -> None:
        for at in range(len(body) + 1):
            call = await get(
                app, path, "POST", piece(body[:at], more=True), piece(body[at:]), headers=PAIRS
            )
            assert call.body == rb'[["a","1\r\n--"],["f","\r\n--\r\n-B"],["b",""]]', at

    run("asyncio", cut_everywhere)


# -- what is wrong with it -------------------------------------------------------------------------

SMALL: Any = {
    "max_form_fields": 2,
    "max_form_files": 2,
    "max_form_field_size": 10,
    "max_body_size": 100_000,
}
FIELD, FILE = section('name="a"', b"1"), section('name="f"; filename="f"', b"1")
WRONG = {
    "fields": (form(FIELD, FIELD, FIELD), 413),
    "files": (form(FILE, FILE, FILE), 413),
    "files without a name": (form(*[section('name="f"; filename=""')] * 3), 413),
    "field": (form(section('name="a"', b"x" * 11)), 413),
    "name": (form(section(f'name="{"x" * 11}"')), 413),
    "headers": (form(section('name="a"', b"", *["X: y"] * 8)), 400),
    "header": (form(section('name="a"', b"", "X: " + "y" * 5000)), 400),
    "body": (form(section('name="f"; filename="f"', b"x" * 100_000)), 413),
    "preamble": (b"x" * 5000 + form(FIELD), 400),
    "malformed": (section('name="a"') + b"--Bx", 400),
    "cut off": (FIELD, 400),
    "a header twice": (form(section('name="a"', b"", "X: y", "x: y")), 400),
    "charset": (form(section('name="a"', b"", "Content-Type: text/plain; charset=x")), 415),
    "encoding": (form(section('name="a"', b"", "Content-Transfer-Encoding: base64")), 400),
}


@pytest.mark.parametrize("size", [1_000_000, 50])
@pytest.mark.parametrize(("wrong", "path"), paired(list(WRONG), ARRIVING))
def test_R25_R26_R27_parts_have_the_limits_and_messages_of_a_received_form(
    make_client: MakeClient, path: str, wrong: str, size: int
) -> None:
    body, status = WRONG[wrong]
    client = make_client(doing("name", **SMALL))
    answer, received = (post(client, each, body, size) for each in (path, "/received"))
    assert (answer.status_code, answer.text) == (status, received.text)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=B", 415),
        ("multipart/form-data; boundary=B; charset=latin-1", 415),
        ("multipart/form-data", 400),
        ('multipart/form-data; boundary="B', 400),
    ],
)
def test_parts_of_a_body_that_is_not_a_multipart_form_are_refused(
    make_client: MakeClient, path: str, content_type: str, status: int
) -> None:
    client = make_client(doing("name"))
    assert post(client, path, MIXED, headers={"Content-Type": content_type}).status_code == status


def test_an_empty_body_is_a_form_without_parts(make_client: MakeClient, path: str) -> None:
    """Some libraries of clients write no boundary where there is nothing to send."""
    client = make_client(doing("name"))
    for each in (path, "/received"):
        assert post(client, each, b"").status_code == 200


def test_reading_parts_of_a_body_without_a_media_type_gets_a_415(
    make_client: MakeClient, path: str
) -> None:
    answer = make_client(doing("name")).post(path)
    sentence = "This resource requires a multipart form (Content-Type: multipart/form-data)."
    assert (answer.status_code, answer.text) == (415, sentence)


@pytest.mark.parametrize("wrong", ["fields", "malformed", "cut off"])
def test_an_error_of_parts_is_raised_again(make_client: MakeClient, wrong: str) -> None:
    class Root(App):
        @reads_body
        async def index(self) -> Any:
            heard: list[int] = []
            parts = aiter(aiter(self.request.parts()))  # an iterator, as iterators are, is its own
            while len(heard) < 3:
                try:
                    await anext(parts)
                except HTTPError as error:
                    heard.append(error.status)
            return heard

    body, status = WRONG[wrong]
    assert post(make_client(Root(**SMALL)), "/", body, 9).json() == [status] * 3


def test_a_failed_parser_raises_for_every_chunk() -> None:
    parser = PartParser("B", Limits(max_fields=0))
    for chunk in (form(FIELD), b"more"):
        with pytest.raises(HTTPError, match="0 fields"):
            list(parser.events(chunk))


HALVES = {
    "in a part": MIXED[:-200],
    "in a head": MIXED[:20],
    "complete but for the body's end": MIXED,
}


@pytest.mark.parametrize("half", HALVES)
def test_R19_a_truncated_form_never_looks_complete(
    backend: str, path: str, half: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = doing(-1)
    posted(backend, app, path, piece(HALVES[half], more=True), DISCONNECT, headers=PAIRS)
    assert (app.finished, caplog.records) == (0, [])


@pytest.mark.parametrize("half", HALVES)
def test_R19_a_truncated_form_never_looks_complete_under_wsgi(
    path: str, half: str, caplog: pytest.LogCaptureFixture
) -> None:
    body, app = HALVES[half], doing(-1)
    environ = {"CONTENT_TYPE": HEADERS["Content-Type"], "CONTENT_LENGTH": str(len(body) + 1)}
    assert wsgi_get(app, path, "POST", body, **environ)[0] == 400
    assert (app.finished, caplog.records) == (0, [])


def test_R20_silence_in_the_middle_of_a_part_gets_a_408(backend: str, path: str) -> None:
    app = doing(-1, body_timeout=0.03)
    call = posted(backend, app, path, piece(MIXED[:-200], more=True), headers=PAIRS)
    assert (call.status, call.body) == (
        408,
        b"The request body stopped arriving before it was complete.",
    )


# -- what is not read ------------------------------------------------------------------------------


class Leaving(App):
    @reads_body
    async def asynchronous(self) -> Any:
        async for part in self.request.parts():
            async for _ in part:
                return part.name

    @reads_body
    def sync(self) -> Any:
        for part in self.request.parts():
            for _ in part:
                return part.name

    @reads_body
    async def at_once(self) -> Any:
        return "left"

    @reads_body
    def asks_only(self) -> Any:
        self.request.parts()
        return "left"


LEAVING = {"/asynchronous": b"f", "/sync": b"f", "/at_once": b"left", "/asks_only": b"left"}


@pytest.mark.parametrize("path", LEAVING)
def test_R23_R30_unread_parts_are_not_received(backend: str, path: str) -> None:
    pieces = [piece(section('name="f"; filename="f"', b"x" * 65536), more=True)]
    pieces += [piece(b"x" * 65536, more=True)] * 3000
    call = posted(backend, Leaving(), path, *pieces, headers=PAIRS)
    assert (call.status, call.body) == (200, LEAVING[path])
    assert call.received <= 1
    gc.collect()  # an async iterator that was left in the middle leaves nothing behind: no warning


@pytest.mark.parametrize("path", LEAVING)
def test_R23_R30_unread_parts_are_not_received_under_wsgi(path: str) -> None:
    source = io.BytesIO(section('name="f"; filename="f"', b"x" * 1_000_000))
    environ = {
        "CONTENT_LENGTH": "1000000",
        "wsgi.input": source,
        "CONTENT_TYPE": HEADERS["Content-Type"],
    }
    assert wsgi_get(Leaving(), path, "POST", **environ) == (200, LEAVING[path])
    assert source.tell() <= 65536


# -- saving ----------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("size", [1_000_000, 65536, 300])
def test_R33_a_file_is_saved_under_its_safe_name(
    make_client: MakeClient, path: str, size: int, tmp_path: Path
) -> None:
    body = form(
        *[section(f'name="f"; filename="{name}"', content) for name, content in SAVED.items()]
    )
    app = doing("save_to")
    app.directory = tmp_path / "inside"
    app.directory.mkdir()
    paths = [found[0] for found in post(make_client(app), path, body, size).json()]
    assert paths == [str(app.directory / name) for name in ("a.txt", "big", "empty")]
    assert [Path(saved).read_bytes() for saved in paths] == list(SAVED.values())
    assert os.listdir(tmp_path) == ["inside"]


SAVED = {"../../a.txt": b"content", "C:\\\\big": BIG, "empty": b""}


@every_way
@pytest.mark.parametrize("content", [b"new", BIG])
def test_R33_saving_a_part_never_overwrites_a_file(
    make_client: MakeClient,
    path: str,
    content: bytes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "f").write_text("old")
    app = doing("save_to")
    app.directory = str(tmp_path)
    assert (
        post(make_client(app), path, form(section('name="f"; filename="f"', content))).status_code
        == 500
    )
    assert "FileExistsError" in caplog.text
    assert (tmp_path / "f").read_text() == "old"


def test_a_part_without_a_file_name_is_not_saved(
    make_client: MakeClient, path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = doing("save_to")
    app.directory = tmp_path
    assert post(make_client(app), path, form(FIELD)).status_code == 500
    assert "the part 'a' is a field and has no file name: read it with text()" in caplog.text
    assert os.listdir(tmp_path) == []


def test_R32_no_partial_file_is_left_wherever_the_form_breaks(
    backend: str, path: str, tmp_path: Path
) -> None:
    body = section('name="f"; filename="f"', b"x" * 30)
    app = doing("save_to")
    app.directory = tmp_path

    async def break_everywhere() -> None:
        await get(app, path, "POST", piece(body, more=True), DISCONNECT, headers=PAIRS)
        before = open_files()
        for at in range(len(body)):
            await get(app, path, "POST", piece(body[:at], more=True), DISCONNECT, headers=PAIRS)
            assert os.listdir(tmp_path) == [], at
        assert open_files() <= before

    run(backend, break_everywhere)


def test_R32_no_partial_file_is_left_under_wsgi(path: str, tmp_path: Path) -> None:
    body = section('name="f"; filename="f"', b"x" * 300_000)
    app = doing("save_to")
    app.directory = tmp_path
    environ = {"CONTENT_TYPE": HEADERS["Content-Type"], "CONTENT_LENGTH": str(len(body) + 1)}
    assert wsgi_get(app, path, "POST", body, **environ)[0] == 400
    assert os.listdir(tmp_path) == []


def test_R32_a_cancelled_save_leaves_no_file(backend: str, tmp_path: Path) -> None:
    class Root(App):
        @reads_body
        async def index(self) -> str:
            async for part in self.request.parts():
                with anyio.move_on_after(0.02):
                    await part.save_to(tmp_path)
            return "never"

    async def leave() -> None:
        call = Call(piece(section('name="f"; filename="f"', BIG), more=True))
        with anyio.move_on_after(0.05):
            await Root()(http_scope("POST", "/", headers=PAIRS), call.receive, call.send)

    before = open_files()
    run(backend, leave)
    assert os.listdir(tmp_path) == []
    assert open_files() <= before


def test_R32_a_save_cancelled_while_a_thread_writes_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio's own ``timeout`` does not wait for the thread, as anyio's scopes do."""
    may_write, wrote = threading.Event(), threading.Event()
    write = NewFile.write
    time_out: list[Callable[[], object]] = []

    def slow(self: NewFile, pieces: Any) -> None:
        time_out[0]()
        may_write.wait(30)
        write(self, pieces)
        wrote.set()

    monkeypatch.setattr(NewFile, "write", slow)

    class Root(App):
        @reads_body
        async def index(self) -> Any:
            async for part in self.request.parts():
                try:
                    async with asyncio.timeout(None) as limit:
                        call_soon = asyncio.get_running_loop().call_soon_threadsafe
                        time_out.append(functools.partial(call_soon, limit.reschedule, 0.0))
                        await part.save_to(tmp_path)
                except TimeoutError:
                    may_write.set()
                    await asyncio.to_thread(wrote.wait, 30)
                    return os.listdir(tmp_path)

    body = section('name="f"; filename="f"', BIG)
    call = posted("asyncio", Root(), "/", piece(body, more=True), headers=PAIRS)
    assert (wrote.is_set(), call.body) == (True, b"[]")


class SavesAgain(App):
    """Saves each part in another directory if its name is taken in the first one."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.taken, self.free = directory / "taken", directory / "free"
        for place in (self.taken, self.free):
            place.mkdir()
        (self.taken / "f").write_bytes(b"old")

    @reads_body
    async def asynchronous(self) -> Any:
        return [await self._await(part) async for part in self.request.parts()]

    @reads_body
    def sync(self) -> Any:
        return [self._call(part) for part in self.request.parts()]

    async def received(self) -> Any:
        return [await self._await(part) async for part in self.request.parts()]

    def received_sync(self) -> Any:
        return [self._call(part) for part in self.request.parts()]

    async def _await(self, part: Any) -> Any:
        begun = await part.read(1)
        with pytest.raises(FileExistsError):
            await part.save_to(self.taken)
        return len(begun + (await part.save_to(self.free)).read_bytes())

    def _call(self, part: Any) -> Any:
        begun = part.read(1)
        with pytest.raises(FileExistsError):
            part.save_to(self.taken)
        return len(begun + part.save_to(self.free).read_bytes())


@every_way
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_part_whose_name_is_taken_can_be_saved_elsewhere(
    make_client: MakeClient, tmp_path: Path, path: str, size: int
) -> None:
    app = SavesAgain(tmp_path)
    body = form(section('name="f"; filename="f"', b"x" * size))
    assert post(make_client(app), path, body).json() == [size]
    assert (app.taken / "f").read_bytes() == b"old"


class SavesOnFullDisk(App):
    """Saves a part although the disk is full, then tries again."""

    directory: Path

    @reads_body
    async def asynchronous(self) -> Any:
        async for part in self.request.parts():
            with suppress(OSError):
                await part.save_to(self.directory)
            await part.save_to(self.directory)

    @reads_body
    def sync(self) -> Any:
        for part in self.request.parts():
            with suppress(OSError):
                part.save_to(self.directory)
            part.read()


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_part_of_which_bytes_were_lost_is_not_saved(
    make_client: MakeClient,
    tmp_path: Path,
    path: str,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write = NewFile.write

    def fails(self: NewFile, pieces: Any, is_last: bool = False) -> None:
        write(self, pieces, is_last)
        if pieces:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(NewFile, "write", fails)
    app = SavesOnFullDisk()
    app.directory = tmp_path
    body = form(section('name="f"; filename="f"', b"x" * size))
    client = make_client(app, raise_app_exceptions=False)
    assert post(client, path, body).status_code == 500
    assert "don't read on after save_to has failed" in caplog.text
    assert os.listdir(tmp_path) == []


def test_a_new_file_is_removed_although_its_disk_is_full(tmp_path: Path) -> None:
    class Full:
        def close(self) -> None:
            raise OSError(28, "No space left on device")

    target = NewFile(tmp_path / "f")
    target.write([b"x"])
    assert target._file is not None
    target._file.close()
    target._file = Full()  # type: ignore[assignment]
    target.discard()
    assert os.listdir(tmp_path) == []
    target.write([b"late"], True)
    assert os.listdir(tmp_path) == []


def test_a_new_file_that_was_never_written_does_not_exist(tmp_path: Path) -> None:
    target = NewFile(tmp_path / "f")
    target.discard()
    target.write([], True)
    assert os.listdir(tmp_path) == []


# -- the order of reading --------------------------------------------------------------------------


class Ordered(App):
    async def received(self, order: str) -> Any:
        return [await self._take(way) for way in order.split(",")]

    @reads_body
    async def arriving(self, order: str) -> Any:
        return [await self._take(way) for way in order.split(",")]

    def received_sync(self, order: str) -> Any:
        return [self._take_here(way) for way in order.split(",")]

    @reads_body
    def arriving_sync(self, order: str) -> Any:
        return [self._take_here(way) for way in order.split(",")]

    async def _take(self, way: str) -> Any:
        request = self.request
        try:
            if way == "body":
                return len(await request.body())
            if way == "stream":
                return sum([len(chunk) async for chunk in request.stream()])
            if way == "parts":
                return [await part.text() async for part in request.parts()]
            return request.form("a")
        except RuntimeError as error:
            return str(error)[:24]

    def _take_here(self, way: str) -> Any:
        request = self.request
        try:
            if way == "body":
                return len(request.read())
            if way == "stream":
                return sum(map(len, request.chunks()))
            if way == "parts":
                return [part.text() for part in request.parts()]
            return request.form("a")
        except RuntimeError as error:
            return str(error)[:24]


TWO_PARTS = form(section('name="a"', b"1"), section('name="f"; filename="f"', b"2"))


def app_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def taken(order: tuple[str, ...], is_received: bool) -> list[Any]:
    """What is had of ``TWO_PARTS``: received as a form it has its parts again and again, kept as
    bytes all of them.
    """
    gone, kept = is_received, False
    found: list[Any] = []
    for way in order:
        if way == "form":
            found.append("1" if is_received else None)
        elif gone and not (is_received and way == "parts"):
            found.append("the body has already bee")
        else:
            found.append(["1", "2"] if way == "parts" else len(TWO_PARTS))
            kept = kept or way == "body"
            gone = gone or not kept
    return found


@pytest.mark.parametrize("path", ["received", "arriving", "received_sync", "arriving_sync"])
def test_R22_reading_parts_in_any_order_ends(make_client: MakeClient, path: str) -> None:
    client = make_client(Ordered(), app_timeout=30)
    for order in itertools.product(("body", "stream", "parts", "form"), repeat=3):
        answer = client.post(
            f"/{path}", params={"order": ",".join(order)}, content=TWO_PARTS, headers=HEADERS
        )
        assert (order, answer.text) == (order, app_json(taken(order, "received" in path)))


def test_R22_no_part_reader_waits_for_a_message_after_the_last(backend: str, path: str) -> None:
    call = posted(backend, doing(-1), path, piece(TWO_PARTS), headers=PAIRS)
    assert (call.status, call.body, call.received) == (200, b'[["1"],["2"]]', 1)


class Late(App):
    @reads_body
    async def asynchronous(self) -> Any:
        parts = [part async for part in self.request.parts()]
        return await parts[0].read()

    @reads_body
    def sync(self) -> Any:
        first, *_ = self.request.parts()
        return first.read()

    @reads_body
    def read_before(self) -> Any:
        parts = [(part, part.read()) for part in self.request.parts()]
        return [part.read().decode() for part, _ in parts]


def test_reading_a_skipped_part_raises_an_error(
    make_client: MakeClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert post(make_client(Late()), path, TWO_PARTS).status_code == 500
    assert "the part 'a' was discarded: read each part before the next one" in caplog.text


class TextOrBytes(App):
    @reads_body
    async def asynchronous(self) -> Any:
        return [await self._await(part) async for part in self.request.parts()]

    @reads_body
    def sync(self) -> Any:
        return [self._call(part) for part in self.request.parts()]

    async def _await(self, part: Any) -> Any:
        with suppress(HTTPError):
            return await part.text()
        return (await part.read()).decode("latin-1"), (await part.read()).decode()

    def _call(self, part: Any) -> Any:
        with suppress(HTTPError):
            return part.text()
        return b"".join(part).decode("latin-1"), part.read().decode()


def test_a_part_that_is_not_text_can_be_read_as_bytes(make_client: MakeClient, path: str) -> None:
    body = form(
        section('name="a"; filename="a"', b"\xff" * 3),
        section('name="b"; filename="b"', b"b", "Content-Type: text/plain; charset=none"),
        section('name="c"', b"c"),
    )
    found = post(make_client(TextOrBytes()), path, body, 10).json()
    assert found == [["\xff" * 3, ""], ["b", ""], "c"]


def test_a_part_that_was_read_stays_at_its_end(make_client: MakeClient) -> None:
    assert post(make_client(Late()), "/read_before", TWO_PARTS).json() == ["", ""]


class Wrong(App):
    @reads_body
    async def index(self) -> Any:
        return [part.name for part in self.request.parts()]

    @reads_body
    @run_in("loop")
    def inlined(self) -> Any:
        return [part.name for part in self.request.parts()]


@pytest.mark.parametrize("path", ["/", "/inlined"])
def test_a_sync_for_on_the_event_loop_raises_an_error_with_a_hint(
    backend: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = posted(backend, Wrong(), path, piece(TWO_PARTS), headers=PAIRS).status
    assert found == 500
    assert "async for part in request.parts()" in caplog.text


# -- received before -------------------------------------------------------------------------------


class Receiving(HttpMiddleware):
    """A hook that needs a form's field, as a check against forged requests does."""

    seen: list[Any]

    def receive(self, request: Any) -> Flow[None]:
        yield from receive_multipart(request._exchange, request.content_type_parameters)

    def before_request(self, request: Any) -> None:
        for _ in range(2):
            request._exchange.perform(self.receive(request))
        self.seen = [request.form("title")]


class ReadingWhole(HttpMiddleware):
    """A hook that needs the bytes themselves, as a check of a signature does."""

    def before_request(self, request: Any) -> None:
        self.size = len(request.read())


def test_a_hook_may_have_read_the_whole_body(make_client: MakeClient) -> None:
    class Root(App):
        def index(self, title: str, f: UploadFile) -> Any:
            return [title, f.size]

    app, hook = Root(), ReadingWhole()
    app.middlewares.append(hook)
    body = form(section('name="title"', b"first"), section('name="f"; filename="f"', b"content"))
    answer = make_client(app).post("/", content=body, headers=HEADERS)
    assert (answer.json(), hook.size) == (["first", 7], len(body))


@every_way
def test_a_hook_may_have_received_the_form(make_client: MakeClient, path: str) -> None:
    app, hook = doing("name", -1), Receiving()
    app.middlewares.append(hook)
    names = [
        ["title", "first"],
        ["f", "content"],
        ["f", BIG.decode("latin-1")],
        ["title", "second"],
    ]
    assert post(make_client(app), path, MIXED, 65536).json()[:4] == names
    assert hook.seen == ["first"]


# -- @reads_body -----------------------------------------------------------------------------------


class Bound(App):
    @reads_body
    async def both(self, name: str, number: int = 0, *, third: str = "-", **rest: str) -> Any:
        return [
            name,
            number,
            third,
            rest,
            (await self.request.body()).decode(),
            self.request.form("name"),
        ]

    @reads_body
    def json(self) -> Any:
        return self.request.json()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"name=body&third=body"),
        ("application/json", b'{"name":"body"}'),
        ("application/json", b"{{{"),
        (HEADERS["Content-Type"], form(section('name="third"', b"body"))),
        ("text/plain", b"x"),
    ],
)
def test_parameters_come_from_path_and_query_alone(
    make_client: MakeClient, content_type: str, body: bytes
) -> None:
    client = make_client(Bound())
    answer = client.post(
        "/both/path?number=7&other=x", content=body, headers={"Content-Type": content_type}
    )
    assert answer.json() == ["path", 7, "-", {"other": "x"}, body.decode(), None]
    answer = client.post("/both", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, said(answer)) == (400, "name: Please fill in this field.")


def test_json_of_a_body_that_was_not_received_raises_an_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Bound())
    assert client.post("/json", json={}).status_code == 500
    assert (
        "@reads_body leaves the body to the handler: read it with request.read(), or await request.body()"
        in caplog.text
    )


@dataclass
class Order:
    item: str


def takes_file(self: Any, f: UploadFile) -> None: ...
def takes_files(self: Any, *, f: list[UploadFile]) -> None: ...
def may_take_a_file(self: Any, f: UploadFile | None = None) -> None: ...
def takes_body(self: Any, order: Order) -> None: ...


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (
            takes_file,
            "index: 'f' takes a file, but @reads_body leaves the body to the handler",
        ),
        (takes_files, "'f' takes a file"),
        (may_take_a_file, "'f' takes a file"),
        (takes_body, "'order' takes a JSON object or a form"),
    ],
)
def test_a_parameter_that_only_a_body_could_fill_is_refused_with_reads_body(
    handler: Any, sentence: str
) -> None:
    root = type("Root", (App,), {"index": _copied(handler)})
    with pytest.raises(SetupError, match=sentence):
        root()._micropie.compiled()


def _copied(handler: Any) -> Any:
    @functools.wraps(handler)
    def index(*arguments: Any, **keywords: Any) -> Any:
        return handler(*arguments, **keywords)

    return reads_body(index)


class Marked(App):
    """Ways to stand above a handler."""

    @staticmethod
    @reads_body
    def of_nothing() -> Any:
        return "static"

    @classmethod
    @reads_body
    def of_class(cls) -> Any:
        return "class"

    def _any(self, answer: str) -> Any:
        return answer

    partial = functools.partialmethod(reads_body(_any), "partial")


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


Marked.inside = wrapped(reads_body(lambda self: "inside"))  # type: ignore[attr-defined]
Marked.outside = reads_body(wrapped(lambda self: "outside"))  # type: ignore[attr-defined]


def test_reads_body_is_found_in_any_position(make_client: MakeClient) -> None:
    app = Marked()
    app.post("/function")(reads_body(functools.partial(lambda answer: answer, "function")))
    app.post("/inner")(functools.partial(reads_body(lambda answer: answer), "inner"))
    client = make_client(app)
    json = {"Content-Type": "application/json"}
    for path in ("of_nothing", "of_class", "partial", "inside", "outside", "function", "inner"):
        answer = client.post(f"/{path}", content=b"{{{", headers=json)
        assert answer.status_code == 200, path


# -- both ways at once -----------------------------------------------------------------------------


class Echo(App):
    @reads_body
    async def asynchronous(self) -> AsyncIterator[bytes]:
        async for part in self.request.parts():
            async for chunk in part:
                yield chunk

    @reads_body
    def sync(self) -> Iterator[bytes]:
        for part in self.request.parts():
            yield from part


def test_parts_may_be_processed_while_they_arrive(make_client: MakeClient, path: str) -> None:
    content = bytes(range(256)) * 40
    body = form(
        section('name="f"; filename="f"', content), section('name="g"; filename="g"', content)
    )
    answer = post(make_client(Echo(), app_timeout=30), path, body, 1000)
    assert answer.content == content * 2


def test_parts_of_a_broken_form_abort_a_started_response(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = section('name="f"; filename="f"', b"x" * 100)
    messages = [piece(body, more=True), piece(b"--Bxx")]
    call = Call(*messages)
    caplog.set_level(logging.CRITICAL)

    async def main() -> None:
        await Echo()(http_scope("POST", path, headers=PAIRS), call.receive, call.send)

    with pytest.raises(HTTPError, match="malformed"):
        run("asyncio", main)
    assert not call.is_complete


def test_a_handler_gets_client_disconnect() -> None:
    seen: list[str] = []

    class Root(App):
        @reads_body
        async def index(self) -> None:
            try:
                async for part in self.request.parts():
                    await part.read()
            except ClientDisconnect as error:
                seen.append(str(error))
                raise

    posted("asyncio", Root(), "/", piece(MIXED[:-50], more=True), DISCONNECT, headers=PAIRS)
    assert seen == ["the client disconnected before its request was complete"]
