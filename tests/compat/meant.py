"""Two tables: what is made the same before answers are compared, and in what ours differs on purpose.

The pages of docs/moving/ quote the second. A row of it that no answer shows any longer fails the tests.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol


class Normalised(NamedTuple):
    """What is drawn at random, or made of the time or a version: both sides are rewritten before they are compared."""

    framework: str
    part: str
    """A regular expression for the whole name of the part: "body", a header's name, "cookie NAME ATTRIBUTE"."""
    found: str
    """A regular expression for the text in it."""
    instead: str
    why: str

    def applied(self, value: Any) -> Any:
        """Return a part's value with the text replaced."""
        if isinstance(value, bytes):
            return re.sub(self.found.encode(), self.instead.encode(), value, flags=re.DOTALL)
        return re.sub(self.found, self.instead, str(value), flags=re.DOTALL)


class Place(Protocol):
    """What a row of the table looks at; ``differences.Difference`` has more."""

    @property
    def conversation(self) -> str: ...
    @property
    def request(self) -> str: ...
    @property
    def part(self) -> str: ...


class Meant(NamedTuple):
    """A difference on purpose."""

    conversation: str
    request: str
    """A regular expression for the whole of "METHOD target"."""
    part: str
    """A regular expression for the whole name of the part."""
    why: str

    def covers(self, difference: Place) -> bool:
        """Return whether this row is about that difference."""
        return bool(
            re.fullmatch(self.conversation, difference.conversation)
            and re.fullmatch(self.request, difference.request)
            and re.fullmatch(self.part, difference.part)
        )


NORMALISED = [
    Normalised("cherrypy", "cookie .* expires|expires", ".+", "a date", "made of the time"),
    Normalised("cherrypy", "cookie session_id", ".+", "an id", "drawn at random"),
    Normalised("cherrypy", "www-authenticate", 'nonce="[^"]*"', 'nonce="..."', "drawn at random, made of the time"),
    Normalised("cherrypy", "body|content-type", "={15}[0-9]+==", "boundary", "drawn at random"),
    Normalised(
        "cherrypy",
        "body",
        r"\A<!DOCTYPE html.*<title>(.*?)</title>.*<p>(.*)</p>\s*<pre id=\"traceback\">(.*)</pre>.*",
        r"page of an error: \1, \2, \3",
        "the page of an error, as its title, its message and its traceback",
    ),
    Normalised("bottle", "cookie .* expires|expires", ".+", "a date", "made of the time"),
    Normalised("bottle", "body", "&#x27;", "&#039;", "two spellings of one character in HTML"),
    Normalised(
        "bottle",
        "body",
        r"\A\s*<!DOCTYPE HTML PUBLIC .*<title>(.*?)</title>.*<pre>(.*)</pre>.*",
        r"page of an error: \1, \2",
        "the page that Bottle has for an error, as its title and its message",
    ),
    Normalised(
        "bottle",
        "body",
        r"\A<!DOCTYPE html>\n<html lang=.*<title>(Error: .*?)</title>.*<pre>(.*)</pre>.*",
        r"page of an error: \1, \2",
        "our own page for an error, as its title and its message",
    ),
]

MEANT: dict[str, list[Meant]] = {
    "cherrypy": [],
    "bottle": [
        Meant(
            "static files|conditional requests and ranges",
            ".*",
            "etag",
            "An ETag is in quotes, as HTTP wants it; Bottle sends it bare, and a cache in between may drop it.",
        ),
        Meant(
            "forms|queries",
            r"POST /form-raw|GET /query\?name=%C3%A9",
            "body",
            "forms and query are text in UTF-8 however they are read; Bottle 0.13 gives Latin-1 by [], get() and getall().",
        ),
        Meant(
            "queries",
            r"GET /query-all\?a=%FF",
            "status|body|content-type",
            "Bytes that are no UTF-8 are no crash: decode() has nothing left to do.",
        ),
        Meant(
            "uploads",
            "POST /upload",
            "body",
            "raw_filename is what the client sent, and the sentence of a 400 for a broken form is our parser's.",
        ),
        Meant(
            "headers and addresses",
            "GET /about/x",
            "body",
            "X-Forwarded-* are believed only if the server trusts the proxy; Bottle believes every client.",
        ),
        Meant(
            "cookies",
            "GET /cookies",
            "body",
            "A cookie that can't be parsed is left out alone; with Bottle it takes all others with it.",
        ),
        Meant(
            "mounted and merged",
            r"GET /foreign/%C3%A9\?q=1",
            "body",
            "A mounted WSGI application gets PATH_INFO as PEP 3333 says; Bottle hands its own decoded text on.",
        ),
    ],
}
