"""Two tables: what is made the same before answers are compared, and in what ours differs on
purpose.

The pages of docs/moving/ quote the second. A row of it that no answer shows any longer fails the
tests.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol


class Normalised(NamedTuple):
    """What is drawn at random, or made of the time or a version: both sides are rewritten before
    they are compared.
    """

    framework: str
    part: str
    """A regular expression for the whole name of the part: "body", a header's name, "cookie NAME
    ATTRIBUTE"."""
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
    Normalised("cherrypy", "age", "[0-9]+", "seconds", "made of the time"),
    Normalised("cherrypy", "cookie session_id", ".+", "an id", "drawn at random"),
    Normalised(
        "cherrypy",
        "www-authenticate",
        'nonce="[^"]*"',
        'nonce="..."',
        "drawn at random, made of the time",
    ),
    Normalised(
        "cherrypy",
        "body|content-type",
        r"={15}[0-9]+==|\b[0-9a-f]{32}\b",
        "boundary",
        "drawn at random",
    ),
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

# The conversation, the request and the part, each a regular expression, and below them the reason.
OF_CHERRYPY = r"""
.*  .*  cookie session_id (httponly|samesite)
    A session's cookie is HttpOnly and SameSite=Lax unless the configuration says otherwise: scripts need no id.
.*  .*  vary|cache-control
    A page made of a session is one visitor's: no cache may give it to another.
static files|conditional requests and ranges|generators and files|the generator of strings  .*  etag
    Files have an entity tag, so that a file that changes twice within a second is sent again.
conditional requests and ranges|compression, tags, ages  GET /(st/files/note.txt|st/opened|tools/dated)  last-modified
    A 304 repeats Last-Modified, by which a cache renews what it has.
conditional requests and ranges  GET /st/files/numbers.bin  status|body|content-type|accept-ranges|last-modified
    A Range header that can't be read is left out, as HTTP wants it; CherryPy crashes.
static files  GET /st/unicode_name  content-disposition
    The plain name beside the encoded one keeps the letters without their accents.
parameters  GET /tut03/only_named\?a=1;b=2  body
    A semicolon separates no parameters: caches in between see one parameter and would mix up answers.
parameters  POST /tut03/only_named  body
    A form is one whatever the case of its media type.
parameters  POST /tut03/only_named\?a=0  body
    A name that is in the query and twice in the form gives one list, not a list in a list.
generators and files  POST /tut09/upload  status|body
    A file's name is text in UTF-8; a file input that was left empty has an empty file and is no crash; a form without a boundary is the client's mistake, 400.
pages for errors|pages of one's own for errors  .*  body
    Pages of errors are not filled with spaces: that was for a browser that is gone.
addresses and redirects  GET /dispatch/circle  body
    The page of last resort shows no traceback to clients; it is in the log.
answers|dispatch by methods  (GET|HEAD) /messages/(status\?code|sized\?status)=(204|304)|DELETE /rest/things/2  content-type
    An answer without a content states no type of it.
answers  GET /messages/value\?kind=dict  status|body
    A dict is no body: CherryPy sends its keys, one after the other.
answers  GET /messages/unicode  status|body|content-type
    Text is sent in UTF-8 whatever Accept-Charset says: browsers send no such header any longer.
"""
OF_BOTTLE = r"""
static files|conditional requests and ranges  .*  etag
    An ETag is in quotes, as HTTP wants it; Bottle sends it bare, and a cache in between may drop it.
forms|queries  POST /form-raw|GET /query\?name=%C3%A9  body
    forms and query are text in UTF-8 however they are read; Bottle 0.13 gives Latin-1 by [], get() and getall().
queries  GET /query-all\?a=%FF  status|body|content-type
    Bytes that are no UTF-8 are no crash: decode() has nothing left to do.
routes|responses as values  GET (/hello)?/%FF  status|body
    Bytes of a path that are no UTF-8 are U+FFFD: Bottle leaves them out, so that /adm%FFin leads past a proxy to /admin.
uploads  POST /upload  body
    The sentence of a 400 for a broken form is our parser's.
headers and addresses  GET /about/x  body
    X-Forwarded-* are believed only if the server trusts the proxy; Bottle believes every client.
cookies  GET /cookies  body
    A cookie that can't be parsed is left out alone; with Bottle it takes all others with it.
mounted and merged  GET /foreign/%C3%A9\?q=1  body
    A mounted WSGI application gets PATH_INFO as PEP 3333 says; Bottle hands its own decoded text on.
"""


def rows(text: str) -> list[Meant]:
    lines = text.strip().splitlines()
    found = []
    for head, why in zip(lines[::2], lines[1::2], strict=True):
        conversation, request, part = head.split("  ")
        found.append(Meant(conversation, request, part, why.strip()))
    return found


MEANT: dict[str, list[Meant]] = {"cherrypy": rows(OF_CHERRYPY), "bottle": rows(OF_BOTTLE)}
