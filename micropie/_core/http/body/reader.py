"""Receive a request's body: count and limit its bytes, and return it once, whole or piece by piece.

Each request has one ``BodyReader``. Its methods are flows, which are generators: each yields a step
when it needs the next piece, and the driver receives the piece. A second read returns the bytes
that were received, or raises an error; it never waits for bytes that won't come.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from micropie._core.errors import too_many
from micropie._core.execution.steps import RECEIVE, RECEIVE_STEP, Flow, Step, no_function

UNREAD = "unread"
# The body is returned piece by piece and not stored, for ``request.stream()`` and multipart forms.
STREAMED = "streamed"
KEPT = "kept"  # the whole body was received, and is stored in ``data``


class BodyReader:
    """A request's body of at most ``limit`` bytes.

    - ``announced``: the value of Content-Length, or None.
    - ``size``: the number of bytes received so far; ``keep`` doesn't change it.

    The constructor raises ``HTTPError`` 413 if the announced length is above the limit.
    """

    __slots__ = ("_announced", "_limit", "data", "has_ended", "size", "state")

    def __init__(self, limit: int, announced: int | None) -> None:
        self._limit = limit
        self._announced = announced or 0
        self.size = 0
        self.state = UNREAD
        self.has_ended = False
        self.data = b""
        if self._announced > limit:
            self._count(0)  # raises 413

    def restrict(self, limit: int) -> None:
        """Lower the limit to ``limit`` bytes. Raises 413 if more bytes were announced or
        received.
        """
        self._limit = min(self._limit, limit)
        self._count(0)

    def start_stream(self) -> None:
        """Declare that the body will be read by ``next_piece``.

        Raises ``RuntimeError`` if it was already streamed.
        """
        if self.state is STREAMED:
            raise RuntimeError(
                "the body has already been read as a stream or a form, and can be streamed only "
                "once"
            )
        self.has_ended = False
        if self.state is UNREAD:
            self.state = STREAMED

    def next_piece(self, step: Step = RECEIVE_STEP) -> Flow[bytes]:
        """Return the next piece, which ``step`` receives, ``b""`` at the end.

        A body that was received whole is one piece.
        """
        if self.state is KEPT and not self.has_ended:
            self.has_ended = True
            return self.data
        piece, more = b"", True
        while more and not piece and not self.has_ended:
            piece, more = yield step
            self._count(len(piece))
        self.has_ended = self.has_ended or not more
        return piece

    def whole(self, put_back: Callable[[bytes, bool], object]) -> Flow[bytes]:
        """Return the whole body, and store it for the next call. If a call is cancelled, pass what
        it has received to ``put_back``, for whatever reads the body next.

        Raises ``RuntimeError`` after ``start_stream``.
        """
        if self.state is STREAMED:
            raise RuntimeError(
                "the body has already been read as a stream or a form, so it can't be read as a "
                "whole"
            )
        self._count(0)  # check the size again, because the limit may have been lowered
        if self.state is not KEPT:
            # If the length is known, a WSGI driver can read the rest at once. Reading 1 MiB in
            # pieces takes eight times as long.
            receive_rest: Step = (RECEIVE, no_function, (self._announced,))
            piece, more = yield receive_rest
            self._count(len(piece))
            if more:
                # Use BytesIO, because it grows by an eighth at a time and its ``getvalue`` makes no
                # copy. Joining the pieces would take twice the body's size in memory.
                data = BytesIO()
                data.write(piece)
                try:
                    while more:
                        piece, more = yield receive_rest
                        self._count(len(piece))
                        data.write(piece)
                except BaseException:
                    put_back(data.getvalue(), True)
                    self.size = 0
                    raise
                piece = data.getvalue()
            self.keep(piece)
        return self.data

    def keep(self, data: bytes) -> None:
        """Set the whole body to ``data``, which must be within the limit."""
        self.data = data
        self.state = KEPT

    def _count(self, received: int) -> None:
        """Add ``received``, the number of bytes in a piece, to the size of the body.

        Raises 413 if the announced or the received length is above the limit.
        """
        self.size += received
        size = max(self._announced, self.size, len(self.data))
        if size > self._limit:
            raise too_many(self._limit, "The body may have {most} bytes at most.")
