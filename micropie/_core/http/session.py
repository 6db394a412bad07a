"""``Session``: a dict that records which of its keys have changed since it was loaded."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from math import inf
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from micropie._core.errors import ResponseError, logger
from micropie._core.execution.placement import AnyFunction

T = TypeVar("T")

# The data of a session, as a dict by key.
SessionData: TypeAlias = dict[str, object]

# For each key, the functions that were passed to ``update_atomic`` in this request, and the value
# that the last one returned. When the session is saved, the functions are called again, with the
# stored value.
_Update: TypeAlias = Callable[[Any], object]
_Updates: TypeAlias = dict[str, tuple[list[_Update], object]]

# The key of the CSRF secret in the session, and the name of the secret's cookie and of the token's
# form field.
CSRF_FIELD = "csrf_token"

_MISSING = object()


# How many levels of lists and dicts a value may have. Python can encode about 950 levels, but copy
# only 450 when the session is loaded, so each later request with such a session would fail.
_DEEPEST = 250

_encode = json.JSONEncoder(separators=(",", ":"), default=repr, skipkeys=True).encode


def check_size(data: Mapping[str, object], most: int, setting: str, is_debug: bool = False) -> None:
    """Raise ``ResponseError`` if a session is too large, so that clients can't fill the store, or
    nested too deeply.

    - ``most``: the limit, in bytes of JSON. A value that JSON can't encode is measured by its
      ``repr``.
    - ``setting``: the name of the setting that contains the limit.
    - ``is_debug``: whether to log a warning for each key that JSON would turn into text.
    """
    # a cheap check, which is enough for most sessions
    if not is_debug and _most_bytes(data) <= most:
        return
    text = ""  # stays empty if there are too many levels
    with suppress(RecursionError):
        text = _encode(data)
    if not text or text.count("[") + text.count("{") > _DEEPEST:
        for name, value in data.items():
            if _is_too_deep(value):
                raise ResponseError(
                    f"the session is not saved, because {name!r:.100} has lists and dicts inside "
                    f"each other, more than {_DEEPEST} levels"
                )
    for key in _other_keys(data) if is_debug else ():
        logger.warning(
            "the session has the key %r, which will be a str in the next request, because keys in "
            "JSON are strings: write str(...) around the key, both where you set it and where you "
            "read it",
            key,
        )
    size = len(text)
    if size > most and data:  # an empty session is deleted
        sizes = {key: len(_encode({key: value})) for key, value in data.items()}
        largest = max(sizes, key=sizes.__getitem__)
        raise ResponseError(
            f"the session is not saved, because it has {size} bytes, {sizes[largest]} of them "
            f"in {largest!r:.100}, and {setting.format(most)} doesn't allow that much"
        )


def _most_bytes(data: Mapping[str, object]) -> float:
    """Return an upper bound of the JSON size of flat data; infinite for any other data."""
    size = 2
    for key, value in data.items():
        if type(value) is str:
            size += 12 * len(value)  # a character beyond U+FFFF takes two escapes, 12 bytes
        elif type(value) is int:
            size += value.bit_length()
        elif type(value) not in _UNCHANGEABLE:
            return inf
        if type(key) is not str:
            return inf
        size += 12 * len(key) + 32  # 32 bytes for JSON's punctuation and a value that is a number
    return size


def _is_too_deep(value: object) -> bool:
    level: Collection[Any] = [[value]]
    for _ in range(_DEEPEST + 1):
        # by id, because a list may have another one many times
        inside = {
            id(one): one
            for outer in level
            for one in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(one, dict | list | tuple)
        }
        level = inside.values()
    return bool(level)


def _other_keys(value: object) -> Iterator[object]:
    """Yield the keys that are not strings, including those of nested dicts."""
    inside: Iterable[object] = value if isinstance(value, list | tuple) else ()
    if isinstance(value, Mapping):
        yield from (key for key in value if not isinstance(key, str))
        inside = value.values()
    for one in inside:
        yield from _other_keys(one)


_UNCHANGEABLE = frozenset({str, int, bool, float, type(None)})


def _is_same(value: object, stored: object) -> bool:
    """Return whether two values are equal and stored alike. ``True``, 1 and 1.0 are equal, but
    stored differently.
    """
    if value is stored:
        return True
    if value != stored or type(value) is not type(stored):
        return False
    if isinstance(value, dict) and isinstance(stored, dict):
        return all(_is_same(one, stored[key]) for key, one in value.items())
    if isinstance(value, list | tuple) and isinstance(stored, list | tuple):
        return all(map(_is_same, value, stored))
    return True


def copied(data: Mapping[str, object]) -> SessionData:
    """Return a deep copy.

    Most sessions are flat, and ``deepcopy`` of a flat dict would take five times as long.
    """
    copies = {**data}
    for key, value in data.items():
        if type(value) not in _UNCHANGEABLE:
            copies[key] = copy.deepcopy(value)
    return copies


@dataclass(slots=True, eq=False)
class Changes:
    """The changes that one request made to its session. The changes are applied to the stored data,
    which other requests may have changed in the meantime.

    - ``emptied``: whether to discard all stored data first.
    - ``new_id``: None to keep the id. Otherwise, the id under which to store the result; the data
      under the old id is deleted.
    - ``check``: called with the result; raises ``ResponseError`` if the result must not be stored.
    - ``loaded``: what the backend returned when the session was loaded. By now, other data may be
      stored.
    - ``was_applied``: whether the session was still stored.
    """

    values: SessionData
    deletions: frozenset[str] = frozenset()
    updates: dict[str, list[_Update]] = field(default_factory=dict)
    emptied: bool = False
    new_id: str | None = None
    check: Callable[[SessionData], object] | None = None
    loaded: SessionData | None = None
    was_applied: bool = field(default=False, init=False)

    def apply(self, stored: Mapping[str, object]) -> SessionData:
        """Return ``stored`` with the changes applied key by key. If the result is empty, the caller
        deletes the session.

        Don't use ``stored`` afterwards, because functions passed to ``update_atomic`` may have
        changed its values.
        """
        self.was_applied = True
        data = {} if self.emptied else {**stored}
        for key in self.deletions:
            data.pop(key, None)
        data.update(self.values)
        for key, functions in self.updates.items():
            value = data.get(key)
            for function in functions:
                value = function(value)
            data[key] = value
        if self.check is not None:
            self.check(data)
        return data


class _View(Protocol):
    """An object that has some of a session's values as its fields."""

    value: object

    def changes(self) -> tuple[SessionData, Collection[str]]:
        """Return the values that have changed since the last call, and the keys that are gone."""


