"""Requests that are almost valid: WSGI and ASGI give each the same response, in however many pieces
its body arrives, and none a 500.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import App, run_in
from micropie.middleware import Compress, CORSMiddleware, CSRFMiddleware
from micropie.sessions import SignedCookieSessionBackend
from tests.project.fuzz.exchanges import TOKEN, Root, ask_both, without_values
from tests.support.content_codings import READ
from tests.support.multipart_forms import PAIRS, form, section
from tests.support.walking import repeatable

KEY = "a key of thirty-two bytes or more"


class Site(Root):
    """The fuzzer's application with streams, files, middleware and a mounted application."""

    def __init__(self) -> None:
        super().__init__(
            secret_key=KEY,
            session_backend=SignedCookieSessionBackend(KEY),
            security=False,
            errors="auto",
            max_data_size=500,
        )
        self.static("/files", Path(__file__).parent.parent / "support", name="files")
        self.mount("/mounted", mounted)
        self.middlewares += [
            Compress(minimum=10),
            CORSMiddleware(origins=["https://friend.example"], credentials=True),
            CSRFMiddleware(trusted_origins=["https://friend.example"], exempt=["/document"]),
        ]

    async def parts(self, count: int = 3) -> AsyncIterator[str]:
        for number in range(min(count, 9)):
            yield f"part {number}, and some words"

    @run_in("loop")
    def visit(self) -> Any:
        session = self.request.session
        session["visits"] = session.get("visits", 0) + 1
        return dict(session)

    async def raw(self) -> Any:
        pieces = [piece async for piece in self.request.stream()]
        return {"size": len(b"".join(pieces))}


def mounted(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode("latin-1"), b" ", body]


@cache
def site() -> App:
    return Site()


class Sent(NamedTuple):
    """A request as a server passes it on."""

    method: bytes
    target: bytes
    lines: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


JSON = ((b"content-type", b"application/json"),)
FORM = ((b"content-type", b"application/x-www-form-urlencoded"),)
UPLOAD = form(section('name="file"; filename="a.txt"', b"some text"), section('name="note"', b"n"))
COMPLETE = [
    Sent(b"GET", b"/?a=1", ((b"cookie", b"a=1; signed=x"), (b"accept", b"text/html;q=0.5, */*"))),
    Sent(b"GET", b"/", ((b"cookie", b"a=1"), (b"cookie", b"b=2"))),
    Sent(b"GET", b"/anything/a%2Fb/c?d=1"),
    Sent(b"GET", b"/bind/1?b=2.5&c=1&c=2"),
    Sent(b"POST", b"/bind?b=1", FORM, b"a=1&c=1&c=2"),
    Sent(b"POST", b"/bind", JSON, b'{"a": 1, "b": 2.5, "c": [1, 2]}'),
    Sent(b"PUT", b"/order", JSON, b'{"name": "pie", "count": 2, "lines": [1]}'),
    Sent(b"GET", b"/whole?name=pie&count=2&price=1.5"),
    Sent(b"GET", b"/stated?p=2", ((b"x-token", b"t"), (b"size", b"3"), (b"cookie", b"theme=dark"))),
    Sent(b"POST", b"/upload", tuple(PAIRS), UPLOAD),
    Sent(b"POST", b"/document", JSON, b'{"a": [1, {"b": null}]}'),
    Sent(b"POST", b"/raw", ((b"content-type", b"text/plain"),), b"some text"),
    Sent(b"GET", b"/fresh?tag=b", ((b"if-none-match", b'"a", W/"b"'),)),
    Sent(b"GET", b"/away?to=/notes"),
    Sent(b"GET", b"/notes?add=saved"),
    Sent(b"GET", b"/visit"),
    Sent(b"GET", b"/parts/2", ((b"accept-encoding", b"gzip, br;q=0.5"),)),
    Sent(b"GET", b"/wild/2026-05/a/b"),
    Sent(b"GET", b"/re/abc1"),
    Sent(b"HEAD", b"/files/waiting.py"),
    Sent(b"GET", b"/files/waiting.py", ((b"range", b"bytes=0-9,20-29"),)),
    Sent(b"POST", b"/mounted/a%2Fb?c", FORM, b"a=1"),
    Sent(b"GET", b"/inner/a/b"),
    Sent(b"POST", b"/change", ((b"origin", b"https://friend.example"),)),
    Sent(
        b"OPTIONS",
        b"/change",
        ((b"origin", b"https://friend.example"), (b"access-control-request-method", b"POST")),
    ),
]
LINES = [
    *JSON,
    *FORM,
    *PAIRS,
    (b"content-type", b"text/plain; charset=latin-1"),
    (b"content-encoding", b"gzip"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity;q=0, *"),
    (b"cookie", b'session_id=x; a="b"'),
    (b"cookie", b"theme=dark"),
    (b"expect", b"100-continue"),
    (b"host", b"other.example:8000"),
    (b"if-match", b"*"),
    (b"if-modified-since", b"Sat, 21 Nov 2026 07:28:00 GMT"),
    (b"origin", b"https://other.example"),
    (b"origin", b"null"),
    (b"range", b"bytes=-5"),
    (b"sec-fetch-site", b"cross-site"),
    (b"x-forwarded-proto", b"https"),
]
MARKS = [
    b"%2F",
    b"%00",
    b"%ff",
    b"%",
    b"..",
    b"//",
    b"&",
    b"=",
    b";",
    b'"',
    b"\\",
    b",",
    b"[",
    b"}",
]
MARKS += [b"\r\n", b"--B", b"0", b"-1", b"1e9", b"null", b"\xc3\xa9", b"\xff", b" ", b"?"]


def cut(draw: Any, text: bytes) -> bytes:
    """A text with something inserted, overwritten, taken away or repeated."""
    start: int = draw(st.integers(0, len(text)))
    end: int = draw(st.integers(start, min(len(text), start + 4)))
    inserted: bytes = draw(st.sampled_from([b"", *MARKS]) | st.binary(max_size=2))
    rest: int = draw(st.sampled_from([start, end]))
    return text[:start] + inserted + text[rest:]


@st.composite
def mutated(draw: Any, complete: list[Sent] = COMPLETE) -> Sent:
    sent: Sent = draw(st.sampled_from(complete))
    for _ in range(draw(st.integers(0, 3))):
        method, target, lines, body = sent
        where = draw(
            st.sampled_from(["method", "target", "target", "line", "lines", "body", "body"])
        )
        if where == "method":
            method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"TRACE"]))
        elif where == "target":
            target = b"/" + cut(draw, target[1:])
        elif where == "body":
            body = cut(draw, body)
        elif where == "line" and lines:
            index = draw(st.integers(0, len(lines) - 1))
            name, value = lines[index]
            lines = (*lines[:index], (name, cut(draw, value)), *lines[index + 1 :])
        else:
            line = draw(st.sampled_from(LINES))
            lines = (*(kept for kept in lines if kept[0] != line[0] or line[0] == b"cookie"), line)
        sent = Sent(method, target, lines, body)
    return sent


