"""Targets for kinds of holes that were found once, each wherever it may open again.

Texts that take long, names of downloads, sessions that grow, tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

from micropie import App, flash, run_in
from micropie._core.files.content_types import attachment
from micropie._core.http import Request, Session
from micropie._core.http.csrf import is_csrf_token
from micropie.asgi.exchange import ASGIExchange
from micropie.middleware import csrf_token
from micropie.sessions import InMemorySessionBackend
from tests.asgi.calls import http_scope
from tests.project.fuzz.client_texts import ENTRIES
from tests.project.fuzz.exchanges import NO_SERVER, ask_both
from tests.project.fuzz.parsers import fields_of, latin
from tests.support.growth import Entry, grows_too_fast


def growth(data: bytes) -> None:
    """A text of any kind takes time in proportion to its length, wherever a client may write it."""
    check_growth(data, ENTRIES)


def check_growth(data: bytes, entries: Mapping[str, Entry]) -> None:
    """Write the text of an input at the place that its first byte chooses."""
    repeated, start, end = (
        field.decode("utf-8", "surrogateescape") for field in fields_of(data[1:], 3)
    )
    names = [*entries]
    name = names[data[0] % len(names)] if data else names[0]
    if 0 < len(repeated) < 30:
        assert not grows_too_fast(entries[name], start, repeated, end), name


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
    request = Request(ASGIExchange(scope, *NO_SERVER))
    request._exchange.config = _keeper()[0]._micropie.compiled().config
    request._exchange.answer.keep_session(Session())
    return request
