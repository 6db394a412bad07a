"""A small threaded WSGI server based on the standard library, for use when no other server is
installed. It supports neither HTTP/1.1 nor WebSockets.

The standard library parses the head of a request leniently: a bare CR ends a line, a line that is
not a header ends the head, and ``X_Forwarded_For`` becomes the same variable as
``X-Forwarded-For``. So this module checks the head before the standard library parses it.
"""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import suppress
from email.message import Message
from http import HTTPStatus
from io import BytesIO
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

# Matches a line with a header (RFC 9112, section 5), but not a folded line.
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[^\r\n\0]*\r?\n")
_MOST_HEADERS = 100
_LONGEST_LINE = 65536  # bytes


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # so that an endless stream doesn't keep the process from exiting
    request_queue_size = 128


class _ThreadedServer6(_ThreadedServer):
    address_family = socket.AF_INET6


class StrictHandler(WSGIRequestHandler):
    """The standard library's handler of a request, which checks the head of the request."""

    def parse_request(self) -> bool:
        """Check and parse the head of a request.

        Return whether to handle the request. If not, an error response has been sent.
        """
        connection, lines = self.rfile, list[bytes]()
        while (line := connection.readline(_LONGEST_LINE + 1)) not in (b"\r\n", b"\n"):
            lines.append(line)
            if not _HEADER.fullmatch(line) or len(lines) > _MOST_HEADERS:
                break
        # Drop headers with "_" in their names, as other servers do, so that a client can't forge a
        # proxy's header.
        self.rfile = BytesIO(
            b"".join(line for line in lines if b"_" not in line.partition(b":")[0])
        )
        try:
            is_parsed = super().parse_request()
        finally:
            self.rfile = connection
        if not is_parsed:
            return False
        status = _refusal(self.request_version, lines, self.headers)
        if status is not None:
            self.send_error(status)
        return status is None


class _Handler(StrictHandler):
    root_path = ""
    # Seconds of silence after which a client is disconnected, also during the TLS handshake.
    timeout = 60

    def handle(self) -> None:
        """Handle one request.

        A client that is silent, disconnects, or fails the TLS handshake is not an error of the
        server, so the exception is suppressed.
        """
        with suppress(OSError):
            super().handle()

    def get_environ(self) -> dict[str, object]:
        environ = super().get_environ()
        environ["SCRIPT_NAME"] = self.root_path
        environ["wsgi.multithread"] = True
        environ["RAW_URI"] = self.path  # the raw path, because wsgiref unescapes it in PATH_INFO
        if isinstance(self.connection, ssl.SSLSocket):
            environ["HTTPS"] = "on"  # wsgiref derives ``wsgi.url_scheme`` from this
        return environ

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing, because ``middleware.AccessLog`` logs requests in the same format under
        every server.
        """


def _refusal(version: str, lines: list[bytes], headers: Message) -> HTTPStatus | None:
    """Return the status with which to refuse a request, or None to handle it. A request is refused
    if another server, such as a proxy, could read its head or its body differently.
    """
    if version == "HTTP/0.9":  # its requests have no headers
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    if len(lines) > _MOST_HEADERS or any(len(line) > _LONGEST_LINE for line in lines):
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    if (
        not all(map(_HEADER.fullmatch, lines))
        or len(set(headers.get_all("Content-Length", ()))) > 1
    ):
        return HTTPStatus.BAD_REQUEST
    # Refuse chunked bodies (RFC 9112, section 6.1), because this server would silently ignore them.
    return HTTPStatus.NOT_IMPLEMENTED if "Transfer-Encoding" in headers else None


def open_server(
    app: Any,
    address: tuple[str, int],
    files: tuple[str | None, str | None] = (None, None),
    root_path: str = "",
) -> WSGIServer:
    """Return a server that listens on ``address``.

    - ``files``: the paths of a certificate and its key, for https.
    - ``root_path``: the prefix of the application, for ``SCRIPT_NAME``.

    Raises ``OSError`` if the server can't listen, and ``ssl.SSLError`` if the files can't be used.
    """
    kind = _ThreadedServer6 if ":" in address[0] else _ThreadedServer
    handler = type("Handler", (_Handler,), {"root_path": root_path})
    ServerHandler.server_software = "micropie"
    context = None
    if files[0] is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files[0], files[1])
    server = kind(address, handler)
    if context is not None:
        # Do the handshake in the thread of the connection. Otherwise, a silent client would keep
        # others from connecting.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.set_app(app)
    return server
