"""The interface of session backends, for those who write one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from micropie._core.execution.steps import Completed
from micropie._core.http import SessionData


class Loaded(dict[str, Any]):
    """A session's data that may also be awaited: for ``await super().load(...)`` in an
    ``async def load``.
    """

    __slots__ = ()

    def __await__(self) -> Generator[None, None, dict[str, Any]]:
        return self
        yield  # what makes it a generator


# The result of ``save``, which may be awaited, too.
SAVED: Final = Completed(None)


class SessionBackend:
    """The base class of session backends: implement ``load`` and ``save``, each ``def`` or
    ``async def``.

    The data of a session is a dict with keys of type str; ids are at most 256 printable ASCII
    characters. A backend that can't reach its data raises ``OSError`` (``ConnectionError``,
    ``TimeoutError``): the client gets 503, and the error is logged.

    ``blocking``: whether a ``def`` method may wait, for a file or a database. Then it is called in
    a worker thread under asgi. Set it to False for a backend that never waits.

    A backend that several requests, processes or machines share should have a third method, so that
    no change is ever lost. Without it a change is merged by ``load`` and ``save``, and two changes
    at the same moment may collide::

        merge(session_id, changes, timeout)     # takes a Changes, returns the data as it is stored now

    In one transaction it loads the data. If there is none, the session has been ended meanwhile:
    return ``{}``. Otherwise it stores ``changes.apply(data)`` under
    ``changes.new_id or session_id``, or nothing if that is empty, and deletes ``session_id`` if
    there is a new id.

    A method ``ping()``, ``def`` or ``async def``, is called by ``App.health``: it raises an
    exception if the data is unavailable.

    A backend in this process's memory may also have ``load_shared(session_id)``, which is ``load``
    without a copy. The data that it returns is never changed, neither by the caller nor by the
    backend: each save stores a new dict.
    """  # noqa: E501

    blocking = True
    in_cookie = False
    """Whether the cookie has the data itself: ``save`` returns the cookie's value, and ``load``
    takes it as the id."""

    def load(self, session_id: str) -> Any:
        """Return the data of ``session_id``, a dict: ``{}`` if there is no such session or it has
        expired.
        """
        if type(self).load is SessionBackend.load:
            raise NotImplementedError("a session backend has a method load(session_id)")
        # for ``await super().load(session_id)`` in a method that stores the data itself
        return Loaded()

    def save(self, session_id: str, data: SessionData, timeout: int) -> Any:
        """Store ``data`` for ``timeout`` seconds. If ``data`` is empty, delete the session."""
        if type(self).save is SessionBackend.save:
            raise NotImplementedError(
                "a session backend has a method save(session_id, data, timeout)"
            )
        return SAVED
