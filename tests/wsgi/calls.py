"""A WSGI server reduced to what a test decides itself: the environ, the input, and how far it
iterates.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


def environ_for(
    method: Any = "GET", path: Any = "/", body: Any = b"", **changes: Any
) -> dict[str, Any]:
    target, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": target,
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "testserver",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    return {**environ, **changes}


class Answer:
    """What the application answered. `chunks` is its iterable, not yet touched."""

    status = 0
    headers: dict[str, str]
    chunks: Any

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[..., Any]:
        self.status = int(status.split(" ", 1)[0])
        self.headers = dict(headers)
        return lambda data: None

    def read(self) -> bytes:
        """The whole body; closes, as every server must."""
        try:
            return b"".join(self.chunks)
        finally:
            self.close()

    def close(self) -> None:
        close = getattr(self.chunks, "close", None)
        if close is not None:
            close()


def begin(
    app: Any, method: Any = "GET", path: Any = "/", body: Any = b"", **changes: Any
) -> Answer:
    """Call the application; nothing of the body is read yet."""
    answer = Answer()
    answer.chunks = app(environ_for(method, path, body, **changes), answer.start_response)
    return answer


def get(
    app: Any, path: Any = "/", method: Any = "GET", body: Any = b"", **changes: Any
) -> tuple[int, bytes]:
    answer = begin(app, method, path, body, **changes)
    return answer.status, answer.read()
