"""Run calls in an executor of the application instead of the pool. The executor may be any
``concurrent.futures.Executor``, such as Dask's.

Jobs return bytes that this module has pickled, so results and errors are the same with every
executor. If getting a job's result raises an exception, the executor itself has failed, for example
because it lost the job.

A generator can't leave the process that runs it, and a job ends when it returns. So all chunks of a
stream are returned together, up to a limit of time and size.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from threading import Event
from time import monotonic
from typing import Any

from micropie._core.errors import logger
from micropie._core.execution import TookTooLong
from micropie._core.execution.call_steps import CallSteps
from micropie._core.execution.placement import IN_JOB, AnyFunction
from micropie._core.execution.pool.remote import (
    Streamed,
    open_message,
    packed_call,
    packed_result,
    unpickled,
)
from micropie._core.execution.process_pool import CancelToken, PoolError

# The maximum size of a stream. All its bytes are in memory in both processes.
STREAM_BYTES = 64 * 1024 * 1024

CHUNK_BYTES = 64  # added to a stream's size for each chunk, in addition to the chunk's own bytes


# -- in the server's process -----------------------------------------------------------------------


class ExecutorPool:
    """Calls functions in an executor.

    A running call can't be ended. After a timeout it goes on, and its result is discarded.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        # Check whether this is the executor of a Dask client. If so, the module of its class has
        # been imported already.
        distributed = sys.modules.get("distributed.cfexecutor")
        is_dask = distributed is not None and isinstance(executor, distributed.ClientExecutor)
        # Without this option, Dask would reuse one result for two equal requests.
        self._options = {"pure": False} if is_dask else {}

    def steps(
        self,
        seconds: float,
        function: AnyFunction,
        arguments: Sequence[object],
        token: CancelToken,
    ) -> CallSteps[Any]:
        """Do the same as ``Pool.steps``, in one step, with three differences: a stream is complete
        when it is returned, cancelling the token only ends the wait, not the call, and nothing is
        reported.
        """

        def call() -> Any:
            is_over = Event()
            packed = packed_call(partial(pickle.dumps, protocol=5), function, arguments)
            future: Future[bytes] = self._executor.submit(
                packed_result, pickle.dumps, (), run_pickled, packed, seconds, **self._options
            )
            future.add_done_callback(lambda _: is_over.set())
            token.attach(is_over.set)
            try:
                if not is_over.wait(seconds):
                    raise TookTooLong(
                        f"the call did not finish within {seconds:g} s: its result is discarded, "
                        "but it may still be running"
                    )
                token.check()
                try:
                    data = future.result(0)
                except Exception as error:
                    reason = str(error) or type(error).__name__
                    raise PoolError(f"the executor did not finish the call: {reason}") from None
            finally:
                token.detach()
                if not future.done():  # has no effect if the call has begun
                    try:
                        future.cancel()
                    except Exception as error:  # such as Parsl's executors
                        logger.warning("the executor can't cancel a call: %r", error)
                # If a Dask worker is lost, Dask repeats its job as long as there is a reference to
                # the future. Delete the variable, because an error's traceback would otherwise keep
                # the future alive.
                del future
            result = open_message(unpickled(data))
            return result.wrap(result.items) if isinstance(result, Streamed) else result

        return (yield call)

    def close(self) -> None:
        """Do nothing, because the application closes the executor itself."""


# -- in the process that runs the job --------------------------------------------------------------


def run_pickled(call: bytes, seconds: float) -> object:
    """Call a function that was pickled together with its arguments, and return the result. For a
    stream, return an iterator over all its chunks; the iterator can be pickled.

    Raises what the function or its stream raises. If a stream is too long, it is closed and
    ``PoolError`` is raised.
    """
    # Call the function in a copy of the context, because the executor reuses the thread, which must
    # not keep the call's context variables.
    return copy_context().run(_result_of, call, seconds)


def _result_of(call: bytes, seconds: float) -> object:
    IN_JOB.set(True)
    function, arguments = unpickled(call)[1]
    stream, wrap = function(*arguments), None
    if isinstance(stream, Streamed):
        wrap, stream = stream
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
                "this stream is too large or too slow: an executor collects the whole stream, "
                f"at most {STREAM_BYTES >> 20} MiB in at most {seconds:g} s, and then returns it"
            )
    return iter(chunks) if wrap is None else Streamed(wrap, iter(chunks))
