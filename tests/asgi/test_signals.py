"""Hearing the signal that ends a server, and leaving the server's own handling of it alone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import anyio
import pytest

from micropie.asgi.lifespan import handling_signals
from tests.asgi.calls import run


@pytest.fixture
def server() -> Iterator[list[int]]:
    """A server's handler of SIGTERM: what it was called with."""
    calls: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        assert frame is not None
        calls.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    yield calls
    signal.signal(signal.SIGTERM, before)


def test_R65_a_signal_is_noticed_and_handled_as_before(backend: str, server: list[int]) -> None:
    handler = signal.getsignal(signal.SIGTERM)

    async def check() -> None:
        told = anyio.Event()
        with handling_signals(told.set):
            signal.raise_signal(signal.SIGTERM)
            assert (server, told.is_set()) == ([signal.SIGTERM], False)
            await told.wait()
        assert signal.getsignal(signal.SIGTERM) is handler

    run(backend, check)
    signal.raise_signal(signal.SIGTERM)
    assert len(server) == 2


def test_a_signal_is_noticed_where_signals_interrupt_no_system_call(
    backend: str, server: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(signal, "siginterrupt")  # Windows has none

    async def check() -> None:
        told = anyio.Event()
        with handling_signals(told.set):
            signal.raise_signal(signal.SIGTERM)
            await told.wait()

    run(backend, check)
    assert server == [signal.SIGTERM]


def test_a_signal_handler_set_in_the_meantime_stays(backend: str, server: list[int]) -> None:
    def own(number: int, frame: FrameType | None) -> None: ...

    async def check() -> None:
        with handling_signals(lambda: None):
            signal.signal(signal.SIGTERM, own)

    run(backend, check)
    assert signal.getsignal(signal.SIGTERM) is own


@pytest.mark.parametrize("default", [signal.SIG_DFL, signal.SIG_IGN])
def test_with_the_default_handler_the_signal_keeps_its_effect(default: signal.Handlers) -> None:
    async def check() -> None:
        with handling_signals(lambda: None):
            assert signal.getsignal(signal.SIGTERM) == default

    before = signal.signal(signal.SIGTERM, default)
    try:
        run("asyncio", check)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_a_thread_no_signal_handler_is_installed(server: list[int]) -> None:
    handler = signal.getsignal(signal.SIGTERM)

    async def check() -> None:
        with handling_signals(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is handler

    thread = threading.Thread(target=run, args=("asyncio", check))
    thread.start()
    thread.join()


def test_a_signal_after_the_loop_has_ended_is_left_to_the_server(server: list[int]) -> None:
    heard = []

    async def check() -> None:
        hearing = handling_signals(lambda: None)
        hearing.__enter__()
        heard.append(hearing)

    run("asyncio", check)
    signal.raise_signal(signal.SIGTERM)
    assert server == [signal.SIGTERM]
