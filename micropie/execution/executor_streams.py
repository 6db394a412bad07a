"""A stream from the process of an author's executor, in batches: what runs there.

A generator can't leave the process that runs it, and a job ends when it returns. So a stream comes in batches where
another job can be sent to the same process: on Dask, by the worker's address, and where the executor's threads are of
this process. Elsewhere it comes whole, within limits.

    job -> parent    (RESULT, value) | (FAILED, error, traceback) | (BATCH, place, key, chunks, ending), pickled

``ending`` is None if more may follow, else what it ended by, packed: (END,) or FAILED.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextvars import Context, copy_context
from threading import Lock
from time import monotonic
from typing import Any, Final
from uuid import uuid4

from micropie.execution.remote import END, PoolError, packed_failure, packed_result

BATCH: Final = "batch"

# A batch is full with the first of these: what is worth a job, and what a client would not wait for. The first is one
# chunk, each other at most twice as long as the one before, and one that took too long is followed by one of one
# chunk: as few as possible wait for a slow one behind them, for the time is looked at when a chunk is there.
BATCH_CHUNKS = 100
BATCH_BYTES = 256 * 1024
BATCH_SECONDS = 0.1

# The most that a stream may have which comes whole: it is in memory, here and there.
WHOLE_BYTES = 64 * 1024 * 1024

CHUNK_BYTES = 64  # what a chunk takes beside its content, about

# Seconds that a generator is kept for who has its last batch: a server may have gone without a word.
KEPT = 600.0

DASK: Final = "dask"

ENDED = pickle.dumps((END,))
_TOKEN = uuid4().hex


def this_process() -> str:
    """What no other process has for its own: a forked child has the same token, one on another machine perhaps the
    number."""
    return f"{os.getpid()} {_TOKEN}"


def _place(home: str) -> str | None:
    """What leads another job to this process: "" if each of them comes here, None if nothing does."""
    if home == DASK:
        distributed: Any = sys.modules["distributed"]  # which runs this job
        return str(distributed.get_worker().address)
    return "" if home == this_process() else None


class _Kept:
    """A generator that waits for the job that goes on with it."""

    def __init__(self, chunks: Iterator[Any], context: Context) -> None:
        self.chunks = chunks
        self.context = context
        self.lock = Lock()
        self.used = monotonic()
        self.most = 1  # chunks of its next batch


_kept: dict[str, _Kept] = {}


def start(job: bytes, home: str, seconds: float) -> bytes:
    """Call; of a stream the first batch, or all of it."""
    context = copy_context()  # the executor's thread goes on to other things
    try:
        function, arguments = pickle.loads(job)  # noqa: S301 - from our own process
        result = context.run(function, *arguments)
        if not isinstance(result, Iterator):
            return packed_result(result)
        place = _place(home)
        if place is None:
            return _packed_batch("", "", context.run(_whole, result, seconds), ENDED)
    except BaseException as error:
        return packed_failure(error)
    _drop_forgotten()
    key = uuid4().hex
    _kept[key] = _Kept(result, context)
    return next_batch(place, key)


def next_batch(place: str, key: str) -> bytes:
    """The next batch."""
    kept = _kept.get(key)
    if kept is None:
        return _packed_batch(place, key, [], packed_failure(PoolError("its stream was not asked for in time")))
    with kept.lock:
        chunks, ending = kept.context.run(_made, kept)
        kept.used = monotonic()
    if ending is not None:
        _kept.pop(key, None)
    return _packed_batch(place, key, chunks, ending)


def _made(kept: _Kept) -> tuple[list[Any], bytes | None]:
    """A batch of chunks, and what the generator ended by."""
    close = monotonic() + BATCH_SECONDS
    chunks: list[Any] = []
    size = 0
    try:
        for chunk in kept.chunks:
            chunks.append(chunk)
            size += _size(chunk)
            is_late = monotonic() > close
            if is_late or len(chunks) >= kept.most or size >= BATCH_BYTES:
                kept.most = 1 if is_late else min(2 * kept.most, BATCH_CHUNKS)
                return chunks, None
    except BaseException as error:
        return chunks, packed_failure(error)
    return chunks, ENDED


def _whole(source: Iterator[Any], seconds: float) -> list[Any]:
    """All chunks. Raises ``PoolError`` if they are too many, or take longer than anybody waits for them."""
    close = monotonic() + seconds
    chunks: list[Any] = []
    size = 0
    for chunk in source:
        chunks.append(chunk)
        size += _size(chunk)
        if size > WHOLE_BYTES or monotonic() > close:
            getattr(source, "close", int)()
            raise PoolError(
                f"a stream comes whole from this executor, within {WHOLE_BYTES >> 20} MiB and {seconds:g} seconds: "
                "this one is longer"
            )
    return chunks


def _size(chunk: Any) -> int:
    return CHUNK_BYTES + (len(chunk) if isinstance(chunk, str | bytes | bytearray) else 0)


def _packed_batch(place: str, key: str, chunks: Sequence[Any], ending: bytes | None) -> bytes:
    try:
        return pickle.dumps((BATCH, place, key, chunks, ending))
    except Exception as error:
        close(key)
        failure = PoolError(f"a chunk of its stream can't be pickled: {error}")
        return pickle.dumps((BATCH, place, key, [], packed_failure(failure)))


def close(key: str) -> bytes:
    """Close a stream that nobody takes any more of."""
    kept = _kept.pop(key, None)
    if kept is not None:
        with kept.lock:
            try:
                kept.context.run(getattr(kept.chunks, "close", int))
            except BaseException as error:
                return packed_failure(error)
    return packed_result(None)


def _drop_forgotten() -> None:
    oldest = monotonic() - KEPT
    for key, kept in [*_kept.items()]:
        if kept.used < oldest and not kept.lock.locked():
            close(key)
