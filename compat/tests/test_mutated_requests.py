"""Requests to migrated programs that are almost valid: WSGI and ASGI give each the same response, in
however many pieces its body arrives, and none a 500 (tests/flow/test_mutated_requests.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.tests.fuzz.moved import bottle_site, cherrypy_site
from tests.flow.test_mutated_requests import (
    FORM,
    JSON,
    UPLOAD,
    Sent,
    compare,
    mutated,
    passes_on,
)
from tests.project.fuzz.exchanges import ask_both
from tests.support.multipart_forms import PAIRS
from tests.support.walking import repeatable

PLAIN = ((b"accept", b"text/html;q=0.5, */*"), (b"x-token", b"t"))
BASIC = ((b"authorization", b"Basic YTph"),)  # "a" with the password "a"
PROXIED = ((b"x-forwarded-host", b"a.example"), (b"x-forwarded-proto", b"https"))

CHERRYPY = [
    Sent(b"GET", b"/?a=1&b=%C3%A9", (*PLAIN, (b"cookie", b"a=1; b=2"))),
    Sent(b"POST", b"/?c=1", FORM, b"a=1&b=2&b=3"),
    Sent(b"POST", b"/uploaded", tuple(PAIRS), UPLOAD),
    Sent(b"POST", b"/document", JSON, b'{"a": [1, {"b": null}]}'),
    Sent(b"GET", b"/tagged", ((b"if-none-match", b'"a", W/"b"'),)),
    Sent(b"GET", b"/moved?to=/tagged", PROXIED),
    Sent(b"GET", b"/files/a.txt", ((b"range", b"bytes=0-9"),)),
]
BOTTLE = [
    Sent(b"GET", b"/?a=1", (*PLAIN, *BASIC, (b"cookie", b"a=1; signed=x"))),
    Sent(b"POST", b"/form?b=1", FORM, b"a=1&c=1&c=2"),
    Sent(b"POST", b"/form", tuple(PAIRS), UPLOAD),
    Sent(b"POST", b"/document", JSON, b'{"a": [1, {"b": null}]}'),
    Sent(b"GET", b"/wild/12/-1.5/word"),
    Sent(b"GET", b"/files/a.txt", ((b"range", b"bytes=0-9"),)),
    Sent(b"GET", b"/moved?to=/set", PROXIED),
    Sent(b"GET", b"/set?to=b"),
]
PROGRAMS: dict[str, tuple[Callable[[], Any], list[Sent]]] = {
    "cherrypy": (cherrypy_site, CHERRYPY),
    "bottle": (bottle_site, BOTTLE),
}


def check(program: str, requests: int) -> None:
    make, complete = PROGRAMS[program]

    @repeatable(requests)
    @given(mutated(complete).filter(passes_on), st.lists(st.integers(0, 9), max_size=4))
    def each(sent: Sent, sizes: list[int]) -> None:
        compare(sent, sizes, is_chunked=False, app=make())

    each()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_requests_that_are_mutated_are_valid(program: str) -> None:
    make, complete = PROGRAMS[program]
    for sent in complete:
        compare(sent, [], is_chunked=False, app=make())
        method, target, lines, body = sent
        assert ask_both(make(), method.decode(), target, [*lines], body)[0][0] < 400, sent


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_mutated_request_gets_the_same_response_under_both_protocols(program: str) -> None:
    check(program, 150)


@pytest.mark.processes  # none, but it takes long
@pytest.mark.parametrize("program", PROGRAMS)
def test_many_mutated_requests_get_the_same_responses_under_both_protocols(program: str) -> None:
    check(program, 2_000)
