"""A small threaded WSGI server of the standard library, for a bare install: plain HTTP/1.0, no WebSockets."""

from __future__ import annotations

import socket
import ssl
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from micropie.cli.serving.options import Options, Target


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a stream without an end must not keep the process from ending
    request_queue_size = 128


class _ThreadedServer6(_ThreadedServer):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    root_path = ""

    def get_environ(self) -> dict[str, Any]:
        environ = super().get_environ()
        environ["SCRIPT_NAME"] = self.root_path
        environ["wsgi.multithread"] = True
        environ["RAW_URI"] = self.path  # the path as it came: wsgiref decodes it
        return environ

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing: ``middleware.AccessLog`` does, under every server alike."""


def serve_bare(target: Target, options: Options) -> None:
    """Serve until the process is interrupted."""
    kind = _ThreadedServer6 if ":" in options.host else _ThreadedServer
    handler = type("Handler", (_Handler,), {"root_path": options.root_path})
    ServerHandler.server_software = "micropie"
    with kind((options.host, options.port), handler) as server:
        if options.ssl_certfile is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.set_app(target.app)
        server.serve_forever()
