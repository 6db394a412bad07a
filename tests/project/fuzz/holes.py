"""Targets for kinds of holes that were found once, each wherever it may open again.

Texts that take long, names of downloads, reasons of statuses, rules of Bottle's, the way through
CherryPy's trees, addresses that lead away, sessions that grow, tokens.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import unquote, urljoin

import bottle as original_bottle

from micropie import App, ResponseError, flash, run_in
from micropie._core.files.content_types import attachment
from micropie._core.http import Request, Session, status_line
from micropie._core.http.csrf import is_csrf_token
from micropie.asgi.exchange import ASGIExchange
from micropie.compat import bottle, cherrypy
from micropie.compat.addresses import join, leads_away
from micropie.compat.carrier import status_of
from micropie.middleware import csrf_token
from micropie.sessions import InMemorySessionBackend
from tests.asgi.calls import http_scope
from tests.project.fuzz.client_texts import ENTRIES
from tests.project.fuzz.exchanges import ask_both, host_that_browsers_go_to
from tests.project.fuzz.parsers import fields_of, latin
from tests.support.growth import grows_too_fast

_NAMES = [*ENTRIES]


def growth(data: bytes) -> None:
    """A text of any kind takes time in proportion to its length, wherever a client may write it."""
    repeated, start, end = (
        field.decode("utf-8", "surrogateescape") for field in fields_of(data[1:], 3)
    )
    name = _NAMES[data[0] % len(_NAMES)] if data else _NAMES[0]
    if 0 < len(repeated) < 30:
        assert not grows_too_fast(ENTRIES[name], start, repeated, end), name


def downloads(data: bytes) -> None:
    """The header of a download says one name, without directories, for every reader."""
    name = data.decode("utf-8", "surrogateescape")
    header = attachment(name)
    found = re.fullmatch(
        r"attachment; filename=\"([ -~]+)\"(?:; filename\*=UTF-8''([!-~]+))?", header
    )
    assert found is not None, header
    assert not re.search(r'["\\/%]', found[1])
    assert len(header) < 3500
    if found[2]:
        shown = unquote(found[2], errors="strict")
        assert not re.search(r"[\x00-\x1f\x7f/\\]", shown)
        assert not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in shown)
        assert (
            shown in name or len(name) > 255 or not name.isprintable() or re.search(r"[/\\]", name)
        )


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


# -- sessions and tokens ---------------------------------------------------------------------------

_MOST = 300


class _Keeper(App):
    @run_in("loop")
    def index(self, put: str = "", add: str = "", note: str = "", drop: str = "") -> str:
        session = self.request.session
        if put:
            session[put[:20]] = put
        if add:
            session.update_atomic("list", lambda found: [*(found or []), add])
        if note:
            flash(note, note)
        session.pop(drop, None)
        return "kept"


@cache
def _keeper() -> tuple[App, InMemorySessionBackend]:
    backend = InMemorySessionBackend(capacity=100)
    return _Keeper(session_backend=backend, max_session_size=_MOST, security=False), backend


def session_sizes(data: bytes) -> None:
    """No session is stored that is larger than it may be, whatever a visitor sends, one request
    after the other.
    """
    app, backend = _keeper()
    cookies: list[list[tuple[bytes, bytes]]] = [[], []]
    for field in data.split(b"\x1e")[:6]:
        query = {0: b"put=", 1: b"add=", 2: b"note="}.get(
            field[:1][0] % 4 if field else 3, b"drop="
        )
        target = b"/?" + query + b"".join(b"%%%02X" % byte for byte in field[1:])
        for number in (0, 1):
            answer = ask_both(app, "GET", target, cookies[number], b"")[number]
            assert answer[0] in (200, 400, 500), answer
            given = [value for name, value in answer[1] if name == "set-cookie"]
            if given:
                pair = given[0].partition(";")[0]
                cookies[number] = [(b"cookie", pair.encode())]
            stored = [
                dict(backend.load(latin(pair).partition("=")[2])) for _, pair in cookies[number]
            ]
            assert all(_size_of(session) <= _MOST for session in stored), stored


def _size_of(value: object) -> int:
    """Return at least as many bytes as JSON has for the texts in a value."""
    if isinstance(value, dict):
        return sum(_size_of(key) + _size_of(item) for key, item in value.items())
    return sum(map(_size_of, value)) if isinstance(value, list) else len(str(value).encode())


def tokens(data: bytes) -> None:
    """Only a token that was made of a client's secret is accepted, and no other client's."""
    place, change, given = fields_of(data, 3)
    made, forged = (_with_secret("S" * 43), _with_secret("T" * 43))
    token = csrf_token(made)
    assert is_csrf_token(made, token)
    assert not is_csrf_token(forged, token)
    position, text = (
        int.from_bytes(place[:2], "big") % len(token),
        given.decode("utf-8", "surrogateescape"),
    )
    changed = token[:position] + latin(change) + token[position + 1 :]
    for other in (text, changed, token[:22] + text, text + token[22:], token + text):
        assert is_csrf_token(made, other) == (other in (token, "S" * 43)), other


def _with_secret(secret: str) -> Any:
    scope = http_scope(
        "POST",
        "/",
        headers=[(b"host", b"testserver"), (b"cookie", b"csrf_token=" + secret.encode())],
    )
    request = Request(ASGIExchange(scope, lambda: None))  # type: ignore[arg-type, return-value]
    request._exchange.config = _keeper()[0]._micropie.compiled().config
    request._exchange.answer.keep_session(Session())
    return request
