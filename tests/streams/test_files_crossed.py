"""To follow a stream of events through the framework, nobody opens more than a few files."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
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


def counting(files: set[str]) -> Callable[[FrameType, str, object], None]:
    def count(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            files.add(path.relative_to(PACKAGE).as_posix())

    return count


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
        sys.setprofile(counting(files))
        try:
            call = await get(app, "/")
        finally:
            sys.setprofile(None)
        assert call.body == EXPECTED

    run("asyncio", main)
    assert len(files) <= 14, sorted(files)
    found = {path for path in files if path.startswith("streams/")}
    assert found <= {"streams/events.py", "streams/source.py"}


def test_sending_three_events_runs_code_of_few_files_under_wsgi() -> None:
    app, files = Root(), set[str]()
    for _ in range(2):
        assert begin(app, "GET", "/").read() == EXPECTED
    sys.setprofile(counting(files))
    try:
        body = begin(app, "GET", "/").read()
    finally:
        sys.setprofile(None)
    assert body == EXPECTED
    assert len(files) <= 12, sorted(files)
