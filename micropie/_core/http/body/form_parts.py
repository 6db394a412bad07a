"""``request.parts()``: a multipart form part by part, while it arrives or after it was received.

Flows read the parts. ``Part`` runs these flows in a ``for`` loop, ``AsyncPart`` in an ``async for``
loop. When the next part is requested, the unread rest of the previous part is skipped. The bytes
after the last requested part are never received.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TypeAlias, TypeVar

from micropie._core.errors import HTTPError
from micropie._core.execution.steps import IO, Flow
from micropie._core.http.body.reader import BodyReader
from micropie._core.http.exchange import Exchange, FlowIterator
from micropie._core.http.forms import (
    BATCH,
    CHUNK,
    MOST_PIECES,
    NewFile,
    PartHead,
    PartParser,
    UploadFile,
    codec_of_part,
    safe_filename,
    text_of,
)

_END = object()

AnyPart = TypeVar("AnyPart", bound="_Part")


class ArrivingParts:
    """The parts of a body that is still arriving. Only one piece of the body is in memory at a
    time.
    """

    def __init__(self, body: BodyReader, parser: PartParser) -> None:
        body.start_stream()
        self._body = body
        self._parser = parser
        self._events: Iterator[PartHead | bytes | None] = iter(())

    def next_part(self) -> Flow[PartHead | None]:
        """Return the next part, or None after the last one. Skip the unread rest of the previous
        part.

        Raises 400 for a malformed form, 413 above a limit, 408 if the body arrives too slowly, and
        ``ClientDisconnect`` if the client disconnects.
        """
        while (event := (yield from self._next())) is not _END:
            if isinstance(event, PartHead):
                return event
        return None

    def next_chunk(self) -> Flow[bytes]:
        """Return the next bytes of the part, or b"" at its end. Don't call this again after the
        end.

        Raises the same errors as ``next_part``.
        """
        event = yield from self._next()
        return event if isinstance(event, bytes) else b""

    def _next(self) -> Flow[object]:
        """Return the next event, or ``_END`` at the end of the body if the form is complete."""
        while True:
            for event in self._events:
                return event
            piece = yield from self._body.next_piece()
            if not piece:
                self._parser.finish(may_be_empty=True)
                return _END
            self._events = self._parser.events(piece)


class ReceivedParts:
    """The parts of a form that was received before the handler was called, because the handler
    doesn't have ``@reads_body``.
    """

    def __init__(self, parts: Sequence[tuple[str, str | UploadFile]]) -> None:
        self._parts = iter(parts)
        self._rest = b""
        self._upload: UploadFile | None = None

    def next_part(self) -> Flow[PartHead | None]:
        """Return the next part; see ``ArrivingParts.next_part``."""
        for name, value in self._parts:
            if isinstance(value, str):
                self._rest, self._upload = value.encode(), None
                return PartHead(name, None, {})
            self._rest, self._upload = b"", value
            yield IO, value.seek, (0,)
            return PartHead(name, value.raw_filename, value.headers)
        return None

    def next_chunk(self) -> Flow[bytes]:
        """Return the next bytes of the part; see ``ArrivingParts.next_chunk``."""
        if self._upload is not None:
            chunk: bytes = yield IO, self._upload.read, (CHUNK,)
            return chunk
        chunk, self._rest = self._rest, b""
        return chunk


# The objects from which ``Parts`` can read.
PartSource: TypeAlias = ArrivingParts | ReceivedParts


class Parts:
    """The parts of a form. Iterate over them with ``for`` in a ``def`` handler, or with ``async
    for`` in an ``async def`` handler.
    """

    def __init__(self, source: PartSource, exchange: Exchange) -> None:
        self._source = source
        self._exchange = exchange
        self._current: _Part | None = None

    def __iter__(self) -> Iterator[Part]:
        while part := self._exchange.perform(self._next(Part)):
            yield part

    def __aiter__(self) -> AsyncIterator[AsyncPart]:
        return FlowIterator(lambda: self._next(AsyncPart), self._exchange)

    def _next(self, kind: type[AnyPart]) -> Flow[AnyPart | None]:
        if self._current is not None:
            self._current._source = None
            self._current = None
        head = yield from self._source.next_part()
        if head is None:
            return None
        self._current = part = kind(head, self._source, self._exchange)
        return part


class _Part:
    """A part of a form: its headers, which arrive before its bytes, and the methods that read its
    bytes.
    """

    name: str
    """The name of the field."""
    raw_filename: str | None
    """The file's name as the client sent it, which must not be used as a path; None for a field
    that is not a file.
    """
    headers: dict[str, str]
    """The part's headers, with names in lower case; empty for a field of a form that was received
    before the handler was called.
    """

    def __init__(self, head: PartHead, source: PartSource, exchange: Exchange) -> None:
        self.name, self.raw_filename, headers = head
        self.headers = {**headers}
        self._source: PartSource | None = source  # None once the next part has been requested
        self._exchange = exchange
        self._rest = memoryview(b"")  # the rest of a chunk that ``read(n)`` has cut
        self._has_ended = False

    @property
    def filename(self) -> str | None:
        """The file's name, safe to use in a path: without directories and control characters; None
        for a field.
        """
        return None if self.raw_filename is None else safe_filename(self.raw_filename)

    @property
    def content_type(self) -> str:
        """The media type that the client declares.

        The default is ``text/plain`` for a field and ``application/octet-stream`` for a file (RFC
        7578, section 4.4).
        """
        default = "text/plain" if self.raw_filename is None else "application/octet-stream"
        return self.headers.get("content-type", default)

    def __repr__(self) -> str:
        filename = "" if self.filename is None else f" {self.filename!r}"
        return f"<{type(self).__name__} {self.name!r}{filename}>"

    def _next_chunk(self) -> Flow[bytes]:
        """Return the next bytes of the part, b"" at its end.

        Raises ``RuntimeError`` if a later part has been requested already, or if bytes were lost
        because ``save_to`` failed.
        """
        if self._has_ended and not self._rest:
            return b""
        if self._source is None:
            raise RuntimeError(
                f"the part {self.name!r} was discarded: read each part before the next one, and "
                "don't read on after save_to has failed"
            )
        if self._rest:
            chunk, self._rest = bytes(self._rest), memoryview(b"")
            return chunk
        chunk = yield from self._source.next_chunk()
        self._has_ended = not chunk
        return chunk

    def _read(self, n: int) -> Flow[bytes]:
        """Return ``n`` bytes, or fewer at the end; if ``n`` is negative, return the rest."""
        data = BytesIO()  # BytesIO, because its ``getvalue`` makes no copy
        missing = sys.maxsize if n < 0 else n
        try:
            while missing:
                if not self._rest:
                    self._rest = memoryview((yield from self._next_chunk()))
                if not self._rest:
                    break
                taken = data.write(self._rest[:missing])
                self._rest = self._rest[taken:]
                missing -= taken
        except BaseException:  # if the wait was cancelled, the next call returns these bytes
            self._rest = memoryview(data.getvalue())
            raise
        return data.getvalue()

    def _text(self) -> Flow[str]:
        """See ``Part.text``."""
        codec = codec_of_part(self.headers)
        data = yield from self._read(-1)
        try:
            return text_of(data, codec)
        except HTTPError:  # the handler may read the bytes instead
            self._rest = memoryview(data)
            raise

    def _save(self, directory: str | Path) -> Flow[Path]:
        """Write the rest of the part into ``directory`` and return the file's path; see
        ``Part.save_to``.
        """
        if self.raw_filename is None:
            raise RuntimeError(
                f"the part {self.name!r} is a field and has no file name: read it with text()"
            )
        target = NewFile(Path(directory) / safe_filename(self.raw_filename))
        is_reading = False
        try:
            # Create the file first, so that the whole part can be saved under another name if this
            # one is taken.
            yield IO, target.write, ((),)
            is_reading = True
            pieces, size = [], 0
            while chunk := (yield from self._next_chunk()):
                pieces.append(chunk)
                size += len(chunk)
                if size >= BATCH or len(pieces) >= MOST_PIECES:
                    yield IO, target.write, (pieces,)
                    pieces, size = [], 0
            yield IO, target.write, (pieces, True)
        except BaseException:
            target.discard()
            if is_reading:
                self._source, self._has_ended = None, False
            raise
        return target.path


class Part(_Part):
    """A part of a multipart form in a ``def`` handler: ``for part in self.request.parts():``."""

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the rest of the part, chunk by chunk as it arrives."""
        while chunk := self._exchange.perform(self._next_chunk()):
            yield chunk

    def read(self, n: int = -1) -> bytes:
        """Return the next ``n`` bytes, or fewer at the end. Without ``n``, return the rest."""
        return self._exchange.perform(self._read(n))

    def text(self) -> str:
        """Return the rest of the part as text, in the charset that the part declares or in UTF-8.

        Raises 400 if the text is invalid or has a NUL, and 415 for an unknown charset.
        """
        return self._exchange.perform(self._text())

    def save_to(self, directory: str | Path) -> Path:
        """Write the rest of the part into ``directory``, as ``filename``, and return the file's
        path.

        Raises ``FileExistsError`` if that name is taken; you can then save the part elsewhere.
        After an error, no incomplete file is left behind.
        """
        return self._exchange.perform(self._save(directory))


class AsyncPart(_Part):
    """A part of a multipart form in an ``async def`` handler:
    ``async for part in self.request.parts():``.
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the rest of the part, chunk by chunk as it arrives."""
        return FlowIterator(self._next_chunk, self._exchange)

    def read(self, n: int = -1) -> Awaitable[bytes]:
        """``await part.read()``: return the next ``n`` bytes, or fewer at the end. Without ``n``,
        return the rest.
        """
        return self._exchange.perform_async(self._read(n))

    def text(self) -> Awaitable[str]:
        """``await part.text()``: return the rest of the part as text, in the charset that the part
        declares or in UTF-8.

        Raises 400 if the text is invalid or has a NUL, and 415 for an unknown charset.
        """
        return self._exchange.perform_async(self._text())

    def save_to(self, directory: str | Path) -> Awaitable[Path]:
        """``await part.save_to(directory)``: write the rest of the part into ``directory``, as
        ``filename``, and return the file's path.

        Raises ``FileExistsError`` if that name is taken; you can then save the part elsewhere.
        After an error, no incomplete file is left behind. Never blocks the event loop.
        """
        return self._exchange.perform_async(self._save(directory))