def passes_on(sent: Sent) -> bool:
    """Whether servers pass a request on."""
    return (
        TOKEN.fullmatch(sent.method) is not None
        and re.search(rb"[\x00-\x20\x7f#]", sent.target) is None
        and not any(
            re.search(rb"[\x00-\x08\x0a-\x1f\x7f]|^\s|\s$", value) for _, value in sent.lines
        )
    )


def compare(sent: Sent, sizes: list[int], is_chunked: bool, app: Any = None) -> None:
    """Send a request under both protocols, whole and in pieces of the sizes in turn, to
    ``site()`` or another application.
    """
    app = app or site()
    method, target, lines, body = sent
    pieces, rest = [], body
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    whole = ask_both(app, method.decode(), target, [*lines], body)
    in_pieces = ask_both(
        app, method.decode(), target, [*lines], *pieces, rest, is_chunked=is_chunked
    )
    first, *others = [
        (status, without_values(headers), content and READ[_coding_of(headers)](content))
        for status, headers, content in (*whole, *in_pieces)
    ]
    assert others == [first] * 3
    assert first[0] < 500


def _coding_of(headers: list[tuple[str, str]]) -> str:
    """Return how a body was compressed, which may be another one for each number of chunks."""
    return dict(headers).get("content-encoding", "")


def check(requests: int) -> None:
    @repeatable(requests)
    @given(mutated().filter(passes_on), st.lists(st.integers(0, 9), max_size=4), st.booleans())
    def each(sent: Sent, sizes: list[int], is_chunked: bool) -> None:
        compare(sent, sizes, is_chunked)

    each()


@pytest.mark.parametrize("sent", COMPLETE, ids=lambda sent: sent.target.decode())
def test_the_requests_that_are_mutated_are_valid(sent: Sent) -> None:
    compare(sent, [], is_chunked=False)
    status = ask_both(site(), sent.method.decode(), sent.target, [*sent.lines], sent.body)[0][0]
    assert status < 400


def test_a_mutated_request_gets_the_same_response_under_both_protocols() -> None:
    check(300)


@pytest.mark.processes  # none, but it takes long
def test_many_mutated_requests_get_the_same_responses_under_both_protocols() -> None:
    check(3_000)
