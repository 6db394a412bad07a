"""Streams from the process of an author's executor, in batches. This is the half that runs there.

A generator can't leave the process that runs it, and a job ends when it returns. So a stream comes in batches where
another job can be sent to the same process: on Dask, by the worker's address, and where the executor's threads are of
this process. Elsewhere it comes whole, within limits.

    job -> parent    (RESULT, value) | (FAILED, error and traceback) | (BATCH, address, key, chunks, end), pickled

``end`` is None if more may follow, else (END,) or the message FAILED.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextvars import Context, copy_context
from threading import Lock
from time import monotonic
from typing import Final, Literal, TypeAlias
from uuid import uuid4

from micropie.execution.remote import (
    END,
    EndMessage,
    FailedMessage,
    PoolError,
    failed_message,
    pack_failure,
    pack_result,
)

BATCH: Final = "batch"

BatchEnd: TypeAlias = EndMessage | FailedMessage | None
BatchMessage: TypeAlias = tuple[Literal["batch"], str, str, Sequence[object], BatchEnd]

# A batch is full with the first of these: enough to be worth a job, and not more than a client would wait for. The
# first is one chunk, each other at most twice as long as the one before, and one that took too long is followed by one
# of one chunk. So few chunks wait for a slow one behind them: the time is looked at when a chunk is there.
BATCH_CHUNKS = 100
BATCH_BYTES = 256 * 1024
BATCH_SECONDS = 0.1

# The largest stream that may come whole: it is in memory, here and there.
WHOLE_BYTES = 64 * 1024 * 1024

CHUNK_BYTES = 64  # the memory that a chunk takes beside its content, about

# Seconds. Discard a generator that is not asked for its next batch within them: the server may have died.
DISCARD_AFTER = 600.0

DASK: Final = "dask"

ENDED: Final[EndMessage] = (END,)
_TOKEN = uuid4().hex


def this_process() -> str:
    """Return text that differs in every other process: a forked child has the same token, and a process on another
    machine may have the same number."""
    return f"{os.getpid()} {_TOKEN}"


def _address(home: str) -> str | None:
    """Return the address by which another job gets to this process: "" if every job does, None if none can."""
    if home == DASK:
        return str(sys.modules["distributed"].get_worker().address)  # Dask runs this job, so it has been imported
    return "" if home == this_process() else None


class _OpenStream:
    """A generator that waits for the job that asks for its next batch."""

    def __init__(self, chunks: Iterator[object], context: Context) -> None:
        self.chunks = chunks
        self.context = context
        self.lock = Lock()
        self.used = monotonic()
        self.most = 1  # chunks of its next batch


_open_streams: dict[str, _OpenStream] = {}


def start(job: bytes, home: str, seconds: float) -> bytes:
    """Call the function of ``job``. Return its result, or the first batch of a stream, or all of it."""
    context = copy_context()  # the executor's thread goes on to other things
    try:
        function, arguments = pickle.loads(job)  # noqa: S301 - from our own process
        result = context.run(function, *arguments)
        if not isinstance(result, Iterator):
            return pack_result(result)
        address = _address(home)
        if address is None:
            return _pack_batch("", "", context.run(_take_all, result, seconds), ENDED)
    except BaseException as error:
        return pack_failure(error)
    _discard_forgotten()
    key = uuid4().hex
    _open_streams[key] = _OpenStream(result, context)
    return next_batch(address, key)


def next_batch(address: str, key: str) -> bytes:
    """Return the next batch."""
    stream = _open_streams.get(key)
    if stream is None:
        return _pack_batch(address, key, [], failed_message(PoolError("its stream was not asked for in time")))
    with stream.lock:
        chunks, end = stream.context.run(_make_batch, stream)
        stream.used = monotonic()
    if end is not None:
        _open_streams.pop(key, None)
    return _pack_batch(address, key, chunks, end)


def _make_batch(stream: _OpenStream) -> tuple[list[object], BatchEnd]:
    deadline = monotonic() + BATCH_SECONDS
    chunks: list[object] = []
    size = 0
    try:
        for chunk in stream.chunks:
            chunks.append(chunk)
            size += _size(chunk)
            is_late = monotonic() > deadline
            if is_late or len(chunks) >= stream.most or size >= BATCH_BYTES:
                stream.most = 1 if is_late else min(2 * stream.most, BATCH_CHUNKS)
                return chunks, None
    except BaseException as error:
        return chunks, failed_message(error)
    return chunks, ENDED


def _take_all(source: Iterator[object], seconds: float) -> list[object]:
    """Return all chunks. Raises ``PoolError`` if they are too many, or take longer than ``seconds``."""
    deadline = monotonic() + seconds
    chunks: list[object] = []
    size = 0
    for chunk in source:
        chunks.append(chunk)
        size += _size(chunk)
        if size > WHOLE_BYTES or monotonic() > deadline:
            getattr(source, "close", int)()
            raise PoolError(
                f"a stream comes whole from this executor, within {WHOLE_BYTES >> 20} MiB and {seconds:g} seconds: "
                "this one is longer"
            )
    return chunks


def _size(chunk: object) -> int:
    return CHUNK_BYTES + (len(chunk) if isinstance(chunk, str | bytes | bytearray) else 0)


def _pack_batch(address: str, key: str, chunks: Sequence[object], end: BatchEnd) -> bytes:
    try:
        return pickle.dumps((BATCH, address, key, chunks, end))
    except Exception as error:
        close(key)
        failure = PoolError(f"a chunk of its stream can't be pickled: {error}")
        return pickle.dumps((BATCH, address, key, [], failed_message(failure)))


def close(key: str) -> bytes:
    """Close a stream whose next batch is not wanted."""
    stream = _open_streams.pop(key, None)
    if stream is not None:
        with stream.lock:
            try:
                stream.context.run(getattr(stream.chunks, "close", int))
            except BaseException as error:
                return pack_failure(error)
    return pack_result(None)


def _discard_forgotten() -> None:
    oldest = monotonic() - DISCARD_AFTER
    for key, stream in [*_open_streams.items()]:
        if stream.used < oldest and not stream.lock.locked():
            close(key)
