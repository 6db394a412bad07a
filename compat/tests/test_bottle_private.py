"""Names with an underscore that Bottle's own tests use: the original passes each test as well."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from micropie_compat import bottle as ours

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xc3\xa4\r\n'
    b'--x\r\nContent-Disposition: form-data; name="f"; filename="n.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\n12345\r\n--x--\r\n"
)


def test_a_header_is_parsed_as_a_list_of_elements(bottle: Any) -> None:
    read = bottle._parse_http_header
    found = read('a/b;Q="x, \\"y\\";z" ; n = 1, c')
    assert found == [("a/b", {"q": 'x, "y";z', "n": "1"}), ("c", {})]
    assert read('"a;b",c') == [("a;b", {}), ("c", {})]


def test_a_header_without_an_element_is_parsed() -> None:
    assert ours._parse_http_header(";") == [("", {})]


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_quoted_string_without_its_end_is_read_once(size: int) -> None:
    """Were it read from each of its characters on, the long one would take hours."""
    text = '\\"' * size + "e"
    expected = "c, d;" + '"' * size + "e"
    assert ours._parse_http_header(f'a; b="c, d;{text}') == [("a", {"b": expected})]


def test_groups_in_expressions_are_not_captured(bottle: Any) -> None:
    assert bottle._re_flatten(r"(a)(?:b)(?P<n>c)\(d\)") == r"(?:a)(?:b)(?:c)\(d\)"


def test_the_multipart_parser_returns_fields_and_files(bottle: Any) -> None:
    field, file = bottle._MultipartParser(
        BytesIO(FORM), "x", memfile_limit=4, charset="utf8"
    ).parse()
    assert (field.name, field.value, field.raw) == ("a", "ä", b"\xc3\xa4")
    assert (field.filename, field.content_type, field.is_buffered()) == (None, None, True)
    assert (file.name, file.value, file.filename) == ("f", "12345", "n.txt")
    assert (file.content_type, file.is_buffered()) == ("text/plain", False)
    assert file.file.read() == b"12345"
    opened = field.file, file.file
    field.close()
    file.close()
    assert [each.closed for each in opened] == [True, True]


@pytest.mark.parametrize("boundary", [None, "", "y"])
def test_an_invalid_form_raises_an_error(bottle: Any, boundary: Any) -> None:
    with pytest.raises(bottle.MultipartError):
        list(bottle._MultipartParser(BytesIO(FORM), boundary).parse())
