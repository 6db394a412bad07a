"""The process's one event loop under WSGI: in a thread of its own, started when first needed, never before a fork."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from contextvars import Context, copy_context
from threading import Lock
from typing import Any

import anyio
from anyio import get_cancelled_exc_class
from anyio.from_thread import BlockingPortal, start_blocking_portal

from micropie.outcomes import Outcome, released, variables_set


class _Portals:
    """The running portals of this process by backend. A forked child starts with none: threads don't survive."""

    def __init__(self) -> None:
        self._parents: list[ExitStack] = []
        self._stack = ExitStack()
        self.forget()

    def forget(self) -> None:
        self._parents.append(self._stack)  # kept: to let go of it would wait for the parent's thread, for ever
        self._lock = Lock()
        self._stack = ExitStack()
        self._running: dict[str, BlockingPortal] = {}

    def get(self, backend: str) -> BlockingPortal:
        portal = self._running.get(backend)
        return portal if portal is not None else self._start(backend)

    def _start(self, backend: str) -> BlockingPortal:
        with self._lock:
            if backend not in self._running:
                if not self._running:
                    atexit.register(self.close)
                portal = self._stack.enter_context(start_blocking_portal(backend))
                self._running[backend] = portal
                # It lives as long as the loop: should something end that, the next who asks gets another.
                # In a context of its own: this request's would keep the request.
                alive = Context().run(portal.start_task_soon, anyio.sleep_forever)
                alive.add_done_callback(lambda _: self._lost(backend, portal))
                self._stack.callback(alive.cancel)
                self._stack.callback(_stop, portal)
            return self._running[backend]

    def _lost(self, backend: str, portal: BlockingPortal) -> None:
        if self._running.get(backend) is portal:
            del self._running[backend]

    def close(self) -> None:
        atexit.unregister(self.close)
        stack, self._stack, self._running = self._stack, ExitStack(), {}
        stack.close()


def _stop(portal: BlockingPortal) -> None:
    """Cancel what is under way: a stream that nobody takes any more would hold up the process's end for ever."""
    with suppress(RuntimeError):  # its loop has ended already
        portal.call(portal.stop, True)


_portals = _Portals()
os.register_at_fork(after_in_child=_portals.forget)

get_portal = _portals.get
close_portals = _portals.close


def await_in_portal(backend: str, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Await ``function(*arguments)`` on the loop, with this thread's context variables; block until it is done."""
    return released(get_portal(backend).call(_outcome, function, arguments))


async def _outcome(function: Callable[..., Any], arguments: Sequence[Any]) -> Outcome:
    before = copy_context()
    try:
        return [await function(*arguments), None, variables_set(before)]
    except get_cancelled_exc_class():
        raise
    except BaseException as error:  # a SystemExit of one handler would end the loop for everybody's
        return [None, error, variables_set(before)]
