"""``cherrypy.lib.httputil``: functions and classes for HTTP dates, statuses, ranges and headers."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import formatdate, unquote
from functools import lru_cache, total_ordering
from http import HTTPStatus
from typing import Any, ClassVar, Self, TypeAlias
from urllib.parse import parse_qsl

from micropie_compat.addresses import ELEMENT, PARAMETER
from micropie_compat.cherrypy.types import Parameters
from micropie_compat.core import codec_of
from micropie_compat.results import LONGEST_KEPT

_IMAGE_MAP = re.compile(r"[0-9]{1,18},[0-9]{1,18}")
_WEIGHT = re.compile(r"[0-9]*+\.?+[0-9]*+")
# A header with more encoded words (RFC 2047) isn't decoded, because the standard library takes
# quadratic time for them.
_MOST_WORDS = 100
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_OVERLOADED = (
    "The server is currently unable to handle the request due to a temporary "
    "overloading or maintenance of the server."
)
_UNEXPECTED = (
    "The server encountered an unexpected condition which prevented it from fulfilling the request."
)

Ranges: TypeAlias = list[tuple[int, int]]
"""The ranges of a Range header: (first byte, last byte + 1)."""

response_codes: dict[int, tuple[str, str]] = {
    **{status.value: (status.phrase, status.description) for status in HTTPStatus},
    500: ("Internal Server Error", _UNEXPECTED),
    503: ("Service Unavailable", _OVERLOADED),
}


def HTTPDate(timeval: float | None = None) -> str:  # noqa: N802 - CherryPy's name
    """Return seconds since 1970, by default the present time, in the format of HTTP headers."""
    return formatdate(time.time() if timeval is None else timeval, usegmt=True)


def protocol_from_http(protocol_str: str) -> tuple[int, int]:
    """Return a protocol's version as numbers: (1, 1) for "HTTP/1.1"."""
    return int(protocol_str[5]), int(protocol_str[7])


def valid_status(status: int | str | None) -> tuple[int, str, str]:
    """Return (code, reason, sentence) for a status such as 404, "404" or "404 My Reason"; None
    means 200.

    Raises ``ValueError`` unless the code is a number from 100 to 599.
    """
    # Long strings aren't cached, since a reason may contain a client's text. Unhashable objects
    # can't be cached.
    is_kept = (
        len(status) <= LONGEST_KEPT if isinstance(status, str) else isinstance(status, int | None)
    )
    return (_valid_status if is_kept else _valid_status.__wrapped__)(status)


@lru_cache(maxsize=256)
def _valid_status(status: int | str | None) -> tuple[int, str, str]:
    number, _, reason = str(status or 200).partition(" ")
    try:
        code = int(number)
    except ValueError:
        shown = number if isinstance(status, str) else status
        raise ValueError(
            f"Illegal response status from server ({shown!r} is non-numeric)."
        ) from None
    if not 100 <= code <= 599:
        raise ValueError(f"Illegal response status from server ({number} is out of range).")
    default, message = response_codes.get(code, ("", ""))
    return code, reason.strip() or default, message


def urljoin(*atoms: str) -> str:
    """Join parts of a path with single slashes: ``"/a/", "/b"`` becomes "/a/b"."""
    return re.sub("/{2,}", "/", "/".join(atom for atom in atoms if atom)) or "/"


def parse_query_string(
    query_string: str, keep_blank_values: bool = True, encoding: str = "utf-8"
) -> Parameters:
    """Return a query's parameters by name. A value is a string, or a list of strings if a name
    occurs several times.

    "3,4", which browsers send for a click on an image map, becomes {"x": 3, "y": 4}.
    """
    if _IMAGE_MAP.fullmatch(query_string):
        x, y = query_string.split(",")
        return {"x": int(x), "y": int(y)}
    found: Parameters = {}
    for name, value in parse_qsl(
        query_string, keep_blank_values, encoding=encoding, errors="strict"
    ):
        add_parameter(found, name, value)
    return found


