"""To follow a stream of events through the framework, nobody opens more than a few files."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from anyio.lowlevel import checkpoint

import micropie
from micropie import App, EventStream
from tests.asgi.calls import get, run
from tests.wsgi.calls import begin

PACKAGE = Path(micropie.__file__).parent

EXPECTED = b": \n\ndata: a\n\ndata: b\n\ndata: c\n\n"


class Root(App):
    async def index(self) -> EventStream:
        return EventStream(self._events())

    async def _events(self) -> AsyncIterator[str]:
        for text in "abc":
            await checkpoint()
            yield text


@contextmanager
def recording(files: set[str]) -> Iterator[None]:
    """Add the files of the package whose functions are called."""

    def count(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            files.add(path.relative_to(PACKAGE).as_posix())

    gc.disable()  # finalizers of what other tests have left would count
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
        gc.enable()


def test_sending_three_events_runs_code_of_few_files_under_asgi(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the stream is over before its companion begins
    monkeypatch.setattr("micropie.asgi.streaming.WATCH_AFTER", 60)
    # another test may have imported it, and then it is looked at
    monkeypatch.delitem(sys.modules, "gevent.monkey", raising=False)
    app, files = Root(), set[str]()

    async def main() -> None:
        for _ in range(2):  # the first compiles the application, the second asks a lazy face
            assert (await get(app, "/")).body == EXPECTED
        with recording(files):
            call = await get(app, "/")
        assert call.body == EXPECTED

    run("asyncio", main)
    assert len(files) <= 14, sorted(files)
    found = {path for path in files if path.startswith("streams/")}
    assert found <= {"streams/events.py", "streams/source.py"}


def test_sending_three_events_runs_code_of_few_files_under_wsgi() -> None:
    app, files = Root(), set[str]()
    for _ in range(2):
        assert begin(app, "GET", "/").read() == EXPECTED
    with recording(files):
        body = begin(app, "GET", "/").read()
    assert body == EXPECTED
    assert len(files) <= 12, sorted(files)
