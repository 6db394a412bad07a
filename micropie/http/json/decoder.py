"""The texts that are accepted as JSON: RFC 8259, and what it leaves open, decided once for all parsers.

The last of equal keys wins; integers are exact at any size. Refused with ``BadRequest``: malformed text, a byte
order mark, NaN and Infinity, a float too large for a double, a number of more than 4300 characters, an escaped lone
surrogate (it can be neither stored nor sent as UTF-8), more than 100 levels.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from json import JSONDecodeError, JSONDecoder, JSONEncoder
from typing import Any, NoReturn

from micropie.errors import BadRequest

MAX_DEPTH = 100  # no client's data is that deep, and a handler that recurses stays far from Python's limit
MAX_DIGITS = 4300  # CPython's limit for int(): conversion takes quadratic time


def loads_plain(data: bytes | bytearray | memoryview | str) -> Any:
    """Return the value of a JSON text, read by the standard library. Raises ``BadRequest``."""
    data = as_bytes(data)
    check_depth(data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The JSON is not valid UTF-8 at byte {error.start + 1}.") from None
    if text.startswith("\ufeff"):
        raise BadRequest("The JSON must not begin with a byte order mark.")
    try:
        value = _DECODER.decode(text)
    except JSONDecodeError as error:
        where = f"at character {error.pos + 1}" if text.strip() else "because it is empty"
        raise BadRequest(f"The JSON is not valid {where}.") from None
    if "\\u" in text:
        try:
            _ENCODER.encode(value).encode()
        except UnicodeEncodeError:
            raise BadRequest("The JSON has an escaped lone surrogate.") from None
    return value


def as_bytes(data: bytes | bytearray | memoryview | str) -> bytes:
    """Return a text as UTF-8. Raises ``BadRequest`` for a lone surrogate."""
    if not isinstance(data, str):
        return bytes(data)
    try:
        return data.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"The JSON has a lone surrogate at character {error.start + 1}.") from None


def check_depth(data: bytes) -> None:
    """Raise ``BadRequest`` for more than 100 levels.

    Takes linear time, at C's speed: it removes escapes, then all but brackets and quotes, then strings, and counts.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = data.translate(None, _NEITHER_BRACKET_NOR_QUOTE).replace(b'""', b"")
    brackets = outside_strings = b"".join(marks.split(b'"')[::2])
    # Each of these removes one level at most, and most brackets of a usual body: to count exactly takes 30 ns each.
    for pair in _PAIRS:
        brackets = brackets.replace(pair, b"")
    if len(brackets) + len(_PAIRS) <= MAX_DEPTH:
        return
    if max(accumulate(array("b", outside_strings.translate(_STEPS))), default=0) > MAX_DEPTH:
        raise BadRequest(f"The JSON is nested deeper than {MAX_DEPTH} levels.")


_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
_PAIRS = (b"[]", b"{}", b"[]", b"{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # 0xff is -1 as a signed byte


def _read_float(text: str) -> float:
    value = float(_short(text))
    if value - value != 0.0:
        raise BadRequest("The JSON has a number that is too large for a float.")
    return value


def _short(text: str) -> str:
    """Return a number's text. Raises ``BadRequest`` if it has too many digits."""
    if len(text) > MAX_DIGITS:
        raise BadRequest(f"The JSON has a number of more than {MAX_DIGITS} digits.")
    return text


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest("The JSON has NaN or Infinity, which are not numbers in JSON.")


_DECODER = JSONDecoder(
    parse_float=_read_float, parse_int=lambda text: int(_short(text)), parse_constant=_refuse_constant
)
_ENCODER = JSONEncoder(ensure_ascii=False, check_circular=False)
