"""Targets for kinds of holes that were found once, each wherever it may open again.

Texts that take long, reasons of statuses, rules of Bottle's, the way through CherryPy's trees,
addresses that lead away.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import urljoin

import bottle as original_bottle

from compat.tests.fuzz.client_texts import ENTRIES
from micropie import ResponseError
from micropie._core.http import status_line
from micropie_compat import bottle, cherrypy
from micropie_compat.addresses import join, leads_away
from micropie_compat.carrier import status_of
from tests.project.fuzz.exchanges import ask_both, host_that_browsers_go_to
from tests.project.fuzz.holes import check_growth
from tests.project.fuzz.parsers import fields_of


def moved_growth(data: bytes) -> None:
    """A text of any kind takes time in proportion to its length, wherever a client may write it."""
    check_growth(data, ENTRIES)


def reasons(data: bytes) -> None:
    """A status line of a client's text is one line of latin-1, or refused."""
    text = data.decode("utf-8", "surrogateescape")
    for line in (text, f"400 {text}"):
        with suppress(ResponseError, ValueError):
            assert re.fullmatch(
                r"[2-9][0-9]{2} [\t\x20-\x7e\x80-\xff]*", status_line(status_of(line))
            )
    with suppress(ValueError):
        code, reason, _ = cherrypy.lib.httputil.valid_status(f"400 {text}")
        assert code == 400
        with suppress(ResponseError, UnicodeError):
            assert re.fullmatch(
                r"400 [\t\x20-\x7e\x80-\xff]*", status_line(status_of(f"{code} {reason}"))
            )


# -- paths -----------------------------------------------------------------------------------------

_TOKENS = [
    "/",
    "-",
    ".",
    "a",
    "1",
    "<w{}>",
    "<w{}:int>",
    "<w{}:float>",
    "<w{}:path>",
    "<w{}:re:[a1]+>",
    "<:re:a*>",
    "x/",
]


def bottle_rules(data: bytes) -> None:
    """Rules are found as by Bottle, and no path takes long."""
    tokens, path = fields_of(data, 2)
    path_text = "/" + path.decode("utf-8", "replace")
    ours, theirs = bottle.Router(), original_bottle.Router()
    for number, tokens_of_rule in enumerate(tokens[:24].split(b"|")):
        texts = [
            _TOKENS[byte % len(_TOKENS)].format(position)
            for position, byte in enumerate(tokens_of_rule[:5])
        ]
        for router in (ours, theirs):
            router.add("/" + "".join(texts), "GET", number)
    if len(path_text) <= 20:  # to longer ones no rule leads that could take long for them
        found, expected = (_matched(router, path_text) for router in (ours, theirs))
        assert found == expected or "\n" in path_text, (found, expected)
    for text in (path_text * 200, "/" + "1-" * 3000 + path_text):
        _matched(ours, text)


def _matched(router: Any, path: str) -> Any:
    try:
        return router.match({"REQUEST_METHOD": "GET", "PATH_INFO": path})
    except (bottle.HTTPError, original_bottle.HTTPError) as error:
        return error.status_code


class _Trap:
    """What no client may reach."""

    secret = "what the trap has"

    def __call__(self, *args: object, **kwargs: object) -> None:
        raise AssertionError("a function without @expose was called")

    hidden = __call__


class _Leaf:
    trap = _Trap()

    @cherrypy.expose
    def index(self) -> str:
        return "leaf"

    @cherrypy.expose(["other.name"])
    def page(self, *args: str) -> str:
        return f"page {args!r}"

    def hidden(self, *args: str) -> str:
        raise AssertionError("a function without @expose was called")

    _private = __hidden = hidden


@cherrypy.popargs("a", "b")
class _Popping(_Leaf):
    @cherrypy.expose
    def index(self, a: str = "", b: str = "") -> str:
        return f"popped {a!r} {b!r}"


class _Top(_Leaf):
    leaf, popping = _Leaf(), _Popping()
    trap = _Trap()

    @cherrypy.expose
    def default(self, *args: str, **values: str) -> str:
        return f"default {args!r}"


@cache
def _tree() -> Any:
    sections = {
        "/": {"request.show_tracebacks": False},
        "/leaf/page": {"tools.etags.on": True, "tools.etags.autotags": True},
    }
    cherrypy.config.update({"log.screen": False})
    return cherrypy.Application(_Top(), "", sections)


def cherrypy_dispatch(data: bytes) -> None:
    """A path leads to what is exposed, and nowhere else."""
    target = b"/" + re.sub(rb"[\x00-\x20\x7f#?]", b"", data)
    for status, _, body in ask_both(_tree(), "GET", target, [], b""):
        assert status in (200, 301, 400, 404), (status, body)  # 301: a slash at the end
        assert status != 200 or re.match(rb"leaf|page \(|popped ['\"]|default \(", body), body
        assert b"what the trap has" not in body, body


# -- addresses -------------------------------------------------------------------------------------

_BASE = "http://testserver/a/b?q=1"


def joined_addresses(data: bytes) -> None:
    """What is said to stay on a site stays there in a browser, also after it was joined; a log-out
    leads to the site.
    """
    reference = data.decode("utf-8", "surrogateescape")
    joined = join(_BASE, reference)
    if not leads_away(reference, "http://testserver"):
        assert host_that_browsers_go_to(reference, _BASE) == "testserver"
        assert host_that_browsers_go_to(joined, _BASE) == "testserver", joined
    if re.fullmatch(r"/?(?:[a-z.]+/)*[a-z.]*(?:\?[a-z=/]*)?", reference):
        assert joined == urljoin(_BASE, reference), joined
    ask_and_follow = b"from_page=" + b"".join(b"%%%02X" % byte for byte in data)
    kind = [(b"content-type", b"application/x-www-form-urlencoded")]
    for status, headers, _ in ask_both(_logged_out(), "POST", b"/do_logout", kind, ask_and_follow):
        assert status in (303, 400), status
        for name, where in headers:
            assert name != "location" or host_that_browsers_go_to(where, _BASE) == "testserver", (
                where
            )


@cache
def _logged_out() -> Any:
    config = {
        "tools.sessions.on": True,
        "tools.session_auth.on": True,
        "request.show_tracebacks": False,
    }
    cherrypy.config.update({"log.screen": False})
    return cherrypy.Application(_Leaf(), "", {"/": config})
