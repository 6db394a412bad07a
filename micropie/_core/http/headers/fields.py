"""Multi-valued, case-insensitive headers: of the request (``Headers``) and of the response
(``MutableHeaders``).

Text is latin-1, one character for each byte (RFC 9110, section 5.5), so every byte reaches the
application unchanged, under ASGI and WSGI alike. Only ``response.py`` decides whether a value may
be sent.
"""

from __future__ import annotations

from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from functools import lru_cache
from itertools import filterfalse
from typing import Self, TypeVar, overload

from micropie._core.errors import HeadersLike, pairs_of
from micropie._core.http.protocols import HeaderPairs, Pairs, RawPairs
from micropie._core.on_demand import Value

Text = TypeVar("Text", bound=str | bytes)

# The maximum length, in characters, of a client's text that is stored in a cache. A limit is
# needed, because uvicorn with httptools accepts headers of any length.
LONGEST_KEPT = 500

# The maximum number of headers in a request. gunicorn allows 100, daphne 500; uvicorn with
# httptools has no limit.
MAX_HEADERS = 1000


def cached_if_short(most: int) -> Callable[[Callable[[Text], Value]], Callable[[Text], Value]]:
    """Decorate a function whose argument is text from a client, so that its results are stored in a
    ``NameTable`` of ``most`` entries.

    Returning a stored result runs no Python code.
    """
    return lambda function: NameTable(function, most).__getitem__


class NameTable(dict[Text, Value]):
    """A dict that caches the results of a function for short strings, such as the names of headers.

    Usually there are few different strings, but a client may send many. So the table is cleared
    when it has ``most`` entries. Long strings are not stored, because 256 headers of 10 MB would
    take 2.5 GB.
    """

    def __init__(self, make: Callable[[Text], Value], most: int = 1024) -> None:
        self._make = make
        self._most = most

    def __missing__(self, name: Text) -> Value:
        made = self._make(name)
        if len(name) <= LONGEST_KEPT:
            if len(self) >= self._most:
                self.clear()
            self[name] = made
        return made


_UNDERSCORE = ord("_")
_AUTHORIZATION = b"authorization"
_SEPARATORS = {b"cookie": b"; "}  # joins the values of a repeated header; the default is b", "


