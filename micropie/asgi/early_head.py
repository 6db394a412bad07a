"""Sending a stream's head in a task of its own, while the request's task waits for the first chunk.

The request's task can't stop waiting: it is inside of the source, whose scopes belong to it (``execution/scoped.py``).
The two tasks never send at the same time. The request's task waits for this one when it gets its chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import CancelScope, Event, sleep

from micropie.asgi.headers import encode_headers
from micropie.asgi.heart_beats import HeartBeats
from micropie.errors import ClientDisconnect
from micropie.execution.scoped import ScopedIterator
from micropie.http.early_head import ASK_AFTER, EarlyHead

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest


class EarlyHeadSender:
    """Sends ``head`` early, unless that is prevented: ``run`` is the task. ``source`` is cancelled if that fails.

    ``has_begun``: whether the head is being completed, or was. ``is_sent``: whether it has left.
    """

    __slots__ = ("_beats", "_failure", "_finished", "_head", "_request", "_scope", "_source", "has_begun", "is_sent")

    def __init__(
        self, head: EarlyHead, request: ASGIRequest, source: ScopedIterator, beats: HeartBeats | None = None
    ) -> None:
        self._head = head
        self._request = request
        self._source = source
        self._beats = beats
        self._scope: CancelScope | None = None  # of the task, once it runs
        self._finished: Event | None = None
        self._failure: Exception | None = None
        self.has_begun = self.is_sent = False

    async def run(self) -> None:
        """Wait until the head is due, and send it if the first chunk has not come."""
        if not self._head.is_wanted:
            return
        with CancelScope() as self._scope:
            for pause in self._head.pauses(waited=ASK_AFTER):  # after which this task was started
                if pause is None:
                    return
                await sleep(pause)
            if self._head.is_wanted:
                await self._send()
        if self.is_sent and self._beats is not None:
            await self._beats.run()

    async def wait(self) -> None:
        """Wait for the head that is being sent. Raises, once, what has prevented that."""
        assert self._finished is not None  # noqa: S101
        if not self._finished.is_set():
            await self._finished.wait()
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure

    def prevent(self) -> None:
        """Send no head, unless that has begun."""
        self._head.is_wanted = False
        if self._scope is not None and not self.has_begun:
            self._scope.cancel()

    def cancel(self) -> None:
        """Send no head, also if that has begun, because nobody gets the answer."""
        self._head.is_wanted = False
        if self._scope is not None:
            self._scope.cancel()

    async def _send(self) -> None:
        send = self._request._send
        assert send is not None  # noqa: S101
        self.has_begun, self._finished = True, Event()
        try:
            self._head.answer = answer = await self._request._perform_async(self._head.complete())
            status, content_type, length, pairs, _, _ = answer
            headers = encode_headers(content_type, length, pairs)
            self._request._has_early_head = True
            try:
                await send({"type": "http.response.start", "status": status, "headers": headers})
                stream = self._request._answer_stream
                filler = b"" if stream is None or stream.items is None else self._head.filler()
                await send({"type": "http.response.body", "body": filler, "more_body": True})  # daphne waits for this
            except OSError as error:
                raise ClientDisconnect("the client left") from error
            self.is_sent = True
        except Exception as error:
            self._failure = error
            self._source.cancel()
        finally:
            self._finished.set()
