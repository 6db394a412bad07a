"""Media types: parse Content-Type with its charset, and the Content-Disposition of a form's part;
choose a response's type by the Accept header.

Header values with parameters are parsed strictly, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from encodings import normalize_encoding
from encodings.aliases import aliases
from urllib.parse import unquote_to_bytes

from micropie._core.errors import BadRequest
from micropie._core.http.headers.fields import cached_if_short
from micropie._core.on_demand import pattern

# All quantifiers are possessive, so there is no backtracking: n bytes take n steps
# (tests/project/risks, R28).
_PARAMETER = pattern(
    r"""
    ;[ \t]*+ ([^=;"\s]++)=                                   # its name
    (?: "((?:[^"\\]++|\\.)*+)" | (?![ \t])([^;"]*+) )       # a quoted string or a token
    [ \t]*+ (?=;|\Z)
    """,
    re.DOTALL | re.VERBOSE,
)
# Matches a quoted parameter of Content-Disposition as browsers write it: they don't escape
# backslashes, so the string may end with one.
_AS_BROWSERS_WRITE = pattern(r';[ \t]*+([^=;"\s]++)="([^"]*+)"()[ \t]*+(?=;|\Z)')
_ESCAPED = pattern(r"\\(.)")
_DISPOSITION = "Content-Disposition"


# Browsers send few media types, but the cache is limited because each multipart form has its own
# boundary.
@cached_if_short(256)
def content_type(value: str) -> tuple[str, dict[str, str]]:
    """Parse ``text/html; charset="utf-8"`` into ``("text/html", {"charset": "utf-8"})``.

    The dict is cached for the next request with the same text, so don't change it. Raises
    ``BadRequest`` for a malformed value.
    """
    media_type, parameters = _parameters(value, "Content-Type")
    if "\\" in value:
        parameters = {name: _ESCAPED.sub(r"\1", text) for name, text in parameters.items()}
    return media_type, parameters


def is_json(media_type: str) -> bool:
    """Return whether a type is ``application/json`` or ``application/*+json``; ``text/json`` is not
    (tests/project/risks, R24).
    """
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def _parameters(value: str, header: str) -> tuple[str, dict[str, str]]:
    """Return the part of ``value`` before the first ``;``, in lower case, and the parameters.
    Quotes around a parameter's value are removed, but escapes in the value are not decoded.

    A piece between two ``;`` that has no name is skipped. Raises ``BadRequest`` for a repeated
    parameter, blanks around ``=`` and a broken quoted string, because two parsers might read them
    differently.
    """
    parameters: dict[str, str] = {}
    position = end = value.find(";") if ";" in value else len(value)
    while 0 <= position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None and header == _DISPOSITION:
            match = _AS_BROWSERS_WRITE.match(value, position)
        if match is None:
            following = value.find(";", position + 1)
            piece = value[position : following if following > 0 else None]
            if '"' in piece:
                raise BadRequest(f"The {header} header has a broken quoted string.")
            if "=" in piece.strip("; \t")[1:]:
                raise BadRequest(f"The {header} header has a malformed parameter.")
            position = following
            continue
        name, quoted, token = match.groups()
        if name.lower() in parameters:
            raise BadRequest(f"The {header} header has the same parameter twice.")
        # Refuse ``filename=`` without a value, because some parsers would treat the part as a
        # field, and others would treat it as a file without a name.
        if quoted is None and not token and header == _DISPOSITION:
            raise BadRequest(f"The {header} header has a malformed parameter.")
        parameters[name.lower()] = token.rstrip(" \t") if quoted is None else quoted
        position = match.end()
    return value[:end].strip(" \t").lower(), parameters


@cached_if_short(256)  # a site's forms have few different fields
def disposition(value: str) -> tuple[str, str | None]:
    """Return a part's name, and its file name or None.

    ``filename*`` is used only if there is no ``filename``.

    Raises ``BadRequest`` for a part without a name, and for a malformed header.
    """
    kind, parameters = _parameters(value, _DISPOSITION)
    if kind != "form-data" or "name" not in parameters:
        raise BadRequest("A part of the form has no name.")
    name, filename = parameters["name"], parameters.get("filename")
    if "%" in value or "\\" in value:
        name, filename = _unescaped(name), filename and _unescaped(filename)
    if filename is not None:
        return name, filename
    return name, _extended(parameters["filename*"]) if "filename*" in parameters else None


def _unescaped(text: str) -> str:
    # Browsers write %22 for a quote and don't escape backslashes (HTML, "multipart/form-data
    # encoding"). Other clients write \".
    if '\\"' in text:
        return text.replace("\\\\", "\\").replace('\\"', '"')
    return (
        text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n") if "%" in text else text
    )


def _extended(value: str) -> str:
    """Decode RFC 8187's ``utf-8''na%C3%AFve.txt``, which old versions of urllib3 and requests
    send.
    """
    charset, _, rest = value.partition("'")
    if charset.lower() != "utf-8" or "'" not in rest:
        raise BadRequest("A file name in the form is not encoded as RFC 8187 requires.")
    try:
        return unquote_to_bytes(rest.partition("'")[2]).decode()
    except UnicodeDecodeError:
        raise BadRequest("A file name in the form is not valid UTF-8.") from None


# -- choosing a response's type by Accept: RFC 9110, sections 12.4.2 and 12.5.1 -------------------

# The short names that ``Request.accepts`` takes instead of media types.
SHORT_NAMES = {
    "css": "text/css",
    "csv": "text/csv",
    "form": "application/x-www-form-urlencoded",
    "html": "text/html",
    "json": "application/json",
    "msgpack": "application/msgpack",
    "pdf": "application/pdf",
    "problem": "application/problem+json",
    "svg": "image/svg+xml",
    "text": "text/plain",
    "xml": "application/xml",
}

# A weight as in RFC 9110, but the 0 may be missing, and there may be more digits, because some
# clients send such weights.
_QUALITY = pattern(r"q[ \t]*=[ \t]*(0?\.[0-9]++|0\.?|1(?:\.0*+)?)", re.IGNORECASE)


def choose_type(header: str | None, offered: Sequence[str]) -> str | None:
    """Return the type from ``offered`` that an Accept header prefers, or None if it accepts none.

    If several types have the same weight, those that the header names win over those that match a
    wildcard, and among them the first one wins. Raises ``ValueError`` for a name that is neither a
    media type without parameters nor a short name.
    """
    for name in offered:
        if name not in SHORT_NAMES and ("/" not in name or ";" in name):
            raise ValueError(
                f"{name!r} is not a media type: write one with a slash, such as text/calendar, or "
                f"one of {', '.join(SHORT_NAMES)}; leave out parameters, such as charset=utf-8"
            )
    types = [SHORT_NAMES.get(name, name).lower() for name in offered]
    ranges = weights_of(header or "*/*")
    weights = []
    for media_type in types:  # the most specific range that matches determines the weight
        names = media_type, f"{media_type.partition('/')[0]}/*", "*/*"
        found = ((ranges[name], -at) for at, name in enumerate(names) if name in ranges)
        weights.append(next(found, (0.0, 0)))
    best = max(weights, default=(0.0, 0))
    return offered[weights.index(best)] if best[0] > 0 else None