class Headers(Mapping[str, str]):
    """The request's headers: a mapping of lower-case names to values.

    ``raw``: the (name, value) pairs, with lower-case names. The first look-up searches these pairs.
    The second creates a dict, which takes several times as long but makes all later look-ups fast.

    The values of a repeated name are joined by ``", "`` (by ``"; "`` for Cookie: RFC 9113, section
    8.2.3). ``get_all`` returns them one by one, unless the server has joined them, as WSGI servers
    do.

    Names with "_" are dropped, as WSGI servers do, because an environ can't distinguish them from
    names with "-". Otherwise a client could imitate a proxy by sending "X_Forwarded_For".

    ``note("authorization")`` is called when the response begins to depend on the Authorization
    header. A look-up of this header is enough, even if the request doesn't have it. Reading all
    headers is enough only if the request has it.
    """

    __slots__ = ("_by_name", "_note", "_sent", "_was_read")

    def __init__(self, raw: RawPairs, note: Callable[[str], object] = str) -> None:
        self._sent, self._note = raw, note
        self._was_read = False
        self._by_name: dict[bytes, bytes] | None = None

    @property
    def raw(self) -> RawPairs:
        """The (name, value) pairs, in the order in which they were sent."""
        return [pair for pair in self._sent if _UNDERSCORE not in pair[0]]

    def _joined(self) -> dict[bytes, bytes]:
        """Return the values by name, as bytes. Each value is decoded when it is looked up, because
        an application looks up only a few.
        """
        if self._by_name is None:
            raw = self.raw
            self._by_name = dict(raw)
            if len(self._by_name) < len(raw):
                values: dict[bytes, list[bytes]] = {}
                for name, value in raw:
                    values.setdefault(name, []).append(value)
                self._by_name = {
                    name: _SEPARATORS.get(name, b", ").join(values[name]) for name in values
                }
        return self._by_name

    @overload
    def get(self, name: str, /, default: None = None) -> str | None: ...

    @overload
    def get(self, name: str, /, default: str | Value) -> str | Value: ...

    def get(self, name: str, /, default: object = None) -> object:
        """Return a value, or ``default``. This is three times as fast as ``Mapping.get``."""
        # Encode before ``lower()``, which would convert the Kelvin sign to a plain "k".
        key = name.encode("latin-1", "replace").lower()
        if key == _AUTHORIZATION:
            self._note("authorization")
        if self._was_read:
            value = self._joined().get(key)
        else:
            self._was_read = True
            values = [value for sent, value in self._sent if sent == key and "_" not in name]
            value = _SEPARATORS.get(key, b", ").join(values) if values else None
        return default if value is None else value.decode("latin-1")

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def items(self) -> ItemsView[str, str]:
        """Return (name, value) pairs. This is ten times as fast as ``Mapping.items``."""
        self._note_all()
        return {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in self._joined().items()
        }.items()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        self._note_all()
        return (name.decode("latin-1") for name in self._joined())

    def __len__(self) -> int:
        return len(self._joined())

    def get_all(self, name: str) -> list[str]:
        """Return every value of ``name``, in order; ``[]`` if there is none."""
        wanted = name.encode("latin-1", "replace").lower()
        if wanted == _AUTHORIZATION:
            self._note("authorization")
        return [value.decode("latin-1") for key, value in self.raw if key == wanted]

    def __repr__(self) -> str:
        return f"Headers({self.raw!r})"

    def __reduce__(self) -> tuple[type[Headers], tuple[RawPairs]]:
        return Headers, (self.raw,)

    def _note_all(self) -> None:
        if _AUTHORIZATION in self._joined():
            self._note("authorization")


_ODD_NAMES = {"etag": "ETag", "www-authenticate": "WWW-Authenticate"}

# Header names in their usual capitalization, because some clients compare names case-sensitively.
CAPITALS: NameTable[str, str] = NameTable(
    lambda name: _ODD_NAMES.get(name) or "-".join(map(str.capitalize, name.split("-"))), most=256
)


class KnownHead(tuple[tuple[str, str], ...]):
    """Headers that the framework often sends together, encoded once for each protocol."""

    encoded: RawPairs
    """The headers for ASGI."""
    capitalized: HeaderPairs
    """The headers for WSGI."""

    def __new__(cls, pairs: Pairs) -> Self:
        head = super().__new__(cls, pairs)
        head.encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head]
        head.capitalized = [(CAPITALS[name], value) for name, value in head]
        return head


_VARY = {
    "cookie": ("vary", "Cookie"),
    "authorization": ("vary", "Authorization"),
}
PRIVATE = ("cache-control", "private")


def add_missing(pairs: HeaderPairs, others: Iterable[tuple[str, str]]) -> None:
    """Add each header from ``others`` to ``pairs``, unless ``pairs`` already has a header of this
    name.
    """
    stated = set()
    for name, _ in pairs:
        stated.add(name.lower())
    pairs += [pair for pair in others if pair[0].lower() not in stated] if stated else others


def add_vary(pairs: HeaderPairs, name: str) -> None:
    """Add the name of a request header to Vary unless Vary already contains this name or "*"."""
    for key, value in pairs:
        if key.lower() == "vary":
            for field in value.split(","):
                if field.strip().lower() in (name.lower(), "*"):
                    return
    pairs.append(("Vary", name))


