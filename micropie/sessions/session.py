"""The session as a handler sees it: a dict that knows what of it changed since it was loaded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import NoneType
from typing import Any, NoReturn, TypeAlias

from micropie.errors import ResponseError

# key -> the functions to call with what is stored, and the value here after the last of them. Never changed in place.
_Updates: TypeAlias = dict[str, tuple[list[Callable[[Any], Any]], Any]]

_NO_UPDATES: _Updates = {}
_MISSING = object()
_UNCHANGEABLE = frozenset({str, int, float, bool, bytes, NoneType})


def copied(value: Any) -> Any:
    """A deep copy. What JSON has words for takes a quarter of the time of ``copy.deepcopy``, which does the rest."""
    if type(value) is dict:
        twin = value.copy()
        for key, inner in value.items():
            if type(inner) not in _UNCHANGEABLE:
                twin[key] = copied(inner)
        return twin
    if type(value) is list:
        return [inner if type(inner) in _UNCHANGEABLE else copied(inner) for inner in value]
    return copy.deepcopy(value)


class Changes:
    """What one request did to its session, to be done to the stored one, which others may have changed meanwhile.

    ``new_id``: the id to keep the result under, None for the one that it has; the old id must not live on.
    """

    __slots__ = ("deletions", "emptied", "new_id", "updates", "values")

    def __init__(
        self,
        values: dict[str, Any],
        deletions: frozenset[str] = frozenset(),
        updates: dict[str, list[Callable[[Any], Any]]] | None = None,
        emptied: bool = False,
    ) -> None:
        self.values = values
        self.deletions = deletions
        self.updates = updates or {}
        self.emptied = emptied
        self.new_id: str | None = None

    def apply(self, stored: dict[str, Any]) -> dict[str, Any]:
        """``stored`` with the changes, key by key; empty: forget the session. ``stored`` is the caller's no more."""
        if self.emptied:
            return {}
        data = {key: value for key, value in stored.items() if key not in self.deletions}
        data.update(self.values)
        for key, functions in self.updates.items():
            value = data.get(key)
            for function in functions:
                value = function(value)
            data[key] = value
        return data


class Session(dict[str, Any]):
    """A client's data across requests. ``id`` is None until the session is stored for the first time.

    Emptied, it is forgotten. ``accessed`` says whether anybody asked for it. ``data`` is what is stored: it is kept to
    compare with and must not change from now on; the session works on a copy, because ``session["cart"].append(...)``
    is a change that no method of the dict sees.
    """

    __slots__ = ("_loaded", "_regenerated", "_updates", "accessed", "id")

    def __init__(self, session_id: str | None = None, data: dict[str, Any] | None = None) -> None:
        if data:
            self._loaded = data
            self.update(data)
            for key, value in data.items():
                if type(value) not in _UNCHANGEABLE:
                    self[key] = copied(value)
        else:
            self._loaded = {}
        self.id = session_id
        self.accessed = False
        self._regenerated = False
        self._updates = _NO_UPDATES

    @property
    def changed(self) -> bool:
        """Whether there is something to save, changes inside the values included."""
        return self != self._loaded or self._regenerated or bool(self._updates)

    @property
    def regenerated(self) -> bool:
        """Whether the session is to get another id when it is saved."""
        return self._regenerated

    def regenerate(self) -> None:
        """Keep the data under a new id and end the old one: at log-in, and whenever rights grow.

        Whoever knew the id from before, or planted it, is left with one that leads nowhere.
        """
        self._regenerated = self.id is not None  # what has no id yet gets a new one anyway

    def update_atomic(self, key: str, function: Callable[[Any], Any]) -> Any:
        """Set ``key`` to ``function(its value)``, None if there is none: ``lambda n: (n or 0) + 1`` loses no count.

        Returns the result as this request sees it. When the session is saved, ``function`` is called again, perhaps
        more than once, with what is stored by then: it must do nothing but work out its result.
        """
        functions, expected = self._updates.get(key, ([], self._loaded.get(key, _MISSING)))
        as_stored = self.get(key, _MISSING) == expected
        self[key] = value = function(self.get(key))
        if as_stored:
            self._updates = {**self._updates, key: ([*functions, function], copy.deepcopy(value))}
        else:  # set by hand before: that counts, and not what others stored
            self._updates = {other: update for other, update in self._updates.items() if other != key}
        return value

    def changes(self) -> Changes:
        """What is different from what was loaded."""
        loaded = self._loaded
        updates = {
            key: functions for key, (functions, value) in self._updates.items() if self.get(key, _MISSING) == value
        }
        values = {
            key: value
            for key, value in self.items()
            if key not in updates and (key not in loaded or loaded[key] != value)
        }
        return Changes(values, frozenset(loaded.keys() - self.keys()), updates, not self)

    def mark_saved(self) -> None:
        """It is stored as it is: what is changed from here on is another change."""
        self._loaded = copied(dict(self))
        self._regenerated = False
        self._updates = _NO_UPDATES

    def keep_cookie(self, in_cookie: bool) -> None:
        """Refuse what needs a new cookie from here on: a WebSocket sends its headers once. ``in_cookie``: all does."""
        self.__class__ = _CookielessSession if in_cookie or self.id is None else _AcceptedSession

    def seal(self) -> None:
        """Refuse changes from here on: the head is sent, and what is stored later would be lost."""
        self.__class__ = _SealedSession


class _SealedSession(Session):
    """A session that was saved and is still read: in a stream, after the response.

    A class of its own, so that others pay nothing for the question.
    """

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ResponseError(
            "the session was saved before the head was sent: change it before the first yield, not after the response"
        )

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse
    update_atomic = regenerate = _refuse


class _CookielessSession(Session):
    """A session of a WebSocket that was accepted without its cookie."""

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ResponseError("the WebSocket was accepted without this session's cookie: change it before ws.accept()")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse
    update_atomic = regenerate = _refuse


class _AcceptedSession(Session):
    """A session of a WebSocket whose client has its cookie already."""

    __slots__ = ()

    def regenerate(self) -> NoReturn:
        """Refused: its new id could not be told."""
        raise ResponseError("the WebSocket is accepted, a new session id can't be sent: regenerate before ws.accept()")
