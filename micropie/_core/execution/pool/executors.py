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

from micropie._core.execution import TookTooLong
from micropie._core.execution.pool.remote import CancelToken, PoolError, open_message, packed_result

# The largest stream: it is in memory, here and there.
STREAM_BYTES = 64 * 1024 * 1024

CHUNK_BYTES = 64  # the memory that a chunk takes beside its content, about


# -- in the server's process -----------------------------------------------------------------------


class ExecutorPool:
    """Calls functions by an executor.

    A call there can't be ended: after a time-out it is left to itself.
    """

    token = CancelToken
    stream = ()  # the types of streams of which chunks are still to come

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
        token, is_over = token or CancelToken(), Event()
        call = pickle.dumps((function, arguments))
        future: Future[bytes] = self._executor.submit(
            packed_result, run_pickled, call, seconds, **self._options
        )
        future.add_done_callback(lambda _: is_over.set())
        token.attach(is_over.set)
        try:
            if not is_over.wait(seconds):
                raise TookTooLong(f"took longer than {seconds:g} seconds and was abandoned")
            token.check()
            try:
                data = future.result(0)
            except Exception as error:
                reason = str(error) or type(error).__name__
                raise PoolError(f"the executor lost it: {reason}") from None
        finally:
            token.detach()
            future.cancel()  # if it has not begun
            # An error's traceback refers to this frame: if a Dask worker is lost, Dask does a job
            # of it again while its future is referred to.
            del future
        return open_message(pickle.loads(data))  # noqa: S301 - from our own job

    def close(self) -> None:
        """Do nothing: the executor is its author's to close."""


# -- in the process that runs the job --------------------------------------------------------------


def run_pickled(call: bytes, seconds: float) -> object:
    """Call a function that is pickled with its arguments.

    Return its result; of a stream all chunks, as an iterator that can be pickled.

    Raises what the function and its stream raise, and ``PoolError`` for a stream that is too long,
    which is closed.
    """
    # A copy, because the executor's thread goes on to other things.
    return copy_context().run(_result_of, call, seconds)


def _result_of(call: bytes, seconds: float) -> object:
    function, arguments = pickle.loads(call)  # noqa: S301 - from our own process
    stream = function(*arguments)
    if not isinstance(stream, Iterator):
        return stream
    deadline = monotonic() + seconds
    chunks: list[object] = []
    size = 0
    for chunk in stream:
        chunks.append(chunk)
        size += CHUNK_BYTES + (len(chunk) if isinstance(chunk, str | bytes | bytearray) else 0)
        if size > STREAM_BYTES or monotonic() > deadline:
            getattr(stream, "close", int)()
            raise PoolError(
                f"an executor returns a stream as a whole, within {STREAM_BYTES >> 20} MiB and "
                f"{seconds:g} seconds: "
                "this one is longer"
            )
    return iter(chunks)
