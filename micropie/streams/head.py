"""A stream's head that waits for the first chunk no longer.

The head waits for the first chunk, so that a generator may set headers and an error still gets its page. A browser's
``EventSource`` and most proxies wait for the head, though. So it is completed without a chunk when
``stream_head_delay`` is over, and soon for events. How that is done depends on where the chunks are made:

- ASGI: the request's task waits in the source, so another one completes the head and sends it (``asgi/streaming.py``).
- WSGI, async source: the server's thread waits for the portal, so it stops waiting and goes on itself (``LATE``).
- WSGI, sync source: the server's thread is in the source and can't leave it. Only a response that is known to have
  events has its head completed first, by ``Stream.fetch_first``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from micropie.execution import Flow
from micropie.http import Answer, Exchange, Response
from micropie.streams.events import HEART_BEAT, MEDIA_TYPE
from micropie.streams.source import Stream

# Seconds after which a driver asks for the first time how long the head waits: until then a generator sets its type.
ASK_AFTER = 0.01


class EarlyHead:
    """The head of ``response``, whose body is ``stream``; ``complete_head`` returns the flow that completes it.

    ``is_wanted``: whether the first chunk has not come. ``answer``: the answer, once its head is being sent early.
    """

    __slots__ = ("_complete_head", "_exchange", "_response", "answer", "is_wanted", "stream")

    def __init__(
        self, exchange: Exchange, response: Response, stream: Stream, complete_head: Callable[[], Flow[Answer]]
    ) -> None:
        self._exchange = exchange
        self._response = response
        self.stream = stream
        self._complete_head = complete_head
        self.is_wanted = True
        self.answer: Answer | None = None

    def seconds(self) -> float | None:
        """Return the seconds that the head waits for the first chunk in all; None for as long as that takes."""
        delay = self._exchange.config.settings.stream_head_delay
        events = self.stream.source.events
        if events is not None:
            return events.head_within
        if delay is None or self._exchange.method == "HEAD":
            return None
        return 0.0 if self._has_events() else delay

    def pauses(self, waited: float = 0.0) -> Iterator[float | None]:
        """Yield the seconds to wait before the next look for the first chunk, until the head is due; None for no limit.

        ``waited``: the seconds that have passed. A generator in a thread may state its type late on a busy machine, so
        ``seconds`` is asked again after each pause, and each is twice as long as the one before.
        """
        pause = ASK_AFTER
        seconds: float | None = inf
        while seconds is not None and waited < seconds:
            yield pause
            waited += pause
            seconds = self.seconds()
            if seconds is not None:
                pause = min(2 * pause, seconds - waited)
        if seconds is None:
            yield None

    def _has_events(self) -> bool:
        """Return whether the author has stated that the stream is one of events."""
        for response in (self._response, self._exchange.pending):
            if response is not None:
                content_type = response.headers.get("Content-Type") or response.content_type
                if content_type is not None:
                    return content_type.lower().startswith(MEDIA_TYPE)
        return False

    def filler(self) -> bytes:
        """Return the chunk that is sent with the head: a comment for events, because some servers keep the head back
        until there is a byte.
        """
        source = self.stream.source
        if source.events is not None:
            return source.beat()
        return HEART_BEAT if self._has_events() and not source.transforms else b""

    def complete(self) -> Flow[Answer]:
        """Complete the head without a chunk. From now on nothing can be set on ``self.response``."""
        self.stream.first = b""
        return (yield from self._complete_head())
