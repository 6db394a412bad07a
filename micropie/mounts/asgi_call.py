"""One call of a mounted ASGI application, the parts that wait for nothing: its scope, and the messages it has sent."""

from __future__ import annotations

from micropie.http.response import Response
from micropie.http.types import Message, Scope
from micropie.mounts.prefixes import Mount, MountedPath


class ASGIAnswer:
    """The messages of one answer: ``http.response.start``, then each ``http.response.body`` until the last."""

    def __init__(self) -> None:
        self._start: Message | None = None
        self.is_complete = False

    def accept(self, message: Message) -> tuple[bytes, bool] | None:
        """Return a chunk and whether more will follow; None for the head. Raises ``RuntimeError`` out of order."""
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
            return None
        if kind != "http.response.body" or self._start is None or self.is_complete:
            raise RuntimeError(f"the mounted application sent {kind!r}, which can't come now")
        more = message.get("more_body", False)
        self.is_complete = not more
        return bytes(message.get("body", b"")), more

    def response(self, body: object) -> Response:
        """Return the response with ``body``. A chunk must have been accepted."""
        start = self._start or {}
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ())]
        return Response(body, start.get("status", 0), pairs, content_type="")


def moved_scope(scope: Scope, mount: Mount, mounted_path: MountedPath) -> Scope:
    """Return the scope for a mounted application: with the prefix in ``root_path``, and the application's own state."""
    return {
        **scope,
        "root_path": mounted_path.root,
        "path": mounted_path.path,
        "raw_path": mounted_path.raw_path,
        "state": dict(mount.state),
    }
