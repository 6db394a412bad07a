"""Answers of mounted applications, taken chunk by chunk in the request's task, so that hooks see the whole response."""

from __future__ import annotations

from typing import Protocol

from anyio import move_on_after

from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.http.response import Response


class PendingAnswer(Protocol):
    """An answer that an application is making."""

    async def take(self) -> tuple[bytes, bool]:
        """Return the next chunk and whether more may follow. Raises what the application raised."""

    async def stop(self) -> None:
        """End the application's call, unless the answer is complete, and wait for that."""

    def response(self, body: object) -> Response:
        """Return the response with ``body``. A chunk must have been taken."""


async def wait_for_head(answer: PendingAnswer, is_head: bool) -> Response:
    """Return the response once its first chunk is there.

    ``is_head``: the request's method is HEAD, so that an empty body may have a Content-Length.
    """
    try:
        chunk, more = await answer.take()
        response = answer.response(chunk)
    except BaseException:
        with move_on_after(CLEAN_UP_WITHIN, shield=True):
            await answer.stop()
        raise
    if more or is_head or not has_its_length(response):
        response.body = _Chunks(answer, chunk, more)
    else:
        await answer.stop()
    return response


class _Chunks:
    """The body of an answer of several chunks."""

    def __init__(self, answer: PendingAnswer, first: bytes, more: bool) -> None:
        self._answer = answer
        self._first: bytes | None = first
        self._more = more

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, None
        if first is not None:
            return first
        if not self._more:
            raise StopAsyncIteration
        chunk, self._more = await self._answer.take()
        return chunk

    async def aclose(self) -> None:
        await self._answer.stop()


def has_its_length(response: Response) -> bool:
    """Return whether the body, bytes, is as long as the Content-Length says, if there is one.

    A wrong length of a mounted application is sent as it is: the server notices it.
    """
    length = str(len(response.body))
    return response.headers.get("content-length", length) == length
