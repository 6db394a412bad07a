"""Conditional requests and ranges: which part of a representation a GET or HEAD is answered with, if any.

RFC 9110, sections 8.8 (validators), 13 (preconditions), 14 (ranges) and 12.5.3 (codings), as pure functions of
headers. Every one takes time in proportion to what it is given, and what is malformed counts as not sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate, mktime_tz, parsedate_tz
from functools import lru_cache
from typing import NamedTuple

from micropie.errors import HTTPError

_ENTITY_TAG = re.compile(r'(W/)?("[^"]*+")')

# One range; what has several is not taken for a range at all (see ``_range_of``).
_RANGE = re.compile(r"bytes=[ \t]*+([0-9]*+)-([0-9]*+)[ \t]*+", re.IGNORECASE)

# "q=0", "q=0.000": what section 12.4.2 calls "not acceptable".
_REFUSED = re.compile(r"q=0(\.0*+)?", re.IGNORECASE)

# The shape of HTTP's three formats (section 5.6.7): email.utils finds a date in much that is none, two dates say.
_DATE = re.compile(r"[A-Z][a-z]{2,8},? [0-9A-Za-z -]{6,11} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|[0-9]{4})")

_MORE_THAN_ANY = 10**18  # bytes; in place of a number of 64 KiB digits, which ``int`` refuses


class Selection(NamedTuple):
    """An answer's status (200, 206 or 304), and the bytes of the representation from ``start`` to ``stop``."""

    status: int
    start: int
    stop: int


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> str:
    """Seconds since 1970 as HTTP writes a date: English under every locale."""
    return formatdate(seconds, usegmt=True)


def parse_http_date(value: str) -> int | None:
    """A date in any of HTTP's three formats as seconds since 1970, None if it is none."""
    if not _DATE.fullmatch(value.strip()):
        return None
    try:
        parsed = parsedate_tz(value)
        return None if parsed is None else mktime_tz(parsed)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def select(headers: Mapping[str, str], method: str, etag: str, modified: int, size: int) -> Selection:
    """What a GET or HEAD wants of a representation of ``size`` bytes with these validators.

    ``etag`` is as it is sent, with its quotes; ``modified`` is seconds since 1970. The order is that of section
    13.2.2. Raises ``HTTPError`` 412 for a failed precondition and 416 for a range that the representation has not.
    """
    if _precondition_failed(headers, etag, modified):
        raise HTTPError(412, "This is not the version that the request is for.")
    if _is_known(headers, etag, modified):
        return Selection(304, 0, 0)
    # A range has a meaning for GET only (section 14.2).
    wanted = headers.get("range") if method == "GET" else None
    if wanted is not None and _range_applies(headers, etag, modified):
        found = _range_of(wanted, size)
        if found is not None:
            return Selection(206, *found)
    return Selection(200, 0, size)


def _precondition_failed(headers: Mapping[str, str], etag: str, modified: int) -> bool:
    wanted = headers.get("if-match")
    if wanted is not None:
        return wanted.strip() != "*" and ("", etag) not in _ENTITY_TAG.findall(wanted)
    date = parse_http_date(headers.get("if-unmodified-since", ""))
    return date is not None and modified > date


def _is_known(headers: Mapping[str, str], etag: str, modified: int) -> bool:
    """Whether the client has it; If-Modified-Since counts only without If-None-Match (section 13.1.3)."""
    known = headers.get("if-none-match")
    if known is not None:
        opaque = etag.removeprefix("W/")
        return known.strip() == "*" or any(tag == opaque for _, tag in _ENTITY_TAG.findall(known))
    date = parse_http_date(headers.get("if-modified-since", ""))
    return date is not None and modified <= date


def _range_applies(headers: Mapping[str, str], etag: str, modified: int) -> bool:
    """If-Range: a strong tag that is the same, or exactly the date that was sent (section 13.1.5)."""
    condition = headers.get("if-range")
    if condition is None:
        return True
    if '"' in condition:
        return condition.strip() == etag and not etag.startswith("W/")
    return parse_http_date(condition) == modified


def _range_of(value: str, size: int) -> tuple[int, int] | None:
    """The bytes that a Range header names; None for what is ignored, which section 14.2 always allows.

    Ignored are other units, malformed ranges and several at once: putting those together costs a server more than
    it saves, and was a way to attack. Raises 416.
    """
    found = _RANGE.fullmatch(value.strip())
    if found is None or found.groups() == ("", ""):
        return None
    if size == 0:  # nothing to take a range of; clients that always ask for a range are to get their empty file
        return None
    first, last = (_number(digits) for digits in found.groups())
    if first is None:
        start, stop = max(size - (last or 0), 0), size
    else:
        if last is not None and last < first:
            return None
        start, stop = first, size if last is None else min(last + 1, size)
    if start >= size:
        raise HTTPError(416, f"There are {size} bytes.", [("Content-Range", f"bytes */{size}")])
    return start, stop


def _number(digits: str) -> int | None:
    digits = digits.lstrip("0") or digits[:1]
    if not digits:
        return None
    return int(digits) if len(digits) <= 18 else _MORE_THAN_ANY


def accepts_coding(header: str, names: tuple[str, ...]) -> bool:
    """Whether an Accept-Encoding header allows a coding, which may have several ``names``.

    What is named counts for more than ``*``; without a header there is no coding (section 12.5.3 leaves it open).
    """
    any_coding = False
    for item in header.lower().split(","):
        name, _, weight = item.partition(";")
        allowed = not _REFUSED.fullmatch(weight.strip())
        if name.strip() in names:
            return allowed
        if name.strip() == "*":
            any_coding = allowed
    return any_coding
