"""Answers that mounted applications make, taken chunk by chunk in the request's task, so that hooks see them whole."""

from __future__ import annotations

from typing import Any, Protocol

from anyio import move_on_after

from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.http.response import Response


class Answering(Protocol):
    """An answer on its way."""

    async def take(self) -> tuple[bytes, bool]:
        """The next chunk, and whether more will follow. Raises what the application raised instead."""

    async def stop(self) -> None:
        """Have it end, unless it has answered; wait for that."""

    def response(self, body: Any) -> Response:
        """The head with ``body``, once a chunk was taken."""


async def begun(answering: Answering, is_head: bool) -> Response:
    """Wait for the head. ``is_head``: the request's method is HEAD, and a length may stand above an empty body."""
    try:
        chunk, more = await answering.take()
        response = answering.response(chunk)
    except BaseException:
        with move_on_after(CLEAN_UP_WITHIN, shield=True):
            await answering.stop()
        raise
    if more or is_head or not has_its_length(response):
        response.body = _Chunks(answering, chunk, more)
    else:
        await answering.stop()
    return response


class _Chunks:
    """The chunks of an answer, taken one by one."""

    def __init__(self, answering: Answering, first: bytes, more: bool) -> None:
        self._answering = answering
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
        chunk, self._more = await self._answering.take()
        return chunk

    async def aclose(self) -> None:
        await self._answering.stop()


def has_its_length(response: Response) -> bool:
    """Whether the body, bytes, is as long as the head says, if it does.

    Of what another application made: a wrong length is the server's to notice, and not ours to put right.
    """
    length = str(len(response.body))
    return response.headers.get("content-length", length) == length