def make_private(
    pairs: Pairs, depends_on: Sequence[str], has_own_cookie: bool
) -> tuple[HeaderPairs, bool]:
    """Return a response's headers, changed so that caches don't send the response to other clients
    (RFC 9111, section 4.1). Also return whether ``public`` or ``s-maxage`` had to be removed.

    - ``pairs``: the headers, with lower-case names.
    - ``depends_on``: the request headers that identified the client, such as "cookie". They are
      added to Vary, and the response becomes private unless it has a Cache-Control header.
    - ``has_own_cookie``: whether the response contains a cookie or token meant for this client
      only. If so, ``public`` and ``s-maxage`` are always replaced by ``private``.
    """
    headers = [*pairs]
    varies, stated = "", None
    for name, value in headers:
        if name == "vary":
            varies += f",{value.lower()}"
        elif name == "cache-control":
            stated = value if stated is None else f"{stated},{value}"
    named = varies.replace(" ", "").split(",") if varies else ()
    if "*" not in named:
        headers += map(_VARY.__getitem__, filterfalse(named.__contains__, depends_on))
    if stated is None:
        headers.append(PRIVATE)
        return headers, False
    kept, is_private, was_public = ["private"], False, False
    for part in stated.split(","):
        directive = part.partition("=")[0].strip().lower()
        is_private = is_private or directive in ("private", "no-store")
        if directive in ("public", "s-maxage"):
            was_public = True
        else:
            kept.append(part.strip())
    if is_private or not has_own_cookie:
        return headers, False
    headers = [pair for pair in headers if pair[0] != "cache-control"]
    headers.append(("cache-control", ", ".join(filter(None, kept))))
    return headers, was_public


@lru_cache(maxsize=256)  # enough, because such headers are constants or belong to files
def known_private(
    head: KnownHead, depends_on: Sequence[str], has_own_cookie: bool
) -> tuple[KnownHead, bool]:
    """Return the result of ``make_private`` for headers that are often sent together. This short
    cut caches the results.
    """
    headers, was_public = make_private(head, depends_on, has_own_cookie)
    return KnownHead(headers), was_public


class HeaderNames:
    """Names of request headers that are looked up together, spelled as in ASGI and in WSGI.

    - ``by_field``: maps the names in an ASGI scope, which are bytes, to the lower-case names.
    - ``by_key``: maps the keys of a WSGI environ to the same names.
    """

    def __init__(self, *names: str) -> None:
        self.by_field = {name.encode(): name for name in names}
        self.by_key = {f"HTTP_{name.upper().replace('-', '_')}": name for name in names}


class MutableHeaders(MutableMapping[str, str]):
    """The response's headers: ``headers["X"] = "y"`` replaces a value, ``add`` adds another one.

    Names keep the spelling with which they were set.

    ``pairs`` is the response's own list. It is changed in place.
    """

    __slots__ = ("pairs",)

    def __init__(self, headers: HeadersLike = ()) -> None:
        self.pairs: HeaderPairs = pairs_of(headers) if headers else []

    def __setitem__(self, name: str, value: str) -> None:
        pairs = self.pairs
        wanted = name.lower() if pairs else ""
        for key, _ in pairs:
            if key.lower() == wanted:
                del self[name]
                break
        pairs.append((name, value))

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return values[0]

    def __delitem__(self, name: str) -> None:
        unwanted = name.lower()
        kept = [pair for pair in self.pairs if pair[0].lower() != unwanted]
        if len(kept) == len(self.pairs):
            raise KeyError(name)
        self.pairs[:] = kept

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self.pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    def items(self) -> HeaderPairs:  # type: ignore[override]
        """Return every (name, value) pair, including repeated names."""
        return list(self.pairs)

    def get_all(self, name: str) -> list[str]:
        """Return every value of ``name``."""
        wanted = name.lower()
        return [value for key, value in self.pairs if key.lower() == wanted]

    def add(self, name: str, value: str) -> None:
        """Add a value for ``name`` and keep the existing ones, for example of Set-Cookie, Link or
        Vary.
        """
        self.pairs.append((name, value))

    def __repr__(self) -> str:
        return f"MutableHeaders({self.pairs!r})"
