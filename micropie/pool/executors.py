"""An author's executor instead of the pool: any of ``concurrent.futures``' kind, Dask's among them.

Jobs return bytes that are made here, so every executor brings back the same values and the same
errors. An exception of a job itself is therefore the executor's own: it has lost the job.

A generator can't leave the process that runs it, and a job ends when it returns. So a stream comes
whole, within limits.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextvars import copy_context
from threading import Event
from time import monotonic
from typing import Any

from micropie.execution import TookTooLong
from micropie.pool.remote import CancelToken, Message, PoolError, open_message, packed_result

# The largest stream: it is in memory, here and there.
STREAM_BYTES = 64 * 1024 * 1024

CHUNK_BYTES = 64  # the memory that a chunk takes beside its content, about


# -- in the server's process -----------------------------------------------------------------------


class ExecutorPool:
    """Calls functions by an executor.

    A call there can't be ended: after a time-out it is left to itself.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        # A Dask client's executor: its author has imported the module.
        distributed = sys.modules.get("distributed.cfexecutor")
        is_dask = distributed is not None and isinstance(executor, distributed.ClientExecutor)
        # or two equal requests would share one answer
        self._options = {"pure": False} if is_dask else {}

    def call(
        self,
        seconds: float,
        function: Callable[..., object],
        *arguments: object,
        token: CancelToken | None = None,
    ) -> Any:
        """Like ``Pool.call``, but a stream has been made when this returns, and to cancel only ends
        the wait.
        """
        call = pickle.dumps((function, arguments))
        job = _Job(self._executor.submit(packed_result, result_of, call, seconds, **self._options))
        (token or CancelToken()).attach(job.leave)
        return open_message(job.outcome(seconds))

    def close(self) -> None:
        """Do nothing: the executor is its author's to close."""


class _Job:
    """A job of the executor. One thread waits for its outcome; another may end that wait.

    The future is dropped as soon as possible: if a Dask worker is lost, Dask does a job of it again
    while its future is referred to.
    """

    def __init__(self, future: Future[bytes]) -> None:
        self._future: Future[bytes] | None = future
        self._is_over = is_over = Event()
        future.add_done_callback(lambda _: is_over.set())  # without self, or they would be a cycle

    def outcome(self, seconds: float) -> Message:
        """Return its message.

        Raises ``TookTooLong``; ``PoolError`` if the executor has lost it, or it was left.

        Who opens the message has no future any more, or an error's traceback would refer to it.
        """
        if not self._is_over.wait(seconds):
            self.leave()
            raise TookTooLong(f"took longer than {seconds:g} seconds and is left to itself")
        future, self._future = self._future, None
        if future is None or not future.done():
            raise PoolError("its caller has been cancelled")
        try:
            data = future.result(0)
        except Exception as error:
            raise PoolError(f"the executor lost it: {str(error) or type(error).__name__}") from None
        message: Message = pickle.loads(data)  # noqa: S301 - from our own job
        return message

    def leave(self) -> None:
        """End the wait. A job that runs can't be stopped."""
        future, self._future = self._future, None
        if future is not None:
            future.cancel()
        self._is_over.set()


# -- in the process that runs the job --------------------------------------------------------------


def result_of(call: bytes, seconds: float) -> object:
    """Call a function that is pickled with its arguments.

    Return its result; of a stream all chunks, as an iterator.
    """
    context = copy_context()  # the executor's thread goes on to other things
    function, arguments = pickle.loads(call)  # noqa: S301 - from our own process
    result = context.run(function, *arguments)
    return context.run(_whole, result, seconds) if isinstance(result, Iterator) else result


def _whole(stream: Iterator[object], seconds: float) -> Iterator[object]:
    """Return an iterator over all chunks of a stream, which can be pickled.

    Raises what the stream raises, and ``PoolError`` for one that is too long, which is closed.
    """
    deadline = monotonic() + seconds
    chunks: list[object] = []
    size = 0
    for chunk in stream:
        chunks.append(chunk)
        size += CHUNK_BYTES + (len(chunk) if isinstance(chunk, str | bytes | bytearray) else 0)
        if size > STREAM_BYTES or monotonic() > deadline:
            getattr(stream, "close", int)()
            raise PoolError(
                f"a stream comes whole from an executor, within {STREAM_BYTES >> 20} MiB and "
                f"{seconds:g} seconds: "
                "this one is longer"
            )
    return iter(chunks)
