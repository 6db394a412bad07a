"""A client of HTTP/2 by prior knowledge, whose streams end as the server ends them."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

# Over HTTP/2 it is an error to send these.
OF_CONNECTIONS = {"connection", "host", "keep-alive", "transfer-encoding", "upgrade"}


class Received(NamedTuple):
    """What the client has of a response: how the stream has ended, "" while it is open."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    end: str


class Http2:
    """A connection with any number of streams, of which the events are kept until somebody asks."""

    def __init__(self, port: int, timeout: float) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._http = H2Connection(H2Configuration(header_encoding="latin-1"))
        self._received: dict[int, Received] = {}
        self._full: set[int] = set()
        self._bytes = b""  # of a frame that has not come whole
        self.has_goodbye = False
        """Whether the server has sent GOAWAY, or closed the connection."""
        self._http.initiate_connection()
        self.flush()

    def __enter__(self) -> Http2:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def flush(self) -> None:
        """Send what is due. A server may have responded and closed the connection before."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(self._http.data_to_send())

    def begin(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        ends: bool = True,
        takes: bool = True,
    ) -> int:
        """Send the head of a request, and return its stream's number.

        Without ``takes``, the server gets no more credit for the response's body than at first.
        """
        given = {name.lower(): value for name, value in (headers or {}).items()}
        stream = self._http.get_next_available_stream_id()
        self._received[stream] = Received(0, [], b"", "")
        if not takes:
            self._full.add(stream)
        pseudo = {
            ":method": method,
            ":scheme": "http",
            ":authority": given.get("host", "localhost"),
            ":path": target,
        }
        rest = {name: value for name, value in given.items() if name not in OF_CONNECTIONS}
        self._http.send_headers(stream, [*(pseudo | rest).items()], end_stream=ends)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        """Send a part of a body, unless the server ends the stream before it has taken it."""
        sent = 0
        while sent < len(data) and not self._received[stream].end:
            room = self._http.local_flow_control_window(stream)
            piece = data[sent : sent + min(room, self._http.max_outbound_frame_size)]
            sent += len(piece)
            if piece:
                self._http.send_data(stream, piece, end_stream=ends and sent == len(data))
                self.flush()
            else:
                self.listen()

    def reset(self, stream: int) -> None:
        """Leave a stream, as a browser does when its page is closed."""
        self._http.reset_stream(stream, 8)
        self.flush()

    def listen(self) -> None:
        """Wait for the next bytes of the server."""
        data = b""
        with suppress(ConnectionResetError):
            data = self._socket.recv(65536)
        if not data:
            self.has_goodbye = True
            for stream, received in self._received.items():
                if not received.end:
                    self._received[stream] = received._replace(end="connection closed")
            return
        for event in self._http.receive_data(self._without_goodbye(data)):
            if getattr(event, "stream_id", None) in self._received:
                self._take(event)
        self.flush()

    def _without_goodbye(self, data: bytes) -> bytes:
        """Take GOAWAY out of the frames: h2 reads nothing after it, although open streams go on."""
        self._bytes, kept = self._bytes + data, b""
        while len(self._bytes) >= 9 + (size := int.from_bytes(self._bytes[:3])):
            frame, self._bytes = self._bytes[: 9 + size], self._bytes[9 + size :]
            if frame[3] == 7:
                self.has_goodbye = True
            else:
                kept += frame
        return kept

    def _take(self, event: Event) -> None:
        stream: int = event.stream_id  # type: ignore[attr-defined]
        received = self._received[stream]
        if isinstance(event, ResponseReceived):
            (_, status), *headers = [(str(key), str(value)) for key, value in event.headers]
            received = received._replace(status=int(status), headers=headers)
        elif isinstance(event, DataReceived):
            received = received._replace(body=received.body + event.data)
            if stream in self._full:
                self._http.increment_flow_control_window(event.flow_controlled_length)
            else:
                self._http.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, StreamEnded):
            received = received._replace(end="complete")
        elif isinstance(event, StreamReset) and not received.end:
            received = received._replace(end="reset")
        self._received[stream] = received

    def received(self, stream: int) -> Received:
        """Return what there is of a response so far."""
        return self._received[stream]

    def response(self, stream: int) -> Received:
        """Wait for the end of a stream."""
        while not self._received[stream].end:
            self.listen()
        return self._received[stream]
