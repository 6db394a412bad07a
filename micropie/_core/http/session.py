"""The session as a handler sees it: a dict that can tell which of its keys changed since it was
loaded.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from math import inf
from typing import Any, Final, Self, TypeAlias, TypeVar

from micropie._core.errors import ResponseError, logger

T = TypeVar("T")

# What is stored of a session, by its keys.
SessionData: TypeAlias = dict[str, object]

# By key: the functions to call with the stored value, and this request's value after the last call.
_Update: TypeAlias = Callable[[Any], object]
_Updates: TypeAlias = dict[str, tuple[list[_Update], object]]

# Of tokens against forged requests: the key of a client's secret, the field of a form, and the
# cookie.
CSRF_FIELD: Final = "csrf_token"

_MISSING = object()


_encode = json.JSONEncoder(separators=(",", ":"), default=repr, skipkeys=True).encode


def check_size(data: Mapping[str, object], most: int, setting: str, is_debug: bool = False) -> None:
    """Raise ``ResponseError`` if a session is too large: else clients could fill the store with
    their texts.

    ``setting`` is the author's name for ``most``, bytes of JSON. Values that JSON lacks count with
    their ``repr``. ``is_debug``: log the keys that are no texts, as JSON makes texts of them.
    """
    if not is_debug and _most_bytes(data) <= most:  # as most sessions: not measured by encoding
        return
    for key in _other_keys(data) if is_debug else ():
        logger.warning(
            "the session has the key %r, which is text in the next request, because JSON keys "
            "are text: write str(...)",
            key,
        )
    size = len(_encode(data))
    if size > most and data:  # an empty one ends
        sizes = {key: len(_encode({key: value})) for key, value in data.items()}
        largest = max(sizes, key=sizes.__getitem__)
        raise ResponseError(
            f"the session has {size} bytes, {sizes[largest]} of them in {largest!r:.100}, "
            f"and {setting.format(most)} allows no more: it is not saved"
        )


def _most_bytes(data: Mapping[str, object]) -> float:
    """Return a size that the JSON of flat data doesn't exceed; infinite for any other data."""
    size = 2
    for key, value in data.items():
        if type(value) is str:
            size += 12 * len(value)  # a character beyond the BMP takes two escapes
        elif type(value) is int:
            size += value.bit_length()
        elif type(value) not in _UNCHANGEABLE:
            return inf
        if type(key) is not str:
            return inf
        size += 12 * len(key) + 32  # punctuation and a float
    return size


def _other_keys(value: object) -> Iterator[object]:
    """Yield the keys that are no texts, of dicts inside of lists and dicts as well."""
    inside: Iterable[object] = value if isinstance(value, list | tuple) else ()
    if isinstance(value, Mapping):
        yield from (key for key in value if not isinstance(key, str))
        inside = value.values()
    for one in inside:
        yield from _other_keys(one)


_UNCHANGEABLE = frozenset({str, int, bool, float, type(None)})


def copied(data: Mapping[str, object]) -> SessionData:
    """Return a deep copy.

    Most sessions are flat, and ``deepcopy`` of a flat one takes five times as long.
    """
    copies = {**data}
    for key, value in data.items():
        if type(value) not in _UNCHANGEABLE:
            copies[key] = copy.deepcopy(value)
    return copies


@dataclass(slots=True, eq=False)
class Changes:
    """One request's changes to its session, to apply to the stored data, which others may have
    changed meanwhile.

    ``emptied``: nothing of the stored data stays. ``new_id`` is the id under which to store the
    result, with the old id deleted; None to keep the id. ``check`` is called with the result, and
    raises ``ResponseError`` if it must not be stored.
    """

    values: SessionData
    deletions: frozenset[str] = frozenset()
    updates: dict[str, list[_Update]] = field(default_factory=dict)
    emptied: bool = False
    new_id: str | None = None
    check: Callable[[SessionData], object] | None = None

    def apply(self, stored: Mapping[str, object]) -> SessionData:
        """Return ``stored`` with the changes, key by key; an empty result means: delete the
        session.

        Functions given to ``update_atomic`` may change the values in ``stored``, so don't use it
        afterwards.
        """
        kept = {} if self.emptied else stored
        data = {key: value for key, value in kept.items() if key not in self.deletions}
        data.update(self.values)
        for key, functions in self.updates.items():
            value = data.get(key)
            for function in functions:
                value = function(value)
            data[key] = value
        if self.check is not None:
            self.check(data)
        return data


def _checked(method: Callable[..., object]) -> Callable[..., Any]:
    """Return a method of ``dict`` that changes it, for a session: it raises ``ResponseError`` after
    the answer.
    """

    @wraps(method)
    def change(session: Session, *arguments: object, **values: object) -> object:
        session._check()
        return method(session, *arguments, **values)

    return change