_LONGEST_ACCEPT = 1000  # browsers send 200 characters; parsing 64 KiB would take milliseconds


def weights_of(header: str, unclear: float = 1.0) -> dict[str, float]:
    """Return the weight of each element of an Accept header. ``unclear``: the weight of an element
    that has parameters, but no q.

    Elements that end after ``_LONGEST_ACCEPT`` characters are ignored.
    """
    if len(header) > _LONGEST_ACCEPT:
        header = header[:_LONGEST_ACCEPT].rpartition(",")[0]
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip(" \t") for part in item.split(";"))
        stated = [match for match in map(_QUALITY.fullmatch, parameters) if match]
        weights.setdefault(name, float(stated[-1][1]) if stated else unclear if parameters else 1.0)
    return weights


# -- charsets --------------------------------------------------------------------------------------

# The only charsets for which a codec is looked up: those in Python's table of aliases, and some
# that are missing there. Other names are refused, because Python caches each name that it has ever
# looked up, and because some codecs take quadratic time (punycode: 15 s for 200 KB). Such codecs,
# for example those for domain names and Python literals, are not listed here.
_KNOWN = {
    *aliases,
    *aliases.values(),
    "koi8_t",
    "koi8_u",
    "utf_8_sig",
    "cp720",
    "cp737",
    "cp856",
    "cp874",
    "cp875",
    "cp1006",
    "mac_arabic",
    "mac_croatian",
    "mac_farsi",
    "mac_romanian",
}


@cached_if_short(256)
def codec_of(charset: str) -> str:
    """Return the name of a charset's codec. Raises ``LookupError`` for an unknown charset."""
    name = normalize_encoding(charset).lower()
    if name not in _KNOWN:
        raise LookupError(f"unknown encoding: {charset:.100}")
    return name
