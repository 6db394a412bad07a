"""``Connection``: one end of a socket that connects two processes and carries picklable values.

    message    its kind, the size of the pickle and the number of buffers
               the size of each buffer
               each buffer: memory that pickle protocol 5 has left out of the pickle
               the pickle

Large bytes are never copied: ``pickle`` passes them to ``_Pieces.write`` as they are, and asks
``_Reader.readinto`` to fill the new object from the socket. There is no shared memory, so a process
that is killed leaves nothing behind.
"""

from __future__ import annotations

import copyreg
import pickle
import select
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from math import inf
from typing import Any, TypeAlias

from micropie._core.execution.placement import NamedFunction
from micropie._core.execution.pool.remote import UNREADABLE, PoolMessage

# Bytes. The pieces of a smaller message are joined, because one system call is faster.
_LARGE = 64 * 1024

# Bytes that are received at once, if a message doesn't need more. They may be several messages.
_AT_ONCE = 64 * 1024

# Bytes. pickle copies a smaller buffer into the pickle.
_LEAST_BUFFER = 16 * 1024

_HEADER = struct.Struct("!cQQ")
_TIME = struct.Struct("@ll")  # C's ``struct timeval``

# A message: its parts in the order in which they are sent.
Packed: TypeAlias = Sequence[Any]


class _Pieces(list[Any]):
    """The pieces of a pickle. ``pickle`` writes large bytes as a piece of their own."""

    write = list.append


class _NotSmall(BaseException):
    """Raised if a message is too large for an event loop, or may run code of its own. It isn't an
    error of what is pickled.
    """


class _OnePiece(_Pieces):
    """The only piece of a pickle of at most 64 KiB, the size of its frames."""

    def write(self, piece: Any) -> None:
        if self:
            raise _NotSmall
        self.append(piece)


def _is_plain(kind: Any) -> bool:
    """Whether a class has no code of its own for pickling, which might wait or be slow."""
    return (
        kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and kind.__getstate__ is object.__getstate__
        and not hasattr(kind, "__setstate__")
        and kind not in copyreg.dispatch_table
    )


class _PlainPickler(pickle.Pickler):
    """Pickles only plain objects, and at most ``left`` of them, because each takes about 2 µs."""

    left = 500

    def reducer_override(self, value: Any) -> Any:
        self.left -= 1
        if self.left and (_is_plain(type(value)) or isinstance(value, NamedFunction)):
            return NotImplemented
        raise _NotSmall


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles only plain objects of classes that are imported already, and micropie's own."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("micropie."):
            return super().find_class(module, name)
        kind = getattr(sys.modules.get(module), "__dict__", {}).get(name)
        if isinstance(kind, type) and _is_plain(kind):
            return kind
        raise _NotSmall


def packed_small(message: PoolMessage) -> Packed | None:
    """Do the same as ``packed`` on an event loop: return None if the message has more than 64 KiB
    or may take long to pickle. Another can be sent without waiting.
    """
    try:
        parts = packed(message, _PlainPickler, _OnePiece)
    except _NotSmall:
        return None
    return parts if len(parts) == 1 else None


def packed(
    message: PoolMessage,
    pickler: type[pickle.Pickler] = pickle.Pickler,
    new_pieces: type[_Pieces] = _Pieces,
) -> Packed:
    """Return a message in the form in which it is sent. Raises what pickling its value raises."""
    kind, value = message
    pieces, buffers = new_pieces(), list[memoryview]()

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _LEAST_BUFFER:
            return True
        buffers.append(raw)
        return False

    pickler(pieces, 5, buffer_callback=keep).dump(value)
    size, number = sum(map(len, pieces)), len(buffers)
    sizes = struct.pack(f"!{number}Q", *map(len, buffers))
    parts = [_HEADER.pack(kind, size, number) + sizes, *buffers, *pieces]
    return parts if buffers or size >= _LARGE else [b"".join(parts)]