class Session(dict[str, Any]):
    """A client's data across requests.

    ``id`` is None until the session is stored for the first time.

    An empty session is deleted. ``data`` is the stored data: the session compares itself with it,
    so it must not change from now on. The session works on a copy, because
    ``session["cart"].append(...)`` is a change that no method of the dict sees.
    """

    __slots__ = (
        "_is_cleared",
        "_loaded",
        "_refusal",
        "_updates",
        "has_sent_id",
        "id",
        "regenerated",
        "renewed",
        "reserved_id",
        "saver",
    )

    def __init__(self, session_id: str | None = None, data: SessionData | None = None) -> None:
        self._loaded = data = data or {}
        is_flat = _UNCHANGEABLE.issuperset(map(type, data.values()))
        super().__init__(data if is_flat else copied(data))
        self._refusal = ""  # why nothing can be changed any longer
        self._is_cleared = False  # whether nothing that is stored stays
        self.id = session_id
        self.regenerated = False  # whether it is to get another id when it is saved
        # whether ``regenerate`` was called, also for a session that is not stored yet
        self.renewed = False
        self._updates: _Updates = {}
        self.has_sent_id = False  # whether a WebSocket was accepted with it, so that the id stays
        # what ``id`` will be, if the client has its cookie already
        self.reserved_id: str | None = None
        self.saver: Callable[[], Awaitable[None]] | None = None  # of an accepted WebSocket

    @property
    def changed(self) -> bool:
        """Whether there is anything to save, changes inside the values included."""
        return self != self._loaded or self.regenerated or self._is_cleared or bool(self._updates)

    def regenerate(self) -> None:
        """Give the session a new id and delete the old one: call this at log-in, and whenever
        rights grow.

        An id that an attacker has learnt or planted before is then worthless, and so is a CSRF
        token.
        """
        if self.has_sent_id:
            raise ResponseError(
                "the WebSocket is accepted, a new session id can't be sent: "
                "regenerate before ws.accept()"
            )
        self.pop(CSRF_FIELD, None)
        self.renewed = True
        self.regenerated = self.id is not None  # a session without an id gets a new one anyway

    def clear(self) -> None:
        """Remove everything, at a log-out: also keys that other requests add meanwhile.

        Values that are set after that are in a session of another id, so no slower request can
        change them.
        """
        self._check()
        super().clear()
        self._loaded = {}
        self._is_cleared = self.id is not None
        self.regenerated = self._is_cleared and not self.has_sent_id

    def update_atomic(self, key: str, function: Callable[[Any], T]) -> T:
        """Set ``key`` to ``function(value)``, called with None if there is no value;
        ``lambda n: (n or 0) + 1`` loses no count.

        Returns the result as this request sees it. When the session is saved, ``function`` is
        called again, perhaps more than once, with the value that is stored by then: it must have no
        side effects.
        """
        self._check()
        functions, expected = self._updates.get(key, ([], self._loaded.get(key, _MISSING)))
        as_stored = self.get(key, _MISSING) == expected
        self[key] = value = function(self.get(key))
        if as_stored:
            self._updates[key] = [*functions, function], copy.deepcopy(value)
        else:  # the key was set directly before: this value replaces the stored one
            self._updates.pop(key, None)
        return value

    def changes(self) -> Changes:
        """Return the differences from the data that was loaded."""
        loaded = self._loaded
        updates = {
            key: functions
            for key, (functions, value) in self._updates.items()
            if self.get(key, _MISSING) == value
        }
        values = {
            key: value
            for key, value in self.items()
            if key not in updates and (key not in loaded or loaded[key] != value)
        }
        return Changes(
            values, frozenset(loaded.keys() - self.keys()), updates, self._is_cleared or not self
        )

    def reload(self, stored: SessionData) -> None:
        """Take over what is stored by now, which must not change from now on; this request's
        changes stay.
        """
        changes = self.changes()
        self._loaded = stored
        super().clear()
        super().update(changes.apply(copy.deepcopy(stored)))
        self._updates = {
            key: (functions, copy.deepcopy(self[key])) for key, functions in changes.updates.items()
        }

    def mark_saved(self) -> None:
        """Note that the session is stored as it is now: only later changes count."""
        self._loaded = copy.deepcopy(dict(self))
        self.regenerated = self._is_cleared = False
        self._updates = {}

    def keep_cookie(self, in_cookie: bool) -> None:
        """Refuse changes that need a new cookie from now on: a WebSocket sends its headers only
        once.

        ``in_cookie``: whether the cookie has the data itself, so that every change needs a new one.
        """
        self.has_sent_id = not in_cookie and (self.id is not None or self.reserved_id is not None)
        if not self.has_sent_id:
            self._refusal = (
                "the WebSocket was accepted without this session's cookie: "
                "change it before ws.accept()"
            )

    def save(self) -> Awaitable[None]:
        """``await session.save()`` in a WebSocket's handler: save the changes now instead of at the
        end.

        Raises ``RuntimeError`` anywhere else, and before ``accept``: there the session is saved
        with the answer.
        """
        if self.saver is None:
            raise RuntimeError(
                "session.save() is for a WebSocket that is accepted: a session is saved with the "
                "response"
            )
        return self.saver()

    def seal(self) -> None:
        """Refuse changes from now on: the session is saved before the response starts, later
        changes would be lost.
        """
        self._refusal = (
            "the session was saved before the response started: change it before the "
            "first yield, not after the response"
        )

    def _check(self) -> None:
        """Raise ``ResponseError`` if a change would be lost."""
        if self._refusal:
            raise ResponseError(self._refusal)

    # -- the methods of ``dict`` that change it ----------------------------------------------------

    __setitem__ = _checked(dict.__setitem__)
    __delitem__ = _checked(dict.__delitem__)
    pop = _checked(dict.pop)
    popitem = _checked(dict.popitem)
    setdefault = _checked(dict.setdefault)
    update = _checked(dict.update)

    def __ior__(self, values: object) -> Self:  # type: ignore[override, misc]
        self.update(values)
        return self


class UnopenedSession(Session):
    """An empty session in place of one that was not opened yet. What is written to it is discarded.

    Hooks and error pages see it if a hook has refused the request before a session backend was
    asked.
    """

    __slots__ = ()

    changed = False
