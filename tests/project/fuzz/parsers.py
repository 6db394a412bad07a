"""Targets that ask one parser of ours, and a second one of others where there is one.

Each takes the fuzzer's bytes. An ``AssertionError`` is a finding, and so is any exception that a
client must not be able to cause. The bytes are cut into fields at ``SEPARATOR``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from http.cookies import CookieError, SimpleCookie
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

import msgspec
import orjson
from python_multipart import MultipartParser as OtherMultipartParser
from python_multipart.exceptions import MultipartParseError
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header, parse_range_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from micropie import HTTPError, SetupError, event
from micropie._core.binding.values.converters import converter_for
from micropie._core.http.addresses import is_host, normal_origin
from micropie._core.http.forms.data import Limits, parse_query
from micropie._core.http.forms.multipart import MultipartParser, boundary_of
from micropie._core.http.forms.uploads import safe_filename
from micropie._core.http.headers.conditional import accepted_codings, parse_http_date, select
from micropie._core.http.headers.cookies import MAX_COOKIE, format_cookie, parse_cookies
from micropie._core.http.headers.media_types import choose_type, content_type, disposition
from micropie._core.http.headers.signing import AppSigner
from micropie._core.http.json import CodecError, exact
from micropie._core.routing.discovery.patterns import Pattern
from tests.support.codecs import make_codec
from tests.support.event_source import parsed

SEPARATOR = b"\x1e"
SMALL = Limits(
    max_form_field_size=40,
    max_fields=4,
    max_files=2,
    max_data_size=60,
    spool_size=8,
)

Made = TypeVar("Made")


def fields_of(data: bytes, count: int) -> list[bytes]:
    """Cut the fuzzer's bytes into exactly ``count`` fields."""
    return [*data.split(SEPARATOR, count - 1), *[b""] * count][:count]


def attempt(parse: Callable[..., Made], *arguments: Any) -> Made | tuple[int, object]:
    """Return what was parsed, or the status and the words of the refusal."""
    try:
        return parse(*arguments)
    except HTTPError as error:
        return error.status, error.message


def latin(data: bytes) -> str:
    return data.decode("latin-1")


# -- queries and forms -----------------------------------------------------------------------------


def query(data: bytes) -> None:
    """Text is read as bytes are, limits only refuse, and the standard library agrees where it knows
    the same rules.
    """
    found = attempt(parse_query, data)
    assert found == attempt(parse_query, latin(data))
    limited = attempt(parse_query, data, SMALL)
    assert limited == found or not isinstance(limited, dict)
    if isinstance(found, dict) and data.isascii():
        others: dict[str, list[str]] = {}
        for name, value in parse_qsl(latin(data), keep_blank_values=True, errors="strict"):
            others.setdefault(name, []).append(value)
        assert found == others
        assert all("\0" not in text for name, values in found.items() for text in (name, *values))


# -- multipart -------------------------------------------------------------------------------------

# What the others read in another way: escapes in names, RFC 8187's spelling of file names, and a CR
# or LF alone, which werkzeug takes for a line's end.
_OTHERS_DIFFER = re.compile(rb"[*][ \t]*=|[\\%]|(?<!\r)\n|\r(?!\n)")

Parts = list[tuple[str, str | None, bytes]]


def _ours(body: bytes, boundary: str, cuts: list[int], limits: Limits) -> Parts:
    parser = MultipartParser(boundary, limits)
    try:
        start = 0
        for cut in [*cuts, len(body)]:
            parser.feed(body[start:cut])
            start = cut
        form = parser.finish()
        return [
            (name, None, value.encode())
            if isinstance(value, str)
            else (name, value.raw_filename, value.read())
            for name, value in form.parts
        ]
    finally:
        parser.close()


def _by_werkzeug(body: bytes, boundary: str) -> Parts | None:
    decoder = MultipartDecoder(boundary.encode("latin-1"))
    parts: Parts = []
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(found := decoder.next_event(), Epilogue):
            if isinstance(found, Field | File):
                parts.append((found.name, found.filename if isinstance(found, File) else None, b""))
            elif isinstance(found, Data):
                name, filename, before = parts[-1]
                parts[-1] = name, filename, before + found.data
    except (ValueError, KeyError, TypeError, UnicodeError):
        return None
    return parts


