"""Files that the server sends itself: ``wsgi.file_wrapper`` as PEP 3333 has it, and as servers make
use of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest

from micropie import App, HttpMiddleware
from tests.support.open_files import open_files
from tests.support.served_files import LARGE, app_for, files_in
from tests.wsgi.calls import begin


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return files_in(tmp_path)


class Wrapper:
    """gunicorn's and uWSGI's: asks for a descriptor, sends from it with the system's help; else
    reads.
    """

    def __init__(self, file: Any, block_size: int) -> None:
        self.file = file
        self.block_size = block_size
        self.close: Callable[[], None] = file.close

    def __iter__(self) -> Any:
        if hasattr(self.file, "fileno"):
            descriptor = self.file.fileno()
            start = os.lseek(descriptor, 0, os.SEEK_CUR)
            yield os.pread(descriptor, 10_000_000, start)
        else:
            yield from iter(lambda: self.file.read(self.block_size), b"")


class Seeking(Wrapper):
    """waitress's: finds the length by seeking, reads each piece twice."""

    def __len__(self) -> int:
        return 0  # as waitress's until it is prepared: an object that is false

    def __iter__(self) -> Any:
        start = self.file.tell()
        self.file.seek(0, 2)
        left = self.file.tell() - start
        self.file.seek(-left, 1)
        while left:
            at = self.file.tell()
            piece = self.file.read(100_000)
            assert self.file.seek(at) == at
            assert self.file.read(len(piece)) == piece
            left -= len(piece)
            yield piece


every_wrapper = pytest.mark.parametrize("wrapper", [FileWrapper, Wrapper, Seeking])


def ask(
    app: App, wrapper: Any, path: str = "/static/large.bin", method: str = "GET", **environ: Any
) -> Any:
    return begin(app, method, path, **{"wsgi.file_wrapper": wrapper}, **environ)


@every_wrapper
@pytest.mark.parametrize(
    ("sent", "start", "stop"),
    [(None, 0, len(LARGE)), ("bytes=100-400000", 100, 400_001), ("bytes=-300000", 314400, 614400)],
)
def test_the_server_gets_its_own_file_wrapper(
    place: Path, wrapper: Any, sent: str | None, start: int, stop: int
) -> None:
    answer = ask(app_for(place), wrapper, **({"HTTP_RANGE": sent} if sent else {}))
    assert type(answer.chunks) is wrapper
    lent = open_files()
    assert answer.read() == LARGE[start:stop]
    assert answer.status == (206 if sent else 200)
    assert answer.headers["Content-Length"] == str(stop - start)
    assert open_files() < lent
    answer.close()  # twice does no harm


def test_only_a_whole_file_has_a_descriptor(place: Path) -> None:
    app = app_for(place)
    whole, part = ask(app, Wrapper), ask(app, Wrapper, HTTP_RANGE="bytes=0-400000")
    seen = (hasattr(whole.chunks.file, "fileno"), hasattr(part.chunks.file, "fileno"))
    assert seen == (True, False)
    whole.close()
    part.close()


def test_a_file_passed_to_the_server_is_read_as_files_are(place: Path) -> None:
    answer = ask(app_for(place), Wrapper)
    file = answer.chunks.file
    assert file.read(3) == LARGE[:3]
    assert (file.read(), file.read(), file.read(5)) == (LARGE[3:], b"", b"")
    answer.close()


@every_wrapper
def test_a_small_file_or_a_head_request_does_not_use_the_file_wrapper(
    place: Path, wrapper: Any
) -> None:
    app = app_for(place)
    assert list(ask(app, wrapper, "/static/small.txt").chunks) == [b"small"]
    head = ask(app, wrapper, method="HEAD")
    seen = (type(head.chunks) is wrapper, head.headers["Content-Length"], head.read())
    assert seen == (False, str(len(LARGE)), b"")
    assert ask(app, wrapper, HTTP_IF_NONE_MATCH="*").read() == b""


class Changes(HttpMiddleware):
    def after_request(self, *_: Any) -> Any:
        return {"status_code": 204}


def test_R9_a_hook_may_drop_a_file_body(place: Path) -> None:
    app = app_for(place)
    app.middlewares.append(Changes())
    answer = ask(app, Wrapper)
    assert (answer.status, answer.read()) == (204, b"")


class Closes(HttpMiddleware):
    guards = True

    def before_request(self, request: Any) -> None:
        request.on_close(lambda: None)


@pytest.mark.parametrize("hooks", [[], [Closes()]])
def test_a_mounted_application_gets_no_wrapper_whose_file_the_server_could_not_read(
    place: Path, hooks: list[Any]
) -> None:
    """uWSGI's wrapper returns the file that it is given, which only the server sends whole."""

    def lend(file: Any, block_size: int) -> Any:
        return file

    def foreign(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"yes" if "wsgi.file_wrapper" in environ else b"no"]

    app = App()
    app.middlewares += hooks
    app.mount("/alone", app_for(place), isolated=True)
    app.mount("/foreign", foreign)
    alone = ask(app, lend, "/alone/static/large.bin")
    if hooks:
        assert alone.read() == LARGE
    else:  # the server gets the file itself
        assert alone.chunks.read() == LARGE
        alone.chunks.close()
    assert ask(app, lend, "/foreign").read() == b"no"


def test_without_a_file_wrapper_the_file_is_read(place: Path) -> None:
    answer = begin(app_for(place), path="/static/large.bin")
    assert [len(chunk) for chunk in answer.chunks] == [256 * 1024, 256 * 1024, 88 * 1024]
    answer.close()


@every_wrapper
def test_R40_a_server_that_closes_early_leaves_no_file_open(
    place: Path, wrapper: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = open_files()
    answer = ask(app_for(place), wrapper)
    next(iter(answer.chunks))
    answer.close()
    assert open_files() <= before
    assert [record for record in caplog.records if record.name == "micropie"] == []


@every_wrapper
@pytest.mark.parametrize("sent", [None, "bytes=100-500000"])
def test_R40_R60_a_file_that_shrinks_aborts_the_response(
    place: Path, wrapper: Any, sent: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    before = open_files()
    answer = ask(app_for(place), wrapper, **({"HTTP_RANGE": sent} if sent else {}))
    os.truncate(place, 1000)
    with pytest.raises(Exception, match="became shorter"):
        answer.read()
    assert open_files() <= before
    assert [record.levelname for record in caplog.records if record.name == "micropie"] == ["ERROR"]


def test_a_failing_file_wrapper_leaves_no_file_open(place: Path) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("no")

    before = open_files()
    with pytest.raises(RuntimeError, match="no"):
        ask(app_for(place), fails)
    assert open_files() <= before