def add_parameter(parameters: Parameters, name: str, value: object) -> None:
    """Add a parameter; if the name exists already, its value becomes a list."""
    if name not in parameters:
        parameters[name] = value
    elif isinstance(parameters[name], list):
        parameters[name].append(value)
    else:
        parameters[name] = [parameters[name], value]


def get_ranges(headervalue: str | None, content_length: int) -> Ranges | None:
    """Return (first byte, last byte + 1) for each range of a Range header.

    Return None if the header is missing or must be ignored, an empty list if no range lies within
    the content.
    """
    unit, equals, listed = (headervalue or "").partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    ranges = []
    for text in listed.split(","):
        found = re.fullmatch(r"\s*+([0-9]{0,19}+)\s*+-\s*+([0-9]{0,19}+)\s*+", text)
        if found is None or found.groups() == ("", ""):
            return None
        first, last = (int(digits) if digits else None for digits in found.groups())
        if first is None:
            start, stop = max(content_length - (last or 0), 0), content_length
        elif last is not None and last < first:
            return None
        else:
            start, stop = first, content_length if last is None else min(last + 1, content_length)
        if start < stop:
            ranges.append((start, stop))
    return ranges


# -- headers ---------------------------------------------------------------------------------------


@total_ordering
class HeaderElement:
    """An element of a comma-separated header, with its parameters: ``text/html;level=1``."""

    def __init__(self, value: str, params: Mapping[str, str] | None = None) -> None:
        self.value = value
        self.params = dict(params or {})

    @staticmethod
    def parse(elementstr: str) -> tuple[str, dict[str, str]]:
        """Parse an element, and return its value and its parameters."""
        value, *rest = (part.strip() for part in PARAMETER.findall(elementstr) or [""])
        params: dict[str, str] = {}
        for text in rest:
            name, equals, given = text.partition("=")
            if equals:
                params[name.strip().lower()] = unquote(given.strip())
        return value, params

    @classmethod
    def from_str(cls, elementstr: str) -> Self:
        """Return an element parsed from a string."""
        return cls(*cls.parse(elementstr))

    def _rank(self) -> Any:
        """Return the key by which elements are sorted."""
        return self.value

    def __lt__(self, other: Self) -> bool:
        return bool(self._rank() < other._rank())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeaderElement) and str(self) == str(other)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.value + "".join(f";{name}={value}" for name, value in self.params.items())

    def __bytes__(self) -> bytes:
        return str(self).encode("latin-1")


parse_header = HeaderElement.parse


class AcceptElement(HeaderElement):
    """An element of an ``Accept`` header.

    Elements are ordered by the client's preference: ``sorted`` puts the client's favourite last.
    """

    @property
    def qvalue(self) -> float:
        """The weight (parameter ``q``), from 0 to 1."""
        given = self.params.get("q", "1")
        return min(float(given), 1.0) if given.strip(".") and _WEIGHT.fullmatch(given) else 1.0

    def _rank(self) -> Any:
        return self.qvalue, str(self)


def header_elements(fieldname: str, fieldvalue: str | None) -> list[Any]:
    """Return the elements of a comma-separated header, sorted in descending order: those of TE and
    of the ``Accept`` headers by the client's preference, all others by value.
    """
    if not fieldvalue:
        return []
    is_accept = fieldname.title().startswith("Accept") or fieldname.title() == "Te"
    kind = AcceptElement if is_accept else HeaderElement
    elements = map(kind.from_str, ELEMENT.findall(fieldvalue))
    return sorted(elements, key=kind._rank, reverse=True)


def decode_TEXT(value: str) -> str:  # noqa: N802 - CherryPy's name
    """Decode the encoded words (RFC 2047) in a header's value: "=?utf-8?q?f=C3=BCr?=" becomes
    "für".

    A value that can't be decoded, or that has very many such words, is returned unchanged.
    """
    if value.count("=?") > _MOST_WORDS:
        return value
    try:
        pieces = decode_header(value)
        return "".join(
            piece if isinstance(piece, str) else piece.decode(codec_of(charset or "latin-1"))
            for piece, charset in pieces
        )
    except (HeaderParseError, LookupError, UnicodeDecodeError):
        return value


