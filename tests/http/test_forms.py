"""Queries and forms: whole, byte by byte and cut at random (tests/project/risks, R11, R24 to R29, R31 to
R34).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from micropie._core.errors import BadRequest, HTTPError
from micropie._core.http.addresses import unescaped
from micropie._core.http.forms.data import Limits, parse_query
from micropie._core.http.forms.multipart import MultipartParser
from micropie._core.http.forms.uploads import NewFile, UploadFile, safe_filename
from micropie._core.http.headers.media_types import content_type, is_json
from tests.support.growth import calling, grows_too_fast
from tests.support.open_files import open_files

SMALL = Limits(
    max_form_field_size=20,
    max_fields=4,
    max_files=2,
    max_data_size=50,
    spool_size=10,
)


def part(disposition: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"Content-Disposition: {disposition}", *headers]
    return b"--B\r\n" + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body + b"\r\n"


def text_field(name: str, value: bytes) -> bytes:
    return part(f'form-data; name="{name}"', value)


def file_field(name: str, filename: str, body: bytes) -> bytes:
    return part(
        f'form-data; name="{name}"; filename="{filename}"', body, "Content-Type: text/plain"
    )


def multipart_body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--B--\r\n"


def outcome(kind: str, chunks: list[bytes], limits: Limits = SMALL) -> Any:
    """What came out: the fields and the files' contents, or the status.

    An urlencoded form is never cut.
    """
    if kind == "urlencoded":
        try:
            return parse_query(b"".join(chunks), limits), {}
        except HTTPError as error:
            return error.status
    parser = MultipartParser("B", limits)
    try:
        for chunk in chunks:
            parser.feed(chunk)
        form = parser.finish()
        files = {
            name: [(each.filename, each.content_type, each.size, each.read()) for each in uploads]
            for name, uploads in form.files.items()
        }
    except HTTPError as error:
        return error.status
    finally:
        parser.close()
    return form.fields, files


def bytewise(body: bytes) -> list[bytes]:
    return [body[index : index + 1] for index in range(len(body))]


# Queries


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {}),
        ("name=Alice", {"name": ["Alice"]}),
        ("name=Alice&age=3&name=Bob", {"name": ["Alice", "Bob"], "age": ["3"]}),
        ("flag", {"flag": [""]}),
        ("flag&x=", {"flag": [""], "x": [""]}),
        ("=x", {"": ["x"]}),
        ("a=b=c", {"a": ["b=c"]}),
        ("&&a=1&&", {"a": ["1"]}),
        ("a+b=c+d", {"a b": ["c d"]}),
        ("a%20b=%2B%26%3D", {"a b": ["+&="]}),
        ("q=caf%C3%A9%F0%9F%98%80", {"q": ["café😀"]}),
        ("a=100%", {"a": ["100%"]}),
        ("a=%zz%4", {"a": ["%zz%4"]}),
        ("q=café".encode(), {"q": ["café"]}),
        ("q=café".encode().decode("latin-1"), {"q": ["café"]}),
        (b"a=%0A%0d", {"a": ["\n\r"]}),
    ],
)
def test_queries_are_parsed(query: bytes | str, fields: dict[str, list[str]]) -> None:
    assert parse_query(query) == fields
    if isinstance(query, str):
        query = query.encode("latin-1")
    assert parse_query(query) == fields


@pytest.mark.parametrize("raw", [b"%ff", b"\xff", b"%ed%a0%80", b"%C3", b"%00", b"\0", "x€"])
def test_R11_text_that_is_not_utf8_or_contains_nul_gets_a_400(raw: bytes | str) -> None:
    as_value = b"a=" + raw if isinstance(raw, bytes) else "a=" + raw
    as_name = raw + b"=1" if isinstance(raw, bytes) else raw + "=1"
    for query in (raw, as_value, as_name):
        with pytest.raises(BadRequest):
            parse_query(query)


def test_R29_only_ampersands_separate_query_fields() -> None:
    assert parse_query("a=1;b=2") == {"a": ["1;b=2"]}


@given(st.lists(st.tuples(st.text(), st.text())))
def test_query_reads_what_urlencode_writes(pairs: list[tuple[str, str]]) -> None:
    pairs = [(name.replace("\0", ""), value.replace("\0", "")) for name, value in pairs]
    query = urlencode(pairs)
    assert parse_query(query) == parse_qs(query, keep_blank_values=True)


# The same limits, however it is sent


def spellings(fields: list[tuple[str, bytes]]) -> dict[str, bytes]:
    pairs = b"&".join(name.encode() + b"=" + value for name, value in fields)
    return {
        "urlencoded": pairs,
        "multipart": multipart_body(*[text_field(name, value) for name, value in fields]),
    }


def query_status(query: bytes | str) -> int | None:
    try:
        parse_query(query, SMALL)
    except HTTPError as error:
        return error.status
    return None


BOMBS: dict[str, tuple[list[tuple[str, bytes]], int | None]] = {
    "long value": ([("a", b"x" * 21)], 413),
    "many fields": ([("a", b"")] * 5, 413),
    "long in total": ([(name, b"x" * 20) for name in "abc"], 413),
    "bad text": ([("a", b"\xff")], 400),
    "bad text, then too many": ([("a", b"\xff"), *[("a", b"")] * 5], 400),
    "too many, then bad text": ([*[("a", b"")] * 5, ("a", b"\xff")], 413),
    "long and bad": ([("a", b"\xff" * 21)], 413),
    "just right": ([("a", b"x" * 20), ("b", b"y" * 20), ("c", b""), ("d", b"")], None),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_R25_R26_oversized_forms_get_the_same_status_in_every_format(bomb: str) -> None:
    fields, status = BOMBS[bomb]
    for kind, body in spellings(fields).items():
        results = [
            outcome(kind, chunks) for chunks in ([body], bytewise(body), [body[:7], body[7:]])
        ]
        assert results[0] == results[1] == results[2], kind
        assert status in (results[0], None), kind
        if status is None:
            assert [len(values) for values in results[0][0].values()] == [1, 1, 1, 1]
    query = spellings(fields)["urlencoded"]
    for form in (query, query.decode("latin-1"), query.replace(b"x", b"%78")):
        assert query_status(form) == status


def test_R26_R34_the_first_limit_that_is_exceeded_determines_the_status() -> None:
    body = multipart_body(
        text_field("a", b"x" * 20), text_field("b", b"x" * 20), text_field("c", b"x" * 30)
    )
    for chunks in ([body], bytewise(body)):
        with pytest.raises(HTTPError, match="together"):
            MultipartParser("B", SMALL).feed(*chunks)


def test_R26_default_limits_hold_for_one_huge_chunk() -> None:
    for kind, body in spellings([("a", b"x" * (1024 * 1024 + 1))]).items():
        assert outcome(kind, [body], Limits()) == 413
    for kind, body in spellings([("a", b"x" * 1024 * 1024)]).items():
        assert outcome(kind, [body], Limits())[0] == {"a": ["x" * 1024 * 1024]}
    assert outcome("urlencoded", [b"a=" + b"%41" * 3_000_000], Limits()) == 413
    assert outcome("urlencoded", [b"x" * 10_000_000], Limits()) == 413
    assert outcome("urlencoded", [b"%"] * 200, SMALL) == 413
    assert parse_query(b"a=" + b"%41" * 1024 * 1024) == {"a": ["A" * 1024 * 1024]}


ESCAPES = st.sampled_from([
    b"%41", b"%e4%BD%a0", b"%\n", b"%\r\n", b"%00", b"%0a", b"%3d", b"%", b"%4", b"%zz", b"=",
    b"=0A", b"=\n", b" ", b"_",
])  # fmt: skip


@given(st.lists(ESCAPES | st.binary(max_size=4), max_size=12).map(b"".join))
def test_R29_escapes_are_decoded_as_the_standard_library_does(data: bytes) -> None:
    assert unescaped(data) == unquote_to_bytes(data)


@given(
    st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=6),
    st.integers(1, 8),
    st.integers(1, 60),
)
def test_R25_R26_a_form_is_read_alike_whether_or_not_its_fields_are_counted_first(
    pairs: list[tuple[str, str]], most: int, size: int
) -> None:
    """A limit is passed by what is sent, and not by how close to it a text comes."""
    pairs = [(name.replace("\0", ""), value.replace("\0", "")) for name, value in pairs]
    text = urlencode(pairs)
    limits = Limits(max_fields=most, max_form_field_size=size, max_data_size=2 * size)
    sizes = [[len(one.encode()) for one in pair] for pair in pairs]
    fits = (
        len(pairs) <= most
        and all(max(pair) <= size for pair in sizes)
        and sum(map(sum, sizes)) <= 2 * size
    )
    if fits:
        assert parse_query(text, limits) == parse_qs(text, keep_blank_values=True)
    else:
        with pytest.raises(HTTPError) as refused:
            parse_query(text, limits)
        assert refused.value.status == 413


@pytest.mark.parametrize("count", [1000, 1001])
def test_R25_a_form_may_have_a_thousand_fields_and_no_more(count: int) -> None:
    for kind, body in spellings([("a", b"")] * count).items():
        result = outcome(kind, [body], Limits())
        assert result == (413 if count > 1000 else ({"a": [""] * 1000}, {}))
    query = b"&".join([b"a"] * count)
    for each in (query, query.replace(b"a", b"%41")):
        if count > 1000:
            with pytest.raises(HTTPError, match="1000 fields"):
                parse_query(each)
        else:
            assert sum(map(len, parse_query(each).values())) == 1000


def test_R25_a_field_limit_of_zero_allows_no_fields() -> None:
    with pytest.raises(HTTPError, match="may have 0 fields at most"):
        parse_query("a=1", Limits(max_fields=0))
    assert parse_query("&", Limits(max_fields=0)) == {}  # an empty last pair doesn't count


def test_R25_empty_pairs_count_as_fields() -> None:
    assert outcome("urlencoded", [b"&" * 5]) == 413
    with pytest.raises(HTTPError, match="may have 4 fields at most"):
        parse_query("&" * 5, SMALL)


def test_R25_files_count_as_fields() -> None:
    found = outcome("multipart", [multipart_body(*[file_field("f", "a", b"")] * 2)])[1]["f"][1][0]
    assert found == "a"
    bomb = multipart_body(*[file_field("f", "a", b"")] * 3)
    assert outcome("multipart", [bomb]) == outcome("multipart", bytewise(bomb)) == 413
    seen = outcome("multipart", [multipart_body(*[file_field("f", "", b"")] * 1001)], Limits())
    assert seen == 413


HEADER_BOMBS = {
    "many headers": part('form-data; name="a"', b"", *["X-A: b"] * 9),
    "long header": part('form-data; name="a"', b"", "X-A: " + "b" * 4096),
    "unfinished header": b"--B\r\nX-A: " + b"b" * 4096,
    "preamble": b"x" * 4096 + b"\r\n--B\r\n",
    "nearly a boundary": b"--\r\n" * 1100,
}


@pytest.mark.parametrize("bomb", HEADER_BOMBS)
def test_R27_oversized_part_headers_and_preambles_get_a_400_immediately(bomb: str) -> None:
    """Where the limit is passed, and not at the end of the body."""
    bomb_alone = HEADER_BOMBS[bomb].removesuffix(b"\r\n")
    for chunks in ([bomb_alone], bytewise(bomb_alone)):
        parser = MultipartParser("B", Limits())
        with pytest.raises(BadRequest):
            parser.feed(*chunks)
        parser.close()
    body = HEADER_BOMBS[bomb] + b"--B--"
    assert outcome("multipart", [body], Limits()) == 400
    assert outcome("multipart", bytewise(body), Limits()) == 400


@pytest.mark.parametrize("filename", ["", '; filename="f"', '; filename=""'])
@pytest.mark.parametrize(
    "fields", [b"", text_field("a", b"x" * 19) * 2 + text_field("a", b"x" * 7)]
)
def test_R29_R34_a_part_that_begins_with_its_boundary_gets_a_400(
    filename: str, fields: bytes
) -> None:
    """To RFC 2046, section 5.1.1, it is empty; to others a text that has the next part in it."""
    begins = f'--B\r\nContent-Disposition: form-data; name="a"{filename}\r\n\r\n'.encode()
    body = fields + begins + multipart_body(text_field("b", b"2"))
    expected = 413 if fields and not filename else 400  # two bytes are left then
    for chunks in ([body], bytewise(body), *([body[:at], body[at:]] for at in range(len(body)))):
        assert outcome("multipart", chunks) == expected


@pytest.mark.parametrize(
    "content", [b"\r\n", b"\r\n--", b"--", b"-", b"\r", b"\n--B", b"--A\r\n--C"]
)
def test_R29_R34_text_that_resembles_a_boundary_is_content(content: bytes) -> None:
    body = multipart_body(text_field("a", content), text_field("b", b"2"))
    expected: Any = {"a": [content.decode()], "b": ["2"]}, {}
    assert outcome("multipart", [body]) == outcome("multipart", bytewise(body)) == expected


@pytest.mark.parametrize("size", [4095, 4096, 4097, 4098, 4099])
@pytest.mark.parametrize("header", ["X: ", "X: \t  ", "X:"])
def test_R27_R34_the_header_limit_does_not_depend_on_chunk_sizes(size: int, header: str) -> None:
    head = 'form-data; name="a"'
    body = multipart_body(part(head, b"v", header + "b" * (size - len(header))))
    expected: Any = ({"a": ["v"]}, {}) if size <= 4096 else 400
    assert outcome("multipart", [body]) == outcome("multipart", bytewise(body)) == expected
    end = body.index(b"b\r\n")
    for at in range(end, end + 5):
        assert outcome("multipart", [body[:at], body[at:]]) == expected, at


@pytest.mark.parametrize("boundary", ["", "a" * 257, "a\r\n", "a ", " a", "é", "a\tb", "a\n"])
def test_R27_invalid_boundaries_get_a_400(boundary: str) -> None:
    with pytest.raises(BadRequest, match="boundary"):
        MultipartParser(boundary)


@pytest.mark.parametrize("boundary", ["a", "a" * 256, "a b", "----WebKitFormBoundary'()+_,-./:=?"])
def test_R27_valid_boundaries_are_accepted(boundary: str) -> None:
    parser = MultipartParser(boundary)
    parser.feed(f"\r\n--{boundary}--".encode())
    assert parser.finish().fields == {}


# Multipart

TRICKY = b"\x00\xff\r\n--\r\n-B\r--B\n" * 3
GOLDEN: dict[str, tuple[bytes, Any]] = {
    "empty": (b"--B--", ({}, {})),
    "fields": (
        multipart_body(text_field("a", b"1"), text_field("a", "é".encode()), text_field("", b"")),
        ({"a": ["1", "é"], "": [""]}, {}),
    ),
    "text before the first boundary": (
        b"text\r\n" + multipart_body(text_field("a", b"1")),
        ({"a": ["1"]}, {}),
    ),
    "leading line, epilogue": (
        b"\r\n" + multipart_body(text_field("a", b"1")) + b"epilogue\r\n--B\r\n",
        ({"a": ["1"]}, {}),
    ),
    "file": (
        multipart_body(file_field("f", "a.txt", TRICKY), text_field("b", b"2")),
        ({"b": ["2"]}, {"f": [("a.txt", "text/plain", 45, TRICKY)]}),
    ),
    "file past the spool": (
        multipart_body(file_field("f", "a", b"x" * 60), file_field("g", "b", b"y" * 9)),
        ({}, {"f": [("a", "text/plain", 60, b"x" * 60)], "g": [("b", "text/plain", 9, b"y" * 9)]}),
    ),
    "no file chosen": (
        multipart_body(file_field("f", "", b""), text_field("a", b"1")),
        ({"a": ["1"]}, {}),
    ),
    "file without a name": (
        multipart_body(file_field("f", "", b"x")),
        ({}, {"f": [("upload", "text/plain", 1, b"x")]}),
    ),
    "no content type": (
        multipart_body(part('form-data; name="f"; filename="a"', b"x")),
        ({}, {"f": [("a", "application/octet-stream", 1, b"x")]}),
    ),
    "content length": (
        multipart_body(part('form-data; name="a"', b"xyz", "Content-Length: 3")),
        ({"a": ["xyz"]}, {}),
    ),
    "content length too small": (
        multipart_body(part('form-data; name="a"', b"xyz", "Content-Length: 1")),
        400,
    ),
    "content length too large": (
        multipart_body(part('form-data; name="a"', b"xyz", "Content-Length: 4")),
        400,
    ),
    "content length of a field past its limit": (
        multipart_body(part('form-data; name="a"', b"x" * 30, "Content-Length: 25")),
        413,
    ),
    "content length of a file": (
        multipart_body(part('form-data; name="f"; filename="a"', b"x" * 25, "Content-Length: 25")),
        ({}, {"f": [("a", "application/octet-stream", 25, b"x" * 25)]}),
    ),
    "charset": (
        multipart_body(
            part('form-data; name="a"', b"x", "Content-Type: text/plain; charset=UTF-8")
        ),
        ({"a": ["x"]}, {}),
    ),
    "ASCII as Latin-1": (
        multipart_body(
            part(
                'form-data; name="a"',
                b"yes",
                "Content-Type: text/plain; charset=ISO-8859-1",
                "Content-Transfer-Encoding: 8bit",
            )
        ),
        ({"a": ["yes"]}, {}),
    ),
    "Latin-1": (
        multipart_body(
            part('form-data; name="a"', b"\xe9", 'Content-Type: text/plain; charset="latin1"')
        ),
        ({"a": ["\xe9"]}, {}),
    ),
    "UTF-16": (
        multipart_body(
            part('form-data; name="a"', b"\xe9\0", "Content-Type: text/plain;charset=utf-16-le")
        ),
        ({"a": ["\xe9"]}, {}),
    ),
    "NUL in UTF-16": (
        multipart_body(
            part('form-data; name="a"', b"\0\0", "Content-Type: text/plain;charset=utf-16-le")
        ),
        400,
    ),
    "half of a character": (
        multipart_body(
            part('form-data; name="a"', b"\x81", "Content-Type: text/plain; charset=Shift_JIS")
        ),
        400,
    ),
    "ASCII with UTF-8 in it": (
        multipart_body(
            part('form-data; name="a"', "é".encode(), "Content-Type: a/b; charset=US-ASCII")
        ),
        ({"a": ["é"]}, {}),
    ),
    "no charset of text": (
        multipart_body(part('form-data; name="a"', b"x", "Content-Type: a/b; charset=zlib")),
        400,
    ),
    "a charset that takes long": (
        multipart_body(part('form-data; name="a"', b"x", "Content-Type: a/b; charset=punycode")),
        415,
    ),
    "two charsets": (
        multipart_body(part('form-data; name="a"', b"x", "Content-Type: a/b;charset=a;charset=b")),
        400,
    ),
    "charset of a file": (
        multipart_body(
            part('form-data; name="f"; filename="a"', b"\xe9", "Content-Type: a/b;charset=x")
        ),
        ({}, {"f": [("a", "a/b;charset=x", 1, b"\xe9")]}),
    ),
    "parts in a part": (
        multipart_body(
            part('form-data; name="f"', b"--C--", "Content-Type: Multipart/Mixed; boundary=C")
        ),
        400,
    ),
    "a file with parts": (
        multipart_body(
            part('form-data; name="f"; filename="a"', b"C", "Content-Type: multipart/mixed")
        ),
        ({}, {"f": [("a", "multipart/mixed", 1, b"C")]}),
    ),
    "other charset": (
        multipart_body(part('form-data; name="a"', b"x", "Content-Type: a;charset=x")),
        415,
    ),
    "base64": (
        multipart_body(part('form-data; name="a"', b"e", "Content-Transfer-Encoding: base64")),
        400,
    ),
    "8bit": (
        multipart_body(part('form-data; name="a"', b"x", "Content-Transfer-Encoding: 8BIT")),
        ({"a": ["x"]}, {}),
    ),
    "as many headers as may be": (
        multipart_body(part('form-data; name="a"', b"x", *[f"X-{i}: 1" for i in range(7)])),
        ({"a": ["x"]}, {}),
    ),
    "one header too many": (
        multipart_body(part('form-data; name="a"', b"x", *[f"X-{i}: 1" for i in range(8)])),
        400,
    ),
    "blanks after a colon": (
        multipart_body(part('form-data; name="a"', b"x", "X: \t1")),
        ({"a": ["x"]}, {}),
    ),
    "a blank before a colon": (multipart_body(part('form-data; name="a"', b"x", "X : 1")), 400),
    "a tab before a colon": (multipart_body(part('form-data; name="a"', b"x", "X\t: 1")), 400),
    "a blank before the colon of a name": (
        b'--B\r\nContent-Disposition : form-data; name="a"\r\n\r\nx\r\n--B--',
        400,
    ),
    "no header": (b"--B\r\n\r\nx\r\n--B--", 400),
    "header without a name": (multipart_body(part('form-data; name="a"', b"x", ": 1")), 400),
    "bare LF in a header": (multipart_body(part('form-data; name="a"', b"x", "X: a\nY: b")), 400),
    "bare LF before a header": (multipart_body(part('form-data; name="a"', b"x", "\nX: a")), 400),
    "bare CR": (multipart_body(part('form-data; name="a\rb"', b"x")), 400),
    "NUL in a header": (multipart_body(part('form-data; name="a\0b"', b"x")), 400),
    "a blank after a boundary": (
        b'--B \r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--B--',
        400,
    ),
    "folded header": (multipart_body(part('form-data;\r\n name="a"', b"x")), 400),
    "header not UTF-8": (
        b'--B\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n--B--',
        400,
    ),
    "a blank of Unicode beside a header's name": (
        multipart_body(part('form-data; name="a"', b"x", "\x85X\xa0: 1")),
        400,
    ),
    "a vertical tab before a header": (
        multipart_body(part('form-data; name="a"', b"x", "\x0bX: 1")),
        400,
    ),
    "a blank of Unicode in a disposition": (multipart_body(part('form-data\x85; name="a"')), 400),
    "header without a colon": (multipart_body(part('form-data; name="a"', b"x", "nothing")), 400),
    "other disposition": (multipart_body(part('attachment; name="a"', b"x")), 400),
    "no disposition": (b"--B\r\nX: y\r\n\r\n\r\n--B--", 400),
    "LF only": (multipart_body(text_field("a", b"1")).replace(b"\r\n", b"\n"), 400),
    "junk after the boundary": (b"--Bx\r\n", 400),
    "junk after a later boundary": (text_field("a", b"1") + b"--Bx\r\n", 400),
    "NUL in a field": (multipart_body(text_field("a", b"\0")), 400),
    "nothing": (b"", 400),
    "only a boundary": (b"--B\r\n", 400),
    "cut in a field": (text_field("a", b"1"), 400),
    "cut in the first boundary": (b"\r\n-", 400),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_R34_a_form_cut_into_any_chunks_gives_the_same_result(name: str) -> None:
    body, expected = GOLDEN[name]
    assert outcome("multipart", [body]) == expected
    assert outcome("multipart", bytewise(body)) == expected
    for at in range(len(body)):
        assert outcome("multipart", [body[:at], body[at:]]) == expected, at


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


PIECES = st.sampled_from(
    [b"--B\r\n", b"--B--\r\n", b"\r\n", b"\n", b"x" * 15, b"--B", b"&", b"=", b"%41", b"%ff", b"a=1", b"\r",
     b'Content-Disposition: form-data; name="a"\r\n', b"\r\n\r\nvalue\r\n", b"Content-Length: 3\r\n", b": ",
     text_field("a", b"1"), file_field("f", "n.txt", b"content"), text_field("b", b"x" * 21), b"\xff", b"\0",
     b" ", b"y" * 90, b"Content-Length: 25\r\n", b"X: a\r\n", b"\x0b", b"\xc2\x85", b"\r\n--B",
     b'Content-Disposition: form-data; name="f"; filename=""\r\n\r\n']
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(0, 1000), max_size=5))
def test_R34_any_bytes_cut_into_any_chunks_give_the_same_result(
    body: bytes, places: list[int]
) -> None:
    for kind in ("urlencoded", "multipart"):
        for sent in (body, b"--B\r\n" + body):
            whole = outcome(kind, [sent])
            assert outcome(kind, cut(sent, places)) == whole
            assert outcome(kind, bytewise(sent)) == whole
    if isinstance(whole := outcome("urlencoded", [body]), int):
        with pytest.raises(HTTPError) as refused:
            parse_query(body, SMALL)
        assert refused.value.status == whole
    else:
        assert parse_query(body, SMALL) == whole[0]


@pytest.mark.parametrize(
    ("parameters", "name", "filename"),
    [
        ('name="a"', "a", None),
        ("name=a; filename=b.txt", "a", "b.txt"),
        ('filename="b"; name="a"', "a", "b"),
        ('NAME="a"; FileName="b"', "a", "b"),
        ('name="a;b=c"', "a;b=c", None),
        ('name="a%22b%0D%0A%41"', 'a"b\r\n%41', None),
        ('name="a\\"b\\\\c"', 'a"b\\c', None),
        ('name="a"; filename="C:\\dir\\x.txt"', "a", "C:\\dir\\x.txt"),
        # browsers don't escape a backslash
        ('name="a"; filename="C:\\dir\\"', "a", "C:\\dir\\"),
        ('name="a\\"; filename="b\\"', "a\\", "b\\"),
        ('name="a\\"; filename="b%22\\"', "a\\", 'b"\\'),
        ('name="a"; filename="a"; filename*=utf-8\'\'b', "a", "a"),
        ("name=\"a\"; filename*=UTF-8'en'na%C3%AFve.txt", "a", "naïve.txt"),
        ('name="a"; x; filename="b"', "a", "b"),
        ('name="é"; filename="日本.txt"', "é", "日本.txt"),
    ],
)
def test_R29_names_and_file_names_of_parts_are_decoded(
    parameters: str, name: str, filename: str | None
) -> None:
    parser = MultipartParser("B")
    parser.feed(multipart_body(part(f"form-data; {parameters}", b"x")))
    form = parser.finish()
    if filename is None:
        assert (form.fields, form.files) == ({name: ["x"]}, {})
    else:
        assert form.files[name][0].raw_filename == filename
    form.close()


@pytest.mark.parametrize(
    "disposition",
    [
        "form-data",
        "form-data; filename=a",
        "form-data; name*=utf-8''a",
        "form-data; name=a; name=b",
        'form-data; name="a"; NAME="b"',
        'form-data; name="a"; filename="a"; filename="b"',
        "form-data; name=a; filename*=utf-8''a; filename*=utf-8''b",
        "form-data; name=a; filename*=latin-1''a",
        "form-data; name=a; filename*=utf-8'a",
        "form-data; name=a; filename*=utf-8''%ff",
        'form-data; name="a',
        'form-data; name="a"b; filename="c"',
        'form-data; name="a"; filename=',
        "form-data; name=; filename=b",
        'form-data; name="a"; filename="a"x',
        'form-data; name="a"\r\nContent-Disposition: form-data; name="b"',
        'form-data; name="a"\r\nX: 1\r\nx: 2',
    ],
)
def test_R29_missing_repeated_and_malformed_part_names_get_a_400(disposition: str) -> None:
    assert outcome("multipart", [multipart_body(part(disposition, b"x"))], Limits()) == 400


def test_R32_no_file_stays_open_wherever_the_stream_breaks() -> None:
    files = file_field("f", "a", b"x" * 40) + file_field("g", "b", b"y" * 40)
    body = multipart_body(files, text_field("a", b"1"))
    before = open_files()
    for at in range(len(body)):
        parser = MultipartParser("B", SMALL)
        parser.feed(body[:at])
        parser.close()
        for broken in (body[:at], body[:at] + b"\r\n--Bx"):
            assert outcome("multipart", [broken]) == 400 or at >= len(body) - 2
    assert open_files() <= before


BROKEN = {
    "a boundary": [b"--Bx\r\n"],
    "a header": [text_field("a\0", b"")],
    "a value": [text_field("a", b"\xff")],
    "an end": [text_field("a", b"1")],
    "nothing, but bytes after the end": [b"--B--", b"\r\n", b"--B"],
}


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("broken", BROKEN)
def test_a_parser_is_freed_without_the_cycle_collector(broken: str) -> None:
    parser = MultipartParser("B")
    inside = weakref.ref(parser), weakref.ref(parser._parser), weakref.ref(parser._parser._parser)
    with suppress(HTTPError):
        parser.feed(*BROKEN[broken])
        parser.finish()
        assert broken.startswith("nothing")
    del parser
    assert [one() for one in inside] == [None] * 3


def test_R32_a_full_disk_closes_all_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: UploadFile, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    parser = MultipartParser("B", SMALL)
    parser.feed(file_field("f", "a", b"x" * 40) + file_field("g", "b", b"y" * 40)[:-60])
    monkeypatch.setattr(UploadFile, "write", full)
    first = parser.files["f"][0]
    with pytest.raises(HTTPError, match="no space"):
        parser.feed(file_field("g", "b", b"y" * 40)[-60:])
    assert first.file.closed


def test_R31_the_parser_announces_when_it_may_write_to_disk() -> None:
    parser = MultipartParser("B", SMALL)
    assert parser.may_block(11, b"")
    assert not parser.may_block(10, b"")
    parser.feed(file_field("f", "a", b"x" * 8)[:-2] + b"12345")
    assert parser.may_block(6, b"")
    parser.close()


def test_R31_many_parts_are_parsed_in_a_thread() -> None:
    parser, fields = MultipartParser("B"), multipart_body(*[text_field("f", b"")] * 100)
    assert parser.may_block(len(fields), fields)
    assert not parser.may_block(len(fields), fields[: len(fields) // 2])
    assert not parser.may_block(100_000, b"x\r\n" * 33_333)  # one part with many lines


def test_uploads_stay_in_memory_up_to_a_total_size() -> None:
    limits = Limits(spool_size=10, max_file_memory=25, max_form_field_size=10)
    parser = MultipartParser("B", limits)
    parser.feed(multipart_body(*[file_field("f", "a", b"x" * 10)] * 4))
    form = parser.finish()
    in_memory = [_is_in_memory(upload) for upload in form.files["f"]]
    form.close()
    assert in_memory == [True, True, False, False]


def test_a_part_s_headers_are_not_shared_between_requests() -> None:
    """Heads are kept from request to request, and handlers may change what they get."""
    for _ in range(2):
        parser = MultipartParser("B")
        parser.feed(multipart_body(file_field("f", "a", b"x")))
        headers = parser.finish().files["f"][0].headers
        assert headers == {
            "content-disposition": 'form-data; name="f"; filename="a"',
            "content-type": "text/plain",
        }
        headers.clear()
        parser.close()


@pytest.mark.parametrize("name", ["Content-Disposition", "content-disposition", "X-A"])
def test_R29_a_repeated_part_header_gets_a_400(name: str) -> None:
    value = 'form-data; name="a"'
    body = multipart_body(part(value, b"v", "x-a: 1", f"{name}: {value}"))
    assert outcome("multipart", [body]) == outcome("multipart", bytewise(body)) == 400


# Content types


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ("", {})),
        ("Text/HTML ", ("text/html", {})),
        ("text/html; charset=UTF-8", ("text/html", {"charset": "UTF-8"})),
        ('text/html;CHARSET="utf-8" ;\tx=y ', ("text/html", {"charset": "utf-8", "x": "y"})),
        ('a/b; x="a\\"b;c\\\\"', ("a/b", {"x": 'a"b;c\\'})),
        ("a/b;;; ;x=1;", ("a/b", {"x": "1"})),
        ("a/b; x; y=", ("a/b", {"y": ""})),
        ("a/b;=; =1", ("a/b", {})),
        ("multipart/form-data; boundary=a=b/c:d", ("multipart/form-data", {"boundary": "a=b/c:d"})),
        ("text/plain; application/json", ("text/plain", {})),
    ],
)
def test_content_types_are_parsed(value: str, expected: tuple[str, dict[str, str]]) -> None:
    assert content_type(value) == expected


@pytest.mark.parametrize("value", [
    "a/b; x=1; X=1", 'a/b; x="1', 'a/b; x="1"2', 'a/b; "', 'a/b; x="1\\"', "a/b; x= 1",
    "a/b; x =1", "a/b; x\xa0=1", "a/b;\x0bx=1",
])  # fmt: skip
def test_R29_an_ambiguous_content_type_gets_a_400(value: str) -> None:
    with pytest.raises(BadRequest):
        content_type(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("application/json", True),
        ("application/json;charset=x", True),
        ("APPLICATION/JSON ; charset=utf-8", True),
        ("application/vnd.api+json; v=1", True),
        ("text/json", False),
        ("application/json-seq", False),
        ("application/x-json", False),
        ("multipart/form-data; application/json", False),
        ("", False),
        ("APPLICATION/Problem+JSON", True),
        ("text/plain; application/json", False),
        ("text/plain", False),
        ("text/json+json", False),
        ("application/json, text/plain", False),
        ("application/jsonp", False),
        ("xapplication/json", False),
    ],
)
def test_R24_json_media_types_are_recognised_exactly(value: str, expected: bool) -> None:
    assert is_json(content_type(value)[0]) is expected


def fields_of(body: bytes) -> Any:
    return outcome("multipart", [body], Limits())


GENERATORS: dict[str, tuple[Any, Any]] = {
    "semicolons": (content_type, lambda n: ";a" * (n // 2)),
    "spaces": (content_type, lambda n: "a/b;" + " " * n),
    "spaced semicolons": (content_type, lambda n: "; " * (n // 2)),
    "backslashes": (content_type, lambda n: 'a/b; x="' + "\\\\" * (n // 2) + '"'),
    "parameters": (content_type, lambda n: "a/b" + "".join(f";x{i}=y" for i in range(n // 8))),
    "ampersands": (lambda text: parse_query(text, Limits(max_fields=10**9)), lambda n: "&" * n),
    "percents": (parse_query, lambda n: "%" * n),
    "pluses": (parse_query, lambda n: "+" * n),
    "line ends": (fields_of, lambda n: multipart_body(file_field("f", "a", b"\r\n" * (n // 2)))),
    "carriage returns": (fields_of, lambda n: multipart_body(file_field("f", "a", b"\r" * n))),
    "a head, byte by byte": (
        lambda body: outcome("multipart", bytewise(body)),
        lambda n: multipart_body(
            *[part('form-data; name="a"', b"", "X: " + "b" * 4000)] * (n // 4096)
        ),
    ),
    "half boundaries": (
        fields_of,
        lambda n: multipart_body(file_field("f", "a", b"\r\n--" * (n // 4))),
    ),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_R28_parsing_time_grows_linearly(name: str) -> None:
    call, make = GENERATORS[name]
    entry = calling(lambda text: call(make(len(text))), times=5)
    assert not grows_too_fast(entry, "", "a", "")


# Uploads


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("a.txt", "a.txt"),
        ("../../x", "x"),
        ("C:\\x", "x"),
        ("..\\x", "x"),
        ("/etc/x", "x"),
        ("dir/", "upload"),
        ("..", "upload"),
        (".", "upload"),
        ("...", "upload"),
        ("", "upload"),
        (" . ", "upload"),
        (".htaccess", "htaccess"),
        ("a\0b\r\n.txt", "ab.txt"),
        ("gpj\u202eexe.txt", "gpjexe.txt"),
        ("a:stream?*.txt", "astream.txt"),
        ("CON.txt", "_CON.txt"),
        ("con", "_con"),
        ("Lpt1 .tar.gz", "_Lpt1 .tar.gz"),
        ("com¹", "_com¹"),
        ("console.txt", "console.txt"),
        ("a. ", "a"),
        ("naïve 日本.txt", "naïve 日本.txt"),
        ("\ud800x", "x"),
        ("x" * 5000 + ".tar", "x" * 251 + ".tar"),
        ("é" * 5000 + ".txt", "é" * 125 + ".txt"),
        ("x" * 5000, "x" * 255),
        ("x." + "y" * 252 + " yy", "x." + "y" * 252),
        ("x." + "y" * 5000, "x." + "y" * 253),
    ],
)
def test_R33_safe_filename_removes_dangerous_parts(raw: str, safe: str) -> None:
    assert safe_filename(raw) == safe


@given(st.text())
@example(". .hidden")  # what is saved has the name that the handler saw
@example(". con")
def test_R33_a_safe_filename_is_one_path_component_that_never_exists_elsewhere(raw: str) -> None:
    name = safe_filename(raw)
    assert name == Path(name).name == safe_filename(name)
    assert 0 < len(name.encode()) <= 255
    assert name.isprintable() or not name.isascii()


def upload(content: bytes = b"content", raw: str = "a.txt") -> UploadFile:
    file = UploadFile(raw, {"content-type": "text/plain"}, 4)
    file.write(content)
    file.seek(0)
    return file


def test_an_upload_can_be_read_seeked_and_iterated() -> None:
    file = upload(b"x" * 70_000)
    assert [len(chunk) for chunk in file] == [65536, 4464]
    assert file.seek(-3, 2) == 69_997
    assert (file.read(2), file.read(), file.read()) == (b"xx", b"x", b"")
    assert (file["filename"], file["content_type"], file.size) == ("a.txt", "text/plain", 70_000)
    assert repr(file) == "<UploadFile 'a.txt' 70000 bytes>"
    with pytest.raises(KeyError):
        file["size"]
    file.close()


def test_libraries_take_an_upload_as_an_open_file() -> None:
    content, picture = BytesIO(), BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("pie.txt", "plum")
    Image.new("RGB", (3, 2)).save(picture, "PNG")
    file: Any = upload(content.getvalue())
    photo: Any = upload(picture.getvalue())
    with zipfile.ZipFile(file) as archive:
        assert archive.read("pie.txt") == b"plum"
    assert hashlib.file_digest(file, "sha256").digest_size == 32
    assert Image.open(photo).size == (3, 2)
    photo.close()
    assert file.seek(0) == file.tell() == 0
    file.close()
    assert file.closed
    with pytest.raises(AttributeError, match="'UploadFile' object has no attribute 'save'"):
        file.save("pie.zip")
    assert not hasattr(UploadFile.__new__(UploadFile), "tell")  # no file could be opened


def _is_in_memory(upload: UploadFile) -> bool:
    name: object = upload.file.name
    return name is None


@pytest.mark.parametrize("spool", [0, 100])
def test_an_upload_is_positioned_at_its_start(spool: int) -> None:
    parser = MultipartParser("B", Limits(spool_size=spool))
    parser.feed(
        multipart_body(
            file_field("f", "a", b"content"),
            file_field("f", "b", b"unread"),
            file_field("f", "c", b""),
        )
    )
    first, unread, empty = parser.finish().files["f"]
    seen = (first.file.tell(), first.file.read(3), first.read(), empty.read())
    assert seen == (0, b"con", b"tent", b"")
    assert _is_in_memory(first) == (spool == 100)
    parser.close()
    assert [one.file.closed for one in (first, unread, empty)] == [True] * 3
    unread.close()


def test_R32_an_upload_is_closed_although_the_disk_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("wb"))  # noqa: SIM115
    file = UploadFile("a", {}, 0)
    with pytest.raises(OSError, match="No space left"):
        file.write(b"x")
    file.close()
    assert file.file.closed


@pytest.mark.parametrize("size", [1, 41, 999])
@pytest.mark.parametrize("spool", [0, 100, 63_999, 64_000, 100_000])
def test_an_upload_may_arrive_in_many_pieces(size: int, spool: int) -> None:
    content = bytes(range(250)) * 256
    file = UploadFile("a", {}, spool)
    assert (file.read(), file.size) == (b"", 0)
    for start in range(0, len(content), size):
        file.write(content[start : start + size])
    assert (file.size, _is_in_memory(file)) == (64_000, spool >= 64_000)
    assert file.read() == b""  # it is at its end
    assert file.seek(-3, 1) == 63_997
    assert (file.read(), file.seek(0), file.read()) == (content[-3:], 0, content)
    file.write(b"more")
    assert (file.seek(0), file.read()) == (0, content + b"more")
    file.close()
    assert file.file.closed

    def write_more() -> None:
        for _ in range(100):
            file.write(b"x")

    with pytest.raises(ValueError, match="closed file"):
        write_more()


@pytest.mark.parametrize("spool", [4, 100])
def test_an_upload_has_a_file_descriptor(spool: int) -> None:
    before = open_files()
    file = UploadFile("a", {}, spool)
    file.write(b"content")
    file.seek(3)
    for _ in range(2):
        descriptor = file.file.fileno()
        assert (os.fstat(descriptor).st_size, os.read(descriptor, 9)) == (7, b"tent")
        file.seek(3)
    file.close()
    assert file.file.closed
    assert open_files() <= before


def test_R33_save_to_never_leaves_the_directory_and_never_overwrites(tmp_path: Path) -> None:
    file = upload(raw="../../a.txt")
    file.filename = "../b.txt"  # by the author's mistake
    inside = tmp_path / "inside"
    inside.mkdir()
    file.read(3)
    assert file.save_to(inside) == inside / "b.txt"
    assert (inside / "b.txt").read_bytes() == file.read() == b"content"
    with pytest.raises(FileExistsError):
        file.save_to(str(inside))
    (inside / "b.txt").unlink()
    (inside / "b.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        file.save_to(inside)
    assert not (tmp_path / "elsewhere").exists()
    file.close()


def test_R33_save_to_leaves_no_partial_file(tmp_path: Path) -> None:
    file = upload()
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        file.save_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_R33_save_to_on_a_full_disk_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(UploadFile, "read", full)
    file = upload()
    with pytest.raises(OSError, match=r"No space left on device: .*a\.txt"):
        file.save_to(tmp_path)
    assert list(tmp_path.iterdir()) == []
    file.close()


def test_an_upload_can_be_read_after_a_failed_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: NewFile, pieces: Iterable[bytes], is_last: bool = False) -> None:
        next(iter(pieces))
        raise OSError(28, "No space left on device")

    file = upload()
    monkeypatch.setattr(NewFile, "write", fails)
    with pytest.raises(OSError, match="No space left on device"):
        file.save_to(tmp_path)
    assert file.read() == b"content"
    file.close()


def test_a_closed_form_accepts_no_more_data() -> None:
    """Its files would stay open."""
    parser = MultipartParser("B", Limits())
    parser.close()
    with pytest.raises(ValueError, match="closed before all of it was received"):
        parser.feed(b"--B\r\n")