def _by_python_multipart(body: bytes, boundary: str) -> list[bytes] | None:
    """Return the content of each part: this parser reads no headers."""
    contents: list[bytes] = []

    def begin() -> None:
        contents.append(b"")

    def add(data: bytes, start: int, end: int) -> None:
        contents[-1] += data[start:end]

    parser = OtherMultipartParser(
        boundary.encode("latin-1"), {"on_part_begin": begin, "on_part_data": add}
    )
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError:
        return None
    return contents


def multipart(data: bytes) -> None:
    """The cuts between chunks change nothing; parsers of others that accept the form find the same
    in it.
    """
    raw_cuts, raw_boundary, body = fields_of(data, 3)
    boundary = latin(raw_boundary) or "B"
    cuts = sorted(cut % (len(body) + 1) for cut in raw_cuts[:20])
    for limits in (Limits(), SMALL):
        whole = attempt(_ours, body, boundary, [], limits)
        assert whole == attempt(_ours, body, boundary, cuts, limits)
        assert whole == attempt(_ours, body, boundary, [*range(len(body))], limits)
    ours = attempt(_ours, body, boundary, [], Limits())
    if isinstance(ours, list) and not _OTHERS_DIFFER.search(body):
        theirs = _by_werkzeug(body, boundary)
        if theirs is not None:
            assert ours == [part for part in theirs if part[1] != "" or part[2]], theirs
        contents = _by_python_multipart(body, boundary)
        if contents is not None and theirs is not None:
            assert [content for _, _, content in theirs] == contents


def part_head(data: bytes) -> None:
    """The headers of a part and of a body; a name that is saved is a safe one."""
    text = latin(data)
    found = attempt(content_type, text)
    if isinstance(found[0], str) and isinstance(found[1], dict):
        media_type, parameters = found
        assert media_type == media_type.lower()
        attempt(boundary_of, parameters)
        if re.fullmatch(r'[\w/+.-]+(; ?[a-z]+=("[\w .-]*"|[\w.-]+))*', text, re.ASCII):
            theirs, options = parse_options_header(text)
            assert (media_type, parameters) == (
                theirs.lower(),
                {name.lower(): value for name, value in options.items()},
            )
    name = attempt(disposition, f"form-data; {text}")
    for candidate in (text, name[1]):
        if isinstance(candidate, str):
            safe = safe_filename(candidate)
            assert safe and len(safe.encode()) <= 255
            assert (
                not re.search(r'[\x00-\x1f/\\<>:"|?*]', safe)
                and safe[0] != "."
                and safe[-1] not in ". "
            )
            assert safe_filename(safe) == safe


# -- JSON ------------------------------------------------------------------------------------------

_FAST_DUMPS, _FAST_LOADS = make_codec(orjson)
_PLAIN_DUMPS, _PLAIN_LOADS = make_codec(None)


def _read_json(loads: Callable[[bytes], Any], data: bytes) -> Any:
    """Return what was read, or a tuple with the refusal."""
    try:
        return loads(data)
    except ValueError as error:
        return (error,)


def json_in_and_out(data: bytes) -> None:
    """orjson and the standard library read the same values, refuse the same, and write the same but
    for floats.
    """
    fast, plain = _read_json(_FAST_LOADS, data), _read_json(_PLAIN_LOADS, data)
    if isinstance(plain, tuple):
        assert isinstance(fast, tuple)  # the words may differ
    else:
        assert repr(fast) == repr(plain)
        with suppress(CodecError):
            written = _PLAIN_DUMPS(plain)
            assert json.loads(written) == json.loads(_FAST_DUMPS(plain)) == plain
            if b"e" not in written.lower():
                assert written == _FAST_DUMPS(plain)
        with suppress(ValueError, InvalidOperation):  # nested too deeply, or too close to zero
            found = exact(data)
            every_digit = json.loads(data.decode("utf-8-sig"), parse_float=Decimal)
            assert _with_decimals(plain if found is None else found) == every_digit


def _with_decimals(document: Any) -> Any:
    """A document with a Decimal instead of each float."""
    if isinstance(document, dict):
        return {name: _with_decimals(value) for name, value in document.items()}
    if isinstance(document, list):
        return [*map(_with_decimals, document)]
    return Decimal(repr(document)) if isinstance(document, float) else document


# -- cookies ---------------------------------------------------------------------------------------

_PLAIN_COOKIES = re.compile(r"[a-z_-]+=[!#-+\--:<-\[\]-~]*(?:; [a-z_-]+=[!#-+\--:<-\[\]-~]*)*")
_ATTRIBUTES = {
    "expires",
    "path",
    "comment",
    "domain",
    "max-age",
    "secure",
    "httponly",
    "version",
    "samesite",
}


