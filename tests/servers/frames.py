"""A client of WebSockets that sends any frames, also wrong ones, and the cases that it sends.

The cases follow the groups of the Autobahn test suite, as far as they reach an application behind a
server. ``GROUPS`` has the group of each section, ``DECIDES`` who gives the answer: micropie, or the
server below it.
"""

from __future__ import annotations

import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG, CONTINUE = 1, 2, 8, 9, 10, 0
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10

MASK = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes = b"", flags: int = FIN, is_masked: bool = True) -> bytes:
    """Return one frame, RFC 6455, section 5.2."""
    size = len(payload)
    short = size if size < 126 else 126 if size < 65536 else 127
    length = b"" if size < 126 else struct.pack("!H" if size < 65536 else "!Q", size)
    head = bytes([flags | opcode, (0x80 if is_masked else 0) | short]) + length
    if not is_masked:
        return head + payload
    repeated = (MASK * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(
        size, "big"
    )
    return head + MASK + masked


def closing(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def fragments(opcode: int, *pieces: bytes) -> bytes:
    """Return a message in several frames."""
    last = len(pieces) - 1
    return b"".join(
        frame(opcode if number == 0 else CONTINUE, piece, FIN if number == last else 0)
        for number, piece in enumerate(pieces)
    )


def deflated(message: bytes) -> bytes:
    """Return a message as permessage-deflate sends it, RFC 7692, section 7.2.1."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(
        b"\x00\x00\xff\xff"
    )


class Received(NamedTuple):
    """What came back: the messages and pongs in order, and the close code; None for a connection
    that was just ended.
    """

    messages: list[tuple[int, bytes]]
    code: int | None


class Client:
    """One connection to ``/echo``."""

    def __init__(self, port: int, timeout: float, offer: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        extension = f"Sec-WebSocket-Extensions: {offer}\r\n" if offer else ""
        # of all messages: the server may refer to earlier ones
        self._inflating = zlib.decompressobj(-15)
        self._socket.sendall(
            f"GET /echo HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extension}"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._socket.recv(65536)
        self.head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 101"), self.head

    def exchange(self, data: bytes, size: int = 65536, answers: int = 0) -> Received:
        """Send ``data`` in pieces of ``size`` bytes, and return what comes until the connection
        ends.

        The client closes it after so many ``answers``, unless there are to be none: then the server
        does.
        """
        with self._socket:
            with suppress(ConnectionError):
                for start in range(0, len(data), size):
                    self._socket.sendall(data[start : start + size])
            messages: list[tuple[int, bytes]] = []
            begun: tuple[int, bytes] | None = None
            code = None
            for flags, payload in self._frames():
                opcode = flags & 15
                if opcode == CLOSE:
                    code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                    with suppress(ConnectionError):  # uvicorn waits for that
                        self._socket.sendall(frame(CLOSE, payload))
                    if code == 1009:  # hypercorn leaves the end of the connection to the client
                        break
                elif opcode == PONG:
                    messages.append((PONG, payload))
                elif opcode != PING:
                    kind, before = begun if begun is not None else (opcode | (flags & RSV1), b"")
                    begun = kind, before + payload
                    if flags & FIN:
                        messages.append(self._plain(*begun))
                        begun = None
                if messages and len(messages) == answers and opcode != CLOSE and begun is None:
                    with suppress(ConnectionError):
                        self._socket.sendall(closing())
            return Received(messages, code)

    def _plain(self, kind: int, payload: bytes) -> tuple[int, bytes]:
        """Return a message with its kind; RSV1 in that says that it is compressed."""
        if kind & RSV1:
            payload = self._inflating.decompress(payload + b"\x00\x00\xff\xff")
        return kind & 15, payload

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        while True:
            head = self._take(2)
            if len(head) < 2:
                return
            size = head[1] & 127
            if size > 125:
                size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
            payload = self._take(size)
            yield head[0], payload

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                piece = self._socket.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                return b""
            self._buffer += piece
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


class Case(NamedTuple):
    """``echoed``: the messages and pongs that come back; ``codes``: the close codes that are right,
    None for none.
    """

    sent: bytes
    echoed: list[tuple[int, bytes]]
    codes: tuple[int | None, ...] = (1000,)
    size: int = 65536
    offer: str = ""


MICROPIE, SERVER = "micropie", "the server"

# Autobahn's groups. 8 is not in use, 11 was never written; 9 measures time, too, which is nobody's
# here.
GROUPS = {
    "messages": (1, 9),
    "pings": (2,),
    "reserved": (3, 4),
    "fragments": (5, 9, 10),
    "broken fragments": (5,),
    "UTF-8": (6,),
    "broken UTF-8": (6,),
    "closing": (7,),
    "broken closing": (7,),
    "limits": (9,),
    "endless fragments": (9,),
    "compression": (12, 13),
    "masks": (),
}

# Who answers the cases of a section.
DECIDES = {
    "messages": MICROPIE,
    "pings": SERVER,
    "reserved": SERVER,
    "fragments": MICROPIE,
    "broken fragments": SERVER,
    "UTF-8": MICROPIE,
    "broken UTF-8": SERVER,
    "closing": MICROPIE,
    "broken closing": SERVER,
    "limits": MICROPIE,
    "endless fragments": SERVER,
    "compression": MICROPIE,
    "masks": SERVER,
}

# What a client may propose, with less memory for either side.
OFFERS = (
    "permessage-deflate",
    "permessage-deflate; client_no_context_takeover",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_max_window_bits=10",
    "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9, permessage-deflate",
)

FAILED = (1002, None)
NO_TEXT = (1007, 1002, None)
# The server may have answered what came before it met the broken frame.
BROKEN = (1002, 1007, None)


Cases = Iterator[tuple[str, str, Case]]


def _of_messages() -> Cases:
    for size in (0, 125, 126, 127, 128, 65535, 65536, 250_000):
        for opcode in (TEXT, BINARY):
            message = b"*" * size
            yield "messages", f"{opcode}-{size}", Case(frame(opcode, message), [(opcode, message)])
    chopped = b"*" * 65536
    yield (
        "messages",
        "in pieces of 997 bytes",
        Case(frame(TEXT, chopped), [(TEXT, chopped)], size=997),
    )
    biggest = b"*" * 300_000
    yield "messages", "as big as may be", Case(frame(BINARY, biggest), [(BINARY, biggest)])
    yield (
        "messages",
        "in pieces of 64 bytes",
        Case(frame(TEXT, chopped), [(TEXT, chopped)], size=64),
    )
    many = [(TEXT, b"%d" % number) for number in range(100)]
    yield "messages", "a hundred", Case(b"".join(frame(*one) for one in many), many)


def _of_control_frames() -> Cases:
    for payload in (b"", b"hello", b"\x00\xff\xfe", b"p" * 125):
        yield "pings", f"of {len(payload)}", Case(frame(PING, payload), [(PONG, payload)])
    yield "pings", "ten", Case(frame(PING, b"x") * 10, [(PONG, b"x")] * 10)
    yield (
        "pings",
        "ten, byte by byte",
        Case(frame(PING, b"payload") * 10, [(PONG, b"payload")] * 10, size=1),
    )
    yield (
        "pings",
        "a pong that nobody asked for",
        Case(frame(PONG, b"x") + frame(TEXT, b"a"), [(TEXT, b"a")]),
    )
    yield (
        "pings",
        "an empty pong, and a ping",
        Case(frame(PONG) + frame(PING, b"a"), [(PONG, b"a")]),
    )
    yield "pings", "too long", Case(frame(PING, b"p" * 126), [], FAILED)

    for flags in (RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3):
        yield "reserved", f"bits {flags:#x}", Case(frame(TEXT, b"a", FIN | flags), [], FAILED)
    for opcode in (BINARY, PING, CLOSE):
        payload = b"\x03\xe8" if opcode == CLOSE else b"a"
        yield (
            "reserved",
            f"bits of {opcode}",
            Case(frame(opcode, payload, FIN | RSV2 | RSV3), [], FAILED),
        )
    after = frame(TEXT, b"a") + frame(TEXT, b"b", FIN | RSV2) + frame(PING)
    yield "reserved", "bits, byte by byte", Case(after, [], FAILED, size=1)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield "reserved", f"opcode {opcode}", Case(frame(opcode, b"a"), [], FAILED)
        yield (
            "reserved",
            f"opcode {opcode} after a message",
            Case(frame(TEXT, b"a") + frame(opcode), [], FAILED),
        )


def _of_fragments() -> Cases:
    yield "fragments", "two", Case(fragments(TEXT, b"one ", b"two"), [(TEXT, b"one two")])
    yield "fragments", "empty ones", Case(fragments(BINARY, b"", b"", b""), [(BINARY, b"")])
    yield (
        "fragments",
        "of 64 bytes",
        Case(fragments(TEXT, *[b"y" * 64] * 1000), [(TEXT, b"y" * 64_000)]),
    )
    pinged = b"".join(
        frame(CONTINUE if number else TEXT, b"z", 0) + frame(PING) for number in range(10)
    )
    ended = pinged + frame(CONTINUE, b"!")
    yield (
        "fragments",
        "with a ping after each",
        Case(ended, [(PONG, b"")] * 10 + [(TEXT, b"z" * 10 + b"!")]),
    )
    yield (
        "fragments",
        "of a byte",
        Case(fragments(TEXT, *[b"x"] * 300), [(TEXT, b"x" * 300)], size=1),
    )
    between = (
        frame(TEXT, b"a", 0)
        + frame(PING, b"p")
        + frame(CONTINUE, b"b", 0)
        + frame(PONG)
        + frame(CONTINUE, b"c")
    )
    yield "fragments", "with control frames between", Case(between, [(PONG, b"p"), (TEXT, b"abc")])
    parts = [b"y" * 1300] * 100
    yield (
        "fragments",
        "a hundred of 1300",
        Case(fragments(BINARY, *parts), [(BINARY, b"".join(parts))]),
    )
    yield (
        "broken fragments",
        "of a ping",
        Case(frame(PING, b"a", 0) + frame(CONTINUE, b"b"), [], FAILED),
    )
    yield (
        "broken fragments",
        "of a pong",
        Case(frame(PONG, b"a", 0) + frame(CONTINUE, b"b"), [], FAILED),
    )
    for flags in (FIN, 0):
        sent = frame(CONTINUE, b"a", flags) + frame(TEXT, b"b")
        yield "broken fragments", f"without a beginning, {flags}", Case(sent, [], FAILED)
    twice = fragments(TEXT, b"a", b"b") + frame(CONTINUE, b"c", 0) + frame(TEXT, b"d")
    yield "broken fragments", "after the end", Case(twice, [], FAILED)
    yield (
        "broken fragments",
        "within another",
        Case(frame(TEXT, b"a", 0) + frame(TEXT, b"b"), [], FAILED),
    )


def _of_text() -> Cases:
    edges = "\x00\x7f\x80\u07ff\u0800\ud7ff\ue000\ufdd0\ufeff\uffff\U00010000\U0001fffe\U0010ffff"
    for text in ("", "κόσμε", "\U0010ffff\ufffe\0", "a" * 100 + "é", edges):
        data = text.encode()
        yield "UTF-8", f"of {len(data)}", Case(frame(TEXT, data), [(TEXT, data)])
    data = "κόσμε𝄞".encode()
    cut = fragments(TEXT, *[data[number : number + 1] for number in range(len(data))])
    yield "UTF-8", "cut within characters", Case(cut, [(TEXT, data)])
    for data in (
        *(
            b"\xff",
            b"\xfe",
            b"\x80",
            b"\xbf",
            b"ok\xce",
            b"\xe2\x82",
            b"\xf0\x9f\x98",
            b"\xce\xba\xce",
        ),
        # too long
        *(
            b"\xc0\xaf",
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe0\x80\xaf",
            b"\xe0\x9f\xbf",
            b"\xf0\x80\x80\xaf",
        ),
        *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80"),  # surrogates
        # above U+10FFFF
        *(b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"),
    ):
        yield "broken UTF-8", data.hex(), Case(frame(TEXT, data), [], NO_TEXT)
        yield (
            "broken UTF-8",
            f"{data.hex()} in fragments",
            Case(fragments(TEXT, b"a", data), [], NO_TEXT),
        )


def _of_closing() -> Cases:
    yield "closing", "without a code", Case(closing(None), [], (1000, 1005))
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield "closing", f"with {code}", Case(closing(code), [], (code, 1000))
    yield "closing", "with a long reason", Case(closing(1000, b"r" * 123), [])
    yield (
        "closing",
        "before the end",
        Case(closing() + frame(TEXT, b"late") + frame(PING, b"late"), []),
    )
    yield "closing", "twice", Case(closing() + closing(), [])
    yield (
        "broken closing",
        "within fragments",
        Case(frame(TEXT, b"a", 0) + closing() + frame(CONTINUE, b"b"), [], (1000, 1002)),
    )
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield "broken closing", f"with {code}", Case(closing(code), [], BROKEN)
    yield "broken closing", "with one byte", Case(frame(CLOSE, b"\x03"), [], FAILED)
    yield (
        "broken closing",
        "with a reason that is no text",
        Case(closing(1000, b"\xff"), [], NO_TEXT),
    )
    yield "broken closing", "with 124 bytes", Case(closing(1000, b"r" * 124), [], FAILED)


def _of_limits_and_compression() -> Cases:
    yield "limits", "a frame too big", Case(frame(BINARY, b"x" * 300_001), [], (1009,))
    endless = frame(TEXT, b"x" * 2**20, 0) + frame(CONTINUE, b"x" * 2**20, 0) * 16
    yield "endless fragments", "17 MiB", Case(endless, [], (1009, None))
    yield "limits", "fragments too big", Case(fragments(TEXT, *[b"x" * 100_000] * 4), [], (1009,))

    plain = "permessage-deflate"
    message = b"again and again " * 1000
    packed = frame(TEXT, deflated(message), FIN | RSV1)
    for number, offer in enumerate(OFFERS):
        yield "compression", f"offer {number}", Case(packed, [(TEXT, message)], offer=offer)
    for size in (0, 16, 1024, 65536, 250_000):
        text = (b"{'compressed': 'message'} " * 10_000)[:size]
        one = frame(BINARY, deflated(text), FIN | RSV1)
        yield "compression", f"of {size}", Case(one, [(BINARY, text)], offer=plain)
    yield "compression", "fifty", Case(packed * 50, [(TEXT, message)] * 50, offer=plain)
    yield (
        "compression",
        "one that is not",
        Case(frame(TEXT, b"plain"), [(TEXT, b"plain")], offer=plain),
    )
    halves = [deflated(message)[:30], deflated(message)[30:]]
    both = frame(BINARY, halves[0], RSV1) + frame(CONTINUE, halves[1])
    yield "compression", "in fragments", Case(both, [(BINARY, message)], offer=plain)
    bomb = frame(BINARY, deflated(bytes(10_000_000)), FIN | RSV1)
    yield "compression", "a bomb", Case(bomb, [], (1009,), offer=plain)

    yield "masks", "none", Case(frame(TEXT, b"a", is_masked=False), [], FAILED)


_MADE = (
    _of_messages,
    _of_control_frames,
    _of_fragments,
    _of_text,
    _of_closing,
    _of_limits_and_compression,
)
CASES = {f"{section}: {name}": (section, case) for made in _MADE for section, name, case in made()}
