"""Turn the response of a mounted application into a ``Response``, so that hooks see it like any
other response.

The request's task takes the body from the mounted application chunk by chunk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from micropie._core.errors import ResponseError, logger
from micropie._core.execution import CLEAN_UP_WITHIN, move_on_after
from micropie._core.http import Response
from micropie._core.http.protocols import Piece
from micropie._core.streams import LoopStream, not_an_end


class PendingAnswer(Protocol):
    """A response that an application is still producing, while the request's task takes its
    chunks.
    """

    async def take(self) -> Piece:
        """Return the next chunk, and whether more may follow. Raises any exception that the
        application raised.
        """

    async def stop(self) -> None:
        """End the application's call, unless the response is complete. Wait until the call has
        ended.
        """

    def response(self, body: object) -> Response:
        """Return the response with ``body`` as its body. Call ``take`` first, so that the status
        and the headers are known.
        """


async def wait_for_head(answer: PendingAnswer, is_head: bool) -> Response:
    """Wait until the first chunk has arrived, and return the response.

    The body is bytes if there is only one chunk. Otherwise, it is a stream.

    ``is_head``: whether the request's method is HEAD. If so, the body is always a stream, so that
    the Content-Length is kept although the body is empty.
    """
    try:
        chunk, more = await answer.take()
        response = answer.response(chunk)
    except BaseException:
        with move_on_after(CLEAN_UP_WITHIN, shield=True):
            await answer.stop()
        raise
    body = streamed_body(response, chunk, more, is_head)
    if body is None:
        await answer.stop()
    else:
        response.body = LoopStream(_Chunks(answer, chunk, more, body), may_begin_empty=True)
    return response


def streamed_body(
    response: Response, chunk: bytes, more: bool, is_head: bool
) -> BoundedBody | None:
    """Return the ``BoundedBody`` for a body that begins with ``chunk``, or None if ``chunk`` is the
    whole body.

    The Content-Length header gives the length of the body, unless the response has no body, as for
    HEAD.
    """
    length = None
    if not is_head and response.status not in (204, 304):
        for name, value in response.pairs:
            if (
                len(name) == 14
                and name.lower() == "content-length"
                and value.isascii()
                and value.isdigit()
            ):
                length = int(value)
    return BoundedBody(length) if more or is_head or length not in (None, len(chunk)) else None


class BoundedBody:
    """The body of a response in chunks. It is cut off where it exceeds its Content-Length, as PEP
    3333 requires.
    """

    def __init__(self, length: int | None) -> None:
        self._left = length

    def bounded(self, chunk: bytes) -> bytes:
        """Return the part of ``chunk`` to send. ``chunk`` is b"" at the end of the body.

        Raises ``ResponseError`` if the body is too short.
        """
        if self._left is None:
            return chunk
        if self._left and not chunk:
            raise ResponseError(
                f"the mounted application's body is {self._left} bytes short of its Content-Length"
            )
        if len(chunk) > self._left:
            logger.warning(
                "the mounted application's body exceeds its Content-Length and was cut off"
            )
            chunk = chunk[: self._left]
        self._left -= len(chunk)
        return chunk


class _Chunks(AsyncIterator[bytes]):
    def __init__(self, answer: PendingAnswer, first: bytes, more: bool, body: BoundedBody) -> None:
        self._bounded = body.bounded
        self._first: bytes | None = first
        self._more = more
        self._take, self.aclose = answer.take, answer.stop

    async def __anext__(self) -> bytes:
        chunk, self._first = self._first, None
        if chunk == b"" and self._more:
            return chunk
        while self._more and not chunk:
            try:
                chunk, self._more = await self._take()
            except StopAsyncIteration as error:  # of the mounted application
                raise not_an_end(error) from error
        if bounded := self._bounded(chunk or b""):
            return bounded
        raise StopAsyncIteration
