"""Preconditions, ranges and codings, as tables: what a client has, what it wants, what it gets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from micropie._core.errors import HTTPError
from micropie._core.http.headers import conditional
from micropie._core.http.headers.conditional import (
    accepted_codings,
    http_date,
    is_known,
    parse_http_date,
    select,
)
from tests.support.growth import calling, grows_too_fast

ETAG = '"abc-1"'
MODIFIED = 784111777  # the date of RFC 9110's examples
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
SIZE = 100


def ask(
    headers: dict[str, str], method: str = "GET", etag: str = ETAG, size: int = SIZE
) -> tuple[int, int, int] | int:
    """The selection, or the status of the error."""
    try:
        return tuple(select(headers, method, etag, MODIFIED, size))  # type: ignore[return-value]
    except HTTPError as error:
        return error.status


WHOLE = (200, 0, SIZE)
KNOWN = (304, 0, 0)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, WHOLE),
        # If-None-Match is compared weakly, and decides alone.
        ({"if-none-match": ETAG}, KNOWN),
        ({"if-none-match": f"W/{ETAG}"}, KNOWN),
        ({"if-none-match": f'"x", W/"y,",{ETAG}'}, KNOWN),
        ({"if-none-match": "*"}, KNOWN),
        ({"if-none-match": " * "}, KNOWN),
        ({"if-none-match": '"x"'}, WHOLE),
        ({"if-none-match": "abc-1"}, WHOLE),
        ({"if-none-match": ""}, WHOLE),
        ({"if-none-match": '"x*"'}, WHOLE),
        # Blanks around a value are space and tab, and nothing else.
        ({"if-none-match": "\t*\t"}, KNOWN),
        ({"if-none-match": "\x0b*"}, WHOLE),
        ({"if-none-match": "X*"}, WHOLE),
        ({"if-match": "X*"}, 412),
        ({"if-none-match": '"x"', "if-modified-since": AFTER}, WHOLE),
        ({"if-none-match": "", "if-modified-since": SAME}, WHOLE),
        ({"if-none-match": ETAG, "if-modified-since": BEFORE}, KNOWN),
        # If-Modified-Since
        ({"if-modified-since": SAME}, KNOWN),
        ({"if-modified-since": AFTER}, KNOWN),
        ({"if-modified-since": BEFORE}, WHOLE),
        ({"if-modified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}, KNOWN),
        ({"if-modified-since": "Sun Nov  6 08:49:37 1994"}, KNOWN),
        ({"if-modified-since": "Sun Nov  6 08:49:36 1994"}, WHOLE),
        ({"if-modified-since": ""}, WHOLE),
        ({"if-modified-since": "yesterday"}, WHOLE),
        ({"if-modified-since": "So, 06 Nov 1994"}, WHOLE),
        ({"if-modified-since": f"{SAME}, {SAME}"}, WHOLE),
        # If-Match is compared strongly, and decides over If-Unmodified-Since.
        ({"if-match": ETAG}, WHOLE),
        ({"if-match": f'"x", {ETAG}'}, WHOLE),
        ({"if-match": "*"}, WHOLE),
        ({"if-match": f"W/{ETAG}"}, 412),
        ({"if-match": '"x"'}, 412),
        ({"if-match": ""}, 412),
        ({"if-match": ETAG, "if-unmodified-since": BEFORE}, WHOLE),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": SAME}, WHOLE),
        ({"if-unmodified-since": AFTER}, WHOLE),
        ({"if-unmodified-since": "x"}, WHOLE),
        # Preconditions come before ranges, the one that fails before the one that knows.
        ({"if-match": '"x"', "if-none-match": ETAG}, 412),
        ({"if-none-match": ETAG, "range": "bytes=0-1"}, KNOWN),
        ({"if-match": '"x"', "range": "bytes=0-1"}, 412),
        ({"if-match": ETAG, "range": "bytes=0-1"}, (206, 0, 2)),
    ],
)
def test_R39_preconditions_are_evaluated(headers: dict[str, str], expected: object) -> None:
    assert ask(headers) == expected
    if expected in (412, KNOWN):
        assert ask(headers, "HEAD") == expected


@pytest.mark.parametrize("before", [4086, 4087])
def test_R39_etags_of_a_long_list_count_up_to_a_length(before: int) -> None:
    tags = f'"{"x" * before}", "ours"'
    is_read = before == 4086
    assert is_known({"if-none-match": tags}, '"ours"', 0.0) is is_read
    with nullcontext() if is_read else pytest.raises(HTTPError):
        select({"if-match": tags}, "GET", '"ours"', 0.0, 1)


def test_R39_an_author_s_weak_etag_never_matches_strongly() -> None:
    assert ask({"if-none-match": '"a"'}, etag='W/"a"') == KNOWN
    assert ask({"if-match": 'W/"a"'}, etag='W/"a"') == 412
    assert ask({"if-match": '"a"'}, etag='W/"a"') == 412
    assert ask({"if-range": 'W/"a"', "range": "bytes=0-1"}, etag='W/"a"') == WHOLE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", (206, 0, 1)),
        ("bytes=0-", (206, 0, SIZE)),
        ("bytes=10-19", (206, 10, 20)),
        ("bytes=99-", (206, 99, 100)),
        ("bytes=99-200", (206, 99, 100)),
        ("bytes=-1", (206, 99, 100)),
        ("bytes=-100", (206, 0, 100)),
        ("bytes=-9999", (206, 0, 100)),
        ("BYTES=0-0", (206, 0, 1)),
        (" bytes= 0-0 ", (206, 0, 1)),
        ("bytes=00-01", (206, 0, 2)),
        (f"bytes=0-{'9' * 30}", (206, 0, 100)),
        # There is nothing of the kind.
        ("bytes=100-", 416),
        ("bytes=100-200", 416),
        ("bytes=-0", 416),
        ("bytes=-00", 416),
        (f"bytes={'9' * 30}-", 416),
        # Ignored: malformed, of another unit, several.
        ("", WHOLE),
        ("bytes", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=5-2", WHOLE),
        ("bytes=x-2", WHOLE),
        ("bytes=--2", WHOLE),
        ("bytes=-+2", WHOLE),
        ("bytes=1_0-20", WHOLE),
        ("bytes=٣-4", WHOLE),
        ("bytes=0 - 1", WHOLE),
        ("\x0bbytes=0-1", WHOLE),
        ("Xbytes=0-1", WHOLE),
        ("items=0-1", WHOLE),
        ("bytes:0-1", WHOLE),
        ("bytes=0-0,0-0", WHOLE),
        ("bytes=0-0, 1-1", WHOLE),
        ("bytes=0-0,", WHOLE),
    ],
)
def test_R37_range_headers_select_bytes(value: str, expected: object) -> None:
    assert ask({"range": value}) == expected
    assert ask({"range": value}, "HEAD") == WHOLE


def test_R37_the_error_for_an_unsatisfiable_range_has_the_size() -> None:
    with pytest.raises(HTTPError) as caught:
        select({"range": "bytes=100-"}, "GET", ETAG, MODIFIED, SIZE)
    assert caught.value.headers == [("Content-Range", "bytes */100")]
    assert caught.value.message == "The content has only 100 bytes."


def test_R37_leading_zeros_in_a_range_change_nothing() -> None:
    zeros = "0" * 30
    found = conditional.select({"range": f"bytes={zeros}5-{zeros}9"}, "GET", '"t"', 0, 100)
    assert found == (206, 5, 10)
    assert conditional.select({"range": f"bytes=-{zeros}5"}, "GET", '"t"', 0, 100) == (206, 95, 100)


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=-5", "bytes=0-0", "bytes=7-"])
def test_R37_an_empty_file_has_no_ranges(value: str) -> None:
    assert ask({"range": value}, size=0) == (200, 0, 0)


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        (ETAG, True),
        (f" {ETAG} ", True),
        (f"W/{ETAG}", False),
        ('"x"', False),
        (f'{ETAG}, "x"', False),
        (SAME, False),  # a file may change twice within a second
        ("", False),
        ("*", False),
        ("x", False),
    ],
)
def test_R37_R39_if_range_decides_whether_a_range_applies(condition: str, applies: bool) -> None:
    assert ask({"if-range": condition, "range": "bytes=0-1"}) == ((206, 0, 2) if applies else WHOLE)
    # What can't be satisfied is not even looked at if the condition does not hold.
    assert ask({"if-range": condition, "range": "bytes=200-"}) == (416 if applies else WHOLE)


BOMBS: dict[str, Callable[[int], dict[str, str]]] = {
    "digits": lambda n: {"range": f"bytes={'9' * n}-{'9' * n}"},
    "zeros": lambda n: {"range": f"bytes={'0' * n}-"},
    "ranges": lambda n: {"range": "bytes=" + "0-0," * (n // 64)},
    "blanks": lambda n: {"range": "bytes=" + " " * n + "x"},
    "dashes": lambda n: {"range": "bytes=" + "-" * n},
    "tags": lambda n: {"if-none-match": '"x",' * (n // 4)},
    "quotes": lambda n: {"if-match": '"' * (n + 1)},
    "weak": lambda n: {"if-none-match": "W/" * (n // 2)},
    "date": lambda n: {"if-modified-since": "1" * n},
    "spaces in a date": lambda n: {"if-modified-since": " " * n},
    "if-range": lambda n: {"if-range": "," * n, "range": "bytes=0-1"},
}


@pytest.mark.parametrize("bomb", list(BOMBS))
def test_R28_R37_a_long_range_header_is_parsed_in_linear_time(bomb: str) -> None:
    entry = calling(lambda text: ask(BOMBS[bomb](len(text))), times=20)
    assert not grows_too_fast(entry, "", "a", "")


@pytest.mark.parametrize(
    ("header", "brotli", "gzip"),
    [
        ("", False, False),
        ("gzip", False, True),
        ("x-gzip", False, True),
        ("GZip , BR", True, True),
        ("gzip, deflate, br, zstd", True, True),
        ("br;q=0, gzip;q=0.001", False, True),
        ("br;q=0.0, gzip; q=0.000", False, False),
        ("br;Q=0", False, False),
        ("*", True, True),
        ("*;q=0", False, False),
        ("identity;q=1, *;q=0", False, False),
        ("*, br;q=0", False, True),
        ("br, *;q=0", True, False),
        ("identity", False, False),
        ("identity, br;q=0.9, gzip", False, True),
        ("bro, gzipped", False, False),
        (";q=0,,", False, False),
        ("br;level=9, gzip;q=high", False, False),
        (f"gzip,{'a' * 993},br", False, True),
        (f"gzip,{'a' * 989},br,", True, True),
        (f"gzip,{'a' * 991};q=0,br", False, True),
    ],
)
def test_accept_encoding_selects_content_codings(header: str, brotli: bool, gzip: bool) -> None:
    expected = ["br"] * brotli + ["gzip"] * gzip
    assert {*accepted_codings(header, ["br", "gzip"])} == {*expected}


@pytest.mark.parametrize(
    ("header", "codings"),
    [
        ("gzip, br, zstd", ["br", "zstd", "gzip"]),
        ("gzip, *;q=0.5", ["gzip", "br", "zstd"]),
        ("zstd;q=0.9, x-gzip;q=0.95, br;q=0.1, identity;q=0.2", ["gzip", "zstd"]),
    ],
)
def test_the_client_s_preferred_coding_is_selected(header: str, codings: list[str]) -> None:
    assert accepted_codings(header, ["br", "zstd", "gzip"]) == codings


@given(st.integers(0, 4102444800))
def test_R39_a_formatted_http_date_parses_to_the_same_time(seconds: int) -> None:
    assert parse_http_date(http_date(seconds)) == seconds


def test_R39_an_http_date_has_the_required_format() -> None:
    assert http_date(MODIFIED) == SAME


@given(st.text(max_size=80))
def test_R39_an_invalid_http_date_is_none(text: str) -> None:
    assert parse_http_date(text) is None or isinstance(parse_http_date(text), int)


@given(st.from_regex(conditional._DATE.pattern, fullmatch=True))
@example("Sun, 1 Nov 99999 01:01:01 GMT")
@example("Sun, 99 Nov 1994 99:99:99 GMT")
@example("Sun, 06 Xyz 1994 08:49:37 GMT")
def test_R39_an_impossible_http_date_raises_no_error(text: str) -> None:
    assert parse_http_date(text) is None or isinstance(parse_http_date(text), int)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "range",
                "if-range",
                "if-match",
                "if-none-match",
                "if-modified-since",
                "if-unmodified-since",
            ]
        ),
        st.text(alphabet='bytes=-,0123456789"W/* abc\x00é', max_size=40),
    ),
    st.integers(0, 50),
)
def test_R37_a_selected_range_lies_within_the_file(headers: dict[str, str], size: int) -> None:
    found = ask(headers, size=size)
    if isinstance(found, tuple):
        status, start, stop = found
        assert status in (200, 206, 304)
        assert 0 <= start <= stop <= size
        assert status != 206 or start < stop
    else:
        assert found in (412, 416)


@pytest.mark.parametrize("text", [
    "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
    "Wed, 30 Feb 1994 08:49:37 GMT", "Tue, 29 Feb 2022 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:61:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT", "Sunday, 31-Nov-94 08:49:37 GMT", "Sun Nov 31 08:49:37 1994",
])  # fmt: skip
def test_an_impossible_calendar_date_is_ignored(text: str) -> None:
    assert parse_http_date(text) is None


def test_a_leap_second_is_a_valid_date() -> None:
    assert parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT") == 1483228800
