"""The event loop in which an ASGI application runs: in a thread of the client's, or the test's own.

anyio's blocking portal does not fit: each of its calls, even the one that stops it, waits until the loop answers.
An application that blocks its loop (a lock, a ``time.sleep``) would then hang the test instead of failing it. Here a
call is put into a queue, and a byte in a socket wakes the loop: ``post`` never waits.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future

import anyio
import anyio.abc

from micropie.testing.errors import AppTimeout


class AppLoop:
    """An event loop. ``post`` runs a function in it, from any thread; ``tasks`` starts tasks there."""

    tasks: anyio.abc.TaskGroup  # for posted functions; entered before the first of them runs

    def __init__(self) -> None:
        self.started: Future[None] = Future()
        self._calls: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()  # a closed socket's number may be another file's by the time of ``send``
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)

    def post(self, call: Callable[[], object]) -> None:
        """Run ``call`` in the loop's thread, soon. Never waits; does nothing after the loop's end."""
        # A full socket wakes the loop too; after the loop's end the socket is closed.
        with self._lock, contextlib.suppress(OSError):
            self._calls.append(call)
            self._wake.send(b"\0")

    def stop(self, timeout: float | None = None) -> None:
        """Cancel the loop's tasks, soon."""

        def cancel() -> None:
            self.tasks.cancel_scope.cancel()  # ``run`` makes it in the loop's thread, perhaps after ``post``

        self.post(cancel)

    async def run(self) -> None:
        """Run what is posted, until ``stop``."""
        try:
            async with anyio.create_task_group() as self.tasks:
                self.started.set_result(None)
                while True:
                    await anyio.wait_readable(self._woken)
                    self._woken.recv(4096)
                    while self._calls:
                        self._calls.popleft()()
        finally:
            self.close()

    def close(self) -> None:
        """Close the sockets."""
        with self._lock:
            self._wake.close()
            self._woken.close()


class LoopThread(AppLoop):
    """An event loop in a thread of its own."""

    def __init__(self, backend: str, backend_options: Mapping[str, object] | None) -> None:
        super().__init__()
        name = f"test client's {backend} loop"
        options = dict(backend_options or {})
        self._thread = threading.Thread(target=self._run, args=(backend, options), name=name, daemon=True)
        self._thread.start()
        self.started.result()

    def stop(self, timeout: float | None = None) -> None:
        """End the loop and cancel its tasks. With a ``timeout`` in seconds, also wait for the thread's end."""
        super().stop()
        if timeout is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise AppTimeout(f"the event loop's thread did not end within {timeout:g} s: something blocks it")

    def _run(self, backend: str, backend_options: dict[str, object]) -> None:
        try:
            anyio.run(self.run, backend=backend, backend_options=backend_options)
        except BaseException as error:
            if self.started.done():
                raise
            self.close()
            self.started.set_exception(error)
