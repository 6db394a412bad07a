"""``cherrypy.lib.httputil``, beside the original's."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from cherrypy.lib import httputil as original

from micropie_compat.cherrypy.lib import httputil as ours
from tests.support.growth import calling, grows_too_fast


@pytest.fixture(params=[original, ours], ids=["original", "ours"])
def httputil(request: pytest.FixtureRequest) -> Any:
    """The module: the original, then ours."""
    return request.param


def test_httpdate_and_protocol_from_http_convert_values(httputil: Any) -> None:
    assert httputil.HTTPDate(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert httputil.HTTPDate().endswith(" GMT")
    assert httputil.protocol_from_http("HTTP/1.0") == (1, 0)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (None, 200, "OK"),
        (404, 404, "Not Found"),
        ("404", 404, "Not Found"),
        ("299 Mine, own", 299, "Mine, own"),
    ],
)
def test_valid_status_returns_code_and_reason(
    httputil: Any, status: Any, code: int, reason: str
) -> None:
    assert httputil.valid_status(status)[:2] == (code, reason)


def test_statuses_have_explanations() -> None:
    known = {int(code): texts for code, texts in original.response_codes.items()}
    assert {code: ours.response_codes[code] for code in known} == known
    assert ours.valid_status(503) == original.valid_status(503)


@pytest.mark.parametrize("status", [99, 600, "x", "x y", {"no": "status"}])
def test_invalid_statuses_are_refused(httputil: Any, status: Any) -> None:
    with pytest.raises(ValueError, match="Illegal response status from server"):
        httputil.valid_status(status)


@pytest.mark.parametrize(
    ("atoms", "joined"),
    [
        ((), "/"),
        (("", ""), "/"),
        (("/a/", "/b"), "/a/b"),
        (("a", "b"), "a/b"),
        (("", "/a//b"), "/a/b"),
        (("/",), "/"),
    ],
)
def test_urljoin_joins_paths(httputil: Any, atoms: Any, joined: str) -> None:
    assert httputil.urljoin(*atoms) == joined


def test_query_strings_are_parsed(httputil: Any) -> None:
    found = httputil.parse_query_string("a=1&b=&c&a=2&a=3&d=%C3%A9")
    assert found == {"a": ["1", "2", "3"], "b": "", "c": "", "d": "é"}
    assert httputil.parse_query_string("3,4") == {"x": 3, "y": 4}


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        (None, None),
        ("", None),
        ("bytes=0-9", [(0, 10)]),
        ("bytes=5-", [(5, 100)]),
        ("bytes=-3", [(97, 100)]),
        ("bytes=-500", [(0, 100)]),
        ("bytes=0-1, 4-5", [(0, 2), (4, 6)]),
        ("bytes=0-0,200-300", [(0, 1)]),
        ("bytes=200-", []),
        ("bytes=9-5", None),
    ],
)
def test_get_ranges_returns_the_requested_ranges(
    httputil: Any, header: str | None, ranges: Any
) -> None:
    assert httputil.get_ranges(header, 100) == ranges


@pytest.mark.parametrize(
    "header", ["nonsense", "bytes=a-b", "chunks=1-2", "bytes=-", "bytes=" + "9" * 20 + "-"]
)
def test_malformed_ranges_are_ignored(header: str) -> None:
    assert ours.get_ranges(header, 100) is None


def test_a_range_ends_at_the_content_s_end() -> None:
    assert ours.get_ranges("bytes=90-200", 100) == [(90, 100)]
    assert ours.get_ranges("bytes=-0", 100) == []


def test_header_elements_are_sorted_by_quality(httputil: Any) -> None:
    found = httputil.header_elements("Accept", 'text/*;q=0.5, text/html, */*;q=0.1, a;x="y;z, w"')
    assert [element.value for element in found] == ["text/html", "a", "text/*", "*/*"]
    assert [element.qvalue for element in found] == [1, 1, 0.5, 0.1]
    assert found[1].params == {"x": "y;z, w"}
    found = httputil.header_elements("X", "b, a;p=1")
    given = [(str(element), bytes(element)) for element in found]
    assert given == [("b", b"b"), ("a;p=1", b"a;p=1")]
    assert httputil.header_elements("X", None) == []
    assert str(httputil.HeaderElement("a", {"b": "c"})) == "a;b=c"
    assert httputil.HeaderElement("a") < httputil.HeaderElement("b")


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("a;Q=0.5;CharSet=x", {"q": "0.5", "charset": "x"}),
        ("a; b ;c=;d=1", {"c": "", "d": "1"}),
        (r'a;b="c\"d\\e";f="g', {"b": 'c"d\\e', "f": '"g'}),
    ],
)
def test_an_element_s_parameters_are_parsed(httputil: Any, text: str, params: Any) -> None:
    assert httputil.HeaderElement.from_str(text).params == params


def test_header_elements_are_parsed_in_linear_time() -> None:
    """Quotes that are not closed are looked at once."""
    for name in ("Accept", "X"):
        entry = calling(partial(ours.header_elements, name))
        for repeated in ('\\"', '"\\', 'a,"', '";'):
            assert not grows_too_fast(entry, "", repeated, "", 8 * 1024), repeated
    assert [element.value for element in ours.header_elements("X", 'a, "b, c')] == ["a", '"b, c']


def test_odd_header_elements_are_parsed() -> None:
    found = ours.header_elements("Accept-Encoding", "a;q=x, b;q=., c;q=7")
    assert [element.qvalue for element in found] == [1, 1, 1]
    assert ours.HeaderElement.from_str("") == ours.HeaderElement("")
    assert ours.HeaderElement("a") != "a"
    with pytest.raises(TypeError, match="unhashable"):
        hash(ours.HeaderElement("a"))


def test_decode_text_decodes_encoded_words(httputil: Any) -> None:
    assert httputil.decode_TEXT("=?utf-8?q?f=C3=BCr?=") == "für"
    assert httputil.decode_TEXT("plain") == "plain"


def test_a_headermap_ignores_case(httputil: Any) -> None:
    headers = httputil.HeaderMap({"content-type": "text/html"}, x_own=5)
    headers["Accept"] = "a, b;q=0.5"
    assert headers["CONTENT-TYPE"] == headers.get("content-type") == "text/html"
    assert "content-TYPE" in headers
    assert "none" not in headers
    assert headers.get("none", 1) == 1
    assert headers.setdefault("content-type", "x") == "text/html"
    assert headers.setdefault("one") is None
    assert headers.pop("one") is None
    assert headers.pop("one", 2) == 2
    assert headers.values("accept") == ["a", "b"]
    assert [element.value for element in headers.elements("accept")] == ["a", "b"]
    del headers["accept"]
    headers["X-Text"] = "ü"
    headers["X-Bytes"] = b"\xff"
    headers["X-Euro"] = "€"
    headers["X-Lines"] = "a\r\nX-More: b"
    assert headers.output() == [
        (b"Content-Type", b"text/html"),
        (b"X_Own", b"5"),
        (b"X-Text", b"\xfc"),
        (b"X-Bytes", b"\xff"),
        (b"X-Euro", b"=?utf-8?b?4oKs?="),
        (b"X-Lines", b"aX-More: b"),
    ]


def test_a_headermap_behaves_as_a_dict() -> None:
    headers = ours.HeaderMap.fromkeys(["a"], 1)
    headers |= {"b": 2}
    headers[b"c"] = 3
    copy = headers.copy()
    assert type(copy) is ours.HeaderMap
    assert copy == {"A": 1, "B": 2, "C": 3}
    assert list(copy.values()) == [1, 2, 3]
    with pytest.raises(TypeError, match="a header's name must be text, not 5"):
        headers[5] = "x"


def test_a_host_shows_its_address_and_name(httputil: Any) -> None:
    assert repr(httputil.Host("1.2.3.4", 80)) == "httputil.Host('1.2.3.4', 80, '1.2.3.4')"
    assert httputil.Host("1.2.3.4", 80, "name").name == "name"
