"""Conditional requests and ranges: which part of a representation a GET or HEAD gets, if any.

This module implements RFC 9110, sections 8.8 (validators), 13 (preconditions), 14 (ranges) and
12.5.3 (codings), as pure functions of headers. Each function takes time in proportion to its input,
and ignores a malformed header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from math import inf
from typing import NamedTuple
from urllib.parse import quote

from micropie._core.errors import Unsatisfied
from micropie._core.http.headers.media_types import weights_of
from micropie._core.on_demand import pattern

_ENTITY_TAG = pattern(r'(W/)?("[^"]*+")')
_LONGEST_TAGS = 4096  # characters of a list of tags; parsing 64 KiB would take milliseconds

# This matches a single range only, because a header with several ranges is ignored.
_RANGE = pattern(r"bytes=[ \t]*+([0-9]*+)-([0-9]*+)[ \t]*+", re.IGNORECASE)

# Matches the three date formats of HTTP (RFC 9110, section 5.6.7). Without this check,
# email.utils would accept other strings, for example two dates.
_DATE = pattern(r"[A-Z][a-z]{2,8},? [0-9A-Za-z -]{6,11} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|[0-9]{4})")


class Selection(NamedTuple):
    """A status (200, 206 or 304), and the bytes of the representation to send: from ``start`` up
    to, but not including, ``stop``.
    """

    status: int
    start: int
    stop: int


_NOT_MODIFIED = Selection(304, 0, 0)


def entity_tag(text: str) -> str:
    """Return the value of an ETag header that contains ``text``.

    Characters that an ETag can't contain (RFC 9110, section 8.8.3), and "%", are percent-encoded.
    Raises ``TypeError`` if ``text`` is not a string.
    """
    try:
        return f'"{quote(text, safe=_TAG_SAFE)}"'
    except TypeError:
        raise TypeError(f"an etag must be a str, not {text!r}: write etag=str(...)") from None


_TAG_SAFE = "!#$&'()*+,/:;<=>?@[\\]^`{|}~"  # without "%", because it begins an escape


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> str:
    """Format seconds since 1970 as an HTTP date, in English under every locale."""
    from email.utils import formatdate

    return formatdate(seconds, usegmt=True)


def parse_http_date(value: str) -> int | None:
    """Parse a date in any of HTTP's three formats into seconds since 1970.

    Returns None for anything else.
    """
    if not value or not _DATE.fullmatch(value.strip(" \t")):
        return None
    try:
        from email.utils import mktime_tz, parsedate_tz

        parsed = parsedate_tz(value)
        if parsed is None:
            return None
        year, month, day, hour, minute, second, *_ = parsed
        # Raises ``ValueError`` for an impossible date. A leap second has the number 60.
        datetime(year, month, day, hour, minute, min(second, 59))
        return None if second > 60 else mktime_tz(parsed)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


# The headers that ``select`` reads. If a request has none of them, the whole representation is
# sent.
CONDITIONS = frozenset(
    {"if-match", "if-unmodified-since", "if-none-match", "if-modified-since", "range", "if-range"}
)


def select(
    headers: Mapping[str, str],
    method: str,
    etag: str,
    modified: float,
    size: int,
) -> Selection:
    """Return which part of a representation a GET or HEAD gets.

    - ``etag``: the value of the ETag header, with its quotes.
    - ``modified``: whole seconds since 1970, or infinite if the date is not known.
    - ``size``: the length of the representation in bytes.

    The conditions are checked in the order of RFC 9110, section 13.2.2. Raises ``Unsatisfied``: 412
    if a precondition fails, and 416 if the range is outside the representation.
    """
    matches = headers.get("if-match")
    if matches is not None:
        tags = _ENTITY_TAG.findall(matches, 0, _LONGEST_TAGS)
        is_current = matches.strip(" \t") == "*" or ("", etag) in tags
    else:
        since = headers.get("if-unmodified-since")
        is_current = (
            since is None
            or (date := parse_http_date(since)) is None
            or modified <= date
            or modified == inf
        )
    if not is_current:
        raise Unsatisfied(
            412, "The resource has changed since you loaded it. Reload it and try again."
        )
    if is_known(headers, etag, modified):
        return _NOT_MODIFIED
    # Ranges are only defined for GET (RFC 9110, section 14.2).
    wanted = headers.get("range") if method == "GET" else None
    if wanted is not None and range_applies(headers.get("if-range"), etag):
        part = _range_of(wanted, size)
        if part is not None:
            return Selection(206, *part)
    return Selection(200, 0, size)


def is_known(headers: Mapping[str, str], etag: str, modified: float) -> bool:
    """Return whether the client already has the version with this ``etag`` and ``modified`` time.

    If-None-Match overrides If-Modified-Since (RFC 9110, section 13.1.3).

    If there is no tag, ``etag`` is a line end, which equals no header, not even an empty one. If
    there is no date, ``modified`` is infinite.
    """
    known = headers.get("if-none-match")
    if known is not None:
        opaque = etag.removeprefix("W/")
        if known == opaque:  # a shortcut: in most requests, the tags are equal
            return True
        return known.strip(" \t") == "*" or any(
            tag == opaque for _, tag in _ENTITY_TAG.findall(known, 0, _LONGEST_TAGS)
        )
    date = parse_http_date(headers.get("if-modified-since", ""))
    return date is not None and modified <= date


def range_applies(condition: str | None, etag: str) -> bool:
    """Return whether the value of an If-Range header allows a range: it must be the
    representation's strong tag (RFC 9110, section 13.1.5).

    A date allows none, because a file may change twice within one second, and programs set dates.
    """
    if condition is None:
        return True
    return condition.strip(" \t") == etag and etag.startswith('"')


def _range_of(value: str, size: int) -> tuple[int, int] | None:
    """Return the start and stop of a Range header. Return None to ignore the header, which RFC
    9110, section 14.2, always allows.

    Other units, malformed ranges and several ranges are ignored. Combining several ranges costs a
    server more than it saves, and has been used in attacks. Raises 416 if the range is outside the
    representation.
    """
    match = _RANGE.fullmatch(value.strip(" \t"))
    # No range of an empty file can be satisfied. Ignore the range, because some clients send a
    # range with every request.
    if match is None or match.groups() == ("", "") or size == 0:
        return None
    # Truncate the numbers, because ``int`` refuses thousands of digits. A number of 19 digits is
    # already larger than any file.
    first, last = (
        int(digits.lstrip("0")[:19] or 0) if digits else None for digits in match.groups()
    )
    if first is None:
        start, stop = max(size - (last or 0), 0), size
    else:
        if last is not None and last < first:
            return None
        start, stop = first, size if last is None else min(last + 1, size)
    if start >= size:
        raise Unsatisfied(
            416, f"The content has only {size} bytes.", [("Content-Range", f"bytes */{size}")]
        )
    return start, stop


# Maps the name of a coding in Content-Encoding to the other names that clients may send for it (RFC
# 9110, section 8.4.1).
_OTHER_NAMES = {"gzip": ("x-gzip",)}


def accepted_codings(header: str, codings: Iterable[str]) -> list[str]:
    """Return those of ``codings`` that an Accept-Encoding header accepts, the best first. A coding
    with a lower weight than ``identity`` (no coding) is left out. Codings with equal weights stay
    in the given order.

    The weight of a coding's name overrides that of ``*``. If the header is missing, return no
    coding, although RFC 9110, section 12.5.3, then allows any.
    """
    weights = weights_of(header, unclear=0.0)
    least = weights.get("identity", 0.0)
    wanted: dict[str, float] = {}
    for coding in codings:
        names = (coding, *_OTHER_NAMES.get(coding, ()), "*")
        weight = next((weights[name] for name in names if name in weights), 0.0)
        if weight > 0 and weight >= least:
            wanted[coding] = weight
    return sorted(wanted, key=wanted.__getitem__, reverse=True)
