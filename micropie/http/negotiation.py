"""Which of several types an answer has: RFC 9110, section 12.5.1."""

from __future__ import annotations

import re
from collections.abc import Sequence

# The short names that ``Request.accepts`` takes beside media types.
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

_QUALITY = re.compile(r"q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


def choose_type(header: str | None, offered: Sequence[str]) -> str | None:
    """Return the one of ``offered`` that an Accept header prefers; None if it takes none of them.

    Of those that it likes equally, and without the header, the first one counts. Raises ``ValueError`` for a name that
    is neither a media type nor a short name.
    """
    for name in offered:
        if name not in SHORT_NAMES and "/" not in name:
            raise ValueError(f"{name!r} is no media type: write text/calendar, or one of {', '.join(SHORT_NAMES)}")
    types = [SHORT_NAMES.get(name, name).lower() for name in offered]
    ranges = _ranges(header or "*/*")
    weights = []
    for media_type in types:  # the most specific range counts
        names = media_type, f"{media_type.partition('/')[0]}/*", "*/*"
        weights.append(next((ranges[name] for name in names if name in ranges), 0.0))
    best = max(weights, default=0.0)
    return offered[weights.index(best)] if best > 0 else None


def _ranges(header: str) -> dict[str, float]:
    """Return the weight of each media range. Parameters other than the weight are left out; so is what is malformed."""
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        stated = [match for match in map(_QUALITY.fullmatch, parameters) if match]
        if "/" in media_range:
            weights.setdefault(media_range, float(stated[0][1]) if stated else 1.0)
    return weights