def cookies(data: bytes) -> None:
    """Reading never fails; a well-formed header is read as by others."""
    header = latin(data)
    found = parse_cookies(header)
    for name in found:
        # browsers send these bytes in front of it, and no others
        if name.startswith(("__Host-", "__Secure-")):
            sent = re.escape(name.encode()) + b"|" + re.escape(name.encode("latin-1", "replace"))
            assert re.search(rb"(?:^|;)[ \t]*(?:" + sent + rb")[ \t]*=", header.encode("latin-1"))
    if (
        _PLAIN_COOKIES.fullmatch(header)
        and not _ATTRIBUTES & found.keys()
        and len(found) == header.count(";") + 1
    ):
        others = SimpleCookie(header)
        assert {name: morsel.value for name, morsel in others.items()} == found
    name, _, value = header.partition("=")
    with suppress(ValueError):
        written = format_cookie(name, value, path=header[:5])
        assert len(written) <= MAX_COOKIE
        assert parse_cookies(written.partition(";")[0]) == {name: value}
        with suppress(CookieError, KeyError):  # "$Path" and "path" are attributes there
            assert SimpleCookie(written)[name].value == value


_SIGNER = AppSigner("k" * 32)


def signed_cookie(data: bytes) -> None:
    """Only what was signed for this name is believed, in no other spelling."""
    name, text = (latin(field) for field in fields_of(data, 2))
    value = _SIGNER.load(name, text, None, None)
    if value is not None:
        again = _SIGNER._signer.dump(_SIGNER._signer.load(text))
        assert again == text, "another spelling of a signed value"
        assert _SIGNER.load(f"{name}x", text, None, None) is None
        assert _SIGNER.load(name, text, None, -1) is None


# -- negotiation and conditions --------------------------------------------------------------------

_OFFERED = ("application/json", "text/html", "text/plain", "image/svg+xml")
_PLAIN_ACCEPT = re.compile(
    r"(?:[a-z*+]+/[a-z*+]+(?:;q=(?:0(?:\.[0-9]{1,3})?|1(?:\.0{1,3})?))?(?:, ?|$))*"
)


def accept(data: bytes) -> None:
    """A type is chosen that the header allows: the one that werkzeug chooses, where no type is
    named twice.
    """
    header = latin(data)
    chosen = choose_type(header, _OFFERED)
    assert chosen is None or chosen in _OFFERED
    names = [item.partition(";")[0].strip() for item in header.split(",")]
    is_plain = (
        _PLAIN_ACCEPT.fullmatch(header)
        and len(names) == len({*names})
        and "*/" not in header.replace("*/*", "")
    )
    if header and is_plain:
        ranges = parse_accept_header(header, MIMEAccept)
        best = max(ranges.quality(kind) for kind in _OFFERED)
        if chosen is None:
            assert best <= 0 or "/*" in header
        elif "/*" not in header:
            assert ranges.quality(chosen) == best
    accepted_codings(header, ["br", "gzip"])


def ranges_and_conditions(data: bytes) -> None:
    """What is selected lies within the file; a single range is read as by werkzeug."""
    names = (
        "range",
        "if-range",
        "if-none-match",
        "if-match",
        "if-modified-since",
        "if-unmodified-since",
    )
    raw_size, *texts = fields_of(data, 1 + len(names))
    size = int.from_bytes(raw_size[:3], "big")
    headers = {name: latin(text) for name, text in zip(names, texts, strict=True) if text}
    for text in texts:
        seconds = parse_http_date(latin(text))
        if seconds is not None and b":60" not in text:  # a leap second
            # a day and a time that exist, as they stand there
            moment = datetime.fromtimestamp(seconds, UTC)
            assert moment.strftime("%H:%M:%S") in latin(text), moment
            assert re.search(rf"\b0?{moment.day}\b", latin(text)), moment
    found = attempt(select, headers, "GET", '"tag"', 1_700_000_000, size)
    if found[0] == 416:
        assert "range" in headers
    elif found[0] in (200, 206):
        status, start, stop = found  # type: ignore[misc]
        assert 0 <= start < stop <= size or (status, start, stop) == (200, 0, size)
        if status == 206:
            theirs = parse_range_header(headers["range"].strip().lower().replace("\t", " "))
            if theirs is not None and len(theirs.ranges) == 1:
                # It refuses a suffix that is longer than the file, which RFC 9110, section 14.1.2,
                # makes the whole file.
                assert theirs.range_for_length(size) in ((start, stop), None)
    else:
        assert found[0] in (304, 412)


