"""Dictionaries that may have several values for a key, used for queries, forms and headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, TypeAlias

from micropie_compat.environs import Environ
from micropie_compat.results import LONGEST_KEPT

Converter: TypeAlias = Callable[[Any], object] | None


class MultiDict(MutableMapping[str, Any]):
    """A dictionary that may have several values for a key. Assigning to a key adds a value; reading
    a key returns the value that was added last (the newest).
    """

    def __init__(self, *args: object, **values: object) -> None:
        self.dict: dict[str, list[Any]] = {
            key: [value] for key, value in dict(*args, **values).items()
        }

    def __len__(self) -> int:
        return len(self.dict)

    def __iter__(self) -> Iterator[str]:
        return iter(self.dict)

    def __contains__(self, key: object) -> bool:
        return key in self.dict

    def __getitem__(self, key: str) -> Any:
        return self.dict[key][-1]

    def __setitem__(self, key: str, value: object) -> None:
        self.append(key, value)

    def __delitem__(self, key: str) -> None:
        del self.dict[key]

    def keys(self) -> KeysView[str]:
        """Return the keys, each once."""
        return self.dict.keys()

    def values(self) -> Any:
        """Return an iterator over the newest value of each key."""
        return (values[-1] for values in self.dict.values())

    def items(self) -> Any:
        """Return an iterator over (key, newest value)."""
        return ((key, values[-1]) for key, values in self.dict.items())

    def allitems(self) -> Iterator[tuple[str, Any]]:
        """Return an iterator over (key, value), with one pair for each value."""
        return ((key, value) for key, values in self.dict.items() for value in values)

    iterkeys, itervalues, iteritems, iterallitems = keys, values, items, allitems

    def get(self, key: str, default: object = None, index: int = -1, type: Converter = None) -> Any:  # noqa: A002
        """Return the value of ``key`` at ``index`` (by default the newest), converted by ``type``.
        Return ``default`` if it is missing or can't be converted.
        """
        try:
            value = self.dict[key][index]
            return value if type is None else type(value)
        except Exception:
            return default

    def append(self, key: str, value: object) -> None:
        """Add a value to ``key`` without removing earlier values."""
        self.dict.setdefault(key, []).append(value)

    def replace(self, key: str, value: object) -> None:
        """Replace all values of ``key`` with this value."""
        self.dict[key] = [value]

    def getall(self, key: str) -> list[Any]:
        """Return all values of ``key``, oldest first, or ``[]``."""
        return self.dict.get(key) or []

    getone, getlist = get, getall


class FormsDict(MultiDict):
    """The fields of a query or a form. They can also be read as attributes; the attribute for a
    missing field is "".

    All strings are already decoded from UTF-8. ``getunicode`` and ``decode`` exist only because
    programs written for Bottle call them.
    """

    input_encoding = "utf8"

    def decode(self, encoding: str | None = None) -> FormsDict:
        """Return a copy. If ``encoding`` is given, strings are decoded from ``encoding`` instead of
        UTF-8. Raises ``UnicodeError`` if a string can't be decoded.
        """
        copy = FormsDict()
        for key, value in self.allitems():
            copy.append(_recoded(key, encoding), _recoded(value, encoding))
        return copy

    def getunicode(self, name: str, default: object = None, encoding: str | None = None) -> Any:
        """Return the newest value of ``name``, or ``default``."""
        try:
            return _recoded(self[name], encoding)
        except (KeyError, UnicodeError):
            return default

    def __getattr__(self, name: str) -> Any:
        # ``copy`` and ``pickle`` look up special methods and expect this error for missing ones.
        if name[:2] == "__" and name.endswith("__"):
            raise AttributeError(name)
        return self.getunicode(name, "")


def _recoded(value: object, encoding: str | None) -> Any:
    if (
        not isinstance(value, str)
        or encoding is None
        or encoding.lower().replace("-", "") == "utf8"
    ):
        return value
    return value.encode().decode(encoding)


def header_name(name: str) -> str:
    """Return a header's name in the form that is used as a key, such as ``Content-Type``.

    Raises ``ValueError`` for control characters.
    """
    return (_header_name if len(name) <= LONGEST_KEPT else _header_name.__wrapped__)(name)


@lru_cache(1024)  # every response uses the same few names
def _header_name(name: str) -> str:
    if "\n" in name or "\r" in name or "\0" in name:
        raise ValueError(f"the name of a header has a control character: {name!r}")
    return name.title().replace("_", "-")


def header_value(value: object) -> str:
    """Return the value of a header as a string. Raises ``ValueError`` for control characters."""
    if isinstance(value, str):
        text = value
    else:
        text = value.decode() if isinstance(value, bytes) else "" if value is None else str(value)
    if not text.isprintable() and ("\n" in text or "\r" in text or "\0" in text):
        raise ValueError(f"the value of a header has a control character: {text!r}")
    return text


class HeaderDict(MultiDict):
    """The headers of a response or of an uploaded file. Assigning replaces a header; ``append``
    adds another header of the same name.
    """

    def __init__(self, *args: object, **values: object) -> None:
        self.dict = {}
        self.update(*args, **values)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and header_name(key) in self.dict

    def __getitem__(self, key: str) -> Any:
        return self.dict[header_name(key)][-1]

    def __setitem__(self, key: str, value: object) -> None:
        self.replace(key, value)

    def __delitem__(self, key: str) -> None:
        del self.dict[header_name(key)]

    def get(self, key: str, default: object = None, index: int = -1, type: Converter = None) -> Any:  # noqa: A002
        """Return a header's value, see ``MultiDict.get``."""
        return super().get(header_name(key), default, index, type)

    def append(self, key: str, value: object) -> None:
        """Add a header without removing others of the same name."""
        self.dict.setdefault(header_name(key), []).append(header_value(value))

    def replace(self, key: str, value: object) -> None:
        """Replace all headers of this name with this one."""
        self.dict[header_name(key)] = [header_value(value)]

    def getall(self, key: str) -> list[Any]:
        """Return all values of a header, or ``[]``."""
        return self.dict.get(header_name(key)) or []

    def filter(self, names: list[str]) -> None:
        """Remove the headers of these names."""
        for name in names:
            self.dict.pop(header_name(name), None)


@lru_cache(1024)
def _environ_key(name: str) -> str:
    key = name.replace("-", "_").upper()
    return key if key in WSGIHeaderDict.cgikeys else f"HTTP_{key}"


class WSGIHeaderDict(Mapping[str, str]):
    """The request's headers: a read-only view of a WSGI environ."""

    cgikeys = ("CONTENT_TYPE", "CONTENT_LENGTH")

    def __init__(self, environ: Environ) -> None:
        self.environ = environ

    def _key(self, name: str) -> str:
        return (_environ_key if len(name) <= LONGEST_KEPT else _environ_key.__wrapped__)(name)

    def raw(self, key: str, default: object = None) -> Any:
        """Return the header's value as it is in the environ: its bytes decoded as latin-1."""
        return self.environ.get(self._key(key), default)

    def __getitem__(self, key: str) -> str:
        value: str | bytes = self.environ[self._key(key)]
        if isinstance(value, str) and value.isascii():
            return value
        return (value if isinstance(value, bytes) else value.encode("latin-1")).decode()

    def __iter__(self) -> Iterator[str]:
        return iter(
            [
                header_name(key[5:] if key[:5] == "HTTP_" else key)
                for key in self.environ
                if key[:5] == "HTTP_" or key in self.cgikeys
            ]
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._key(key) in self.environ
