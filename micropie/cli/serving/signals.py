"""Handle granian's signals in a thread, and find out whether a server was stopped by a signal.

granian's handlers set a ``threading.Event``, and run in the thread that waits for this event. If a
signal arrives between taking the event's lock and starting to wait, the handler waits for ever for
a lock that its own thread holds (granian 2.8.9). Another thread may set the event at any time.

If a signal arrives just before a thread begins to wait in the system, Python runs its handler only
after the wait. So the other thread also reads the signal's number (``signal.set_wakeup_fd``).
granian's workers wait in the same way, where no such thread can be, so they get a second signal.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import Any

# Seconds after which a worker that hasn't ended gets its signal once more.
AGAIN_AFTER = 1.0


@contextmanager
def handled_in_a_thread(server: Any) -> Iterator[None]:
    """Have another thread call the signal handlers of a ``granian.Granian`` while it serves. This
    must be called in the main thread.
    """
    stop, reload = server.signal_handler_interrupt, server.signal_handler_reload

    def on_stop(_: int, __: FrameType | None) -> None: ...

    def on_reload(_: int, __: FrameType | None) -> None: ...

    calls: dict[object, Callable[[], None]] = {on_stop: stop, on_reload: reload}
    numbers, written = socket.socketpair()

    def handle() -> None:
        with numbers:
            while True:
                try:
                    arrived = numbers.recv(64)
                except TimeoutError:
                    terminate_again(server)
                    numbers.settimeout(None)  # each signal restarts what the worker waits for
                    continue
                if not arrived:
                    return
                for number in arrived:
                    call = calls.get(signal.getsignal(number))
                    if call is not None:
                        call()
                        # A worker under ASGI loses none: its event loop reads the numbers, too.
                        numbers.settimeout(AGAIN_AFTER if server.interface == "wsgi" else None)

    server.signal_handler_interrupt, server.signal_handler_reload = on_stop, on_reload
    Thread(target=handle, daemon=True).start()
    with written, signals_written_to(written):
        yield


@contextmanager
def signals_written_to(written: socket.socket) -> Iterator[None]:
    """During this ``with`` block, Python itself writes the number of each signal to the socket,
    whoever handles the signal. Afterwards, nothing more is written to it.
    """
    written.setblocking(False)
    before = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        written.shutdown(socket.SHUT_WR)  # forked processes may have it open


def terminate_again(server: Any) -> None:
    """Send its signal again to each worker of a granian that should end and hasn't."""
    for worker in [*server.wrks]:
        if worker.interrupt_by_parent and worker.is_alive():
            worker.terminate()


@contextmanager
def failing_without_signal() -> Iterator[None]:
    """Exit with an error code if the server that runs in the block ends although no shutdown signal
    has come. uvicorn (with several workers) and hypercorn exit with 0 if startup fails.
    """
    numbers, written = socket.socketpair()
    with numbers, written:
        with signals_written_to(written):
            yield
        seen = {*numbers.recv(1024)}
    if seen.isdisjoint((signal.SIGINT, signal.SIGTERM)):
        raise SystemExit(1)