class Connection:
    """One end of a socket. Only one thread may use it at a time, except for ``wake``.

    - ``is_stuck``: whether a message was sent or received in part only, because the other end took
      too long.
    - ``descriptor``: that of the socket.
    - ``kind``: the kind of the message that was received last. It is empty while a part of the
      message is missing.
    """

    is_stuck = False
    kind = b""
    _limit = inf

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._received, self._at = b"", 0  # bytes that were received, and how many were read
        self._poll, self.descriptor = select.poll(), end.fileno()
        self._woken, self._waker = socket.socketpair()
        for one in (end, self._woken):
            self._poll.register(one, select.POLLIN)
            one.setblocking(one is end)

    def limit(self, seconds: float) -> None:
        """From now on, wait at most ``seconds`` for the other end to take or to send the next bytes
        of a message: its process may have been stopped.
        """
        if seconds != self._limit:
            self._limit = seconds
            value = _TIME.pack(*divmod(max(int(seconds * 1_000_000), 1), 1_000_000))
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                self._socket.setsockopt(socket.SOL_SOCKET, option, value)

    def send(self, message: Packed) -> None:
        """Send a message. Raises ``BlockingIOError`` if the other end doesn't take it in time."""
        if self.is_stuck:
            raise BlockingIOError
        try:
            for part in message:
                self._socket.sendall(part)
        except BlockingIOError:
            self.is_stuck = True
            raise

    @property
    def has_more(self) -> bool:
        """Whether the next message, or a part of it, has been received already."""
        return self._at < len(self._received)

    def poll(self, seconds: float = 0.0) -> bool:
        """Wait at most ``seconds`` for the next message, or for the other end to be closed. Return
        whether one of them has come. ``wake`` ends the wait.
        """
        return self.has_more or self.descriptor in dict(self._poll.poll(seconds * 1000))

    def receive_small(self) -> PoolMessage | None:
        """Do the same as ``receive`` on an event loop, after ``poll``: return None if the message
        must be received in a thread, because it hasn't come whole, or because unpickling it fails
        or may wait or be slow.
        """
        self.kind = b""
        if not self.has_more:
            self._received, self._at = self._socket.recv(_AT_ONCE), 0
        start = self._at + _HEADER.size
        if len(self._received) < start:
            return None
        kind, size, number = _HEADER.unpack_from(self._received, self._at)
        end = start + size
        if number or len(self._received) < end:
            return None
        try:
            value = _PlainUnpickler(BytesIO(self._received[start:end])).load()
        except (_NotSmall, Exception):
            return None
        self._at, self.kind = end, kind
        return kind, value

    def receive(self) -> PoolMessage:
        """Return the next message. Raises ``EOFError`` if the other end is closed,
        ``BlockingIOError`` if it doesn't send the whole message in time, and what unpickling the
        value raises.
        """
        self.kind = b""
        try:
            return self._received_message()
        except BaseException:
            self.is_stuck = not self.kind
            raise

    def _received_message(self) -> PoolMessage:
        kind, size, number = _HEADER.unpack(self.read(_HEADER.size))
        sizes = struct.unpack(f"!{number}Q", self.read(8 * number))
        buffers = [*map(bytearray, sizes)]
        for buffer in buffers:
            self.fill(memoryview(buffer))
        reader = _Reader(self, size)
        try:
            value = pickle.Unpickler(reader, buffers=buffers).load()  # noqa: S301 - from our own process
        except BlockingIOError:
            raise
        except Exception as error:  # raised again, if the connection has raised it
            while reader.left:
                reader.read(min(reader.left, _AT_ONCE))
            self.kind = kind
            error.add_note(UNREADABLE)
            raise
        self.kind = kind
        return kind, value

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        if not self.has_more and size:
            self._received, self._at = self._socket.recv(max(_AT_ONCE, size)), 0
        start, self._at = self._at, self._at + size
        data = self._received[start : self._at]
        if len(data) == size:
            return data
        rest = bytearray(size)
        rest[: len(data)] = data
        self.fill(memoryview(rest)[len(data) :])
        return bytes(rest)

    def fill(self, view: memoryview) -> None:
        """Fill ``view`` with the next bytes."""
        ahead = self._received[self._at : self._at + len(view)]
        self._at += len(ahead)
        view[: len(ahead)] = ahead
        view = view[len(ahead) :]
        while view:
            number = self._socket.recv_into(view, 0, socket.MSG_WAITALL)
            if not number:
                raise EOFError
            view = view[number:]

    def wake(self) -> None:
        """End the current ``poll`` or, if there is none, the next one. Any thread may call this
        method, which doesn't block.
        """
        with suppress(OSError):  # the connection is closed, or has been woken very often
            self._waker.send(b".")

    def forget_wakes(self) -> None:
        """Forget the earlier calls of ``wake``."""
        with suppress(OSError):  # there were none
            self._woken.recv(64)

    def close(self) -> None:
        for one in (self._socket, self._woken, self._waker):
            one.close()


class _Reader:
    """The next ``left`` bytes of a connection, as the file that ``pickle`` reads. They are counted
    once they have come, because the connection may be closed before.
    """

    def __init__(self, connection: Connection, left: int) -> None:
        self._connection, self.left = connection, left

    def read(self, size: int) -> bytes:
        data = self._connection.read(size)
        self.left -= size
        return data

    def readinto(self, view: memoryview) -> int:
        self._connection.fill(view)
        self.left -= len(view)
        return len(view)

    def readline(self) -> bytes:
        """Raise ``EOFError``: no pickle of protocol 5 has lines."""
        raise EOFError