_title = lru_cache(maxsize=1024)(str.title)  # the same few names occur in all requests


def _of_dict(name: str) -> Any:
    """Return a method of ``CaseInsensitiveDict`` that does with a transformed key what the method
    ``name`` of a dict does.
    """
    function = getattr(dict, name)

    def method(self: CaseInsensitiveDict, key: object, *more: object) -> Any:
        return function(self, self.transform_key(key), *more)

    return method


class CaseInsensitiveDict(dict[str, Any]):
    """A dict whose keys are stored in title case: "content-type" and "Content-Type" are one key."""

    __slots__ = ()

    def __init__(self, *args: object, **kargs: object) -> None:
        super().__init__()
        self.update(*args, **kargs)

    @staticmethod
    def transform_key(key: object) -> str:
        """Return the form in which the dict stores a key. Raises ``TypeError`` if it isn't a string
        or bytes.
        """
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        if not isinstance(name, str):
            raise TypeError(f"a header's name must be text, not {key!r}")
        return _title(name) if len(name) <= LONGEST_KEPT else name.title()

    __getitem__, __setitem__ = _of_dict("__getitem__"), _of_dict("__setitem__")
    __delitem__, __contains__ = _of_dict("__delitem__"), _of_dict("__contains__")
    get, pop, setdefault = _of_dict("get"), _of_dict("pop"), _of_dict("setdefault")

    def update(self, *args: object, **kargs: object) -> None:
        """Set the keys of a mapping, or of (key, value) pairs."""
        for key, value in dict(*args, **kargs).items():
            self[key] = value

    def __ior__(self, other: object) -> Any:  # type: ignore[misc]
        self.update(other)
        return self

    def copy(self) -> Self:
        """Return a copy of the same class."""
        return type(self)(self)

    @classmethod
    def fromkeys(cls, iterable: Iterable[object], value: object = None) -> Any:
        """Return a new dict with these keys."""
        return cls(dict.fromkeys(iterable, value))


class HeaderMap(CaseInsensitiveDict):
    """The headers of a request or a response."""

    __slots__ = ()
    protocol = (1, 1)
    encodings: ClassVar[Sequence[str]] = ("ISO-8859-1",)
    use_rfc_2047 = True

    def elements(self, key: str) -> list[Any]:
        """Return the elements of a comma-separated header, sorted."""
        return header_elements(self.transform_key(key), self.get(key))

    def values(self, key: str | None = None) -> Any:
        """Return the values of a header's elements, without parameters. If ``key`` is None, return
        the values of all headers.
        """
        return (
            super().values() if key is None else [element.value for element in self.elements(key)]
        )

    def output(self) -> list[tuple[bytes, bytes]]:
        """Return the headers as (name, value), both encoded for sending."""
        return list(self.encode_header_items(self.items()))

    @classmethod
    def encode_header_items(
        cls, header_items: Iterable[tuple[object, object]]
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (name, value), both encoded for sending."""
        for name, value in header_items:
            yield cls.encode(name), cls.encode(value)

    @classmethod
    def encode(cls, v: object) -> bytes:
        """Return a name or a value in the first of ``encodings`` that has its characters, by
        default Latin-1, or else as encoded words (RFC 2047).

        Control characters are removed: a line end would begin another header.
        """
        text = _CONTROLS.sub("", v.decode("latin-1") if isinstance(v, bytes) else str(v))
        for encoding in cls.encodings:
            with suppress(UnicodeEncodeError):
                return text.encode(encoding)
        return b"=?utf-8?b?%b?=" % b64encode(text.encode(errors="replace"))


class Host:
    """The network address of a client or of the server: ``ip``, ``port`` and host ``name``."""

    ip = "0.0.0.0"  # noqa: S104 - nothing listens there
    port = 80
    name = "unknown.tld"

    def __init__(self, ip: str, port: int, name: str | None = None) -> None:
        self.ip = ip
        self.port = port
        self.name = ip if name is None else name

    def __repr__(self) -> str:
        return f"httputil.Host({self.ip!r}, {self.port!r}, {self.name!r})"
