"""``SessionBackend``: the interface for session backends."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from micropie._core.execution.steps import Completed
from micropie._core.http import SessionData


class Loaded(dict[str, object]):
    """The data of a session, as a dict that can also be awaited, for ``await super().load(...)`` in
    an ``async def load``.
    """

    __slots__ = ()

    def __await__(self) -> Generator[None, None, SessionData]:
        return self
        yield  # makes this function a generator


# The result of ``save``. It can be awaited.
SAVED = Completed(None)


class SessionBackend:
    """The base class of session backends: implement ``load`` and ``save``, each ``def`` or
    ``async def``.

    The data of a session is a dict with keys of type str; ids have at most 256 printable ASCII
    characters. If a backend can't access its data, it should raise ``OSError``, for example
    ``ConnectionError`` or ``TimeoutError``. The client then gets a 503, and the error is logged.

    ``blocking`` (default: True): whether a ``def`` method may wait, for a file or a database. If
    so, the method is called in a worker thread under ASGI. Set ``blocking`` to False for a backend
    that never waits.

    A backend that several requests, processes or machines share should have a third method, so that
    no change is ever lost. Without it, a change is merged by means of ``load`` and ``save``, so two
    changes at the same moment may overwrite each other, and a log-out may be undone::

        merge(session_id, changes, timeout)     # takes a Changes, returns the data as it is stored now

    The method does the following in one transaction: Load the data. If there is none, return
    ``{}``, because another request has ended the session. Otherwise store ``changes.apply(data)``
    under ``changes.new_id or session_id``, unless the result is empty. Delete ``session_id`` if
    there is a new id or the result is empty.

    If a backend has a method ``ping()``, ``def`` or ``async def``, ``App.health`` calls it.
    ``ping()`` should raise an exception if the data is unavailable.

    A backend in this process's memory may also have ``load_shared(session_id)``, which returns the
    stored data without copying it. Neither the caller nor the backend may change this data, so each
    save must store a new dict.
    """  # noqa: E501

    blocking = True
    in_cookie = False
    """Whether the cookie contains the data itself. If so, ``save`` returns the cookie's value, and
    ``load`` gets that value as the id.
    """

    def load(self, session_id: str) -> Any:
        """Return the data of the session ``session_id`` as a dict, or ``{}`` for an unknown or
        expired session.
        """
        if type(self).load is SessionBackend.load:
            raise NotImplementedError("a session backend must have a method load(session_id)")
        # Return an awaitable, because a subclass may call ``await super().load(session_id)``.
        return Loaded()

    def save(self, session_id: str, data: SessionData, timeout: int) -> Any:
        """Store ``data`` for ``timeout`` seconds. If ``data`` is empty, delete the session."""
        if type(self).save is SessionBackend.save:
            raise NotImplementedError(
                "a session backend must have a method save(session_id, data, timeout)"
            )
        return SAVED
