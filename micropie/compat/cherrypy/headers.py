"""HTTP's small parts as CherryPy has them: headers and their elements, statuses, queries."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import lru_cache, total_ordering
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

response_codes: dict[int, tuple[str, str]] = {
    status.value: (status.phrase, status.description) for status in HTTPStatus
}
response_codes[500] = (
    "Internal Server Error",
    "The server encountered an unexpected condition which prevented it from fulfilling the request.",
)
response_codes[503] = (
    "Service Unavailable",
    "The server is currently unable to handle the request due to a temporary overloading or maintenance of the server.",
)


@lru_cache(maxsize=1024)
def _title(name: str) -> str:
    return name.title()


class CaseInsensitiveDict(dict[str, Any]):
    """A dict whose keys are text in any case, kept as titles: ``Content-Type``."""

    def __init__(self, values: Any = (), **others: Any) -> None:
        super().__init__()
        self.update(values, **others)

    @staticmethod
    def transform_key(key: Any) -> str:
        """Return a key as it is kept."""
        return _title(str(key))

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_title(str(key)))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_title(str(key)), value)

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(_title(str(key)))

    def __contains__(self, key: object) -> bool:
        return super().__contains__(_title(str(key)))

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key in any case."""
        return super().get(_title(str(key)), default)

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove a key in any case and return its value."""
        return super().pop(_title(str(key)), *default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key in any case, which becomes ``default`` if there is none."""
        return super().setdefault(_title(str(key)), default)

    def update(self, values: Any = (), **others: Any) -> None:  # type: ignore[override]
        """Add values, as ``dict.update`` does."""
        pairs: Iterable[tuple[Any, Any]] = values.items() if isinstance(values, Mapping) else values
        for key, value in [*pairs, *others.items()]:
            self[key] = value

    @classmethod
    def fromkeys(cls, keys: Any, value: Any = None) -> Any:
        """Return a dict in which each key has the same value."""
        return cls(dict.fromkeys(keys, value))

    def copy(self) -> Any:
        """Return a copy of the same kind."""
        return type(self)(self)


_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class HeaderMap(CaseInsensitiveDict):
    """Headers by name in any case. Values that are no text are sent as their ``str``."""

    protocol = (1, 1)
    encodings = ("ISO-8859-1",)
    use_rfc_2047 = True

    def elements(self, key: str) -> list[HeaderElement]:
        """Return the parts of a header between commas, those of Accept headers sorted by their quality."""
        return header_elements(_title(key), self.get(key))

    def values(self, key: Any = None) -> Any:
        """Return the elements of a header without their parameters; without a name the values of all headers."""
        return super().values() if key is None else [element.value for element in self.elements(key)]

    def output(self) -> list[tuple[bytes, bytes]]:
        """Return names and values as they are sent."""
        return [(self.encode(name), self.encode(value)) for name, value in self.items()]

    @classmethod
    def encode(cls, value: Any) -> bytes:
        """Return a name or value as bytes, without control characters; what is not latin-1 is encoded by RFC 2047."""
        return encode_header(value)


