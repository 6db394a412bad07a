"""Mounts: check prefixes, detect the protocol of an application, find the mount for a path, and
compute the path that the application sees.

The longest matching prefix wins, and prefixes win over routes. A prefix ends at the end of a
segment: ``/shop`` matches ``/shop`` and ``/shop/cart``, but not ``/shopping``. Segments are
compared as decoded bytes. So the path after the prefix need not be UTF-8 and may have empty
segments; the mounted application decides what to do with them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote, unquote_to_bytes

from micropie._core.errors import SetupError, signature_of

APP = "app"
ASGI = "asgi"
WSGI = "wsgi"

Entry = TypeVar("Entry")


@dataclass(eq=False, repr=False)
class Mount:
    """An application that ``App.mount`` has mounted.

    - ``prefix``: the path under which it is mounted; "" for the root.
    - ``target``: the application.
    - ``kind``: the protocol of ``target``.
    - ``isolated``: whether an ``App`` keeps its own sessions, hooks and settings instead of the
      outer application's.
    - ``strip``: whether the prefix is removed from the path that the application sees.
    - ``state``: the lifespan state of an ASGI application. Each request gets a copy of it.
    - ``bridged``: the mount of the application that ``bridge`` makes from ``target``, or None if
      ``mount`` got no ``bridge``.
    """

    prefix: str
    target: Any
    kind: str
    isolated: bool
    strip: bool = False
    state: dict[str, object] = field(default_factory=dict)
    bridged: Mount | None = None

    def under(self, protocol: str) -> Mount:
        """Return the mount to call under a server that speaks ``protocol``: ``bridged`` if there is
        a bridge and the application speaks the other protocol, or else this mount.
        """
        return self if self.bridged is None or protocol == self.kind else self.bridged

    def __repr__(self) -> str:
        return f"<Mount {self} {self.kind}>"

    def __str__(self) -> str:
        return self.prefix or "/"


class MountedPath(NamedTuple):
    """The path of a request to a mounted application.

    - ``root``: the decoded path of the mount.
    - ``rest``: the path after ``root``, still escaped. It is empty at the mount point itself.
      Otherwise, it begins with a slash.
    """

    root: str
    rest: bytes

    @property
    def script_name(self) -> str:
        """SCRIPT_NAME: ``root`` as UTF-8 bytes, decoded as latin-1."""
        return self.root.encode().decode("latin-1")

    @property
    def path_info(self) -> str:
        """PATH_INFO: the unescaped bytes of ``rest``, decoded as latin-1."""
        return unquote_to_bytes(self.rest).decode("latin-1")

    @property
    def path(self) -> str:
        """The full decoded path, for ASGI. Bytes that are not UTF-8 become U+FFFD, as under
        ASGI servers.
        """
        return self.root + unquote_to_bytes(self.rest).decode("utf-8", "replace")

    @property
    def raw_path(self) -> bytes:
        """The full path, escaped."""
        return _escaped(self.root) + self.rest


@lru_cache(64)  # cached, because a server and its mounts have few prefixes
def _escaped(root: str) -> bytes:
    return quote(root).encode()


def mounted_path_of(root_path: str, prefix: str, raw_path: bytes) -> MountedPath:
    """Split ``raw_path`` into the path of the mount and the rest. ``raw_path`` must begin with
    ``prefix``. ``root_path`` is the path of the outer application.
    """
    below = raw_path.split(b"/")[prefix.count("/") + 1 :]
    return MountedPath(root_path + prefix, b"/" + b"/".join(below) if below else b"")


class PrefixTable(Generic[Entry]):
    """A table of entries, which are looked up by the segments of their prefixes.

    Raises ``SetupError`` if two entries have the same prefix.
    """

    def __init__(self, entries: Iterable[tuple[str, Entry]]) -> None:
        self._entries: dict[tuple[bytes, ...], Entry] = {}
        for prefix, entry in entries:
            segments = tuple(prefix.encode().split(b"/")[1:])
            if segments in self._entries:
                raise SetupError(
                    f"two applications are mounted at {prefix}: give one of them another prefix"
                )
            self._entries[segments] = entry
        self._depth = max(map(len, self._entries), default=0)

    def find(self, raw_path: bytes) -> Entry | None:
        """Return the entry with the longest prefix that matches ``raw_path``, an escaped path.
        Return None if no prefix matches, or for a malformed path such as "x/shop".
        """
        parts = (
            raw_path[1:].split(b"/", self._depth)[: self._depth]
            if raw_path.startswith(b"/")
            else ()
        )
        segments = tuple(map(unquote_to_bytes, parts))
        for depth in range(len(segments), 0, -1):
            entry = self._entries.get(segments[:depth])
            if entry is not None:
                return entry
        return None


_RESERVED = "<>{}%?#\\\0"


def checked_prefix(prefix: str) -> str:
    """Return ``prefix`` without a trailing slash; "" for the root.

    Raises ``SetupError`` if ``prefix`` is not a valid prefix.
    """
    if not isinstance(prefix, str) or not prefix.startswith("/"):
        raise SetupError(f'a mount\'s prefix must begin with "/", such as "/shop", not {prefix!r}')
    text = prefix.removesuffix("/")
    if not {"", ".", ".."}.isdisjoint(text.split("/")[1:]):
        raise SetupError(
            f'the prefix {prefix!r} has a segment that is empty, "." or "..": leave it out'
        )
    if any(character in text for character in _RESERVED):
        raise SetupError(
            f"the prefix {prefix!r} must not be percent-encoded or contain any of {_RESERVED[:-1]}"
        )
    return text


def kind_of_target(target: object, kind: str | None) -> str:
    """Return the protocol of an application: ``kind`` if it is given, or else ``"asgi"`` or
    ``"wsgi"``, detected from the parameters of ``target``.

    Raises ``SetupError`` if ``target`` is not an application, or if its protocol can't be detected.
    """
    if kind not in (None, ASGI, WSGI):
        hint = "is only for a micropie App" if kind == APP else 'must be "wsgi", "asgi" or "app"'
        raise SetupError(f"mount(kind={kind!r}) {hint}; the application is {target!r}")
    if isinstance(target, type):
        raise SetupError(
            f"mount takes an application, not a class: write mount(..., {target.__name__}())"
        )
    if not callable(target):
        raise SetupError(f"mount takes a callable application, not {target!r}")
    if kind is not None:
        return kind
    # Like servers, treat a coroutine function as ASGI, and also an object whose ``__call__`` is a
    # coroutine function.
    if inspect.iscoroutinefunction(inspect.unwrap(target)) or inspect.iscoroutinefunction(
        target.__call__
    ):
        return ASGI
    possible = []
    for protocol, count in ((WSGI, 2), (ASGI, 3)):
        # ``bind`` raises TypeError if the target has other parameters. ``signature`` raises
        # ValueError if the target is written in C.
        with suppress(TypeError, ValueError):
            signature_of(target).bind(*range(count))
            possible.append(protocol)
    if len(possible) == 1:
        return possible[0]
    raise SetupError(
        f'the parameters of {target!r} don\'t show whether it is WSGI or ASGI: write kind="wsgi" '
        'or kind="asgi"'
    )
