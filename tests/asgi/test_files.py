"""Files that the server sends itself: offered in the scope, checked to the letter by the
validator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NewType

import pytest

from micropie import App, HttpMiddleware, static_file
from micropie.middleware import AccessLog, ConcurrencyLimit
from tests.asgi.calls import Call, get, http_scope, run
from tests.support.asgi_validator import validated
from tests.support.open_files import open_files
from tests.support.served_files import LARGE, app_for, files_in

PATHSEND = "http.response.pathsend"

Workshop = NewType("Workshop", Path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return files_in(tmp_path)


class Sending(Call):
    """A server with the extension: ``body_sent`` is what its client would get of a body."""

    def __init__(self) -> None:
        super().__init__({"type": "http.request", "body": b"", "more_body": False})
        self.body_sent = b""

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == PATHSEND:
            self.body_sent += Path(message["path"]).read_bytes()  # noqa: ASYNC240 - nobody else is here
        else:
            self.body_sent += message.get("body", b"")

    @property
    def kinds(self) -> list[str]:
        return [message["type"].rpartition(".")[2] for message in self.sent]


def ask(
    app: Any,
    backend: str,
    offered: Any,
    path: str = "/static/large.bin",
    method: str = "GET",
    **headers: str,
) -> Sending:
    call = Sending()
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = http_scope(method, path, extensions=offered, headers=pairs)
    run(backend, validated(app), scope, call.receive, call.send)
    return call


def test_a_whole_file_is_sent_by_pathsend(place: Path, backend: str) -> None:
    app = app_for(place)
    app.middlewares += [AccessLog(), ConcurrencyLimit(9)]  # they call ``on_close``, too
    call = ask(app, backend, {PATHSEND: {}})
    assert (call.kinds, call.body_sent) == (["start", "pathsend"], LARGE)
    assert call.sent[1]["path"] == str(place)
    assert call.headers["content-length"] == str(len(LARGE))


@pytest.mark.parametrize("when", ["after_response", "on_close"])
@pytest.mark.parametrize("function", [Path.unlink, os.remove])
def test_a_file_may_be_deleted_after_its_response(
    place: Path, backend: str, when: str, function: Any
) -> None:
    """granian opens the file of a pathsend later, perhaps after such functions have run."""
    app = App()

    @app.get("/report")
    def report() -> Any:
        getattr(app.request, when)(partial(function, place))
        return static_file(place.name, place.parent, download=True)

    call = ask(app, backend, {PATHSEND: {}}, "/report")
    assert (call.body_sent, "pathsend" in call.kinds) == (LARGE, False)
    assert not place.exists()


def test_a_file_may_be_in_a_directory_that_a_provider_removes(backend: str) -> None:
    app = App()

    @app.provides(Workshop)
    def workshop() -> Iterator[Path]:
        with TemporaryDirectory() as name:
            yield Path(name)

    @app.get("/report")
    def report(workshop: Workshop) -> Any:
        (workshop / "large.bin").write_bytes(LARGE)
        return static_file("large.bin", workshop)

    call = ask(app, backend, {PATHSEND: {}}, "/report")
    assert (call.body_sent, "pathsend" in call.kinds) == (LARGE, False)


@pytest.mark.parametrize("offered", [{PATHSEND: {}}, {}, None])
def test_a_range_is_read_from_the_open_file(place: Path, backend: str, offered: Any) -> None:
    call = ask(app_for(place), backend, offered, range="bytes=100-400000")
    assert (call.status, call.body_sent) == (206, LARGE[100:400001])
    assert "pathsend" not in call.kinds


def test_a_small_file_or_a_head_request_does_not_use_pathsend(place: Path, backend: str) -> None:
    app = app_for(place)
    offered: dict[str, Any] = {PATHSEND: {}}
    assert ask(app, backend, offered, "/static/small.txt").kinds == ["start", "body"]
    head = ask(app, backend, offered, method="HEAD")
    assert (head.kinds, head.headers["content-length"]) == (["start", "body"], str(len(LARGE)))
    known = ask(app, backend, offered, **{"if-none-match": "*"})
    assert (known.kinds, known.status) == (["start", "body"], 304)


class Changes(HttpMiddleware):
    def __init__(self, status: int) -> None:
        self.status = status

    def after_request(self, *_: Any) -> Any:
        return {"status_code": self.status}


def test_R9_a_hook_may_drop_a_file_body(place: Path, backend: str) -> None:
    app = app_for(place)
    app.middlewares.append(Changes(204))
    call = ask(app, backend, {PATHSEND: {}})
    assert (call.kinds, call.status, call.body_sent) == (["start", "body"], 204, b"")


def test_a_stream_that_is_not_a_file_does_not_use_pathsend(backend: str) -> None:
    app = App()
    app.get("/")(lambda: iter([b"a", b"b"]))
    assert ask(app, backend, {PATHSEND: {}}, "/").body_sent == b"ab"


class Gone(Sending):
    """The client leaves at message ``at``."""

    at = 0

    async def send(self, message: Any) -> None:
        if len(self.sent) >= self.at:
            raise BrokenPipeError
        await super().send(message)


@pytest.mark.parametrize("at", [0, 1])
def test_R40_R63_a_client_that_disconnects_closes_the_file(
    place: Path, backend: str, at: int
) -> None:
    call = Gone()
    call.at = at
    before = open_files()
    scope = http_scope("GET", "/static/large.bin", extensions={PATHSEND: {}})
    run(backend, app_for(place), scope, call.receive, call.send)
    assert open_files() <= before


class Truncates(Sending):
    """The file becomes shorter when the response starts."""

    place: Path

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            os.truncate(self.place, 300_000)
        await super().send(message)


@pytest.mark.parametrize("with_range", [False, True])
def test_R40_R60_a_file_that_shrinks_aborts_the_response(
    place: Path, backend: str, with_range: bool, caplog: pytest.LogCaptureFixture
) -> None:
    call = Truncates()
    call.place = place
    headers = [(b"range", b"bytes=200000-500000")] if with_range else []
    with pytest.raises(Exception, match="became shorter"):
        run(
            backend,
            app_for(place),
            http_scope("GET", "/static/large.bin", headers=headers),
            call.receive,
            call.send,
        )
    assert not call.is_complete
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_file_from_an_async_handler_uses_the_threads_for_io(place: Path, backend: str) -> None:
    """Its chunks come also while every thread for handlers is taken: there is none at all here."""
    app = App(threads=1)

    async def handler() -> Any:
        return static_file("large.bin", place.parent)

    app.get("/")(handler)

    async def asked() -> bytes:
        import anyio

        from micropie._core.execution import threads

        config = app._micropie.compiled().config
        async with anyio.create_task_group() as tasks:
            released = anyio.Event()

            async def occupy() -> None:
                slots = threads.slots_of(config.threads)
                await slots.take()
                await released.wait()
                slots.give()

            tasks.start_soon(occupy)
            await anyio.sleep(0.01)
            call = await get(app, "/")
            released.set()
        return call.body

    assert run(backend, asked) == LARGE
