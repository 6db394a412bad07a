"""Applications below a prefix: told apart when they are mounted, found by a path's first segments, their paths moved.

The longest prefix that fits is taken, before every route. A prefix ends where a segment ends: ``/shop`` takes
``/shop`` and ``/shop/cart``, never ``/shopping``. Segments are compared as the bytes that they stand for, so what is
below a mount may be no UTF-8, or have empty segments: that is the mounted application's affair.

Nothing here waits. How a mounted application is called is known to the drivers alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote, unquote_to_bytes

from micropie.errors import SetupError

APP = "app"
ASGI = "asgi"
WSGI = "wsgi"

Entry = TypeVar("Entry")


class Mount:
    """One call of ``App.mount``. ``state`` is what the lifespan of an ASGI application left for its requests."""

    def __init__(self, prefix: str, target: Any, kind: str, isolated: bool) -> None:
        self.prefix = prefix
        self.target = target
        self.kind = kind
        self.isolated = isolated
        self.state: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Mount {self.prefix} {self.kind}>"


class MountedPath(NamedTuple):
    """Where a request leads below a mount: ``root`` is all that is above, decoded; ``rest`` what follows, escaped.

    ``rest`` is empty for the bare mount point, else it begins with a slash.
    """

    root: str
    rest: bytes

    @property
    def script_name(self) -> str:
        """``root`` as WSGI has it: bytes as latin-1."""
        return self.root.encode().decode("latin-1")

    @property
    def path_info(self) -> str:
        """``rest`` as WSGI has it: unescaped, bytes as latin-1."""
        return unquote_to_bytes(self.rest).decode("latin-1")

    @property
    def path(self) -> str:
        """The full decoded path, as ASGI has it; what is no UTF-8 becomes U+FFFD, as servers do."""
        return self.root + unquote_to_bytes(self.rest).decode("utf-8", "replace")

    @property
    def raw_path(self) -> bytes:
        """The full path, escaped."""
        return quote(self.root).encode() + self.rest


def mounted_path_of(root_path: str, prefix: str, raw_path: bytes) -> MountedPath:
    """The place of ``raw_path``, which lies below ``prefix``, in an application that lies at ``root_path``."""
    below = raw_path.split(b"/")[prefix.count("/") + 1 :]
    return MountedPath(root_path + prefix, b"/" + b"/".join(below) if below else b"")


class PrefixTable(Generic[Entry]):
    """Entries by prefix."""

    def __init__(self, entries: Iterable[tuple[str, Entry]]) -> None:
        self._by_first: dict[bytes, list[tuple[list[bytes], Entry]]] = {}
        for prefix, entry in sorted(entries, key=lambda item: -item[0].count("/")):
            segments = prefix.encode().split(b"/")[1:]
            known = self._by_first.setdefault(segments[0], [])
            if any(other == segments for other, _ in known):
                raise SetupError(f"two applications are mounted at {prefix}: give one of them another prefix")
            known.append((segments, entry))

    def find(self, raw_path: bytes) -> Entry | None:
        """What an escaped path leads to, if it leads below a mount."""
        parts = raw_path.split(b"/")[1:]
        candidates = self._by_first.get(unquote_to_bytes(parts[0])) if parts else None
        for segments, entry in candidates or ():
            if len(parts) >= len(segments) and [*map(unquote_to_bytes, parts[: len(segments)])] == segments:
                return entry
        return None


_RESERVED = "<>{}%?#\\\0"


def checked_prefix(prefix: str) -> str:
    """``prefix``, if an application can be mounted there. Raises ``SetupError``."""
    if not isinstance(prefix, str) or not prefix.startswith("/"):
        raise SetupError(f'a mount\'s prefix is text that begins with "/", such as "/shop", not {prefix!r}')
    text = prefix.removesuffix("/")
    if not text:
        raise SetupError("an application can't be mounted at the root: give it to the server, or mount it at /shop")
    if not {"", ".", ".."}.isdisjoint(text.split("/")[1:]):
        raise SetupError(f"the prefix {prefix!r} has a segment that no path may have")
    if any(character in text for character in _RESERVED):
        raise SetupError(f"the prefix {prefix!r} is taken as it stands, decoded: it can't have any of {_RESERVED[:-1]}")
    return text


def kind_of_target(target: Any, kind: str | None) -> str:
    """What ``target`` is: ``"asgi"`` or ``"wsgi"``; ``kind`` decides if it is given. Raises ``SetupError``."""
    if kind not in (None, ASGI, WSGI):
        hint = "is for applications of this framework" if kind == APP else 'must be "wsgi", "asgi" or "app"'
        raise SetupError(f"mount(kind={kind!r}) {hint}; {target!r} was given")
    if isinstance(target, type):
        raise SetupError(f"mount takes an application, not a class: write mount(..., {target.__name__}())")
    if not callable(target):
        raise SetupError(f"mount takes an application, which can be called; {target!r} can't")
    return kind or _told_apart(target)


def _told_apart(target: Any) -> str:
    # A coroutine function as ``__call__``, on the class or the instance, or the target itself: ASGI, as servers see it.
    if inspect.iscoroutinefunction(inspect.unwrap(target)) or inspect.iscoroutinefunction(target.__call__):
        return ASGI
    takes = [kind for kind, count in ((WSGI, 2), (ASGI, 3)) if _can_take(target, count)]
    if len(takes) == 1:
        return takes[0]
    raise SetupError(
        f'{target!r} can\'t be told to be WSGI or ASGI by its parameters: write mount(..., kind="wsgi") or kind="asgi"'
    )


def _can_take(target: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(target).bind(*range(count))
    except (TypeError, ValueError):  # other parameters, or written in C without a signature
        return False
    return True


def dotted(prefix: str) -> str:
    """What names of routes below a mount begin with: ``api.v1.`` for ``/api/v1``."""
    return prefix[1:].replace("/", ".") + "."