# -- conversion ------------------------------------------------------------------------------------

_KINDS: list[Any] = [
    int,
    float,
    bool,
    Decimal,
    UUID,
    date,
    time,
    datetime,
    int | None,
    list[int],
    set[int],
    int | str,
    int | list[int] | None,
    list[list[int]] | set[str],
    dict[tuple[int, ...], Decimal],
]
_LIMITED: list[Any] = [
    Annotated[int, msgspec.Meta(ge=1, le=10)],
    Annotated[str, msgspec.Meta(max_length=3, pattern="^[a-z]+$")],
]
_CONVERTERS = [converter_for(kind) for kind in _KINDS]
_CHECKED = [converter_for(kind) for kind in _LIMITED]


def conversion(data: bytes) -> None:
    """Conversion raises ``ValueError`` alone, gives the stated type, and takes what it has
    written.
    """
    text = latin(data)
    with suppress(UnicodeDecodeError):
        text = data.decode()
    document = _read_json(_PLAIN_LOADS, data)
    for kind, converter in zip(_KINDS, _CONVERTERS, strict=True):
        with suppress(ValueError):
            value = converter.from_text(text)
            if isinstance(kind, type):
                assert type(value) is kind
                again = value.isoformat() if isinstance(value, date | time) else str(value)
                if kind is not datetime or text.isascii():
                    assert converter.from_text(again) == value
        with suppress(ValueError):
            converter.from_json(document)
        with suppress(ValueError):
            converter.from_texts([text, text])
    with suppress(ValueError):
        assert 1 <= _CHECKED[0].from_text(text) <= 10  # type: ignore[operator]
    with suppress(ValueError):
        assert re.fullmatch("[a-z]{1,3}\n?", str(_CHECKED[1].from_text(text)))


# -- URLs ------------------------------------------------------------------------------------------


def route_pattern(data: bytes) -> None:
    """A pattern is refused or read; the path that is made of it leads back to the same values."""
    raw_pattern, *raw_values = fields_of(data, 4)
    try:
        pattern = Pattern(raw_pattern.decode("utf-8", "replace"))
    except SetupError:
        return
    values: dict[str, object] = {
        name: value.decode("utf-8", "replace")
        for name, value in zip(pattern.names, raw_values, strict=False)
    }
    given = dict(values)
    try:
        path = pattern.fill(values)
    except (KeyError, ValueError):
        return
    assert path.isascii()
    found: list[object] = []
    segments = path[1:].split("/")
    for number, segment in enumerate(pattern.segments):
        rest = len(pattern.segments) - number - 1
        taken = "/".join(segments[: len(segments) - rest] if segment.is_path else segments[:1])
        del segments[: taken.count("/") + 1]
        text = unquote(taken)
        if segment.text is None:
            matched = segment.match(text)
            assert matched is not None
            found += matched
        else:
            assert text == segment.text
    assert [*map(str, found)] == [str(given[name]) for name in pattern.names] or any(
        wildcard.rule in ("int", "float") for wildcard in pattern.wildcards
    )


def hosts_and_origins(data: bytes) -> None:
    """A host that is accepted is the host of a URL that is made of it, whoever reads that."""
    text = latin(data)
    if is_host(text):
        parts = urlsplit(f"http://{text}/path?query")
        assert (parts.netloc, parts.path, parts.query) == (text, "/path", "query")
        assert parts.hostname == text.lower().strip("[]") or ":" in text
        assert parts.username is None
    origin = normal_origin(text)
    with suppress(ValueError):  # an address that no browser has
        parts = urlsplit(origin)
        assert (parts.path, parts.query, parts.fragment, parts.username) == ("", "", "", None)
        assert normal_origin(origin) in (origin, "")


# -- events ----------------------------------------------------------------------------------------


def event_fields(data: bytes) -> None:
    """A browser finds one event, with the data, the name and the id that it was made of."""
    text, name, id_ = (field.decode("utf-8", "replace") for field in fields_of(data, 3))
    try:
        stream = event(text, name, id_)
    except ValueError:
        assert re.search(r"[\r\n\0]", name + id_)
        return
    received = parsed(stream + b"data: end\n\n")
    assert len(received) == 2 and received[1].data == "end"
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    assert received[0] == (lines, name or "message", id_)
