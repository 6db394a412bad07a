"""Answers of mounted applications. The request's task or thread takes them chunk by chunk.

They become a ``Response``, so hooks see them like any other answer. Here are also the parts of a call of an ASGI
application that need no waiting: its scope, and the checks of the messages that it sends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from anyio import move_on_after

from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.http.response import Response
from micropie.http.types import Message, Scope
from micropie.mounts.prefixes import Mount, MountedPath


class PendingAnswer(Protocol):
    """An answer that an application is making, and that a task takes."""

    async def take(self) -> tuple[bytes, bool]:
        """Return the next chunk and whether more may follow. Raises what the application raised."""

    async def stop(self) -> None:
        """End the application's call, unless the answer is complete, and wait for that."""

    def response(self, body: object) -> Response:
        """Return the response with ``body``. A chunk must have been taken."""


class BlockingAnswer(Protocol):
    """An answer that an application is making, and that a thread takes."""

    def take(self) -> tuple[bytes, bool]:
        """See ``PendingAnswer``."""

    def close(self) -> None:
        """See ``PendingAnswer.stop``."""

    def response(self, body: object) -> Response:
        """See ``PendingAnswer``."""


async def wait_for_head(answer: PendingAnswer, is_head: bool) -> Response:
    """Return the response when its first chunk has arrived. The body is bytes if that is all of it, else a stream.

    ``is_head``: the request's method is HEAD. The body is a stream then, which leaves the Content-Length as it is.
    """
    try:
        chunk, more = await answer.take()
        response = answer.response(chunk)
    except BaseException:
        with move_on_after(CLEAN_UP_WITHIN, shield=True):
            await answer.stop()
        raise
    if more or is_head or not _has_stated_length(response):
        response.body = _Chunks(answer, chunk, more)
    else:
        await answer.stop()
    return response


def block_for_head(answer: BlockingAnswer, in_chunks: bool) -> Response:
    """Return the response when its first chunk has arrived, as ``wait_for_head`` does in a task.

    ``in_chunks``: the body is a stream even if it has only one chunk, as it must be for HEAD.
    """
    try:
        chunk, more = answer.take()
        response = answer.response(chunk)
    except BaseException:
        answer.close()
        raise
    if more or in_chunks or not _has_stated_length(response):
        response.body = _BlockingChunks(answer, chunk, more)
    else:
        answer.close()
    return response


def _has_stated_length(response: Response) -> bool:
    """Return whether the body, which is bytes, is as long as the Content-Length says. True without a Content-Length.

    An application's wrong length is sent unchanged: the server notices it.
    """
    length = str(len(response.body))
    return response.headers.get("content-length", length) == length


class _Chunks(AsyncIterator[bytes]):
    """The body of an answer of several chunks."""

    def __init__(self, answer: PendingAnswer, first: bytes, more: bool) -> None:
        self._take, self.aclose = answer.take, answer.stop
        self._first, self._more = first, more

    async def __anext__(self) -> bytes:
        chunk, self._first = self._first, b""
        while self._more and not chunk:
            chunk, self._more = await self._take()
        if not chunk:
            raise StopAsyncIteration
        return chunk


class _BlockingChunks(Iterator[bytes]):
    """The same for a thread."""

    def __init__(self, answer: BlockingAnswer, first: bytes, more: bool) -> None:
        self._take, self.close = answer.take, answer.close
        self._first, self._more = first, more

    def __next__(self) -> bytes:
        chunk, self._first = self._first, b""
        while self._more and not chunk:
            chunk, self._more = self._take()
        if not chunk:
            raise StopIteration
        return chunk


class ASGIAnswer:
    """The messages of one answer: ``http.response.start``, then each ``http.response.body`` until the last."""

    def __init__(self) -> None:
        self._start: Message | None = None
        self.is_complete = False

    def accept(self, message: Message) -> tuple[bytes, bool] | None:
        """Return a message's chunk and whether more will follow; None for the head.

        Raises ``RuntimeError`` for a message out of order.
        """
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
            return None
        if kind != "http.response.body" or self._start is None or self.is_complete:
            raise RuntimeError(f"the mounted application sent {kind!r}, which can't come now")
        more = message.get("more_body", False)
        self.is_complete = not more
        return bytes(message.get("body", b"")), more

    def response(self, body: object) -> Response:
        """Return the response with ``body``. A chunk must have been accepted."""
        start = self._start or {}
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ())]
        return Response(body, start.get("status", 0), pairs, content_type="")


def moved_scope(scope: Scope, mount: Mount, mounted_path: MountedPath) -> Scope:
    """Return the scope for a mounted application: with the prefix in ``root_path``, and the application's own state."""
    return {
        **scope,
        "root_path": mounted_path.root,
        "path": mounted_path.path,
        "raw_path": mounted_path.raw_path,
        "state": dict(mount.state),
    }