def encode_header(value: Any) -> bytes:
    """See ``HeaderMap.encode``."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    text = _CONTROLS.sub("", value if isinstance(value, str) else str(value))
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return b"=?utf-8?b?" + b64encode(text.encode()) + b"?="


_ELEMENTS = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')
_PARAMETERS = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')


@total_ordering
class HeaderElement:
    """A part of a header: its value and its parameters."""

    def __init__(self, value: str, params: dict[str, Any] | None = None) -> None:
        self.value = value
        self.params = {} if params is None else params

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeaderElement) and self.value == other.value

    def __lt__(self, other: HeaderElement) -> bool:
        return self.value < other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return self.value + "".join(f";{name}={value}" for name, value in self.params.items())

    @staticmethod
    def parse(elementstr: str) -> tuple[str, dict[str, str]]:
        """Return the value and the parameters of ``value;name=text``."""
        value, *rest = _PARAMETERS.split(elementstr)
        params = {}
        for part in rest:
            name, _, text = part.partition("=")
            params[name.strip().lower()] = text.strip().strip('"')
        return value.strip(), params

    @classmethod
    def from_str(cls, elementstr: str) -> HeaderElement:
        """Return the element of a text."""
        return cls(*cls.parse(elementstr))


class AcceptElement(HeaderElement):
    """A part of an Accept header, sorted by its quality."""

    @property
    def qvalue(self) -> float:
        """The quality from 0 to 1, 1 if none is stated. Raises ``ValueError`` for what is no number."""
        return float(str(self.params.get("q", "1")))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AcceptElement) and self.qvalue == other.qvalue

    def __lt__(self, other: HeaderElement) -> bool:
        if isinstance(other, AcceptElement) and self.qvalue != other.qvalue:
            return self.qvalue < other.qvalue
        return str(self) < str(other)

    __hash__ = HeaderElement.__hash__


def header_elements(fieldname: str, fieldvalue: Any) -> list[HeaderElement]:
    """Return the elements of a header; the ones that a client likes best come first in Accept headers and TE."""
    if not fieldvalue:
        return []
    is_accept = fieldname.startswith("Accept") or fieldname == "TE"
    kind = AcceptElement if is_accept else HeaderElement
    found = [kind.from_str(part) for part in _ELEMENTS.split(str(fieldvalue))]
    return sorted(found, reverse=True) if is_accept else found


def valid_status(status: Any) -> tuple[int, str, str]:
    """Return code, reason and explanation of a status: a number, ``"404 My reason"``, or None for 200.

    Raises ``ValueError`` for what is no number from 100 to 599.
    """
    number, _, reason = str(status or 200).partition(" ")
    try:
        code = int(float(number)) if isinstance(status, float) else int(number)
    except ValueError:
        raise ValueError(f"Illegal response status from server ({number!r} is non-numeric).") from None
    if not 100 <= code <= 599:
        raise ValueError(f"Illegal response status from server ({code!r} is out of range).")
    phrase, explanation = response_codes.get(code, ("", ""))
    return code, reason.strip() or phrase, explanation


def urljoin(*atoms: str) -> str:
    """Return the parts of a path joined with single slashes, ``/`` for nothing."""
    joined = "/".join(atom for atom in atoms if atom)
    while "//" in joined:
        joined = joined.replace("//", "/")
    return joined or "/"


def parse_query_string(query_string: str, keep_blank_values: bool = True, encoding: str = "utf-8") -> dict[str, Any]:
    """Return the parameters of a query: text, or a list of texts for a name that is there more than once.

    Raises ``UnicodeDecodeError`` for text in another encoding.
    """
    parameters: dict[str, Any] = {}
    for pair in query_string.split("&"):
        name, _, value = pair.partition("=")
        if pair and (value or keep_blank_values):
            add_parameter(parameters, unquoted(name, encoding), unquoted(value, encoding))
    return parameters


def unquoted(text: str, encoding: str) -> str:
    """Return a name or a value of a query, given as latin-1 text."""
    text = text.replace("+", " ")
    if "%" not in text and text.isascii():
        return text
    return unquote_to_bytes(text.encode("latin-1")).decode(encoding)


def add_parameter(parameters: dict[str, Any], name: str, value: Any) -> None:
    """Add a value; a second one of the same name makes a list."""
    if name not in parameters:
        parameters[name] = value
    elif isinstance(parameters[name], list):
        parameters[name].append(value)
    else:
        parameters[name] = [parameters[name], value]


class Host:
    """One end of the connection."""

    ip = "0.0.0.0"  # noqa: S104 - a default that stands for none
    port = 80
    name = "unknown.tld"

    def __init__(self, ip: str, port: int, name: str | None = None) -> None:
        self.ip = ip
        self.port = port
        self.name = ip if name is None else name

    def __repr__(self) -> str:
        return f"httputil.Host({self.ip!r}, {self.port!r}, {self.name!r})"
