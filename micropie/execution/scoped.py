"""An async source that one task advances from its first chunk to its end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from anyio import CancelScope, current_time, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import checkpoint_if_cancelled

from micropie.errors import ClientDisconnect
from micropie.execution.loop import CLEAN_UP_WITHIN


class ScopedIterator:
    """An async source that one task advances and closes, inside of one cancel scope: ``enter``, ``finish``.

    A generator may keep a scope or a task group of its own open across ``yield``. Such a scope nests in those that its
    task has entered by then, so none may be entered around a later chunk or around ``aclose``. There is this one
    instead, entered before the first chunk and left after the last, and told what to do meanwhile.
    """

    __slots__ = ("_scope", "chunks")

    def __init__(self, chunks: Any) -> None:
        self.chunks = chunks

    def enter(self) -> None:
        """Before the first chunk, in the task that will do all the rest."""
        self._scope = CancelScope()
        self._scope.__enter__()

    def cancel(self) -> None:
        """Have it end, as nobody wants more of it: called while its task waits.

        If it waits in the source, that is cancelled. In between two chunks it is not, so that the source's clean-up
        may wait; the task has to look at what is going on and ``finish``.
        """
        if getattr(self.chunks, "ag_running", True):
            self._scope.cancel()
        else:
            self._scope.deadline = current_time() + CLEAN_UP_WITHIN

    async def finish(self, failure: BaseException | None, is_open: bool) -> BaseException | None:
        """At the end: close what ``is_open``, and leave. ``failure`` is what it ended by.

        Returns what is to be raised: that, or what the clean-up raised, or ``ClientDisconnect`` if it was given up.
        """
        # What was cancelled while it waited can't wait for anything else in there; a generator has had its turn.
        inside = hasattr(self.chunks, "athrow") or not self._scope.cancel_called
        if is_open and inside:
            self._scope.shield = True
            self._scope.deadline = current_time() + CLEAN_UP_WITHIN
            failure = await self._closed(failure)
        if self._leave(failure):
            failure = ClientDisconnect("the client left")
        if isinstance(failure, TimeoutError):  # of its own, if we are not being cancelled
            await checkpoint_if_cancelled()
        if is_open and not inside:
            with move_on_after(CLEAN_UP_WITHIN, shield=True):
                failure = await self._closed(failure)
        return failure

    async def _closed(self, failure: BaseException | None) -> BaseException | None:
        try:
            if isinstance(failure, get_cancelled_exc_class()) and hasattr(self.chunks, "athrow"):
                # It may come from a scope or a time-out of the generator's own, and only that can end it.
                with suppress(StopAsyncIteration):
                    await self.chunks.athrow(failure)
                failure = TimeoutError("a chunk could not be sent in the time that the stream gave itself")
            aclose = getattr(self.chunks, "aclose", None)
            if aclose is not None:
                await aclose()
        except BaseExceptionGroup as group:  # a task group's way to pass on what ended it
            failure = group.split((GeneratorExit, get_cancelled_exc_class()))[1] or failure
        except BaseException as error:
            failure = error
        return failure

    def _leave(self, failure: BaseException | None) -> bool:
        """True if ``failure`` is the cancellation by ``give_up``, which is over now."""
        if failure is None:
            self._scope.__exit__(None, None, None)  # trio's says True even so
            return False
        return bool(self._scope.__exit__(type(failure), failure, failure.__traceback__))