def _checked(method: AnyFunction) -> Callable[..., Any]:
    """Return a ``dict`` method that changes a session, wrapped so that it raises ``ResponseError``
    if the change would be lost.
    """

    @wraps(method)
    def change(session: Session, *arguments: object, **values: object) -> object:
        if session._refusal:
            session._check()
        session._may_look_equal = True
        return method(session, *arguments, **values)

    return change


class Session(dict[str, Any]):
    """A client's data, which is stored between requests.

    ``id`` is None until the session is stored for the first time.

    An empty session is deleted. ``data`` is the stored data. The session works on a copy and
    compares itself with ``data`` to find its changes, because no method of the dict notices a
    change like ``session["cart"].append(...)``. So don't change ``data`` afterwards.
    """

    __slots__ = (
        "_is_cleared",
        "_loaded",
        "_may_look_equal",
        "_refusal",
        "_updates",
        "has_sent_id",
        "id",
        "regenerated",
        "renewed",
        "reserved_id",
        "saver",
        "typed_views",
    )

    def __init__(self, session_id: str | None = None, data: SessionData | None = None) -> None:
        self._loaded = data = data or {}
        is_flat = _UNCHANGEABLE.issuperset(map(type, data.values()))
        dict.__init__(self, data if is_flat else copied(data))
        # Whether there may be a change although the data is equal, such as True in place of 1.
        self._may_look_equal = not is_flat
        self._refusal = ""  # The reason for refusing changes; "" while they are allowed.
        self._is_cleared = False  # Whether all stored data is to be discarded.
        self.id = session_id
        self.regenerated = False  # Whether the session gets a new id when it is saved.
        # Whether ``regenerate`` was called. Unlike ``regenerated``, it is also set for a session
        # that is not stored yet.
        self.renewed = False
        self._updates: _Updates = {}
        # Whether a WebSocket has sent the id, which then can't change any more.
        self.has_sent_id = False
        # The ``id`` that this session will get, because the client already has a cookie with it.
        self.reserved_id: str | None = None
        # A function that saves the session of an accepted WebSocket.
        self.saver: Callable[[], Awaitable[None]] | None = None
        # The objects that parameters have for this session, by class.
        self.typed_views: Mapping[object, _View] = {}

    @property
    def changed(self) -> bool:
        """Whether there is anything to save, including changes inside values."""
        if self.typed_views:
            self.write_views()
        return (
            self != self._loaded
            or self.regenerated
            or self._is_cleared
            or (
                # equal data may be stored in another way, or be the result of an update
                self._may_look_equal
                and (not _is_same(dict(self), dict(self._loaded)) or bool(self.changes().updates))
            )
        )

    def regenerate(self) -> None:
        """Give the session a new id and delete the old one. Call this at log-in, and whenever the
        user gets more rights.

        After that, an id or CSRF token that an attacker has learned or planted is useless.
        """
        if self.has_sent_id:
            raise ResponseError(
                "the WebSocket is accepted, so a new session id can't be sent: call regenerate() "
                "before ws.accept()"
            )
        self.pop(CSRF_FIELD, None)
        self.renewed = True
        self.regenerated = self.id is not None  # a session without an id gets a new id anyway

    def clear(self) -> None:
        """Remove all keys, for example at log-out. Keys that other requests store before this
        session is saved are removed as well.

        Values that are set afterwards are stored under a new id, so a slower request, which has
        the old id, can't change them.
        """
        self._check()
        for view in self.typed_views.values():
            view.changes()  # only later changes count
        super().clear()
        self._loaded = {}
        self._is_cleared = self.id is not None
        self.regenerated = self._is_cleared and not self.has_sent_id

    def view(self, kind: object, open_view: Callable[[Mapping[str, object]], _View]) -> object:
        """Return the object of a class for this session, which ``open_view`` makes once."""
        if kind not in self.typed_views:
            self.typed_views = {**self.typed_views, kind: open_view(self)}
        return self.typed_views[kind].value

    def write_views(self) -> None:
        """Set the keys of the fields that have changed in the objects of ``view``.

        After an exception, the objects are not asked again.
        """
        views, self.typed_views = self.typed_views, {}
        for view in views.values():
            values, gone = view.changes()
            if values:
                self.update(values)
            for key in gone:
                self.pop(key, None)
        self.typed_views = views

    def update_atomic(self, key: str, function: Callable[[Any], T]) -> T:
        """Set ``key`` to ``function(value)``, where ``value`` is the current value or None. For
        example, a counter, ``lambda n: (n or 0) + 1``, loses no count if requests overlap.

        Return the result as this request sees it. When the session is saved, ``function`` is called
        again, perhaps several times, with the value stored by then. So ``function`` must have no
        side effects.
        """
        self._check()
        functions, expected = self._updates.get(key, ([], self._loaded.get(key, _MISSING)))
        as_stored = _is_same(self.get(key, _MISSING), expected)
        self[key] = value = function(self.get(key))
        if as_stored:
            self._updates[key] = [*functions, function], copy.deepcopy(value)
        else:  # this request has set the key, so the value replaces the stored one
            self._updates.pop(key, None)
        return value

    def changes(self) -> Changes:
        """Return the differences between this session and the loaded data."""
        loaded = self._loaded
        updates = {
            key: functions
            for key, (functions, value) in self._updates.items()
            if _is_same(self.get(key, _MISSING), value)
        }
        values = {
            key: value
            for key, value in self.items()
            if key not in updates
            and (key not in loaded or loaded[key] != value or not _is_same(value, loaded[key]))
        }
        gone = frozenset(loaded.keys() - self.keys())
        return Changes(values, gone, updates, self._is_cleared, loaded=loaded)

    def reload(self, stored: SessionData) -> None:
        """Replace the loaded data with ``stored``, the data that is stored now, and keep this
        request's changes. Don't change ``stored`` afterwards.
        """
        changes = self.changes()
        self._loaded, self._may_look_equal = stored, True
        super().clear()
        super().update(changes.apply(copy.deepcopy(stored)))
        self._updates = {
            key: (functions, copy.deepcopy(self[key])) for key, functions in changes.updates.items()
        }

    def mark_saved(self) -> None:
        """Record that the session has been stored, so that only later changes count."""
        self._loaded = copy.deepcopy(dict(self))
        self.regenerated = self._is_cleared = False
        self._updates = {}

    def keep_cookie(self, in_cookie: bool) -> None:
        """From now on, refuse changes that need a new cookie, because a WebSocket can send headers
        only once.

        ``in_cookie``: whether the cookie contains the session's data. If it does, every change
        needs a new cookie.
        """
        self.has_sent_id = not in_cookie and (self.id is not None or self.reserved_id is not None)
        if not self.has_sent_id:
            self._refusal = (
                "the session can't be changed any more, because a new cookie can be sent only when "
                "the WebSocket is accepted: change the session before ws.accept()"
            )

    def save(self) -> Awaitable[None]:
        """``await session.save()`` in a WebSocket handler: save the changes now instead of when the
        WebSocket ends.

        Raises ``RuntimeError`` before ``accept``, and in a handler for HTTP, where the session is
        saved with the response.
        """
        if self.saver is None:
            raise RuntimeError(
                "session.save() is only for WebSocket handlers, after ws.accept(): in an HTTP "
                "handler, leave out the call, because the session is saved with the response"
            )
        return self.saver()

    def seal(self) -> None:
        """Refuse changes from now on. Later changes would be lost, because the session is saved
        before the response starts.
        """
        self._refusal = (
            "the session can't be changed any more, because it was saved before the response "
            "started: change the session before the first yield"
        )
        self.typed_views = {}

    def _check(self) -> None:
        """Raise ``ResponseError`` if a change would be lost."""
        if self._refusal:
            raise ResponseError(self._refusal)

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, ({**self},)  # a copy or an unpickled object is a plain dict

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
    """An empty session in place of one that has not been loaded. Changes to it are discarded.

    Hooks and error pages get this object if a hook refused the request before the session was
    loaded.
    """

    __slots__ = ()

    changed = False
