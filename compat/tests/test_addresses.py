"""Addresses joined and compared by ``micropie_compat``, against ``urllib.parse``."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from micropie_compat.addresses import join, leads_away
from tests.support.growth import calling, grows_too_fast

PIECES = [
    "/",
    "a",
    "b",
    "//",
    "?",
    "q=1",
    "#",
    "f",
    "http:",
    "https:",
    "h.example",
    "mailto:",
    "./",
    "x:y",
    ";p",
    "\t",
    "\r\n",
    " ",
    "\x01",
]
BASES = [
    "http://h.example/a/b",
    "http://h.example/",
    "http://h.example",
    "https://h.example/a/b/?q=1",
    "/a/b",
    "/a/",
]
BASES += ["http://h.example/a?x#y", "a/b", "/", "a", "", "news:a"]


@example(base="http://h.example/a/b?q=1", reference="#f")
@example(base="http://h.example/a/b?q=1", reference="?q=2")
@given(
    base=st.sampled_from(BASES),
    reference=st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
)
def test_urls_are_joined_as_by_urllib(base: str, reference: str) -> None:
    # urllib takes ";" out of the last segment, drops a path that is ".", and keeps an empty query
    # since Python 3.14.
    if not re.search(r";|\?(#|$)|#$", reference) and not join(base, reference).endswith("//"):
        assert join(base, reference) == urljoin(base, reference)


@pytest.mark.parametrize(
    ("base", "reference", "joined"),
    [
        ("http://h.example/a/b/c", "../x", "http://h.example/a/x"),
        ("http://h.example/a/b", "..", "http://h.example/"),
        ("http://h.example/a/b", "../../../x", "http://h.example/x"),
        ("/a/", "../../../x", "/x"),
        ("a/b", "../../x", "x"),
        ("a/b", "..", "/"),
        ("http://h.example/a/b", "./c/./d/.", "http://h.example/a/c/d/"),
        ("http://h.example/a/b", "/x/../y", "http://h.example/y"),
        ("HTTP://h.example/a", "http:b", "http://h.example/b"),
        ("http://h.example/a", "b?#", "http://h.example/b"),
    ],
)
def test_dot_segments_cannot_climb_above_the_root(base: str, reference: str, joined: str) -> None:
    assert join(base, reference) == joined


@pytest.mark.parametrize(
    ("reference", "leads"),
    [
        ("/a", False),
        ("..", False),
        ("a:b/c", True),
        ("//evil.example", True),
        ("///evil.example", True),
        ("/\\evil.example", True),
        ("\t/\n/evil.example", True),
        (" \x00//evil.example", True),
        ("http://H.example/x", False),
        ("HTTP://h.example", False),
        ("https://h.example/x", True),
        ("http://h.example@evil.example/", True),
        ("http://[broken", True),
    ],
    ids=ascii,
)
def test_a_url_counts_as_external_if_a_browser_would_go_to_another_host(
    reference: str, leads: bool
) -> None:
    assert leads_away(reference, "http://h.example") is leads


@pytest.mark.parametrize(
    ("start", "repeated"), [("//a", "\u0301\u0316"), ("", "/.."), ("", "a/"), ("", ":")]
)
def test_R28_joining_a_long_url_takes_linear_time(start: str, repeated: str) -> None:
    def both(text: str) -> None:
        assert join("http://h.example/", text).startswith("http://")
        leads_away(text, "http://h.example")

    assert not grows_too_fast(calling(both, times=5), start, repeated, "")
