"""``ScopedSource``: an async source that one task advances and closes, from its first chunk to its end.

The problem
-----------
An author may write this, and it has to work::

    async def ticks(self):
        async with create_task_group() as tasks:      # or fail_after(60), or a client library that does the same
            tasks.start_soon(self.produce)
            async for item in self.items:
                yield item

The task group is open while the generator is suspended at ``yield``. A cancel scope belongs to the task that enters it,
and a task's scopes form a stack: each is left in the task that entered it, the innermost first. An async generator has
no task; it runs in the task that calls ``__anext__``. So the group is pushed on the stack of the task that takes the
first chunk, and stays there until the generator ends. Three obvious ways to drive a stream therefore fail:

- A new task, or a pool of them, for each chunk: the scope is entered in one task and left in another.
- ``with move_on_after(...)`` around each ``__anext__``: the generator's scope is entered inside of ours and is still
  open when ours is left. The stack is corrupted.
- Cancel the task and call ``aclose()`` in another, or leave that to the garbage collector: again the wrong task.

The invariants
--------------
1. One task calls ``enter``, then every ``__anext__``, then ``finish``. It enters and leaves no scope around any of them
   that does not enclose them all.
2. There is one scope of ours. It is entered before the first chunk and left after the source is closed, so every scope
   of the source nests in it. A time limit or a shield is not another scope, but a change of this one.
3. The source is closed once, within ``CLEAN_UP_WITHIN`` seconds, whatever ended it: its end, an error in it, an error
   of the sender, a client that left, a server that cancels.
4. ``finish`` returns the error to raise and raises none itself, unless a chunk could not be sent because its task is
   being cancelled; then that is raised. So the caller can tell its other side of the end before it raises. An error of
   the source's own is never lost to a cancellation.

How it ends
-----------
``cancel`` is called by another task of the loop. A source that waits inside of ``__anext__`` (``is_waiting``) is
cancelled there. One that is suspended at ``yield`` is not: its ``finally`` may want to wait, and in a cancelled scope
every wait is cancelled. It gets a deadline instead; its task looks at what happened and calls ``finish``.

A cancellation that arrives while a chunk is *sent* may come from a time-out inside of the source, which is still open.
Only the source can catch it, so ``finish`` throws it into the generator. If the generator handles it and yields once
more, there is no way to go on with a chunk that was sent in part: the stream ends with ``TimeoutError``.

An iterator that is no generator has no frame to unwind. When it was cancelled, it is closed after our
scope is left, in a new, shielded one: inside of ours, its clean-up could not wait.

asyncio and trio
----------------
trio refuses a corrupted stack itself; under asyncio anyio does. Both cancel by level: as long as the scope is
cancelled, every wait in it raises again. asyncio alone cancels by edge, once, and anyio repeats it until the scope is
left. Code here must not depend on either: it waits in a cancelled scope only under a shield. trio's ``__exit__``
returns True also if there was no exception, anyio's for asyncio does not, so its result counts only for a failure. The
cancellation is ``asyncio.CancelledError`` or ``trio.Cancelled``, and code can't construct the latter; so a caught one
is kept and thrown on, never made anew. Under either, a task group wraps the errors of its tasks and of its body in an
exception group; ``finish`` removes the ``GeneratorExit`` and the cancellations from it.

The users are ``asgi.streaming`` and ``wsgi.streaming`` (on the background loop).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from anyio import CancelScope, current_time, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import checkpoint_if_cancelled

from micropie.errors import ClientDisconnect
from micropie.execution import CLEAN_UP_WITHIN
from micropie.streams.source import GeneratorOnLoop, LoopSource


class _ChunkTimeout(TimeoutError):
    """A cancellation ended the source while a chunk was sent."""


class ScopedSource:
    """A source that one task advances and closes inside of one cancel scope.

    The task calls ``enter``, advances the source, and calls ``finish``. Another task may call ``cancel``.
    """

    __slots__ = ("_scope", "source")

    def __init__(self, source: LoopSource) -> None:
        self.source = source

    def enter(self) -> None:
        """Enter the scope: before the first chunk, in the task that does all the rest."""
        self._scope = CancelScope()
        self._scope.__enter__()

    def cancel(self) -> None:
        """End the source, because its chunks are not wanted. Called while its task waits.

        A wait inside of the source is cancelled. Between two chunks nothing is cancelled: the task has to look at what
        is going on, and ``finish``.
        """
        if self.source.is_waiting:
            self._scope.cancel()
        else:
            self._scope.deadline = current_time() + CLEAN_UP_WITHIN

    async def finish(self, failure: BaseException | None, is_open: bool) -> BaseException | None:
        """Close the source if it ``is_open``, and leave the scope. ``failure`` is the error that ended it, or None.

        Return the error to raise, or None: ``failure``, or an error of the clean-up, or ``ClientDisconnect`` after
        ``cancel``.
        """
        closes_inside = isinstance(self.source, GeneratorOnLoop) or not self._scope.cancel_called
        if is_open and closes_inside:
            self._scope.shield = True
            self._scope.deadline = current_time() + CLEAN_UP_WITHIN
            failure = await self._close(failure)
        if failure is None:
            self._scope.__exit__(None, None, None)
        elif self._scope.__exit__(type(failure), failure, failure.__traceback__):
            failure = ClientDisconnect("the client left")
        if isinstance(
            failure, _ChunkTimeout
        ):  # by a time-out inside of the source, unless this task is being cancelled
            await checkpoint_if_cancelled()
        if is_open and not closes_inside:
            with move_on_after(CLEAN_UP_WITHIN, shield=True):
                failure = await self._close(failure)
        return failure

    async def _close(self, failure: BaseException | None) -> BaseException | None:
        try:
            if isinstance(self.source, GeneratorOnLoop) and isinstance(failure, get_cancelled_exc_class()):
                # It may come from a scope or a time-out of the generator's, and nothing else can end that.
                with suppress(StopAsyncIteration):
                    await self.source.throw(failure)
                failure = _ChunkTimeout("a chunk could not be sent in the time that the stream gave itself")
            closing = self.source.close()
            if closing is not None:
                await closing
        except BaseExceptionGroup as group:
            failure = group.split((GeneratorExit, get_cancelled_exc_class()))[1] or failure
        except BaseException as error:
            failure = error
        return failure


async def entered(subscription: Any) -> AsyncIterator[object]:
    """Iterate over what an async context manager gives, inside of it."""
    async with subscription as messages:
        async for message in messages:
            yield message
