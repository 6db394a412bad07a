"""The interface of session backends."""

from __future__ import annotations

from typing import Any


class SessionBackend:
    """Where sessions live. Derive from it; ``load`` and ``save`` may be ``def`` or ``async def``.

    ``blocking`` says whether a ``def`` method may wait for something (a file, a database): then it runs in a
    worker thread under asgi. A method that can't reach what it needs raises ``OSError`` (``ConnectionError``,
    ``TimeoutError``): the client gets 503, the log a line.

    A backend that several requests, processes or machines share may have a third method, by which no change is
    ever lost; without it a change is merged by ``load`` and ``save``, and two of them at one moment may collide::

        merge(session_id, changes, timeout)     # Changes -> the data as it is stored now

    In one transaction: load; if there is nothing, it has been ended meanwhile, return ``{}``; else keep
    ``changes.apply(data)`` under ``changes.new_id or session_id``, or nothing if it is empty; forget ``session_id``
    if there is a new id.

    One in this process's memory may have ``load_shared(session_id)`` as well: ``load`` without a copy. What it
    returns is never changed, neither by who asks nor by the backend, whose every save puts other data in its place.
    """

    blocking = True
    in_cookie = False
    """Whether the data itself is the cookie: then ``save`` returns the cookie's value, which ``load`` is given."""

    def load(self, session_id: str) -> Any:
        """The data of ``session_id``: a dict, empty if there is no such session or its time is over."""
        raise NotImplementedError("a session backend has a method load(session_id)")

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> Any:
        """Keep ``data`` for ``timeout`` seconds. No data: forget this session."""
        raise NotImplementedError("a session backend has a method save(session_id, data, timeout)")
